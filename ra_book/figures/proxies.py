"""How learned proxies were trained, and how well proxies agree with the codecs they stand in for."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.ticker import MaxNLocator

from ra_book.figures.look import PALETTE, Figure, Look, codec_title, new_figure, style
from ra_book.figures.networks import points
from ra_book.figures.plots import curves, forest, legend, log_axis
from ra_book.figures.rate_tables import AGREEMENT
from ra_book.figures.rows import MINUS, checked, in_order, listing
from ra_core.errors import ParameterError

TERMS = {"loss": "loss", "bpp_y": "bits a pixel of y", "bpp_z": "bits a pixel of z"}
MEASURES = {  # column of agreement.csv -> title, alt text, digits
    "rate_correlation": ("correlation\nof the rates", "correlation of rates", 2),
    "gradient_cosine": ("cosine of the\ngradients of the rate", "cosine of gradients", 2),
    "rate_ratio": ("bits: proxy /\ncodec", "ratio of bits", 2),
    "psnr": ("PSNR of what\nis decoded, dB", "PSNR in dB", 1),
}
MARKERS = "osD^vP"


def _looks(names: Sequence[str]) -> dict[str, Look]:
    return {n: Look(n, PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, n in enumerate(names)}


@style()
def proxy_curves(logs: Mapping[str, Sequence[dict]]) -> Figure:
    """Draw loss and bits a pixel, split into y and z, against the step; `logs` maps a proxy to the lines of its log."""
    lines = {name: [line for line in log if "loss" in line] for name, log in logs.items()}
    if not lines or not all(lines.values()):
        raise ParameterError("there is no log line of a proxy to draw: give the lines of a log.jsonl for each.")
    figure, looks = new_figure(height=3.0), _looks(list(lines))
    for axes, (key, title) in zip(figure.subplots(1, len(TERMS)), TERMS.items(), strict=True):
        axes.set_yscale("log")
        curves(axes, points(lines, key), "step", markers=all(len(log) == 1 for log in lines.values()), looks=looks)
        log_axis(axes.yaxis, "{x:g}")
        axes.set(title=title, ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.suptitle("Learned proxies: training")
    legend(figure, looks, kind="lines")
    ends = [
        f"{name} at {log[-1]['bpp_y']:.3g} bits a pixel for y and {log[-1]['bpp_z']:.3g} for z"
        for name, log in lines.items()
    ]
    figure.alt = f"Loss and bits a pixel of learned proxies by step; {listing(ends)} in the last lines."
    return figure


@style()
def agreement_forest(agreement: pd.DataFrame) -> Figure:
    """Draw how well each proxy agrees with each codec: a point at the middle quality, a line over all qualities.

    Do the rates rise together, do their gradients point the same way, how many bits does the proxy count, and how
    close are its pictures? `agreement` are the rows of agreement.csv.
    """
    rows = in_order(checked(agreement, AGREEMENT), "codec", "proxy")
    pairs = rows.groupby(["codec", "proxy"], sort=False)[list(MEASURES)]
    middle, low, high = pairs.median(), pairs.min(), pairs.max()
    figure, looks = new_figure(height=1.3 + 0.24 * len(middle)), _looks(sorted(rows["proxy"].unique()))
    labels = {f"{proxy} for {codec_title(codec)}": y for y, (codec, proxy) in enumerate(middle.index)}
    for axes, (key, (title, _, _)) in zip(figure.subplots(1, 4, sharey=True), MEASURES.items(), strict=True):
        shown = pd.DataFrame({"value": middle[key], "low": low[key], "high": high[key]}).reset_index()
        forest(axes, shown.assign(y=range(len(shown)), method=shown["proxy"]), labels, looks=looks)
        axes.set_xlabel(title)
    figure.suptitle("Proxy and codec: how well they agree")
    counts = " or ".join(f"{n:,.0f}" for n in sorted(rows["n"].unique()))
    legend(figure, looks, f"{counts} pictures; points are medians of the qualities, lines their range")
    spans = {
        key: [f"{words} {_span(*ends, digits)}" for ends in zip(low[key], high[key], strict=True)]
        for key, (_, words, digits) in MEASURES.items()
    }
    parts = [f"{name}: {', '.join(each)}" for name, each in zip(labels, zip(*spans.values(), strict=True), strict=True)]
    figure.alt = f"Agreement of proxies with codecs over their qualities; {'; '.join(parts)}."
    return figure


def _span(low: float, high: float, digits: int) -> str:
    """Return the lowest and the highest number, or the one there is."""
    first, last = (f"{value:.{digits}f}".replace("-", MINUS) for value in (low, high))
    return first if first == last else f"{first} to {last}"

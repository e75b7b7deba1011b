"""How well a proxy agrees with the codec it stands in for, as a figure."""

import pandas as pd
from matplotlib.lines import Line2D

from ra_book.figures.look import INK, METHODS, Figure, codec_title, new_figure, style
from ra_book.figures.rate_rows import AGREEMENT, by_codec, checked, ordered
from ra_book.figures.rates import legend_below
from ra_book.figures.rows import MINUS

PANELS = (("rate_correlation", "gradient_cosine"), ("rate_ratio", "psnr"))  # what is on x and on y
AXES = {
    "rate_correlation": "correlation of the rates",
    "gradient_cosine": "cosine of the gradients of the rate",
    "rate_ratio": "bits of the proxy / bits of the codec",
    "psnr": "PSNR between what they decode, dB",
}


@style()
def agreement_scatter(agreement: pd.DataFrame) -> Figure:
    """Draw how well each proxy agrees with each codec: a point a quality, a line for a proxy and a codec.

    Left, whether the rates rise together and whether their gradients point the same way; right, how many bits the
    proxy counts and how close its pictures are.
    """
    rows = checked(agreement, AGREEMENT, "the rows of agreement.csv")
    rows = ordered(rows, by_codec, lambda row: row.proxy, lambda row: row.quality)
    figure = new_figure(height=4.0)
    panels = figure.subplots(1, 2)
    looks, handles, parts = list(METHODS.values()), [], []
    for i, ((codec, proxy), mine) in enumerate(rows.groupby(["codec", "proxy"], sort=False)):
        name, shown = f"{proxy} for {codec_title(codec)}", looks[i % len(looks)]
        drawn = {"color": shown.colour, "marker": shown.marker, "markersize": 6, "linewidth": 1.2}
        for axes, (x, y) in zip(panels, PANELS, strict=True):
            axes.plot(mine[x], mine[y], **drawn)
            for row in mine.dropna(subset=[x, y]).to_dict("records"):
                axes.annotate(f"{row['quality']:g}", (row[x], row[y]), (4, 4), textcoords="offset points", fontsize=7.5)
        handles.append(Line2D([], [], **drawn, label=name))
        parts.append(
            f"{name}: correlation of rates {_span(mine['rate_correlation'], 2)}, "
            f"ratio of bits {_span(mine['rate_ratio'], 2)}, PSNR {_span(mine['psnr'], 1)} dB, "
            f"cosine of gradients {_span(mine['gradient_cosine'], 2)}"
        )
    panels[1].axvline(1, color=INK, linewidth=1)
    for axes, (x, y) in zip(panels, PANELS, strict=True):
        axes.set(xlabel=AXES[x], ylabel=AXES[y])
        axes.margins(0.12)
        axes.grid()
    figure.suptitle("Proxy and codec: how well they agree (small numbers: quality)")
    counts = " or ".join(f"{n:,.0f}" for n in sorted(rows["n"].unique()))
    legend_below(figure, handles, f"{counts} pictures", columns=3)
    figure.alt = f"Agreement of proxies with codecs over their qualities; {'; '.join(parts)}."
    return figure


def _span(values: pd.Series, digits: int) -> str:
    """Return the lowest and the highest number, or the one there is."""
    low, high = (f"{value:.{digits}f}".replace("-", MINUS) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"

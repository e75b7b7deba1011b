"""Figures of networks: how they trained, how large and right recognizers are, how well proxies agree with codecs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, MaxNLocator

import ra_book.figures.measured as measured
from ra_book.figures.look import (
    INK,
    PALETTE,
    Figure,
    Look,
    codec_title,
    dataset_title,
    look,
    new_figure,
    style,
    task_name,
    task_title,
)
from ra_book.figures.measured import listing
from ra_book.figures.plots import curves, forest, heat_map, legend, log_axis, say
from ra_book.figures.rate_tables import AGREEMENT
from ra_core.errors import ParameterError

MOST_CLASSES = 20  # that a confusion matrix can show
TRAINING = {  # where a line of the log keeps a number -> title
    "distortion": "distortion (mean squared error)",
    "recognition": "recognition term (each mode its own)",
    "validation.psnr": "validation PSNR, dB",
    "validation.top1": "validation top-1, %",
}
PREPROCESSING = {"bpp": "bits a pixel"} | {name: name for name in ("distortion", "recognition", "restoration")}
PROXIES = {"loss": "loss", "bpp_y": "bits a pixel of y", "bpp_z": "bits a pixel of z"}
AGREED = {  # column of agreement.csv -> title, alt text, digits
    "rate_correlation": ("correlation\nof the rates", "correlation of rates", 2),
    "gradient_cosine": ("cosine of the\ngradients of the rate", "cosine of gradients", 2),
    "rate_ratio": ("bits: proxy /\ncodec", "ratio of bits", 2),
    "psnr": ("PSNR of what\nis decoded, dB", "PSNR in dB", 1),
}
MARKERS = "osD^vP"


def _draw_logs(
    logs: Mapping[str, Sequence[dict]], terms: Mapping[str, str], looks: Mapping[str, Look], name: str, title: str,
    height: float, columns: int = 0, log: bool = True, ticks: int | str = 4,
) -> tuple[Figure, pd.DataFrame]:  # fmt: skip
    """Draw a panel for each of the terms that lines of logs hold, a line for each log; return all numbers as well.

    `log` scales what is positive, but for what was validated. Without `columns`, terms that nothing holds are left out.
    """
    if not logs or not all(logs.values()):
        raise ParameterError(f"there is no log line of {name} to draw: give the lines of a log.jsonl.")
    rows = pd.concat([pd.json_normalize(list(lines)).assign(method=method) for method, lines in logs.items()])
    rows = rows.reset_index().reindex(columns=["method", "step", *terms])
    terms = {key: words for key, words in terms.items() if columns or rows[key].notna().any()}
    columns, figure = columns or len(terms), new_figure(height)
    shown = figure.subplots(math.ceil(len(terms) / columns), columns, sharex=True, squeeze=False).flat
    for axes, (key, words) in zip(shown, terms.items(), strict=True):
        mine, validation = rows.dropna(subset=key), key.startswith("validation")
        if mine.empty:
            say(axes, "none in these runs")
        else:
            once = mine.groupby("method").size().max() == 1
            curves(axes, mine.assign(value=mine[key]), "step", markers=validation or once, looks=looks)
            if log and not validation and (mine[key] > 0).all():
                axes.set_yscale("log")
                log_axis(axes.yaxis, "{x:g}")
        axes.set(title=words, ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    figure.suptitle(f"{title}: training")
    return figure, rows


@style()
def training_curves(logs: Mapping[str, Sequence[dict]], task: str) -> Figure:
    """Draw both loss terms and both validation numbers of one task against the step, one line for each mode.

    `logs` maps a mode to the lines of its `log.jsonl`.
    """
    looks = {mode: look(mode) for mode in sorted(logs, key=measured.RANKS["method"]) if logs[mode]}
    shown, title = {mode: logs[mode] for mode in looks}, task_title(task)
    figure, rows = _draw_logs(shown, TRAINING, looks, f"task {task!r}", title, 4.8, columns=2, ticks="auto")
    legend(figure, looks, kind="lines")
    last = rows.dropna(subset="validation.top1").groupby("method", sort=False)["validation.top1"].last()
    ending = listing([f"{looks[mode].label} {value:.1f} %" for mode, value in last.items()] or ["no number"])
    figure.alt = (
        f"Losses, PSNR and top-1 by step of {listing(each.label for each in looks.values())} in {task_name(task)}; "
        f"top-1 on the validation pictures ends at {ending}."
    )
    return figure


@style()
def preprocessing_curves(log: Sequence[dict], method: str, codec: str) -> Figure:
    """Draw the terms of one preprocessor's loss against the step, from the lines of its `log.jsonl`."""
    name = f"{look(method).label}, {codec_title(codec)}"
    figure, rows = _draw_logs({method: log}, PREPROCESSING, {method: look(method)}, method, name, 2.6, log=False)
    ends = [f"{words} {rows[key].dropna().iloc[-1]:.3g}" for key, words in PREPROCESSING.items() if rows[key].any()]
    figure.alt = f"Loss terms of {name} by step; at the end {listing(ends)}."
    return figure


def _looks(names: Sequence[str]) -> dict[str, Look]:
    return {n: Look(n, PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, n in enumerate(names)}


@style()
def proxy_curves(logs: Mapping[str, Sequence[dict]]) -> Figure:
    """Draw loss and bits a pixel, split into y and z, against the step; `logs` maps a proxy to the lines of its log."""
    looks = _looks(list(logs))
    figure, rows = _draw_logs(logs, PROXIES, looks, "a proxy", "Learned proxies", 3.0)
    legend(figure, looks, kind="lines")
    last = rows.groupby("method", sort=False).last().itertuples()
    ends = [f"{row.Index} at {row.bpp_y:.3g} bits a pixel for y and {row.bpp_z:.3g} for z" for row in last]
    figure.alt = f"Loss and bits a pixel of learned proxies by step; {listing(ends)} in the last lines."
    return figure


@style()
def agreement_forest(agreement: pd.DataFrame) -> Figure:
    """Draw how well each proxy agrees with each codec: a point at the middle quality, a line over all qualities.

    Do the rates rise together, do their gradients point the same way, how many bits does the proxy count, and how
    close are its pictures? `agreement` are the rows of agreement.csv of one data set.
    """
    rows = measured.in_order(measured.checked(agreement, AGREEMENT), "codec", "proxy")
    pairs = rows.groupby(["codec", "proxy"], sort=False)[list(AGREED)]
    middle, low, high = pairs.median(), pairs.min(), pairs.max()
    figure, looks = new_figure(height=1.3 + 0.24 * len(middle)), _looks(sorted(rows["proxy"].unique()))
    labels = {f"{proxy} for {codec_title(codec)}": y for y, (codec, proxy) in enumerate(middle.index)}
    spans = {label: [] for label in labels}
    for axes, (key, (title, words, digits)) in zip(figure.subplots(1, 4, sharey=True), AGREED.items(), strict=True):
        shown = pd.DataFrame({"value": middle[key], "low": low[key], "high": high[key]}).reset_index()
        forest(axes, shown.assign(y=range(len(shown)), method=shown["proxy"]), labels, looks=looks)
        axes.set_xlabel(title)
        for label, *ends in zip(labels, low[key], high[key], strict=True):
            spans[label].append(f"{words} {' to '.join(dict.fromkeys(measured.number(end, digits) for end in ends))}")
    dataset = dataset_title(measured.one(rows, "dataset"))
    figure.suptitle(f"{dataset}: how well proxies and codecs agree")
    legend(figure, looks, f"{measured.pictures_of(rows)}; points are medians of the qualities, lines their range")
    parts = "; ".join(f"{label}: {', '.join(each)}" for label, each in spans.items())
    figure.alt = f"{dataset}: agreement of proxies with codecs over their qualities; {parts}."
    return figure


@style()
def recognizer_overview(sidecars: Sequence[dict], source: str | None = None) -> Figure:
    """Draw test accuracy against the number of parameters of each recognizer, the source with a ring.

    `sidecars` are what is known of the recognizers: `name`, `parameters`, `test_top1` in percent; those
    without `test_top1` are left out.
    """
    sidecars = [sidecar for sidecar in sidecars if "test_top1" in sidecar]
    figure = new_figure(height=3.2, width=6.5)
    axes = figure.subplots()
    for sidecar in sidecars:
        x, y, ringed = sidecar["parameters"], sidecar["test_top1"], sidecar["name"] == source
        axes.plot(x, y, "o", color=INK, markersize=8)
        if ringed:
            axes.plot(x, y, "o", markersize=15, markerfacecolor="none", markeredgecolor=INK)
        label = f"{sidecar['name']}{' (source)' if ringed else ''} {y:.1f}"
        # A label would run into a near neighbour on its right: then it stands below.
        crowded = any(1 < s["parameters"] / x < 1.4 and abs(s["test_top1"] - y) < 0.3 for s in sidecars)
        offset, side = ((0, -13), "center") if crowded else ((11, 0), "left")
        axes.annotate(label, (x, y), offset, va="center", ha=side, textcoords="offset points")
    if sidecars:
        axes.set_xscale("log")
        axes.margins(x=0.3, y=0.2)
        log_axis(axes.xaxis, EngFormatter(sep=""))
    else:
        say(axes, "no test accuracy is recorded for these recognizers")
    axes.set(xlabel="parameters", ylabel="top-1 on clean test pictures, %", title="Recognizers: accuracy against size")
    parts = [f"{s['name']} {s['test_top1']:.1f} % with {s['parameters']:,} parameters" for s in sidecars]
    figure.alt = f"Test accuracy of the recognizers against their size: {listing(parts or ['not recorded'])}."
    return figure


@style()
def confusion(counts: np.ndarray, classes: Sequence[str], title: str = "") -> Figure:
    """Draw how often a class (rows) gets an answer (columns), in percent of the class; `counts` is (C, C).

    Of many classes only those with the most mistakes are drawn.
    """
    counts = np.asarray(counts, dtype=float)
    overall = 100 * np.trace(counts) / max(counts.sum(), 1)
    percent = pd.DataFrame(100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1), classes, classes)
    if len(classes) > MOST_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        percent = percent.iloc[shown, shown]
        title = f"{title or 'Mistakes'}, the {MOST_CLASSES} classes with the most mistakes"
    figure = new_figure(height=5.6, width=6.5)
    axes = figure.subplots()
    heat_map(axes, percent, percent.map(lambda value: f"{value:.0f}" if value >= 0.5 else ""), gap=0.5)
    axes.set_xticks(axes.get_xticks(), percent.columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlabel="answer", ylabel="class")
    axes.set_title(f"{title}: answers in % of each class" if title else "Answers in % of each class")
    right = pd.Series(np.diag(percent), percent.index)
    figure.alt = (
        f"Confusion matrix{f' of {title}' if title else ''}: {overall:.1f} % of the answers are right; "
        f"{right.idxmin()} is recognized least often, {right.min():.0f} %."
    )
    return figure

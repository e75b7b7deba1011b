"""Figures of the networks themselves: how they trained, and how large and how right the recognizers are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from ra_book.figures.look import (
    FAINT,
    INK,
    Figure,
    codec_title,
    look,
    method_look,
    mode_rank,
    new_figure,
    style,
    task_name,
    task_title,
)  # fmt: skip
from ra_book.figures.results import heat_cells
from ra_book.figures.rows import listing
from ra_core.errors import ParameterError

MOST_CLASSES = 20  # that a confusion matrix can show
CURVES = {  # title -> where a line of the log keeps the number
    "distortion (mean squared error)": ("distortion",),
    "recognition term (each mode its own)": ("recognition",),
    "validation PSNR, dB": ("validation", "psnr"),
    "validation top-1, %": ("validation", "top1"),
}


def _points(lines: Sequence[dict], keys: tuple[str, ...]) -> list[tuple[float, float]]:
    """Return (step, number) of every log line that holds the number under `keys`."""
    points = []
    for line in lines:
        value = line
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            points.append((line["step"], value))
    return points


def log_axis(axis, formatter) -> None:
    """Put plain numbers at 1, 2, 3 and 5 of each decade: a range within one decade has labels too."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def _curve(axes: Axes, mode: str, points: list[tuple[float, float]], dots: bool) -> None:
    # P of RA + transformer is that of plain, so their PSNR lies on one line: dashes leave both to be seen.
    axes.plot(
        *zip(*points, strict=True), color=look(mode).colour, linewidth=1.6,
        linestyle="--" if mode == "ra_transformer" else "-", marker=look(mode).marker if dots else None,
        markersize=5, markeredgecolor="white", markeredgewidth=0.6, label=look(mode).label,
    )  # fmt: skip


@style()
def training_curves(logs: Mapping[str, Sequence[dict]], task: str) -> Figure:
    """Draw both loss terms and both validation numbers of one task against the step, one line for each mode.

    `logs` maps a mode to the lines of its `log.jsonl`.
    """
    for mode in logs:
        look(mode)
    modes = sorted((mode for mode in logs if logs[mode]), key=mode_rank)
    if not modes:
        raise ParameterError(f"there is no log line of task {task!r} to draw: give the lines of a log.jsonl.")
    figure = new_figure(height=5.0)
    for axes, (title, keys) in zip(figure.subplots(2, 2, sharex=True).flat, CURVES.items(), strict=True):
        curves = {mode: points for mode in modes if (points := _points(logs[mode], keys))}
        for mode, points in curves.items():
            _curve(axes, mode, points, dots=keys[0] == "validation" or len(points) == 1)
        if not curves:
            axes.text(0.5, 0.5, "none in these runs", transform=axes.transAxes, ha="center", color=FAINT)
            axes.set_yticks([])
        elif keys[0] != "validation" and all(value > 0 for points in curves.values() for _, value in points):
            axes.set_yscale("log")
            log_axis(axes.yaxis, "{x:g}")
        axes.set_title(title, fontsize=9.5)
        axes.grid()
    for axes in figure.axes[2:]:
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(f"{task_title(task)}: training")
    labels = [look(mode).label for mode in modes]
    handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}  # the last have markers
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=min(len(modes), 6))
    # `curves` is that of the last panel: top-1.
    ends = [f"{look(mode).label} {points[-1][1]:.1f} %" for mode, points in curves.items()]
    ending = f"; top-1 on the validation pictures ends at {listing(ends)}" if ends else ""
    figure.alt = f"Losses, PSNR and top-1 by step of {listing(labels)} in {task_name(task)}{ending}."
    return figure


TERMS = {
    "bpp": "bits a pixel", "distortion": "distortion", "recognition": "recognition",
    "restoration": "restoration",
}  # fmt: skip


@style()
def preprocessing_curves(log: Sequence[dict], method: str, codec: str) -> Figure:
    """Draw the terms of one preprocessor's loss against the step, from the lines of its `log.jsonl`."""
    curves = {term: points for term in TERMS if (points := _points(log, (term,)))}
    if not curves:
        raise ParameterError(f"there is no log line of {method} to draw: give the lines of a log.jsonl.")
    name = f"{method_look(method).label}, {codec_title(codec)}"
    figure = new_figure(height=2.8)
    for axes, (term, points) in zip(figure.subplots(1, len(curves), squeeze=False).flat, curves.items(), strict=True):
        marker = "o" if len(points) == 1 else None
        axes.plot(*zip(*points, strict=True), color=method_look(method).colour, linewidth=1.6, marker=marker)
        axes.set_title(TERMS[term], fontsize=9.5)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid()
    figure.suptitle(f"{name}: training")
    ends = [f"{TERMS[term]} {points[-1][1]:.3g}" for term, points in curves.items()]
    figure.alt = f"Loss terms of {name} by step; at the end {listing(ends)}."
    return figure


@style()
def recognizer_overview(sidecars: Sequence[dict], source: str | None = None) -> Figure:
    """Draw test accuracy against the number of parameters of each recognizer, the source with a ring.

    `sidecars` are what is known of the recognizers: `name`, `parameters`, `test_top1` in percent; those
    without `test_top1` are left out.
    """
    sidecars = [sidecar for sidecar in sidecars if "test_top1" in sidecar]
    figure = new_figure(height=3.4, width=6.5)
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
        text = "no test accuracy is recorded for these recognizers"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=FAINT)
    axes.set_xlabel("parameters")
    axes.set_ylabel("top-1 on clean test pictures, %")
    axes.set_title("Recognizers: accuracy against size")
    axes.grid()
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
    percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    if len(classes) > MOST_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        percent, classes = percent[np.ix_(shown, shown)], [classes[i] for i in shown]
        title = f"{title or 'Mistakes'}, the {MOST_CLASSES} classes with the most mistakes"
    figure = new_figure(height=5.6, width=6.5)
    axes = figure.subplots()
    texts = np.vectorize(lambda value: f"{value:.0f}" if value >= 0.5 else "")(percent)
    heat_cells(axes, percent, texts)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")
    axes.set_title(f"{title}: answers in % of each class" if title else "Answers in % of each class")
    weakest = int(np.diag(percent).argmin())
    figure.alt = (
        f"Confusion matrix{f' of {title}' if title else ''}: "
        f"{overall:.1f} % of the answers are right; "
        f"{classes[weakest]} is recognized least often, {percent[weakest, weakest]:.0f} %."
    )
    return figure

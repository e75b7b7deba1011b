"""Figures of the networks themselves: how they trained, and how large and how right the recognizers are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, MaxNLocator

from ra_book.figures.look import (
    FAINT,
    INK,
    Figure,
    codec_title,
    look,
    method_rank,
    new_figure,
    style,
    task_name,
    task_title,
)
from ra_book.figures.plots import curves, heat_map, legend, log_axis
from ra_book.figures.rows import listing
from ra_core.errors import ParameterError

MOST_CLASSES = 20  # that a confusion matrix can show
TERMS = {  # title -> where a line of the log keeps the number
    "distortion (mean squared error)": ("distortion",),
    "recognition term (each mode its own)": ("recognition",),
    "validation PSNR, dB": ("validation", "psnr"),
    "validation top-1, %": ("validation", "top1"),
}
PREPROCESSING = {
    "bpp": "bits a pixel", "distortion": "distortion", "recognition": "recognition", "restoration": "restoration"
}  # fmt: skip


def points(logs: Mapping[str, Sequence[dict]], *keys: str) -> pd.DataFrame:
    """Return rows (`method`, `step`, `value`) of every log line that holds a number under `keys`."""
    found = []
    for name, lines in logs.items():
        for line in lines:
            value = line
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found.append({"method": name, "step": line["step"], "value": value})
    return pd.DataFrame(found, columns=["method", "step", "value"])


@style()
def training_curves(logs: Mapping[str, Sequence[dict]], task: str) -> Figure:
    """Draw both loss terms and both validation numbers of one task against the step, one line for each mode.

    `logs` maps a mode to the lines of its `log.jsonl`.
    """
    modes = sorted((mode for mode in logs if logs[mode]), key=method_rank)
    if not modes:
        raise ParameterError(f"there is no log line of task {task!r} to draw: give the lines of a log.jsonl.")
    figure = new_figure(height=4.8)
    for axes, (title, keys) in zip(figure.subplots(2, 2, sharex=True).flat, TERMS.items(), strict=True):
        rows, validation = points({mode: logs[mode] for mode in modes}, *keys), keys[0] == "validation"
        if rows.empty:
            axes.text(0.5, 0.5, "none in these runs", transform=axes.transAxes, ha="center", color=FAINT)
            axes.set_yticks([])
        else:
            curves(axes, rows, "step", markers=validation or rows.groupby("method").size().max() == 1)
        if len(rows) and not validation and (rows["value"] > 0).all():
            axes.set_yscale("log")
            log_axis(axes.yaxis, "{x:g}")
        axes.set(title=title, ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(f"{task_title(task)}: training")
    legend(figure, {mode: look(mode) for mode in modes}, kind="lines")
    last = rows.groupby("method", sort=False)["value"].last()  # of the last panel: top-1
    ending = listing([f"{look(mode).label} {value:.1f} %" for mode, value in last.items()] or ["no number"])
    names = listing(look(mode).label for mode in modes)
    figure.alt = (
        f"Losses, PSNR and top-1 by step of {names} in {task_name(task)}; "
        f"top-1 on the validation pictures ends at {ending}."
    )
    return figure


@style()
def preprocessing_curves(log: Sequence[dict], method: str, codec: str) -> Figure:
    """Draw the terms of one preprocessor's loss against the step, from the lines of its `log.jsonl`."""
    terms = {term: rows for term in PREPROCESSING if len(rows := points({method: log}, term))}
    if not terms:
        raise ParameterError(f"there is no log line of {method} to draw: give the lines of a log.jsonl.")
    name = f"{look(method).label}, {codec_title(codec)}"
    figure = new_figure(height=2.6)
    for axes, (term, rows) in zip(figure.subplots(1, len(terms), squeeze=False).flat, terms.items(), strict=True):
        curves(axes, rows, "step", markers=len(rows) == 1)
        axes.set(title=PREPROCESSING[term], ylabel="")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.suptitle(f"{name}: training")
    ends = [f"{PREPROCESSING[term]} {rows['value'].iloc[-1]:.3g}" for term, rows in terms.items()]
    figure.alt = f"Loss terms of {name} by step; at the end {listing(ends)}."
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
        text = "no test accuracy is recorded for these recognizers"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=FAINT)
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

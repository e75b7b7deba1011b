"""Figures of recognition-aware restoration: accuracy by method and recognizer, gains on `plain`, the paper beside."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

import ra_book.figures.measured as measured
import ra_book.figures.plots as plots
from ra_book.figures.look import FAINT, INK, LINES, Figure, look, new_figure, style, task_name, task_title
from ra_book.figures.measured import (
    ACCURACY,
    PAIRED,
    accuracy_name,
    change,
    listing,
    note,
    per_recognizer,
    per_role,
    prepare,
    signed,
)  # fmt: skip
from ra_book.figures.plots import legend, looks_of, offsets
from ra_core.methods import name_parts


def _role_sentence(rows: pd.DataFrame) -> str:
    """Say the accuracy of each method on the source and on the mean of the unseen recognizers."""
    cells, parts = per_role(rows), []
    for role, words in measured.role_names(rows).items():
        mine = cells[cells["role"] == role]
        parts.append(f"{words}: {listing(f'{look(row.method).label} {row.value:.1f} %' for row in mine.itertuples())}")
    return "; ".join(parts)


@style()
def accuracy_heatmap(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw accuracy by recognizer (rows) and mode (columns) of one task, with the gain on `plain` in brackets."""
    rows = prepare(accuracy, ACCURACY, task)
    cells, recognizers = measured.on_plain(per_recognizer(rows)), measured.recognizers_of(rows)
    gains = cells["gain"].mask(cells["method"].isin(["oracle", "unprocessed"]))
    texts = cells["value"].map("{:.1f}".format) + [f" ({signed(gain)})" * (gain == gain) for gain in gains]
    cells = cells.assign(line=cells["recognizer"], column=cells["method"], text=texts)
    columns = {method: textwrap.fill(each.label, 14) for method, each in looks_of(rows).items()}
    lines = {name: measured.with_role(name, role) for name, role in recognizers.items()}
    values, texts = plots.wide(cells, lines, columns)
    figure = new_figure(height=1.1 + 0.36 * len(values))
    axes = figure.subplots()
    plots.heat_map(axes, values, texts.fillna(""))
    axes.xaxis.tick_top()
    axes.axhline(list(recognizers.values()).count("source"), color="white", linewidth=7)
    figure.suptitle(f"{task_title(task)}: {accuracy_name(accuracy)} in %, in brackets the gain on plain in points")
    figure.alt = f"Heat map of {accuracy_name(accuracy)} in {task_name(task)}; {_role_sentence(rows)}."
    return figure


@style()
def headline(accuracy: pd.DataFrame) -> Figure:
    """Draw a panel for each task: accuracy of every mode on the source and on the mean of the unseen."""
    rows = prepare(accuracy, ACCURACY)
    tasks, sentences = measured.values_of(rows, "task"), []
    figure = new_figure(height=3.7)
    for axes, task in zip(plots.panels(figure, len(tasks), len(tasks), sharey=True), tasks, strict=True):
        mine = rows[rows["task"] == task]
        # A line break before the name or the number keeps the two labels of a narrow panel apart.
        names = measured.role_names(mine).items()
        words = {role: name.replace(" (", "\n(").replace(" of ", " of\n") for role, name in names}
        cells = per_role(mine)
        plots.bars(axes, cells.assign(group=cells["role"].map(words)), "group", labels=True)
        axes.set(title=task_title(task), ylabel="")
        sentences.append(f"{task_title(task)}, {_role_sentence(mine)}")
    figure.axes[0].set_ylabel(f"{accuracy_name(accuracy)}, %")
    legend(figure, looks_of(rows), note(rows), "bars")
    figure.alt = f"Bars of {accuracy_name(accuracy)} of every mode. {'. '.join(sentences)}."
    return figure


@style()
def accuracy_against_psnr(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw accuracy with its 95 % interval against PSNR for each mode, on the source and the mean of the unseen.

    The oracle has no PSNR and is a dashed line. The lambdas of a sweep are joined by a line: the front.
    """
    rows = prepare(accuracy, ACCURACY, task)
    cells, words = per_role(rows), measured.role_names(rows)
    figure = new_figure(height=3.9)
    shown = plots.panels(figure, len(words), sharex=True, sharey=True)
    for axes, (role, title) in zip(shown, words.items(), strict=True):
        _against_psnr(axes, cells[cells["role"] == role])
        axes.set(title=title, xlabel="PSNR, dB")
        axes.margins(0.12)
    shown[0].set_ylabel(f"{accuracy_name(accuracy)}, %")
    figure.suptitle(f"{task_title(task)}: accuracy against fidelity")
    psnr = cells.dropna(subset="psnr").groupby("method", sort=False)["psnr"].mean()
    legend(figure, {method: look(method) for method in psnr.index}, note(rows))
    fidelity = listing([f"{look(name).label} {value:.2f} dB" for name, value in psnr.items()] or ["not measured"])
    what = f"{accuracy_name(accuracy)} against PSNR in {task_name(task)}"
    figure.alt = f"Points of {what}; {_role_sentence(rows)}; PSNR: {fidelity}."
    return figure


def _against_psnr(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw the points of one role, a line for what has no PSNR, and the fronts of sweeps with their lambdas."""
    above, known = {"textcoords": "offset points", "size": 8}, cells["psnr"].notna()
    for row in cells[~known].itertuples():
        axes.axhline(row.value, color=look(row.method).colour, linestyle="--", linewidth=1.2)
        text = f"{look(row.method).label} {row.value:.1f}"
        axes.annotate(text, (1, row.value), (-2, -3), va="top", ha="right", xycoords=("axes fraction", "data"), **above)
    for method, mine in cells[known].groupby("method", sort=False):
        shown = look(method)
        axes.errorbar(
            mine["psnr"], mine["value"], plots.ends(mine), fmt=shown.marker, color=shown.colour, markersize=7,
            markeredgecolor="white", markeredgewidth=0.6, elinewidth=1.4,
        )  # fmt: skip
    weights = cells["method"].map(lambda name: name_parts(name)[2])
    swept = cells.assign(weight=weights)[known & weights.notna()]
    for base, front in swept.groupby(swept["method"].str.rpartition("@")[0]):
        axes.plot(front["psnr"], front["value"], color=look(base).colour, linewidth=1, zorder=1)
        for row in front.itertuples():
            axes.annotate(f"{row.weight:g}", (row.psnr, row.value), (6, 4), color=FAINT, **above)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _forest(axes: Axes, cells: pd.DataFrame, texts: bool = False) -> None:
    """Draw gains on `plain`, recognizers from top to bottom and methods within them, `texts` at the right edge."""
    recognizers = measured.recognizers_of(cells)
    labels = {measured.with_role(*each): y for y, each in enumerate(recognizers.items())}
    cells = cells.assign(y=cells["recognizer"].map(list(recognizers).index) + offsets(cells, 0.8))
    plots.forest(axes, cells, labels, map(change, cells.itertuples()) if texts else ())
    axes.axvline(0, color=INK, linewidth=1)
    for boundary in range(1, len(recognizers)):
        axes.axhline(boundary - 0.5, color=LINES, linewidth=0.8)


@style()
def paired_forest(paired: pd.DataFrame, task: str) -> Figure:
    """Draw each mode's paired difference to `plain` by recognizer, with 95 % intervals around zero."""
    rows = prepare(paired, PAIRED, task)
    words = measured.role_names(rows)
    figure = new_figure(height=1.5 + 0.21 * rows["recognizer"].nunique() * max(rows["method"].nunique(), 2))
    axes = figure.subplots()
    _forest(axes, per_recognizer(rows), texts=True)
    axes.set_xlabel("difference to plain on the same pictures, percentage points")
    axes.set_title(f"{task_title(task)}: gain on plain by recognizer")
    legend(figure, looks_of(rows), note(rows))
    parts = [f"{look(row.method).label} {change(row)} on {words[row.role]}" for row in per_role(rows).itertuples()]
    figure.alt = (
        f"Forest plot of the paired difference to plain in {task_name(task)}, in percentage points "
        f"with 95 % interval: {listing(parts)}."
    )
    return figure


@style()
def against_the_paper(paired: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> Figure:
    """Draw our gains on `plain` (with intervals) on the left, those published for ImageNet on the right.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    rows, paper = prepare(paired, PAIRED), measured.on_plain(measured.prepare_published(published))
    tasks, sentences = measured.values_of(rows if len(rows) else paper, "task"), []  # none without plain and another
    sides = {f"{dataset}, this book": per_recognizer(rows), "ImageNet, published": paper.assign(value=paper["gain"])}
    sides = {name: c[c["method"].isin(measured.PAPER_METHODS) & c["task"].isin(tasks)] for name, c in sides.items()}
    most = max(side["recognizer"].nunique() for side in sides.values())
    figure = new_figure(height=1.2 + len(tasks) * (0.2 + 0.31 * most))
    shown = figure.subplots(len(tasks), 2, sharex=True, squeeze=False)
    for line, task in zip(shown, tasks, strict=True):
        for axes, (name, side) in zip(line, sides.items(), strict=True):
            cells = side[side["task"] == task]
            if cells.empty:
                plots.say(axes, "not measured")
            else:
                _forest(axes, cells)
            axes.set(xlabel="gain on plain, points of top-1" if task == tasks[-1] else "")
            source = cells[cells["role"] == "source"].itertuples()
            numbers = [f"{look(row.method).label} {signed(row.value)}" for row in source]
            sentences.append(f"{name}, {task_name(task)}: {listing(numbers or ['not measured'])}")
        line[0].set_ylabel(task_title(task), fontweight="bold", fontsize=10)
        line[1].set_facecolor("#F4F4F4")  # another data set, so not to be read as one axis with the left
    for axes, name in zip(shown[0], sides, strict=True):
        axes.set_title(name)
    measured_on = note(rows) if len(rows) else "not measured"
    legend(figure, looks_of(pd.concat(sides.values())), f"{dataset}: {measured_on}; the paper gives no intervals")
    figure.alt = (
        "Gains on plain in points of top-1, measured here and published for ImageNet, on the source "
        f"recognizer: {'; '.join(sentences)}."
    )
    return figure

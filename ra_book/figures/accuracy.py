"""Figures of recognition-aware restoration: accuracy by method and recognizer, gains on `plain`, the paper beside."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ra_book.figures.look import FAINT, INK, LINES, Figure, look, new_figure, style, task_name, task_title
from ra_book.figures.plots import bars, ends, forest, heat_map, legend, looks_of, offsets, panels
from ra_book.figures.rows import (
    ACCURACY,
    PAIRED,
    PAPER_METHODS,
    change,
    fronts,
    gains,
    listing,
    note,
    per_recognizer,
    per_role,
    prepare,
    prepare_published,
    recognizers_of,
    role_names,
    signed,
    values_of,
)  # fmt: skip


def _role_sentence(rows: pd.DataFrame) -> str:
    """Say the accuracy of each method on the source and on the mean of the unseen recognizers."""
    cells, parts = per_role(rows), []
    for role, words in role_names(rows).items():
        mine = cells[cells["role"] == role]
        parts.append(f"{words}: {listing(f'{look(row.method).label} {row.value:.1f} %' for row in mine.itertuples())}")
    return "; ".join(parts)


def _place(rows: pd.DataFrame) -> pd.Series:
    """Return the words for the recognizer of each row: its name above its role."""
    return rows["recognizer"] + "\n" + rows["role"]


@style()
def accuracy_heatmap(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 by mode (rows) and recognizer (columns) of one task, with the gain on `plain` beneath."""
    rows = prepare(accuracy, ACCURACY, task)
    cells = per_recognizer(rows)
    gained = gains(rows[~rows["method"].isin(["oracle", "unprocessed"])]).set_index(["method", "recognizer"])["value"]
    brackets = [gained.get(key) for key in zip(cells["method"], cells["recognizer"], strict=True)]
    brackets = ["" if gain is None else f"\n({signed(gain)})" for gain in brackets]
    texts = [f"{value:.1f}{gain}" for value, gain in zip(cells["value"], brackets, strict=True)]
    cells = cells.assign(place=_place(cells), label=[look(m).label for m in cells["method"]], text=texts)
    places = list(dict.fromkeys(cells["place"]))
    values, texts = (
        cells.pivot(index="label", columns="place", values=name).loc[
            [each.label for each in looks_of(rows).values()], places
        ]
        for name in ("value", "text")
    )
    figure = new_figure(height=1.1 + 0.5 * len(values))
    axes = figure.subplots()
    heat_map(axes, values, texts.fillna(""))
    axes.xaxis.tick_top()
    axes.axvline(list(recognizers_of(rows).values()).count("source"), color="white", linewidth=7)
    figure.suptitle(f"{task_title(task)}: top-1 accuracy in %, in brackets the gain on plain in points")
    figure.alt = f"Heat map of top-1 accuracy in {task_name(task)}; {_role_sentence(rows)}."
    return figure


@style()
def accuracy_bars(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 of one task as bars with 95 % intervals, grouped by recognizer; dots are single seeds."""
    rows = prepare(accuracy, ACCURACY, task)
    rows = rows.assign(place=_place(rows))
    cells, groups = per_recognizer(rows), list(dict.fromkeys(rows["place"]))
    figure = new_figure(height=3.8)
    axes = figure.subplots()
    bars(axes, cells.assign(place=_place(cells)), "place")
    repeated = rows.groupby("method")["seed"].transform("nunique") > 1
    x = (rows["place"].map(groups.index) + offsets(rows))[repeated]
    axes.scatter(x, rows["value"][repeated], s=9, color="white", edgecolor=INK, linewidth=0.6, zorder=3)
    axes.set(ylabel="top-1 accuracy, %", title=f"{task_title(task)}: top-1 accuracy by recognizer")
    legend(figure, looks_of(rows), note(rows) + ("; dots are single seeds" if repeated.any() else ""), "bars")
    figure.alt = f"Bars of top-1 accuracy by recognizer in {task_name(task)}; {_role_sentence(rows)}."
    return figure


@style()
def headline(accuracy: pd.DataFrame) -> Figure:
    """Draw a panel for each task: top-1 of every mode on the source and on the mean of the unseen."""
    rows = prepare(accuracy, ACCURACY)
    tasks, sentences = values_of(rows, "task"), []
    figure = new_figure(height=3.7)
    for axes, task in zip(panels(figure, len(tasks), len(tasks), sharey=True), tasks, strict=True):
        mine = rows[rows["task"] == task]
        # A line break before the name or the number keeps the two labels of a narrow panel apart.
        words = {role: w.replace(" (", "\n(").replace(" of ", " of\n") for role, w in role_names(mine).items()}
        cells = per_role(mine)
        bars(axes, cells.assign(group=cells["role"].map(words)), "group", labels=True)
        axes.set(title=task_title(task), ylabel="")
        sentences.append(f"{task_title(task)}, {_role_sentence(mine)}")
    figure.axes[0].set_ylabel("top-1 accuracy, %")
    legend(figure, looks_of(rows), note(rows), "bars")
    figure.alt = f"Top-1 accuracy of every mode. {'. '.join(sentences)}."
    return figure


@style()
def accuracy_against_psnr(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 with its 95 % interval against PSNR for each mode, on the source and the mean of the unseen.

    The oracle has no PSNR and is a dashed line. The lambdas of a sweep are joined by a line: the front.
    """
    rows = prepare(accuracy, ACCURACY, task)
    cells, words = per_role(rows), role_names(rows)
    measured = cells.dropna(subset="psnr")
    figure = new_figure(height=3.9)
    shown = panels(figure, len(words), sharex=True, sharey=True)
    for axes, (role, title) in zip(shown, words.items(), strict=True):
        _against_psnr(axes, cells[cells["role"] == role])
        axes.set(title=title, xlabel="PSNR, dB")
        axes.margins(0.12)
    shown[0].set_ylabel("top-1 accuracy, %")
    figure.suptitle(f"{task_title(task)}: accuracy against fidelity")
    legend(figure, looks_of(measured), note(rows))
    psnr = measured.groupby("method", sort=False)["psnr"].mean()
    fidelity = listing([f"{look(name).label} {value:.2f} dB" for name, value in psnr.items()] or ["not measured"])
    figure.alt = f"Top-1 accuracy against PSNR in {task_name(task)}; {_role_sentence(rows)}; PSNR: {fidelity}."
    return figure


def _against_psnr(axes: Axes, cells: pd.DataFrame) -> None:
    """Draw the points of one role, a line for what has no PSNR, and the fronts of sweeps with their lambdas."""
    above = {"textcoords": "offset points", "size": 8}
    for row in cells[cells["psnr"].isna()].itertuples():
        axes.axhline(row.value, color=look(row.method).colour, linestyle="--", linewidth=1.2)
        text = f"{look(row.method).label} {row.value:.1f}"
        axes.annotate(text, (1, row.value), (-2, -3), va="top", ha="right", xycoords=("axes fraction", "data"), **above)
    for row in cells.dropna(subset="psnr").itertuples():
        mine, shown = cells.loc[[row.Index]], look(row.method)
        axes.errorbar(
            mine["psnr"], mine["value"], ends(mine), fmt=shown.marker, color=shown.colour, markersize=7,
            markeredgecolor="white", markeredgewidth=0.6, elinewidth=1.4,
        )  # fmt: skip
    for front in fronts(cells.dropna(subset="psnr")):
        axes.plot(front["psnr"], front["value"], color=look(front["base"].iloc[0]).colour, linewidth=1, zorder=1)
        for row in front.itertuples():
            axes.annotate(f"{row.weight:g}", (row.psnr, row.value), (6, 4), color=FAINT, **above)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _forest(axes: Axes, cells: pd.DataFrame, texts: bool = False) -> None:
    """Draw gains on `plain`, recognizers from top to bottom and methods within them, `texts` at the right edge."""
    recognizers = recognizers_of(cells)
    labels = {f"{name} (source)" if role == "source" else name: y for y, (name, role) in enumerate(recognizers.items())}
    cells = cells.assign(y=cells["recognizer"].map(list(recognizers).index) + offsets(cells, 0.8))
    forest(axes, cells, labels, map(change, cells.itertuples()) if texts else ())
    axes.axvline(0, color=INK, linewidth=1)
    for boundary in range(1, len(recognizers)):
        axes.axhline(boundary - 0.5, color=LINES, linewidth=0.8)


@style()
def paired_forest(paired: pd.DataFrame, task: str) -> Figure:
    """Draw each mode's paired difference to `plain` by recognizer, with 95 % intervals around zero."""
    rows = prepare(paired, PAIRED, task)
    words = role_names(rows)
    figure = new_figure(height=1.5 + 0.21 * rows["recognizer"].nunique() * max(rows["method"].nunique(), 2))
    axes = figure.subplots()
    _forest(axes, per_recognizer(rows), texts=True)
    axes.set_xlabel("difference to plain on the same pictures, percentage points of top-1")
    axes.set_title(f"{task_title(task)}: gain on plain by recognizer")
    legend(figure, looks_of(rows), note(rows))
    parts = [f"{look(row.method).label} {change(row)} on {words[row.role]}" for row in per_role(rows).itertuples()]
    figure.alt = (
        f"Forest plot of the paired difference to plain in {task_name(task)}, in percentage points of top-1 "
        f"with 95 % interval: {listing(parts)}."
    )
    return figure


@style()
def against_the_paper(paired: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> Figure:
    """Draw our gains on `plain` (with intervals) on the left, those published for ImageNet on the right.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    rows = prepare(paired, PAIRED)
    tasks, sentences = values_of(rows, "task"), []
    sides = {
        f"{dataset}, this book": per_recognizer(rows), "ImageNet, published": gains(prepare_published(published))
    }  # fmt: skip
    sides = {name: c[c["method"].isin(PAPER_METHODS) & c["task"].isin(tasks)] for name, c in sides.items()}
    most = max(side["recognizer"].nunique() for side in sides.values())
    figure = new_figure(height=1.2 + len(tasks) * (0.2 + 0.31 * most))
    shown = figure.subplots(len(tasks), 2, sharex=True, squeeze=False)
    for line, task in zip(shown, tasks, strict=True):
        for axes, (name, side) in zip(line, sides.items(), strict=True):
            cells = side[side["task"] == task]
            if cells.empty:
                axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=FAINT)
                axes.set_yticks([])
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
    legend(figure, looks_of(pd.concat(sides.values())), f"{dataset}: {note(rows)}; the paper gives no intervals")
    figure.alt = (
        "Gains on plain in points of top-1, measured here and published for ImageNet, on the source "
        f"recognizer: {'; '.join(sentences)}."
    )
    return figure

"""Figures of the results: accuracy by mode and recognizer, gains on `plain`, and the paper beside them."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ra_book.figures.look import FAINT, INK, Figure, look, new_figure, style, task_name, task_title
from ra_book.figures.rows import (
    PAPER_MODES,
    fronts,
    gains,
    interval_ends,
    listing,
    modes_of,
    note,
    per_recognizer,
    per_role,
    prepare,
    prepare_published,
    recognizers_of,
    role_names,
    signed,
    signed_interval,
    tasks_of,
)

GROUP = 0.86  # share of the space that the bars of a group fill
CELLS = ListedColormap(colormaps["viridis"](np.linspace(0.45, 1, 256)))  # bright enough for black letters


def heat_cells(
    axes: Axes, values: np.ndarray, texts: np.ndarray, cmap=CELLS, limits: tuple[float, float] = (0, 100)
) -> AxesImage:
    """Draw percentages (rows, columns) as coloured cells with their texts, and return the image."""
    low, high = limits
    image = axes.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="none")
    for (row, column), text in np.ndenumerate(texts):
        axes.text(column, row, text, ha="center", va="center", color="black")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def _mode_legend(figure: Figure, modes: list[str], title: str, bars: bool = False) -> None:
    """Put the modes in the book's order under the figure, below a line that says what was measured."""
    markers = {mode: "s" if bars else look(mode).marker for mode in modes}
    handles = [
        Line2D([], [], ls="", ms=8, marker=markers[mode], color=look(mode).colour, label=look(mode).label)
        for mode in modes
    ]
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(modes), 6), columnspacing=1.2, handletextpad=0.3,
        title=title, title_fontsize=8.5,
    )  # fmt: skip
    legend.get_title().set_color(FAINT)


def _grouped_bars(axes: Axes, rows: pd.DataFrame, group: str, groups: list[str], labels: bool = False) -> None:
    """Draw one bar with interval for each mode within each group, and its value on top if `labels`."""
    modes = modes_of(rows)
    width = GROUP / len(modes)
    for i, mode in enumerate(modes):
        mine = rows[rows["mode"] == mode]
        x = mine[group].map(groups.index) + (i - (len(modes) - 1) / 2) * width
        error = {"ecolor": "#999999" if mode == "oracle" else INK, "elinewidth": 1, "capsize": 2}
        bars = axes.bar(
            x, mine["value"], 0.94 * width, color=look(mode).colour, yerr=interval_ends(mine), error_kw=error
        )
        if labels:
            axes.bar_label(bars, fmt="%.0f", padding=1, fontsize=7.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 104)
    axes.grid(axis="y")


def _role_sentence(rows: pd.DataFrame) -> str:
    """Say the accuracy of each mode on the source and on the mean of the unseen recognizers."""
    cells = per_role(rows)
    parts = []
    for role, words in role_names(rows).items():
        mine = cells[cells["role"] == role]
        numbers = [f"{look(m).label} {v:.1f} %" for m, v in zip(mine["mode"], mine["value"], strict=True)]
        parts.append(f"{words}: {listing(numbers)}")
    return "; ".join(parts)


def _cell_texts(rows: pd.DataFrame, table: pd.DataFrame) -> np.ndarray:
    """Return the text of each cell of a heat map: top-1, and for modes beyond `plain` the gain on it."""
    gained = gains(rows[~rows["mode"].isin(["oracle", "unprocessed"])])
    gained = gained.set_index(["mode", "recognizer"])["value"]

    def text(mode: str, name: str) -> str:
        value, gain = table.loc[mode, name], gained.get((mode, name))
        return "" if pd.isna(value) else f"{value:.1f}" + ("" if gain is None else f"\n({signed(gain)})")

    return np.array([[text(mode, name) for name in table.columns] for mode in table.index])


@style()
def accuracy_heatmap(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 by mode (rows) and recognizer (columns) of one task, with the gain on `plain` beneath."""
    rows = prepare(accuracy, task)
    modes, recognizers = modes_of(rows), recognizers_of(rows)
    table = per_recognizer(rows).pivot(index="mode", columns="recognizer", values="value")
    table = table.loc[modes, list(recognizers)]
    figure = new_figure(height=1.5 + 0.52 * len(modes))
    axes = figure.subplots()
    image = heat_cells(axes, table.to_numpy(), _cell_texts(rows, table))
    axes.set_xticks(range(len(recognizers)), [f"{name}\n{role}" for name, role in recognizers.items()])
    axes.set_yticks(range(len(modes)), [look(mode).label for mode in modes])
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(1, len(recognizers)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(modes)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.axvline(list(recognizers.values()).count("source") - 0.5, color="white", linewidth=7)
    figure.suptitle(f"{task_title(task)}: top-1 accuracy in %, in brackets the gain on plain in points")
    figure.colorbar(image, ax=axes, label="top-1, %", pad=0.02, aspect=30).outline.set_visible(False)
    figure.alt = f"Heat map of top-1 accuracy in {task_name(task)}; {_role_sentence(rows)}."
    return figure


@style()
def accuracy_bars(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 of one task as bars with 95 % intervals, grouped by recognizer; dots are single seeds."""
    rows = prepare(accuracy, task)
    modes, recognizers = modes_of(rows), recognizers_of(rows)
    figure = new_figure(height=3.8)
    axes = figure.subplots()
    _grouped_bars(axes, per_recognizer(rows), "recognizer", list(recognizers))
    repeated = rows[rows.groupby("mode")["seed"].transform("nunique") > 1]
    offset = (repeated["mode"].map(modes.index) - (len(modes) - 1) / 2) * GROUP / len(modes)
    x = repeated["recognizer"].map(list(recognizers).index) + offset
    axes.scatter(x, repeated["value"], s=9, color="white", edgecolor=INK, linewidth=0.6, zorder=3)
    axes.set_xticks(range(len(recognizers)), [f"{name}\n{role}" for name, role in recognizers.items()])
    axes.set_ylabel("top-1 accuracy, %")
    axes.set_title(f"{task_title(task)}: top-1 accuracy by recognizer")
    dots = "" if repeated.empty else "; dots are single seeds"
    _mode_legend(figure, modes, note(rows) + dots, bars=True)
    figure.alt = f"Bars of top-1 accuracy by recognizer in {task_name(task)}; {_role_sentence(rows)}."
    return figure


@style()
def accuracy_against_psnr(accuracy: pd.DataFrame, task: str) -> Figure:
    """Draw top-1 with its 95 % interval against PSNR for each mode, on the source and the mean of the unseen.

    The oracle has no PSNR and is a dashed line. The lambdas of a sweep are joined by a line: the front.
    """
    rows = prepare(accuracy, task)
    cells, words = per_role(rows), role_names(rows)
    measured = cells.dropna(subset="psnr")
    figure = new_figure(height=4.2)
    panels = figure.subplots(1, len(words), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (role, title) in zip(panels, words.items(), strict=True):
        for row in cells[(cells["role"] == role) & cells["psnr"].isna()].itertuples():
            axes.axhline(row.value, color=look(row.mode).colour, linestyle="--", linewidth=1.2)
            axes.annotate(
                f"{look(row.mode).label} {row.value:.1f}", (1, row.value), (-2, -3), va="top", ha="right",
                xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=8.5,
            )  # fmt: skip
        for mode in modes_of(measured):
            mine = measured[(measured["role"] == role) & (measured["mode"] == mode)]
            axes.errorbar(
                mine["psnr"], mine["value"], interval_ends(mine), fmt=look(mode).marker,
                color=look(mode).colour, markersize=6, capsize=4, elinewidth=1.4,
            )  # fmt: skip
        for front in fronts(measured[measured["role"] == role]):
            _front(axes, front)
        axes.set_title(title)
        axes.set_xlabel("PSNR, dB")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(0.12)
        axes.grid()
    panels[0].set_ylabel("top-1 accuracy, %")
    figure.suptitle(f"{task_title(task)}: accuracy against fidelity")
    _mode_legend(figure, modes_of(measured), note(rows))
    psnr = measured.groupby("mode", sort=False)["psnr"].mean()
    fidelity = listing([f"{look(mode).label} {value:.2f} dB" for mode, value in psnr.items()] or ["not measured"])
    figure.alt = f"Top-1 accuracy against PSNR in {task_name(task)}; {_role_sentence(rows)}; PSNR: {fidelity}."
    return figure


def _front(axes: Axes, front: pd.DataFrame) -> None:
    """Join the points of one mode's sweep in the order of lambda, and write lambda beside each."""
    axes.plot(front["psnr"], front["value"], color=look(front["base"].iloc[0]).colour, linewidth=1, zorder=1)
    for row in front.itertuples():
        axes.annotate(
            f"{row.weight:g}", (row.psnr, row.value), (6, 4), textcoords="offset points", fontsize=7.5, color=FAINT
        )


def _forest(axes: Axes, cells: pd.DataFrame, modes: list[str], numbers: bool = False) -> None:
    """Draw values with intervals from left to right, recognizers from top to bottom and modes within them.

    `numbers` writes each value with its interval at the right edge.
    """
    recognizers = recognizers_of(cells)
    for i, mode in enumerate(modes):
        mine = cells[cells["mode"] == mode]
        y = mine["recognizer"].map(list(recognizers).index) + (i - (len(modes) - 1) / 2) * 0.8 / len(modes)
        axes.errorbar(
            mine["value"], y, xerr=interval_ends(mine), fmt=look(mode).marker, color=look(mode).colour,
            markersize=6.5, markeredgecolor="white", markeredgewidth=0.6, capsize=2.5,
        )  # fmt: skip
        for height, row in zip(y, mine.itertuples(), strict=True) if numbers else ():
            axes.annotate(
                signed_interval(row.value, row.low, row.high), (1, height), (6, 0), va="center", fontsize=8,
                xycoords=("axes fraction", "data"), textcoords="offset points",
            )  # fmt: skip
    for boundary in range(1, len(recognizers)):
        axes.axhline(boundary - 0.5, color="#E3E3E3", linewidth=0.8)
    axes.axvline(0, color=INK, linewidth=1)
    labels = [f"{name} (source)" if role == "source" else name for name, role in recognizers.items()]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


@style()
def paired_forest(paired: pd.DataFrame, task: str) -> Figure:
    """Draw each mode's paired difference to `plain` by recognizer, with 95 % intervals around zero."""
    rows = prepare(paired, task)
    cells, modes, words = per_recognizer(rows), modes_of(rows), role_names(rows)
    figure = new_figure(height=1.6 + 0.21 * len(recognizers_of(rows)) * max(len(modes), 2))
    axes = figure.subplots()
    _forest(axes, cells, modes, numbers=True)
    axes.set_xlabel("difference to plain on the same pictures, percentage points of top-1")
    axes.set_title(f"{task_title(task)}: gain on plain by recognizer")
    _mode_legend(figure, modes, note(rows))
    parts = [
        f"{look(row.mode).label} {signed_interval(row.value, row.low, row.high)} on {words[row.role]}"
        for row in per_role(rows).itertuples()
    ]
    figure.alt = (
        f"Forest plot of the paired difference to plain in {task_name(task)}, in percentage points of top-1 "
        f"with 95 % interval: {listing(parts)}."
    )
    return figure


@style()
def headline(accuracy: pd.DataFrame) -> Figure:
    """Draw a panel for each task: top-1 of every mode on the source and on the mean of the unseen."""
    rows = prepare(accuracy)
    tasks = tasks_of(rows)
    figure = new_figure(height=3.7)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    sentences = []
    for axes, task in zip(panels, tasks, strict=True):
        mine = rows[rows["task"] == task]
        words = role_names(mine)
        _grouped_bars(axes, per_role(mine), "role", list(words), labels=True)
        # A line break before the name or the number keeps the two labels of a narrow panel apart.
        labels = [w.replace(" (", "\n(").replace(" of ", " of\n") for w in words.values()]
        axes.set_xticks(range(len(words)), labels)
        axes.set_title(task_title(task))
        sentences.append(f"{task_title(task)}, {_role_sentence(mine)}")
    panels[0].set_ylabel("top-1 accuracy, %")
    _mode_legend(figure, modes_of(rows), note(rows), bars=True)
    figure.alt = f"Top-1 accuracy of every mode. {'. '.join(sentences)}."
    return figure


def _against(axes: Axes, cells: pd.DataFrame, modes: list[str]) -> str:
    """Draw the gains of one task on one side, and return them in words for the source recognizer."""
    if cells.empty:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=FAINT)
        axes.set_yticks([])
        return "not measured"
    _forest(axes, cells, modes)
    source = cells[cells["role"] == "source"]
    numbers = [f"{look(m).label} {signed(v)}" for m, v in zip(source["mode"], source["value"], strict=True)]
    return listing(numbers or ["no source"])


@style()
def against_the_paper(paired: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> Figure:
    """Draw our gains on `plain` (with intervals) on the left, those published for ImageNet on the right.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    rows = prepare(paired)
    ours, theirs, tasks = per_recognizer(rows), gains(prepare_published(published)), tasks_of(rows)
    sides = {f"{dataset}, this book": ours, "ImageNet, published": theirs}
    sides = {title: c[c["mode"].isin(PAPER_MODES) & c["task"].isin(tasks)] for title, c in sides.items()}
    modes = modes_of(pd.concat(sides.values()))
    most = max(side["recognizer"].nunique() for side in sides.values())
    figure = new_figure(height=1.2 + len(tasks) * (0.2 + 0.31 * most))
    panels = figure.subplots(len(tasks), 2, sharex=True, squeeze=False)
    sentences = []
    for row, task in zip(panels, tasks, strict=True):
        row[0].set_ylabel(task_title(task), fontweight="bold", fontsize=10)
        row[1].set_facecolor("#F4F4F4")  # another data set, so not to be read as one axis with the left
        for axes, (title, cells) in zip(row, sides.items(), strict=True):
            words = _against(axes, cells[cells["task"] == task], modes)
            sentences.append(f"{title}, {task_name(task)}: {words}")
    for top, bottom, title in zip(panels[0], panels[-1], sides, strict=True):
        top.set_title(title)
        bottom.set_xlabel("gain on plain, points of top-1")
    _mode_legend(figure, modes, f"{dataset}: {note(rows)}; the paper gives no intervals")
    figure.alt = (
        "Gains on plain in points of top-1, measured here and published for ImageNet, on the source "
        f"recognizer: {'; '.join(sentences)}."
    )
    return figure

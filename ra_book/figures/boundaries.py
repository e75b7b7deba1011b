"""Boundaries of recognizers: planes through restored pictures, pairs of source and recognizer, what predicts a gain."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D

import ra_book.figures.measured as measured
import ra_book.figures.plots as plots
from ra_book.figures.look import INK, PALETTE, Figure, look, new_figure, shortened, style, task_title
from ra_book.figures.measured import interval_of, number, signed
from ra_book.figures.tables import Table, row_table

REGIONS = {"right": "#56B4E9", "as after plain": "#E69F00", "another": "#DDDDDD"}
MARKERS = "osD^vP*Xh"
PREDICTORS = {
    "agreement": "same answers on the plane, %", "cosine": "cosine of the gradients",
    "crossed": "answers that the step to RA changes, %",
}  # fmt: skip


@style()
def planes(
    answers: dict[str, np.ndarray], labels: np.ndarray, titles: list[str], a: np.ndarray, b: np.ndarray
) -> Figure:
    """Draw the regions of each recognizer (columns) on the plane of each picture (rows).

    `answers` (N, len(b), len(a)) by recognizer, the source first, lie on the grid `a` (steps along RA) times `b`
    (across); `labels` (N,) are right, `titles` name the pictures.
    """
    figure = new_figure(height=0.9 + 1.5 * len(labels))
    shown = figure.subplots(len(labels), len(answers), sharex=True, sharey=True, squeeze=False)
    for row, (label, title) in enumerate(zip(labels, titles, strict=True)):
        for axes, (name, found) in zip(shown[row], answers.items(), strict=True):
            plain = found[row, np.abs(b).argmin(), np.abs(a).argmin()]
            kind = np.select([found[row] == label, found[row] == plain], [0, 1], 2)
            axes.pcolormesh(a, b, kind, cmap=ListedColormap(list(REGIONS.values())), vmin=0, vmax=2, rasterized=True)
            for x, mode in ((0, "plain"), (1, "ra")):
                drawn = look(mode)
                axes.plot(x, 0, drawn.marker, color="white", markeredgecolor=INK, markersize=6)
            axes.grid(False)
            axes.set(xticks=[0, 1], yticks=[0], title="" if row else shortened(name, 16))
        shown[row, 0].set_ylabel(shortened(title, 14))
    handles = [Line2D([], [], marker="s", color=colour, linestyle="", markersize=8) for colour in REGIONS.values()]
    handles += [Line2D([], [], marker=look(mode).marker, color="white", markeredgecolor=INK, linestyle="")
                for mode in ("plain", "ra")]  # fmt: skip
    figure.legend(handles, [*REGIONS, "plain", "RA"], loc="outside lower center", ncols=5)
    figure.suptitle("Answers around a picture: to the right what RA adds, upwards a random change as large")
    inside = {name: 100 * (found == labels[:, None, None]).mean() for name, found in answers.items()}
    figure.alt = (
        f"Planes through {len(labels)} restored pictures, one axis from plain to RA: the share of the plane on which "
        f"a recognizer is right is {measured.listing(f'{number(each)} % for {name}' for name, each in inside.items())}."
    )
    return figure


def boundary_table(boundaries: pd.DataFrame, task: str) -> Table:
    """Return a line for each recognizer beside each source: what both have in common, and what it gains."""
    rows = measured.only(boundaries, "task", task)
    return row_table(rows, {"source": "source", "recognizer": "recognizer"}, {
        "same answers on the plane, %": interval_of("agreement", number),
        "cosine of gradients": interval_of("cosine", partial(number, digits=2)),
        "other answer after RA, %": interval_of("crossed", number),
        "after a random step, %": interval_of("crossed_random", number),
        "boundary nearer along RA, %": interval_of("nearer", number),
        "gain, points": interval_of("gain", signed),
    }).titled(f"{measured.pictures_of(rows)} (the gain: all of the test) [95 % interval]")  # fmt: skip


@style()
def prediction(boundaries: pd.DataFrame, predictions: pd.DataFrame, task: str) -> Figure:
    """Draw the gain of each unseen recognizer against what it has in common with the source, a panel a predictor."""
    rows = measured.only(boundaries, "task", task)
    rows = rows[rows["role"] == "unseen"]
    lines = measured.only(predictions, "task", task).rename(columns={"rho": "value"})
    figure = new_figure(height=3.4)
    said, sources = [], list(dict.fromkeys(rows["source"]))
    for axes, line in zip(plots.panels(figure, len(lines), columns=3, sharey=True), lines.itertuples(), strict=True):
        for source, colour, marker in zip(sources, PALETTE, MARKERS, strict=False):
            mine = rows[rows["source"] == source]
            axes.plot(mine[line.predictor], mine["gain"], marker, color=colour, markersize=6, label=source)
        text = f"{number(line.value, 2)} [{number(line.low, 2)}, {number(line.high, 2)}]"
        axes.set(title=f"rank correlation\n{text}", xlabel=PREDICTORS[line.predictor])
        said.append(f"{PREDICTORS[line.predictor]} {text}")
    axes.figure.axes[0].set_ylabel("gain on plain, points")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, [f"from {name}" for name in labels], loc="outside lower center", ncols=len(sources))
    figure.suptitle(f"{task_title(task)}: does what two recognizers share predict what one gains from the other?")
    figure.alt = f"Gains of {len(rows)} pairs of source and unseen recognizer; rank correlation with {'; '.join(said)}."
    return figure

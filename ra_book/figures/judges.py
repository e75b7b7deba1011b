"""What each judge gains, by the family of its network or by the classes it knows: whom a mode helps, and whom not."""

from collections.abc import Mapping
from itertools import product

import pandas as pd
from matplotlib.axes import Axes

import ra_book.figures.measured as measured
import ra_book.figures.plots as plots
from ra_book.figures.look import INK, LINES, Figure, look, new_figure, style, task_name, task_title
from ra_book.figures.measured import PAIRED, change, note, number, per_recognizer, prepare, signed
from ra_book.figures.tables import Table, wide_table

KIND = {"family": "family", "black_box": "hollow", "top1": "clean"}  # columns of recognizers.csv, and what of a forest
HOLLOW = "hollow: a black box, of which only answers are known"


def by_family(paired: pd.DataFrame, recognizers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the gains of each judge as rows of a forest, each at its height `y`, and the label of every height.

    `recognizers` are the rows of recognizers.csv. Families stand in their order, that of the source first, each name
    above its judges; who did not judge is left out. Where a judge is a black box, `hollow` is true.
    """
    labels, places = {}, {}
    recognizers = recognizers[recognizers["recognizer"].isin(paired["recognizer"])]
    for family, judges in recognizers.groupby("family", sort=False):
        labels[family] = len(labels)
        for judge in judges.itertuples():
            places[judge.recognizer] = len(labels)
            labels[measured.with_role(judge.recognizer, judge.role)] = len(labels)
    kinds = recognizers[["recognizer", *KIND]].rename(columns=KIND)
    cells = per_recognizer(prepare(paired, PAIRED)).merge(kinds, on="recognizer")
    return cells.assign(y=cells["recognizer"].map(places)), labels


def draw_by_family(panels: Mapping[str, Axes], cells: pd.DataFrame, labels: Mapping[str, int]) -> None:
    """Draw what `by_family` returns into a panel for each task; the panels share their heights."""
    families = set(cells["family"])
    for task, axes in panels.items():
        mine = cells[cells["task"] == task]
        plots.forest(axes, mine.assign(y=mine["y"] + plots.offsets(mine, 0.7)), labels)
        axes.set(title=task_title(task), xlabel="points of top-1", ylim=(max(labels.values()) + 0.6, -0.6))
        axes.axvline(0, color=INK, linewidth=1)
        for text, y in labels.items():
            if text in families and y:
                axes.axhline(y - 0.5, color=LINES, linewidth=0.8)
        for text in axes.get_yticklabels():
            text.set_fontweight("bold" if text.get_text() in families else "normal")


@style()
def judge_gains(paired: pd.DataFrame, recognizers: pd.DataFrame) -> Figure:
    """Draw each mode's paired difference to `plain` by judge, with 95 % intervals, a panel for each task.

    Judges are grouped by family, the source is named, black boxes are hollow.
    """
    cells, labels = by_family(paired, recognizers)
    tasks, methods = measured.values_of(cells, "task"), cells["method"].nunique()
    figure = new_figure(height=1.3 + (0.13 + 0.05 * methods) * len(labels))
    panels = dict(zip(tasks, plots.panels(figure, len(tasks), len(tasks), sharex=True, sharey=True), strict=True))
    draw_by_family(panels, cells, labels)
    figure.suptitle("Gain on plain by judge")
    plots.legend(figure, plots.looks_of(cells), f"{note(prepare(paired, PAIRED))}; {HOLLOW}")
    figure.alt = (
        "Paired difference to plain by judge, in percentage points of top-1 with 95 % interval. "
        f"{'. '.join(f'{task_title(task)}: {_sentence(cells[cells.task == task])}' for task in tasks)}."
    )
    return figure


def _sentence(cells: pd.DataFrame) -> str:
    """Say of each method what the source gains, and how many other judges do for sure, those without gradient apart."""
    parts = []
    for method, mine in cells.groupby("method", sort=False):
        said = [f"{change(row)} on {row.recognizer} (source)" for row in mine[mine["role"] == "source"].itertuples()]
        unseen = mine[mine["role"] == "unseen"]
        for words, others in unseen.groupby(unseen["hollow"].map({False: "unseen judges", True: "black boxes"})):
            span = f"from {signed(others['value'].min())} to {signed(others['value'].max())} on {len(others)} {words}"
            said.append(f"{span}, {(others['low'] > 0).sum()} of their intervals above zero")
        parts.append(f"{look(method).label} {'; '.join(said)}")
    return "; ".join(parts)


Found = Mapping[tuple[str, str], pd.DataFrame]  # rows of paired.csv, by the half of the judges and what training saw


def by_classes(found: Found) -> pd.DataFrame:
    """Return the gains of judges that know one half of the classes, with that `half` and what the processor `saw`.

    The half that the name of a judge ends in is taken off it.
    """
    tables = [
        per_recognizer(prepare(paired, PAIRED)).assign(half=half, saw=saw) for (half, saw), paired in found.items()
    ]
    rows = pd.concat(tables, ignore_index=True)
    return rows.assign(judge=[row.recognizer.removesuffix(f"_{row.half}") for row in rows.itertuples()])


@style()
def gains_by_classes(found: Found) -> Figure:
    """Draw each mode's gain on plain by the classes that the processor saw and by judge, a panel for each half."""
    cells = by_classes(found)
    halves, saw, judges = (list(cells[column].unique()) for column in ("half", "saw", "judge"))
    labels = {f"{judge}, saw {seen}": y for y, (seen, judge) in enumerate(product(saw, judges))}
    cells["y"] = [labels[f"{row.judge}, saw {row.saw}"] for row in cells.itertuples()]
    figure = new_figure(height=1.4 + 0.34 * len(labels))
    for half, axes in zip(halves, plots.panels(figure, len(halves), sharex=True, sharey=True), strict=True):
        mine = cells[cells["half"] == half]
        plots.forest(axes, mine.assign(y=mine["y"] + plots.offsets(mine, 0.5)), labels)
        axes.set(title=f"judged on the {half} classes", xlabel="points of top-1", ylim=(len(labels) - 0.4, -0.6))
        axes.axvline(0, color=INK, linewidth=1)
        for y in range(len(judges), len(labels), len(judges)):
            axes.axhline(y - 0.5, color=LINES, linewidth=0.8)
    figure.suptitle("Gain on plain by the classes that training saw")
    plots.legend(figure, plots.looks_of(cells), note(prepare(pd.concat(found.values()), PAIRED)))
    means = cells.groupby(["saw", "method"], sort=False)["value"].mean()
    said = ", ".join(f"{look(method).label} {signed(value)} with {seen}" for (seen, method), value in means.items())
    figure.alt = f"Gain on plain in points of top-1, by the classes that training saw; means of all judges: {said}."
    return figure


def classes_table(found: Found) -> Table:
    """Return a line for each half and judge with what each mode gains there, by the classes that training saw."""
    rows = measured.in_order(by_classes(found), "method")
    words = {"judged on": lambda row: f"the {row.half} classes", "judge": "judge"}
    table = wide_table(
        rows, ["half", "judge"], words, lambda row: {f"{look(row.method).label}, saw {row.saw}": change(row)}
    )
    return table.titled("Gain on plain in points of top-1 [95 % interval]")


def judge_table(paired: pd.DataFrame, recognizers: pd.DataFrame) -> Table:
    """Return a line for each judge, in the order of `judge_gains`: its top-1 on clean pictures, and what it gains."""
    rows, labels = by_family(paired, recognizers)
    names = {y: text for text, y in labels.items()}
    words = {
        "family": "family",
        "judge": lambda row: names[row.y],
        "black box": lambda row: "yes" if row.hollow else "",
    }
    table = wide_table(
        measured.in_order(rows, "task", "method"), ["y"], words, lambda row: {"clean, top-1 in %": number(row.clean)},
        lambda row: {f"{task_name(row.task)}, {look(row.method).label}": change(row)},
    )  # fmt: skip
    return table.titled("Gain on plain in points of top-1 [95 % interval]")

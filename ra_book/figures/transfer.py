"""What transfers: source by judge, objectives by the PSNR that they cost, and gains after a picture was changed."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

import ra_book.figures.measured as measured
import ra_book.figures.plots as plots
from ra_book.figures.look import INK, LINES, Figure, look, new_figure, style, task_name, task_title
from ra_book.figures.measured import (
    PAIRED,
    change,
    interval_of,
    note,
    number,
    per_recognizer,
    per_role,
    prepare,
    signed,
)
from ra_book.figures.seeds import over_seeds
from ra_book.figures.tables import Table, row_table, wide_table
from ra_core.methods import name_parts

NUMBERS = ("own", "unseen", "share", "beyond")
WORDS = {"source": "on what it learned from", "unseen": "on the mean of the unseen"}


def of_sources(paired: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the prepared rows of `ra` learned from one recognizer at its usual lambda, with that `source`."""
    rows = per_recognizer(prepare(paired, PAIRED, task))
    parts = rows["method"].map(name_parts)
    rows = rows[[base == "ra" and weight is None and len(sources) < 2 for base, sources, weight in parts]]
    own = rows[rows["role"] == "source"].set_index("method")["recognizer"]
    return rows.assign(source=rows["method"].map(own))


@style()
def source_matrix(paired: pd.DataFrame, task: str) -> Figure:
    """Draw what `ra` gains on `plain` by the recognizer it learned from and by judge; its own is framed.

    Sources are rows, or columns where there are many judges.
    """
    rows = of_sources(paired, task)
    sources = {name: f"from {name}" for name in rows["source"].unique()}
    judges = {name: name for name in [*sources, *rows["recognizer"].unique()]}
    texts = [change(row).replace(" [", "\n[") for row in rows.itertuples()]
    cells = rows.assign(line=rows["source"], column=rows["recognizer"], text=texts)
    lines, columns = sources, judges
    if many := len(judges) > 8:
        cells = cells.rename(columns={"line": "column", "column": "line"})
        lines, columns = judges, sources
    values, texts = plots.wide(cells, lines, columns)
    figure = new_figure(height=1.0 + 0.55 * len(values))
    axes, most = figure.subplots(), float(rows["value"].abs().max())
    plots.heat_map(axes, values, texts.fillna(""), cmap=plots.FEWER_OR_MORE.reversed(), limits=(-most, most))
    axes.xaxis.tick_top()
    for place in range(len(sources)):  # which the judges begin with
        axes.add_patch(Rectangle((place, place), 1, 1, fill=False, edgecolor=INK, linewidth=2))
    order = "by judge (rows) and source" if many else "by source (rows) and judge"
    figure.suptitle(f"{task_title(task)}: gain of RA on plain in points, {order}; framed: its own")
    own, unseen = (rows[rows["role"] == role]["value"] for role in measured.ROLES)
    figure.alt = (
        f"Heat map of the gain of RA on plain in {task_name(task)}, {len(sources)} sources against {len(judges)} "
        f"judges: on the source itself from {signed(own.min())} to {signed(own.max())} points, mean "
        f"{signed(own.mean())}, on unseen ones from {signed(unseen.min())} to {signed(unseen.max())}, mean "
        f"{signed(unseen.mean())}."
    )
    return figure


def per_objective(transfer: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return a row for each mode (`method`) and profile of a task: seeds averaged, intervals over pictures and seeds.

    A number that one of the seeds lacks is none.
    """
    rows = measured.in_order(measured.only(transfer, "task", task).rename(columns={"mode": "method"}), "method")
    keys = ["method", "profile"]
    averaged = rows.groupby(keys, sort=False)[["n", "psnr_loss"]].mean()
    for name in NUMBERS:
        ends = {"value": name, "low": f"{name}_low", "high": f"{name}_high"}
        given = rows.assign(**{end: rows[column] for end, column in ends.items()}, least=-np.inf, most=np.inf)
        means = over_seeds(given, keys, [*ends, "least", "most"]).set_index(keys)
        averaged[list(ends.values())] = means[list(ends)]
    return averaged.assign(sources=rows.groupby(keys)["sources"].first()).reset_index()


@style()
def objectives_at_cost(transfer: pd.DataFrame, task: str) -> Figure:
    """Draw what each objective gains on its sources and on the unseen, against the PSNR that it costs.

    What `source_matrix` shows, `ra` from other single sources, is left out. A line joins an objective's points of
    several profiles, which differ in λ.
    """
    rows = per_objective(transfer, task)
    rows = rows[[weight is not None or len(sources) != 1 for _, sources, weight in rows["method"].map(name_parts)]]
    figure = new_figure(height=4.6)
    shown = plots.panels(figure, 2, sharex=True)
    for axes, name, title in zip(shown, ("own", "unseen"), WORDS.values(), strict=True):
        for row in rows.rename(columns={name: "value", f"{name}_low": "low", f"{name}_high": "high"}).itertuples():
            drawn = look(row.method)
            error = [[row.value - row.low], [row.high - row.value]]
            axes.errorbar(
                row.psnr_loss, row.value, error, fmt=drawn.marker, color=drawn.colour, markersize=7,
                markeredgecolor="white", markeredgewidth=0.6, elinewidth=1.2,
            )  # fmt: skip
        for method, levels in rows.sort_values("psnr_loss").groupby("method"):
            axes.plot(levels["psnr_loss"], levels[name], color=look(method).colour, linewidth=0.8, zorder=0)
        axes.set(title=title, xlabel="PSNR lost beside plain, dB")
        axes.axhline(0, color=INK, linewidth=1)
    shown[0].set_ylabel("gain on plain, points of top-1")
    figure.suptitle(f"{task_title(task)}: what an objective gains for the fidelity that it costs")
    said = note(measured.only(transfer, "task", task).rename(columns={"mode": "method"}))
    plots.legend(figure, plots.looks_of(rows), said, columns=2)
    parts = [
        f"{look(row.method).label} {signed(row.own)} on its own and {signed(row.unseen)} on unseen for "
        f"{number(row.psnr_loss, 2)} dB"
        for row in rows.itertuples()
    ]
    figure.alt = f"Gains on plain in {task_name(task)} against lost PSNR: {'; '.join(parts)}."
    return figure


def objectives_table(transfer: pd.DataFrame, task: str) -> Table:
    """Return a line for each objective and source: its PSNR loss, its gains, the share that transfers, beyond `ra`.

    Where there are several profiles, each line names its own.
    """
    rows, between = per_objective(transfer, task), partial(interval_of, write=signed)
    words = {"objective": lambda row: look(row.method).label}
    words |= {"profile": lambda row: row.profile} if rows["profile"].nunique() > 1 else {}
    return row_table(rows, words, {
        "PSNR lost, dB": ("psnr_loss", 2), "on its sources": between("own"), "on the unseen": between("unseen"),
        "share, %": between("share"), "beyond RA, on the unseen": between("beyond"),
    }).titled("Points of top-1 on plain [95 % interval]")  # fmt: skip


def what_it_says(tables: dict[str, pd.DataFrame], objectives: pd.DataFrame, task: str) -> str:
    """Return, in five sentences with their numbers, what the tables say about a recognizer that training never saw.

    `objectives` is the table `transfer` of one profile that compares these.
    """
    matrix = of_sources(tables["paired"], task)
    own, others = (matrix[matrix["role"] == role] for role in measured.ROLES)
    teachers = others.groupby("source")["value"].mean().sort_values()
    rows = per_objective(objectives, task).dropna(subset="beyond")
    several = rows["sources"].str.contains("+", regex=False)
    is_ra = rows["method"].map(lambda name: name_parts(name)[0]) == "ra"
    changes = {name: cells.query("role == 'unseen'") for name, cells in _of_changes(tables["later"], task).items()}
    worst = min(changes, key=lambda name: changes[name]["value"].mean())
    kept = [
        f"{look(row.method).label} {signed(row.value)} before and {signed(then)} after"
        for row, then in zip(next(iter(changes.values())).itertuples(), changes[worst]["value"], strict=True)
    ]
    several_teach = len(teachers) > 1
    least = f"; it matters who teaches: from `{teachers.index[0]}` {signed(teachers.iloc[0])}" if several_teach else ""
    return "\n".join([
        "1. A recognizer that training never saw gets, as a mean over all pairs, "
        f"{number(100 * others['value'].mean() / own['value'].mean(), 0)} % of what a source gains for itself; of "
        f"{len(others)} pairs {(others['low'] > 0).sum()} surely gain and {(others['high'] < 0).sum()} surely lose.",
        f"2. From `{teachers.index[-1]}` the others gain {signed(teachers.iloc[-1])} points{least}.",
        f"3. From several sources {_best(rows[several])}.",
        f"4. By another objective with one source {_best(rows[~several & ~is_ra])}.",
        f"5. What unseen recognizers gain, before and after the picture was {worst}: {measured.listing(kept)}.",
    ])  # fmt: skip


def _best(rows: pd.DataFrame) -> str:
    """Say which mode is furthest beyond `ra`, by how much, and what it costs."""
    if rows.empty:
        return "none was measured beside an RA that costs as much"
    row = rows.loc[rows["beyond"].idxmax()]
    gain, cost = interval_of("beyond", signed)(row), number(row["psnr_loss"], 2)
    return f"the best of {len(rows)} is {look(row['method']).label}, {gain} points beyond RA for {cost} dB"


def _of_changes(later: pd.DataFrame, task: str) -> dict[str, pd.DataFrame]:
    """Return gains averaged over the recognizers of a role, by change."""
    rows = measured.only(later, "task", task)
    names = list(dict.fromkeys(rows["change"]))
    return {name: per_role(prepare(rows[rows["change"] == name], PAIRED, task)) for name in names}


@style()
def later_gains(later: pd.DataFrame, task: str) -> Figure:
    """Draw what is left of each mode's gain after a picture was changed, on the source and the mean of the unseen."""
    found = _of_changes(later, task)
    rows = pd.concat([cells.assign(y=float(place)) for place, cells in enumerate(found.values())])
    figure = new_figure(height=1.4 + (0.2 + 0.16 * rows["method"].nunique()) * len(found))
    shown = plots.panels(figure, 2, sharey=True)
    for axes, role in zip(shown, measured.ROLES, strict=True):
        mine = rows[rows["role"] == role]
        mine = mine.assign(y=mine["y"] + plots.offsets(mine, 0.7))
        plots.forest(axes, mine, {name: place for place, name in enumerate(found)})
        axes.axvline(0, color=INK, linewidth=1)
        for boundary in range(1, len(found)):
            axes.axhline(boundary - 0.5, color=LINES, linewidth=0.8)
        axes.set(title=WORDS[role], xlabel="points of top-1")
    figure.suptitle(f"{task_title(task)}: gain on plain after the picture was changed")
    plots.legend(figure, plots.looks_of(rows), f"{measured.pictures_of(later)}, 95 % intervals")
    parts = []
    for name, cells in found.items():
        said = [f"{look(row.method).label} {change(row)} ({row.role})" for row in cells.itertuples()]
        parts.append(f"{name}: {measured.listing(said)}")
    figure.alt = f"Gains on plain in {task_name(task)} in points after a change: {'; '.join(parts)}."
    return figure


def later_table(later: pd.DataFrame, task: str) -> Table:
    """Return a line for each mode and role, with its gain after each change, and the PSNR of what is shown."""
    psnr = measured.only(later, "task", task).groupby("mode")["psnr"].first()
    rows = pd.concat([cells.assign(change=name) for name, cells in _of_changes(later, task).items()])
    words = {"objective": lambda row: look(row.method).label, "on": "role"}
    words |= {"PSNR, dB": lambda row: number(psnr[row.method], 2)}
    table = wide_table(rows, ["method", "role"], words, lambda row: {row.change: change(row)})
    return table.titled("Gain on plain in points of top-1 [95 % interval]")

"""From the contracted tables (`accuracy.csv`, `paired.csv`) to the rows a figure or a table shows.

Seeds and unseen recognizers are averaged, and so are the ends of their 95 % intervals. All of them come from
the same pictures, and the half-width of a mean is at most the mean of the half-widths: an averaged interval
covers at least what it says, for the choice of pictures. It says nothing about the spread between seeds,
which `accuracy_bars` shows as dots.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ra_book.figures.look import TASKS, look, mode_rank
from ra_core.errors import ParameterError

NAMES = {"top1": "value", "top1_low": "low", "top1_high": "high", "difference": "value"}
NEEDED = ["task", "mode", "recognizer", "role", "value"]
ROLES = ("source", "unseen")
PAPER_MODES = ("ra", "ra_unsupervised")  # the modes the paper publishes numbers for, beside `plain`
PAPER_SOURCE = "resnet18"  # the recognizer the paper trains with
MINUS = "\N{MINUS SIGN}"


def prepare(frame: pd.DataFrame, task: str | None = None) -> pd.DataFrame:
    """Return the rows of one task (or of all) with the measured number in `value`, `low`, `high`.

    Source before unseen, modes in the book's order. Raises `ParameterError` on a missing column, an unknown
    mode, or a task without rows.
    """
    rows = frame.rename(columns=NAMES)
    missing = [name for name in NEEDED if name not in rows]
    if missing:
        raise ParameterError(
            f"the table has no column for {', '.join(missing)}, only {', '.join(map(str, frame.columns))}: "
            "give the rows of accuracy.csv or paired.csv as the evaluation wrote them."
        )
    if task is not None:
        rows = rows[rows["task"] == task]
        if rows.empty:
            held = ", ".join(sorted(frame["task"].unique())) or "none at all"
            raise ParameterError(
                f"task {task!r} is not in these results, which hold {held}: choose one of those, "
                "or evaluate this one first."
            )
    for mode in rows["mode"].unique():
        look(mode)
    rank = {name: i for i, name in enumerate([*modes_of(rows), *ROLES])}
    return rows.sort_values(["role", "mode"], key=lambda names: names.map(rank), kind="stable")


def prepare_published(published: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table (task, mode, recognizer, top1 in percent) as prepared rows."""
    is_source = published["recognizer"] == PAPER_SOURCE
    return prepare(published.assign(role=is_source.map({True: "source", False: "unseen"})))


def _mean(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    numbers = [name for name in ("value", "low", "high", "psnr", "ssim") if name in rows]
    return rows.groupby(keys, sort=False)[numbers].mean().reset_index()


def per_recognizer(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds of prepared rows: one row for each task, mode and recognizer."""
    return _mean(rows, ["task", "mode", "recognizer", "role"])


def per_role(rows: pd.DataFrame) -> pd.DataFrame:
    """Average seeds and then recognizers of prepared rows: one row for each task, mode and role."""
    return _mean(per_recognizer(rows), ["task", "mode", "role"])


def modes_of(rows: pd.DataFrame) -> list[str]:
    """Return the modes that occur, in the fixed order of the book."""
    return sorted(rows["mode"].unique(), key=mode_rank)


def fronts(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each mode that was swept, `base`, in the order of lambda, `weight`."""
    swept = rows[rows["mode"].str.contains("@")]
    parts = swept["mode"].str.partition("@") if len(swept) else pd.DataFrame({0: [], 2: []})
    swept = swept.assign(base=parts[0], weight=parts[2].astype(float)).sort_values("weight")
    return [front for _, front in swept.groupby("base")]


def recognizers_of(rows: pd.DataFrame) -> dict[str, str]:
    """Return the recognizers of prepared rows with their roles, source first."""
    return dict(rows.drop_duplicates("recognizer")[["recognizer", "role"]].itertuples(index=False))


def task_rank(task: str) -> tuple[int, str]:
    """Return the place of a task among others: sr, dn, jpeg, then any other by name."""
    return (list(TASKS).index(task) if task in TASKS else len(TASKS)), task


def tasks_of(rows: pd.DataFrame) -> list[str]:
    """Return the tasks that occur, in the fixed order of the book."""
    return sorted(rows["task"].unique(), key=task_rank)


def role_names(rows: pd.DataFrame) -> dict[str, str]:
    """Return, for each role that occurs, the words for it: one recognizer by name, several as their mean."""
    recognizers = recognizers_of(rows)
    named = {role: [name for name in recognizers if recognizers[name] == role] for role in ROLES}
    return {
        role: f"{role} ({names[0]})" if len(names) == 1 else f"mean of {len(names)} {role}"
        for role, names in named.items()
        if names
    }


def gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what every other mode of prepared accuracy rows gains on `plain`, in points."""
    cells = per_recognizer(rows)
    plain = cells[cells["mode"] == "plain"].set_index(["task", "recognizer"])["value"]
    keys = pd.MultiIndex.from_frame(cells[["task", "recognizer"]])
    cells = cells.assign(value=cells["value"].to_numpy() - plain.reindex(keys).to_numpy())
    return cells[cells["mode"] != "plain"].dropna(subset="value")


def interval_ends(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the lengths (2, N) of the error bars below and above each value, None without intervals."""
    if "low" not in rows or rows["low"].isna().all():
        return None
    below, above = rows["value"] - rows["low"], rows["high"] - rows["value"]
    return np.stack([below, above]).clip(min=0)


def note(rows: pd.DataFrame) -> str:
    """Return what a reader must know of accuracy or paired rows: pictures, interval, seeds."""
    pictures = " or ".join(f"{n:,.0f}" for n in sorted(rows["n"].unique()))
    seeds = rows.groupby("mode")["seed"].nunique().max()
    return f"{pictures} pictures, 95 % intervals" + (f", mean of {seeds} seeds" if seeds > 1 else "")


def signed(value: float) -> str:
    """Return a difference with one digit and its sign, such as +3.1; what rounds to zero is +0.0."""
    return f"{value:+z.1f}".replace("-", MINUS)


def signed_interval(value: float, low: float, high: float) -> str:
    """Return a difference with its interval, such as +3.1 [+1.0, +5.2]."""
    return f"{signed(value)} [{signed(low)}, {signed(high)}]"


def listing(parts: Iterable[str]) -> str:
    """Join words as a sentence does: a, b and c."""
    *head, last = parts
    return f"{', '.join(head)} and {last}" if head else last


def really_trained(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `trainings.csv` without runs that ship, which cost nobody who takes them."""
    return trainings[~trainings["shipped"].astype(bool)]

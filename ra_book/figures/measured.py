"""From the tables that the runs wrote to the rows a figure or a table shows, and how their numbers are written.

Whatever the table, a prepared row has its number in `value` with a 95 % interval `low`, `high`, and says what it is of
in `task`, or `dataset` and `codec`, and in `method`, `recognizer` and `role`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

from ra_book.figures.look import codec_rank, method_rank, task_rank
from ra_book.figures.seeds import over_seeds
from ra_core.errors import ParameterError


class Kind(NamedTuple):
    """A kind of table: what its columns are called here, and between which numbers its values lie."""

    names: dict[str, str]
    least: float
    most: float


ACCURACY = Kind({"mode": "method", "top1": "value", "top1_low": "low", "top1_high": "high"}, 0, 100)
PUBLISHED = Kind({"mode": "method", "top1": "value"}, 0, 100)
PAIRED = Kind({"mode": "method", "difference": "value"}, -100, 100)
RATES = Kind({"value_low": "low", "value_high": "high"}, 0, 100)
BD = Kind({"value_low": "over_low", "value_high": "over_high", "bd": "value"}, -100, float("inf"))  # over: accuracies
SAME_BYTES = Kind({"value": "score", "gain": "value"}, -100, 100)
WHERE = ["task", "dataset", "codec", "method", "quality", "recognizer", "role", "metric"]  # what a row is of
MEANS = ["value", "low", "high", "least", "most", "psnr", "ssim", "bpp", "bytes_mean"]
MEANS += ["alone", "score", "over_low", "over_high", "no_overlap"]
ROLES = ("source", "unseen")
RANKS = {"task": task_rank, "codec": codec_rank, "method": method_rank, "role": ROLES.index}
METRICS = {"top1": "top-1", "map50": "mAP@0.5"}
PAPER_METHODS = ("ra", "ra_unsupervised")  # the paper publishes numbers for these, beside `plain`
PAPER_SOURCE = "resnet18"  # the recognizer the paper trains with
MINUS, NOTHING = "\N{MINUS SIGN}", "–"


def checked(frame: pd.DataFrame, needed: Iterable[str]) -> pd.DataFrame:
    """Return the table as it is. Raises `ParameterError` where a column is missing."""
    missing = [name for name in needed if name not in frame]
    if missing:
        raise ParameterError(
            f"the table has no column for {', '.join(missing)}, only {', '.join(map(str, frame.columns))}: "
            "give it as the evaluation wrote it."
        )
    return frame


def only(rows: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Return the rows with `value` in a column. Raises `ParameterError` where there is none."""
    found = rows[rows[column] == value]
    if found.empty:
        held = ", ".join(sorted(rows[column].unique())) or "none at all"
        raise ParameterError(f"{column} {value!r} is not in these results, which hold {held}: choose one of those.")
    return found


def one(rows: pd.DataFrame, column: str) -> str:
    """Return the one value of a column. Raises `ParameterError` where there are several or none."""
    values = rows[column].unique()
    if len(values) != 1:
        raise ParameterError(f"the rows are of {len(values)} {column}s ({', '.join(values)}), give those of just one.")
    return values[0]


def prepare(frame: pd.DataFrame, kind: Kind, task: str | None = None) -> pd.DataFrame:
    """Return the rows of a table (of one task) with the common names for its columns, in the order of the book.

    Raises `ParameterError` on a missing column or a task that the table does not hold.
    """
    place = ["task"] if "mode" in kind.names else ["codec", "method"]
    rows = checked(frame, [*place, "recognizer", "role", *kind.names]).rename(columns=kind.names)
    rows = rows.assign(least=kind.least, most=kind.most)
    rows = rows if task is None else only(rows, "task", task)
    return in_order(rows, *(name for name in ("dataset", "codec") if name in rows), "role", "method")


def prepare_published(published: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's table (task, mode, recognizer, top1 in percent) as prepared rows."""
    is_source = published["recognizer"] == PAPER_SOURCE
    return prepare(published.assign(role=is_source.map({True: "source", False: "unseen"})), PUBLISHED)


def in_order(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Sort rows by columns: tasks, codecs, methods and roles in the order of the book, others by value."""

    def places(column: pd.Series) -> pd.Series:
        order = {name: place for place, name in enumerate(values_of(rows, column.name))}
        return column.map(order) if column.name in RANKS else column

    return rows.sort_values(list(columns), key=places, kind="stable")


def values_of(rows: pd.DataFrame, column: str) -> list:
    """Return what occurs in a column, in the order of the book."""
    return sorted(rows[column].unique(), key=RANKS.get(column))


def per_recognizer(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds of prepared rows, with intervals over pictures and seeds (`over_seeds`)."""
    return over_seeds(rows, [name for name in WHERE if name in rows], [name for name in MEANS if name in rows])


def per_role(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the recognizers of a role, and then the seeds: one row for each task, method and role.

    All recognizers see the same pictures, and the half-width of a mean is at most the mean of the half-widths: so
    the mean of the ends of their intervals covers at least what it says.
    """
    keys = [name for name in [*WHERE, "seed"] if name in rows and name != "recognizer"]
    return per_recognizer(rows.groupby(keys, sort=False)[[name for name in MEANS if name in rows]].mean().reset_index())


def on_plain(cells: pd.DataFrame, by: str = "recognizer") -> pd.DataFrame:
    """Return averaged rows of accuracy with `gain`, that of every other method on `plain`, in points; else NaN."""
    plain = cells[cells["method"] == "plain"].set_index(["task", by])["value"]
    gain = cells["value"] - plain.reindex(pd.MultiIndex.from_frame(cells[["task", by]])).to_numpy()
    return cells.assign(gain=gain.mask(cells["method"] == "plain"))


def recognizers_of(rows: pd.DataFrame) -> dict[str, str]:
    """Return the recognizers of prepared rows with their roles, source first."""
    return dict(in_order(rows, "role").drop_duplicates("recognizer")[["recognizer", "role"]].itertuples(index=False))


def with_role(name: str, role: str) -> str:
    """Return what a recognizer is called where it stands for a row: the source says that it is it."""
    return f"{name} (source)" if role == "source" else name


def role_names(rows: pd.DataFrame) -> dict[str, str]:
    """Return, for each role that occurs, the words for it: one recognizer by name, several as their mean."""
    named = in_order(rows, "role").groupby("role", sort=False)["recognizer"].unique()
    return {
        role: f"{role} ({names[0]})" if len(names) == 1 else f"mean of {len(names)} {role}"
        for role, names in named.items()
    }


def note(rows: pd.DataFrame) -> str:
    """Return what a reader must know of rows: how many pictures and seeds, and what the intervals cover."""
    seeds = rows.groupby("method")["seed"].nunique().max()
    several = f"mean of {seeds} seeds, 95 % intervals over pictures and seeds"
    return f"{pictures_of(rows)}, {several if seeds > 1 else '95 % intervals'}"


def pictures_of(rows: pd.DataFrame) -> str:
    """Say on how many pictures rows were measured."""
    return " or ".join(f"{n:,.0f}" for n in sorted(rows["n"].unique())) + " pictures"


def metric_name(metric: str) -> str:
    """Return the name of what a recognizer or detector is measured by."""
    return METRICS.get(metric, metric)


def accuracy_name(accuracy: pd.DataFrame, top1: str = "top-1 accuracy") -> str:
    """Return what the accuracies of a table are: of detectors, which have no top-5, mean average precision."""
    return METRICS["map50"] if "top5" in accuracy and accuracy["top5"].isna().all() else top1


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with its digits, or a dash where there is none."""
    return NOTHING if pd.isna(value) else f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """Return a difference with one digit and its sign, such as +3.1; what rounds to zero is +0.0, none a dash."""
    return NOTHING if pd.isna(value) else f"{value:+z.1f}".replace("-", MINUS)


def interval(row) -> str:
    """Return the value of a row with its interval, such as 49.0 [46.8, 51.2]."""
    return f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"


def interval_of(name: str, write: Callable[[float], str]) -> Callable[..., str]:
    """Return what writes the number `name` of a row with its interval `<name>_low`, `<name>_high`, if there is one."""

    def written(row) -> str:
        value, low, high = (write(getattr(row, column)) for column in (name, f"{name}_low", f"{name}_high"))
        return NOTHING if value == NOTHING else f"{value} [{low}, {high}]"

    return written


def change(row) -> str:
    """Return the difference in a row with its interval, such as +3.1 [+1.0, +5.2], or say that there is none."""
    if pd.isna(row.value):
        return "no overlap"
    ends = "not known" if pd.isna(row.low) or pd.isna(row.high) else f"{signed(row.low)}, {signed(row.high)}"
    return f"{signed(row.value)} [{ends}]"


def listing(parts: Iterable[str]) -> str:
    """Join words as a sentence does: a, b and c."""
    *head, last = parts
    return f"{', '.join(head)} and {last}" if head else last

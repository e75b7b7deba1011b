"""From the rate table and the BD-rates to the rows a figure or a table shows; seeds are averaged as in `rows`."""

from collections.abc import Callable

import pandas as pd

from ra_book.figures.look import CODECS, METHODS, TRANSFERRED, method_look
from ra_book.figures.rows import ROLES, signed, signed_interval
from ra_core.errors import ParameterError

RATES = [
    "dataset", "codec", "method", "quality", "seed", "recognizer", "role", "n",
    "bpp", "bytes_mean", "metric", "value", "value_low", "value_high",
]  # fmt: skip
RATE_KEYS = ["codec", "method", "quality"]
BD_KEYS = ["dataset", "codec", "method", "recognizer", "role", "metric"]
BD_NUMBERS = ["bd", "low", "high", "no_overlap", "value_low", "value_high"]
AGREEMENT = [
    "proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr", "gradient_cosine",
]  # fmt: skip
FILTERS = ["filter", "setting", "bd", "chosen"]
METRICS = {"top1": "top-1", "map50": "mAP@0.5"}


def checked(frame: pd.DataFrame, needed: list[str], what: str) -> pd.DataFrame:
    """Return the table as it is. Raises `ParameterError` where a column is missing or there is no row."""
    missing = [name for name in needed if name not in frame]
    if missing:
        raise ParameterError(
            f"the table has no column for {', '.join(missing)}, only {', '.join(map(str, frame.columns))}: give {what}."
        )
    if frame.empty:
        raise ParameterError(f"the table has no row to show: give {what}.")
    return frame


def prepare_rates(rates: pd.DataFrame, recognizer: str | None = None) -> pd.DataFrame:
    """Return the rows of one recognizer or detector (of the source), its interval in `low` and `high`.

    Raises `ParameterError` for an unknown recognizer or method, and for none where there are several sources.
    """
    rows = checked(rates, RATES, "the rows of rate_accuracy.csv")
    if recognizer is None:
        sources = rows.loc[rows["role"] == "source", "recognizer"].unique()
        if len(sources) != 1:
            raise ParameterError(
                f"the table holds {len(sources)} sources ({', '.join(sources) or 'none'}): "
                "say which recognizer or detector is to be drawn."
            )
        recognizer = sources[0]
    elif recognizer not in set(rows["recognizer"]):
        raise ParameterError(
            f"recognizer {recognizer!r} is not in the table, which holds "
            f"{', '.join(rows['recognizer'].unique())}: choose one of those."
        )
    rows = rows[rows["recognizer"] == recognizer]
    return rows.rename(columns={"value_low": "low", "value_high": "high"})


def mean_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the seeds of prepared rates: one row for each codec, method and quality, fewest bytes first."""
    means = rows.groupby(RATE_KEYS, sort=False)[["bpp", "bytes_mean", "value", "low", "high"]].mean()
    return ordered(means.reset_index(), by_codec, by_method, lambda row: row.bpp)


def prepare_bd(bd: pd.DataFrame) -> pd.DataFrame:
    """Return BD-rates with the seeds averaged (NaN where one of them has no overlap), source before unseen."""
    rows = checked(bd, [*BD_KEYS, *BD_NUMBERS], "the BD-rates as the evaluation wrote them")
    means = rows.groupby(BD_KEYS, sort=False)[BD_NUMBERS].agg(lambda values: values.mean(skipna=False))
    return ordered(means.reset_index(), by_codec, by_method, by_role)


def ordered(rows: pd.DataFrame, *keys: Callable) -> pd.DataFrame:
    """Sort rows by what each of `keys` gives for a row, such as `by_codec`."""
    found = list(rows.itertuples())
    return rows.iloc[sorted(range(len(found)), key=lambda i: [key(found[i]) for key in keys])]


def by_codec(row) -> tuple[int, str]:
    """Return the place of a row by its codec: that of `CODECS`, then any other by name."""
    return _codec_rank(row.codec)


def by_method(row) -> tuple[int, tuple[int, str]]:
    """Return the place of a row by its method; what was trained for another codec comes last."""
    return _method_rank(row.method)


def methods_of(rows: pd.DataFrame) -> list[str]:
    """Return the methods that occur, in the order of the book."""
    return sorted(rows["method"].unique(), key=_method_rank)


def by_role(row) -> int:
    """Return the place of a row by its role: the source first."""
    return ROLES.index(row.role)


def _method_rank(method: str) -> tuple[int, tuple[int, str]]:
    method_look(method)
    place = list(METHODS).index(method) if method in METHODS else len(METHODS)
    return place, _codec_rank(method.removeprefix(TRANSFERRED))


def _codec_rank(codec: str) -> tuple[int, str]:
    return (list(CODECS).index(codec) if codec in CODECS else len(CODECS)), codec


def one_dataset(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as they are. Raises `ParameterError` where they are of several data sets."""
    if rows["dataset"].nunique() > 1:
        raise ParameterError(
            f"the rows are of {' and '.join(sorted(rows['dataset'].unique()))}: "
            "draw one data set at a time, as accuracies on two cannot be compared."
        )
    return rows


def metric_name(metric: str) -> str:
    """Return the name of what a recognizer or detector is measured by."""
    return METRICS.get(metric, metric)


def bd_text(bd: float, low: float, high: float) -> str:
    """Return a BD-rate with its interval, such as −20.0 [−25.0, −15.0], or say that there is none."""
    if pd.isna(bd):
        return "no overlap"
    return f"{signed(bd)} [not known]" if pd.isna(low) or pd.isna(high) else signed_interval(bd, low, high)

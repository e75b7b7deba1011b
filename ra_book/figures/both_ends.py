"""Both ends of a codec: the same pictures through every chain, and what each method gains at the same bytes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from ra_book.figures.look import INK, Figure, codec_title, method_look, new_figure, style
from ra_book.figures.networks import log_axis
from ra_book.figures.pictures import picture_grid
from ra_book.figures.rate_rows import bd_text, by_codec, by_method, by_role, checked, methods_of, metric_name, ordered
from ra_book.figures.rates import legend_below
from ra_book.figures.rows import interval_ends, listing
from ra_book.figures.tables import NOTHING, number, records_table

KEYS = ["codec", "recognizer", "role", "metric", "quality", "method"]
NUMBERS = ["bytes_mean", "alone", "value", "gain", "low", "high", "no_overlap"]


def prepare_same_bytes(same: pd.DataFrame) -> pd.DataFrame:
    """Return gains at the same bytes with the seeds averaged (NaN where one has none), the source first."""
    rows = checked(same, [*KEYS, *NUMBERS], "the rows of same_bytes-<codec>.csv")
    means = rows.groupby(KEYS, sort=False)[NUMBERS].agg(lambda values: values.mean(skipna=False))
    return ordered(
        means.reset_index(), by_codec, by_role, lambda row: row.recognizer, lambda row: row.bytes_mean, by_method
    )


def both_ends_panel(clean: Sequence, shown: Mapping[str, tuple], columns: Sequence[str]) -> Figure:
    """Draw K clean pictures (columns) above what each method makes of them, with the bytes of every file.

    `shown` holds by method K pictures (3, H, W) and their bytes (K,).
    """
    labels = [method_look(method).label for method in shown]
    images = [*clean, *(picture for pictures, _ in shown.values() for picture in pictures)]
    titles = [""] * len(clean) + [f"{int(size):,} bytes" for _, sizes in shown.values() for size in sizes]
    means = [
        f"{label} {np.mean([int(size) for size in sizes]):,.0f}"
        for label, (_, sizes) in zip(labels, shown.values(), strict=True)
    ]
    alt = f"{len(clean)} pictures, clean and through each chain; bytes on average: {listing(means)}."
    return picture_grid(images, ["clean", *labels], columns, titles, alt)


@style()
def same_bytes_gains(same: pd.DataFrame, recognizer: str | None = None) -> Figure:
    """Draw what each method gains on the codec alone at the very same bytes, in points with 95 % intervals.

    `same` are rows of `same_bytes-<codec>.csv` of one codec; `recognizer` is the source where none is named. A method
    has no point where its own files never have that many bytes.
    """
    rows = prepare_same_bytes(same)
    rows = rows[rows["recognizer"] == (recognizer or rows["recognizer"].iloc[0])]
    first, methods = rows.iloc[0], methods_of(rows)
    who, metric = f"{first['recognizer']} ({first['role']})", metric_name(first["metric"])
    figure = new_figure(height=3.6)
    axes, handles, parts = figure.subplots(), [], []
    axes.set_xscale("log")
    axes.axhline(0, color=INK, linewidth=1)
    for place, method in enumerate(methods):
        line, shown = rows[rows["method"] == method].dropna(subset="gain"), method_look(method)
        drawn = {"color": shown.colour, "marker": shown.marker, "linewidth": 1.5, "label": shown.label}
        handles.append(Line2D([], [], **drawn))
        apart = 1.015 ** (place - (len(methods) - 1) / 2)  # so that intervals do not hide each other
        ends = interval_ends(line.rename(columns={"value": "score", "gain": "value"})) if len(line) else None
        axes.errorbar(line["bytes_mean"] * apart, line["gain"], ends, capsize=2, elinewidth=0.9, **drawn)
        each = [f"{bd_text(row.gain, row.low, row.high)} at {row.bytes_mean:,.0f}" for row in line.itertuples()]
        parts.append(f"{shown.label} {listing(each) if each else 'has no such bytes'}")
    log_axis(axes.xaxis, EngFormatter(sep=""))
    axes.set_xlim(rows["bytes_mean"].min() / 1.1, rows["bytes_mean"].max() * 1.1)
    axes.set_xlabel("bytes a picture, those of the codec alone at its qualities")
    axes.set_ylabel(f"{metric} beside the codec alone, points")
    axes.set_title(f"{who} behind {codec_title(first['codec'])}: gain at the same bytes")
    axes.grid()
    legend_below(figure, handles, "95 % intervals over pictures")
    figure.alt = f"Gain of {metric} of {who} in points at the bytes of the codec alone: {'; '.join(parts)}."
    return figure


def same_bytes_table(same: pd.DataFrame) -> pd.DataFrame:
    """Return by recognizer and bytes what the codec alone scores, and each method at the very same bytes.

    In brackets the gain in points and its 95 % interval; `no overlap` where a method never has that many bytes.
    """
    rows, records = prepare_same_bytes(same), {}
    for row in rows.itertuples():
        key = (row.codec, row.recognizer, row.quality)
        record = records.setdefault(key, {
            "codec": codec_title(row.codec), "recognizer": f"{row.recognizer} ({row.role})",
            "bytes": number(row.bytes_mean, 0), f"codec alone, {metric_name(row.metric)} %": number(row.alone),
        })  # fmt: skip
        gain = bd_text(row.gain, row.low, row.high)
        record[f"{method_look(row.method).label}, %"] = gain if pd.isna(row.value) else f"{number(row.value)} ({gain})"
    table = records_table(list(records.values()), ["codec", "recognizer", "bytes"]).fillna(NOTHING)
    return table if rows["codec"].nunique() > 1 else table.droplevel("codec")

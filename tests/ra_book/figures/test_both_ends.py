"""Figures of both ends say what each method gains at the same bytes, and where it has none."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import JUDGES, texts
from matplotlib.colors import to_hex

from ra_book import figures
from ra_core.errors import ParameterError


def make_same_bytes() -> pd.DataFrame:
    """Gains at the same bytes as the evaluation writes them: the preprocessor never has the most bytes."""
    rows = []
    for method, (name, role), (place, quality) in itertools.product(
        ("npp_qa", "post", "both"), JUDGES.items(), enumerate((10, 50))
    ):
        gain = 1.0 + len(rows)
        none = method == "npp_qa" and quality == 50
        unknown = method == "both" and quality == 50
        rows.append({
            "profile": "test", "dataset": "cells", "codec": "jpeg", "method": method, "seed": 0, "recognizer": name,
            "role": role, "metric": "top1", "quality": quality, "bytes_mean": 1000.0 * (1 + place), "alone": 70.0,
            "value": np.nan if none else 70 + gain, "gain": np.nan if none else gain,
            "low": np.nan if none or unknown else gain - 2, "high": np.nan if none or unknown else gain + 1,
            "no_overlap": float(none),
        })  # fmt: skip
    return pd.DataFrame(rows)


def test_gains_at_the_same_bytes_are_drawn_where_there_are_any():
    figure = figures.same_bytes_gains(make_same_bytes())
    lines = [container.lines[0] for container in figure.axes[0].containers]
    looks = [figures.METHODS[method].colour for method in ("npp_qa", "post", "both")]
    assert [to_hex(line.get_color()).upper() for line in lines] == looks
    assert [line.get_ydata().tolist() for line in lines] == [[1], [5, 6], [9, 10]]
    assert lines[1].get_xdata().tolist() == [1000, 2000]
    _, _, (interval,) = figure.axes[0].containers[1].lines
    assert [segment[:, 1].tolist() for segment in interval.get_segments()] == [[3, 6], [4, 7]]
    assert figure.alt == (
        "Gain of top-1 of net (source) in points at the bytes of the codec alone: NPP-QA +1.0 [−1.0, +2.0] at 1,000; "
        "RA after +5.0 [+3.0, +6.0] at 1,000 and +6.0 [+4.0, +7.0] at 2,000; both ends +9.0 [+7.0, +10.0] at 1,000 "
        "and +10.0 [not known] at 2,000."
    )
    assert "of wide (unseen)" in figures.same_bytes_gains(make_same_bytes(), "wide").alt
    nothing = make_same_bytes().assign(gain=np.nan)
    assert "RA after has no such bytes" in figures.same_bytes_gains(nothing).alt


def test_the_table_at_the_same_bytes_says_where_there_is_no_overlap():
    table = figures.same_bytes_table(make_same_bytes())
    assert list(table.columns) == ["codec alone, top-1 %", "NPP-QA, %", "RA after, %", "both ends, %"]
    assert list(table.loc[("net (source)", "1,000")]) == [
        "70.0", "71.0 (+1.0 [−1.0, +2.0])", "75.0 (+5.0 [+3.0, +6.0])", "79.0 (+9.0 [+7.0, +10.0])",
    ]  # fmt: skip
    assert list(table.loc[("wide (unseen)", "2,000")])[1::2] == ["no overlap", "82.0 (+12.0 [not known])"]
    with pytest.raises(ParameterError, match="no column for gain"):
        figures.same_bytes_table(make_same_bytes().drop(columns="gain"))


def test_both_ends_panel_draws_every_picture_with_its_bytes():
    clean = np.random.default_rng(0).random((2, 3, 8, 8))
    shown = {"codec": (1 - clean, [1200, 800]), "both": (clean / 2, [700, 500])}
    figure = figures.both_ends_panel(clean, shown, ["0", "1"])
    assert len(figure.axes[0].images) == 6
    assert [text for text in texts(figure) if text.endswith("bytes")] == [
        "1,200 bytes", "800 bytes", "700 bytes", "500 bytes",
    ]  # fmt: skip
    assert {"clean", "codec alone", "both ends"} <= set(texts(figure))
    assert figure.alt == (
        "2 pictures, clean and through each chain; bytes on average: codec alone 1,000 and both ends 600."
    )

"""Figures and tables of proxies and of costs show every number."""

import numpy as np
import pandas as pd
import pytest
from drawn import texts

from ra_book import figures
from ra_core.errors import ParameterError


def make_agreement() -> pd.DataFrame:
    columns = [
        "proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr", "gradient_cosine",
    ]  # fmt: skip
    rows = [
        ("Hyperprior", "heic", 32.0, 40, 0.913, 1.25, 33.33, 0.5),
        ("BlockDCT", "jpeg", 75.0, 40, 0.99, 0.97, 41.26, 0.84),
        ("BlockDCT", "jpeg", 10.0, 40, 0.95, 1.04, 38.0, np.nan),
    ]
    return pd.DataFrame(rows, columns=columns)


def test_agreement_table_and_scatter_show_every_number():
    table = figures.agreement_table(make_agreement())
    assert list(table.index) == [
        ("BlockDCT", "JPEG", "10"), ("BlockDCT", "JPEG", "75"), ("Hyperprior", "HEIC", "32")
    ]  # fmt: skip
    assert list(table.loc[("BlockDCT", "JPEG", "10")]) == ["40", "0.95", "1.04", "38.0", "–"]
    assert list(table.loc[("Hyperprior", "HEIC", "32")]) == ["40", "0.91", "1.25", "33.3", "0.50"]

    figure = figures.agreement_scatter(make_agreement())
    gradients, pictures = figure.axes
    assert np.array_equal(gradients.lines[0].get_xydata(), [[0.95, np.nan], [0.99, 0.84]], equal_nan=True)  # by quality
    assert gradients.lines[1].get_xydata().tolist() == [[0.913, 0.5]]
    assert pictures.lines[0].get_xydata().tolist() == [[1.04, 38.0], [0.97, 41.26]]
    assert texts(figure) == ["75", "32", "10", "75", "32"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "BlockDCT for JPEG", "Hyperprior for HEIC"
    ]  # fmt: skip
    assert (
        "BlockDCT for JPEG: correlation of rates 0.95 to 0.99, ratio of bits 0.97 to 1.04, PSNR 38.0 to 41.3 dB, "
        "cosine of gradients 0.84; Hyperprior for HEIC: correlation of rates 0.91" in figure.alt
    )
    with pytest.raises(ParameterError, match="no column for psnr"):
        figures.agreement_scatter(make_agreement().drop(columns="psnr"))


def test_proxy_curves_draw_loss_and_both_parts_of_the_rate():
    log = [{"step": s, "loss": 8 / s, "bpp_y": 0.5 / s, "bpp_z": 0.02 / s} for s in (10, 20)]
    figure = figures.proxy_curves({"hyperprior-64": [*log, {"step": 20, "validation": {}}], "hyperprior-512": log[:1]})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "bits a pixel of y", "bits a pixel of z"]
    for axes, key in zip(figure.axes, ("loss", "bpp_y", "bpp_z"), strict=True):
        drawn = [line.get_xydata().tolist() for line in axes.lines]
        assert drawn == [[[line["step"], line[key]] for line in log], [[10, log[0][key]]]]
        assert axes.lines[1].get_marker() == "o" and axes.get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hyperprior-64", "hyperprior-512"]
    assert "hyperprior-64 at 0.025 bits a pixel for y and 0.001 for z" in figure.alt
    for logs in ({}, {"a": []}):
        with pytest.raises(ParameterError, match="no log line of a proxy"):
            figures.proxy_curves(logs)


def test_proxy_table_shows_every_proxy_on_every_set():
    found = {"pictures": 24, "fingerprint": "x", "bpp": 0.1504, "bpp_y": 0.1391, "bpp_z": 0.0113, "psnr": 30.27}
    table = figures.proxy_table({"hyperprior-64": {"held_out": {"scenes": found, "cells": found}}})
    assert list(table.index) == [("hyperprior-64", "scenes (24)"), ("hyperprior-64", "cells (24)")]
    assert list(table.iloc[0]) == ["0.150", "0.139", "0.011", "30.3"]


def test_cost_table_shows_every_part():
    cost = pd.DataFrame(
        [
            ("NPP", "before", 9_422_235, 186_500.4, 812.345, 296, 224, 2),
            ("jpeg", "encode", np.nan, np.nan, 0.25, 8, 8, 1),
        ],
        columns=["network", "use", "parameters", "macs_per_pixel", "ms_per_picture", "width", "height", "threads"],
    )
    table = figures.cost_table(cost)
    assert list(table.columns) == ["parameters", "MACs a pixel", "ms a picture", "picture", "threads"]
    assert table.to_numpy().tolist() == [
        ["9,422,235", "186,500", "812.3", "296 × 224", "2"], ["–", "–", "0.2", "8 × 8", "1"]
    ]  # fmt: skip
    assert figures.to_markdown(table).splitlines()[2].startswith("| NPP | before | 9,422,235 | 186,500 | 812.3 |")

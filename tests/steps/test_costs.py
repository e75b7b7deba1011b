"""Counted multiply-accumulates are those of the layers; times and tables are there and whole."""

import coded
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from torch import nn

from ra_core.channels import to_arrays
from ra_core.codecs import jpeg_parts, load_codec
from ra_core.params import load_profile
from ra_core.steps import costs
from ra_core.steps.costs import (
    COLUMNS,
    HEADER_COLUMNS,
    PUBLISHED_WIDTH,
    header_rows,
    macs,
    measure_costs,
    merge_costs,
    milliseconds,
)

project = coded.project


def test_the_macs_of_layers_are_counted_exactly():
    image = torch.zeros(1, 3, 16, 24)
    with torch.no_grad():
        assert macs(lambda: nn.Conv2d(3, 5, 3, padding=1)(image)) == 16 * 24 * 3 * 5 * 9
        assert macs(lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1)(image)) == 8 * 12 * 3 * 5 * 9
        assert macs(lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)(image)) == 16 * 24 * 3 * 4 * 9
        assert macs(lambda: nn.Linear(7, 11)(torch.zeros(2, 7))) == 2 * 7 * 11
        assert macs(lambda: image.relu()) == 0


def test_times_are_medians_of_several_after_one_that_warms_up(monkeypatch):
    calls = []
    monkeypatch.setattr(costs.timeit, "repeat", lambda work, number, repeat: [work() for _ in range(repeat)])
    times = iter([9.0, 0.1, 0.5, 0.3])
    assert milliseconds(lambda: calls.append(1) or next(times)) == pytest.approx(300) and len(calls) == 4


@pytest.fixture
def measured(project, monkeypatch):
    tiny.coded_pictures(monkeypatch, coded.load)
    monkeypatch.setattr(costs, "milliseconds", lambda work: (work(), 2.5)[1])
    return measure_costs(load_profile("tiny"), "cells", "jpeg")


def test_the_costs_of_a_codec_are_a_table(project, measured):
    assert list(measured.columns) == COLUMNS
    assert list(measured.network) == [
        "NPP-QA, width 2", f"NPP-QA, width {PUBLISHED_WIDTH} (published)", "tiny:recognizer",
        "postprocessor SRResNet", "proxy BlockDCT, forward and back", "jpeg at 20", "jpeg at 20",
    ]  # fmt: skip
    assert list(measured.use[-3:]) == ["training only", "encode", "decode"] and set(measured.width) == {16}
    assert measured.use[3] == "behind the codec" and measured.macs_per_pixel[3] == 4 * (2 * 3 * 81 + 3 * 4 * 9)
    assert measured.parameters[1] == 9_461_537 and measured.parameters[4] == 0
    # of the published width a picture of 16 x 16 needs about 190,000 a pixel, most of them in the U-Net
    assert 150_000 < measured.macs_per_pixel[1] < 250_000 and measured.macs_per_pixel[0] < 2_000
    assert measured.macs_per_pixel[4] > 0 and measured.macs_per_pixel[5:].isna().all()
    assert (measured.ms_per_picture == 2.5).all() and (measured.threads == 1).all()
    written = pd.read_csv(project / "runs" / "tiny" / "cells" / "cost-jpeg.csv")
    pd.testing.assert_frame_equal(written, measured, check_dtype=False)


def test_what_codecs_share_stands_once_in_the_costs_of_all(project, measured):
    found = merge_costs(load_profile("tiny"))
    assert list(found.network) == [*measured.network, "webp at 60", "webp at 60"]
    assert not found.duplicated(["dataset", "network", "use"]).any()
    assert (project / "runs" / "tiny" / "cells" / "cost-webp.csv").exists()


def test_header_and_payload_are_those_of_the_files():
    codec, pictures = load_codec("jpeg-optimized"), tiny.pictures(5)
    arrays = to_arrays(pictures.batch(torch.arange(5))[0])
    rows = header_rows(codec, [5.0, 90], pictures, batch=2)
    assert list(rows.columns) == HEADER_COLUMNS and list(rows.quality) == [5, 90]
    for row in rows.itertuples():
        files = codec.encode(arrays, row.quality)
        assert row.bytes_mean == pytest.approx(np.mean([len(file) for file in files]))
        assert row.header_mean == pytest.approx(np.mean([jpeg_parts(file)[0] for file in files]))
        assert row.header_mean + row.payload_mean == pytest.approx(row.bytes_mean) and row.n == 5
    assert rows.header_mean[0] / rows.bytes_mean[0] > rows.header_mean[1] / rows.bytes_mean[1]

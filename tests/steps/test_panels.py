"""Two ways to send pictures at equal accuracy, and what the figures are fed."""

import boxed
import coded
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from refusal import refusal
from torch import nn

from ra_book import figures
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import jpeg_parts, load_codec
from ra_core.codecs.jpeg_files import block_bits
from ra_core.errors import ParameterError
from ra_core.params import load_profile
from ra_core.steps import panels
from ra_core.steps.panels import ENDS, equal_accuracy, first_in_turn, panel_of, sending_chain, through_every_chain

project = coded.project
tables = coded.tables
RATES = pd.DataFrame(
    [
        ("codec", 10, 0, 60.0, 100.0), ("codec", 30, 0, 70.0, 200.0), ("codec", 60, 0, 80.0, 400.0),
        ("npp_mse", 30, 0, 70.0, 190.0), ("npp_qa", 10, 0, 68.0, 90.0), ("npp_qa", 30, 0, 71.0, 150.0),
        ("npp_qa", 60, 0, 69.0, 300.0), ("npp_qa", 30, 1, 70.0, 160.0), ("gaussian", 30, 0, 70.0, 180.0),
    ],
    columns=["method", "quality", "seed", "value", "bytes_mean"],
).assign(recognizer="net", metric="top1", n=656)  # fmt: skip


def test_the_quality_is_the_one_with_the_nearest_accuracy():
    found = equal_accuracy(RATES, "net")
    assert (found.sent["method"], found.alone.quality, found.sent.quality, found.sent.seed) == ("npp_qa", 30, 30, 0)
    assert found.sentence() == (
        "All 656 test pictures, right answers of net: 70.0 % with the codec alone at quality 30, 71.0 % preprocessed "
        "at 30, the nearest that was measured; on average 200 and 150 bytes (−25.0 %)."
    )
    # equally near: 150 bytes are nearer to 200 than 300 are, on the scale of ratios
    assert equal_accuracy(RATES[RATES.quality != 30], "net", 10).sent.quality == 10
    found = equal_accuracy(RATES, "net", 60)
    assert (found.alone.bytes_mean, found.sent.bytes_mean) == (400, 150)
    for kind in ("npp_qa for heic", "npp_mse"):
        found = equal_accuracy(RATES.replace({"method": {"npp_qa": kind}}), "net")
        assert found.sent["method"] == kind


@pytest.mark.parametrize(
    ("rates", "quality", "said"),
    [
        (RATES, 20, "at quality 20 and for a preprocessor; it has the qualities 10, 30, 60 and the"),
        (RATES[RATES.method == "codec"], None, "preprocessors none."),
    ],
)
def test_what_was_not_measured_is_refused(rates, quality, said):
    assert said in refusal(ParameterError, equal_accuracy, rates, "net", quality)


def test_pictures_are_shown_class_by_class():
    pictures = tiny.pictures(12)  # classes in turn
    pictures = pictures.subset(torch.tensor([0, 3, 6, 9, 1, 4, 2]), "some")
    chosen = first_in_turn(pictures, 4)
    assert chosen.labels.tolist() == [0, 1, 2, 0]
    assert torch.equal(chosen.images, pictures.images[[0, 4, 6, 1]])
    assert len(first_in_turn(pictures.subset(torch.tensor([0, 1]), "two"))) == 2
    scenes_shown = first_in_turn(boxed.pictures(6), 3)
    assert scenes_shown.keys == boxed.pictures(6).keys[:3]


@pytest.mark.parametrize("method", ["npp_qa", "npp"])
def test_a_panel_holds_what_the_files_of_the_rate_table_hold(project, tables, monkeypatch, method):
    tiny.coded_pictures(monkeypatch, coded.load)
    profile, (rates, _) = load_profile("tiny"), tables
    found = equal_accuracy(rates[rates.method.isin(["codec", method])], "tiny:recognizer", 20)
    panel = panel_of(profile, "cells", "jpeg", found, count=24)
    for kind, row in (("alone", found.alone), ("sent", found.sent)):
        assert panel[f"bytes_{kind}"].mean() == pytest.approx(row.bytes_mean, abs=1e-3)
        right = panel["answers" if kind == "sent" else "answers_alone"] == panel["labels"]
        assert 100 * right.mean() == pytest.approx(row.value, abs=1e-3)
    codec, sent = load_codec("jpeg"), list(panel["sent"].transpose(0, 2, 3, 1))
    files = codec.encode(sent, int(found.sent.quality))
    assert np.array_equal(panel["bits_sent"], np.stack([block_bits(file) for file in files]))
    assert panel["bits_sent"].sum() / 8 <= sum(len(file) - jpeg_parts(file)[0] for file in files)
    assert np.array_equal(panel["decoded"].transpose(0, 2, 3, 1), np.stack(codec.decode(files)))
    assert panel["compared"] == found.sentence()
    assert figures.coding_panel(panel).alt and figures.bit_panel(panel).alt


def test_a_transferred_preprocessor_has_the_strength_of_its_curve(project, tables):
    profile = load_profile("tiny")
    strengths = [sending_chain(profile, "cells", "webp", "npp_qa for jpeg", q, 0).pre.strength for q in (1, 60)]
    assert strengths == pytest.approx([1 / 8, 1.0])
    assert sending_chain(profile, "cells", "jpeg", "npp_qa", 60, 0).pre.strength == pytest.approx(1.0)


class Grey(nn.Module):
    """A preprocessor that takes half the colour away."""

    def forward(self, images):
        return (images + images.mean(1, keepdim=True)) / 2


@pytest.mark.parametrize(("codec", "by"), [("heic", "estimated by the proxy"), ("webp", None)])
def test_a_panel_of_scenes_has_boxes_and_only_the_bits_that_are_known(project, monkeypatch, codec, by):
    tiny.coded_pictures(monkeypatch, lambda *given: boxed.pictures(3))
    monkeypatch.setattr(panels, "load_judge", lambda *given: boxed.Bright())
    sending = Chain(Coded(load_codec(codec), 30), pre=Grey())
    monkeypatch.setattr(panels, "sending_chain", lambda *given: sending)
    changed = {"source": "fcos", "codecs": {codec: {"curve": [20, 30]}}}
    profile = load_profile("tiny", {"preprocessing": {"scenes": changed}})
    rates = RATES[RATES["quality"] == 30].assign(metric="map50")
    panel = panel_of(profile, "scenes", codec, equal_accuracy(rates, "net"))
    assert len(panel["boxes_true"]) == len(panel["boxes_alone"]) == len(panel["scores_decoded"]) == 3
    assert (by in panel["bits_by"]) if by else ("bits_by" not in panel)
    assert not by or panel["bits_alone"].shape == (3, 4, 4)
    assert "labels" not in panel and figures.coding_panel(panel).alt and "found" in figures.detection_panel(panel).alt
    assert panel["classes"].tolist() == list(boxed.CLASSES)


def test_a_panel_of_smaller_pictures_shows_what_arrives(project):
    profile = load_profile("tiny", {"preprocessing": {"cells": {"codecs": {"jpeg": {"shrink": 2}}}}})
    panel = panel_of(profile, "cells", "jpeg", equal_accuracy(RATES[RATES["quality"] == 60], "net"), 3)
    assert panel["decoded"].shape == panel["sent"].shape == panel["clean"].shape and "bits_by" not in panel
    assert (panel["bytes_sent"] < panel["bytes_alone"]).all()


def test_the_same_pictures_go_through_every_chain(project):
    pictures, profile = tiny.pictures(3), load_profile("tiny")
    found = through_every_chain(profile, "cells", "jpeg", 0, pictures)
    assert list(found) == ["codec", *ENDS]
    decoded, sizes = Coded(load_codec("jpeg"), 60).transmit(pictures.batch(torch.arange(3))[0])
    assert torch.equal(found["codec"][0], decoded) and torch.equal(found["codec"][1], sizes)
    assert torch.equal(found["post"][1], sizes) and not torch.equal(found["post"][0], decoded)
    assert all(seen.shape == (3, 3, 16, 16) and len(sizes) == 3 for seen, sizes in found.values())
    changed = load_profile("tiny", {"preprocessing": {"cells": {"codecs": {"jpeg": {"both_ends": False}}}}})
    said = refusal(ParameterError, through_every_chain, changed, "cells", "jpeg", 0, None)
    assert "trains only one end of codec 'jpeg' on cells; set both_ends: true for it" in said

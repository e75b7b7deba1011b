import math

import boxed
import coded
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from refusal import refusal
from torch import nn

from ra_core import coding, detection
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.coding import (
    AtStrength,
    load_nets,
    load_preprocessor,
    pair_at,
    preprocessor_parameters,
    rate_accuracy,
    train_preprocessor,
    whole,
)
from ra_core.coding.bd_rate import counts, resample
from ra_core.coding.curves import (
    BD_COLUMNS,
    RATE_COLUMNS,
    SAME_BYTES_COLUMNS,
    Curve,
    bd_rows,
    interval,
    rate_rows,
    resampled,
    same_bytes_rows,
)
from ra_core.coding.filters import Gaussian
from ra_core.coding.rate_accuracy import FILTERS, at_unseen_qualities, choose_filters, evaluate_codec, measure, sent_by
from ra_core.coding.scores import bits_per_pixel
from ra_core.errors import ParameterError
from ra_core.evaluation import Answers, evaluate
from ra_core.files import write_json
from ra_core.metrics import proportion_interval
from ra_core.judges.detector_nets import make_detector
from ra_core.models.weights import save_weights
from ra_core.params import load_profile
from ra_core.params.coding import Ladder
from ra_core.paths import profile_folder

project, tables = coded.project, coded.tables
PUBLIC = (
    "profile,dataset,task,method,codec,quality,seed,recognizer,role,n,bpp,bytes_mean,metric,"
    "value,value_low,value_high,psnr"
)


# The tables of a codec


def test_the_rate_table_is_the_contracted_one(project, tables):
    rates, bds = tables
    assert ",".join(rates.columns) == ",".join(RATE_COLUMNS) == PUBLIC and list(bds.columns) == BD_COLUMNS
    folder = project / "runs" / "tiny" / "cells"
    for name, table in (("rates", rates), ("bd", bds)):
        pd.testing.assert_frame_equal(pd.read_csv(folder / f"{name}-jpeg.csv"), table, check_dtype=False)
    lengths = rates.groupby("method", sort=False).size().to_dict()
    assert lengths == {"codec": 6, "downscale": 6, "gaussian": 6, "npp_qa": 6, "post": 6, "both": 6, "npp": 4,
                       "npp_mse": 4}  # fmt: skip
    assert list(rates.role) == ["source", "unseen"] * 22 and set(rates.n) == {24}
    assert set(rates.task) == {"classification"} and set(rates.metric) == {"top1"}
    assert (rates.value_low <= rates.value).all() and (rates.value <= rates.value_high).all()
    assert list(bds.method) == [m for m in list(lengths)[1:] for _ in range(2)]


def test_bytes_are_those_of_real_files(tables):
    rates, codec, pictures = tables[0], load_codec("jpeg"), coded.load("cells", "test")
    arrays = list(pictures.images.permute(0, 2, 3, 1).numpy())
    for quality in (5, 20, 60):
        sizes = [len(file) for file in codec.encode(arrays, quality)]
        row = rates[(rates.method == "codec") & (rates.quality == quality)].iloc[0]
        assert row.bytes_mean == pytest.approx(np.mean(sizes), abs=1e-4)
        assert row.bpp == pytest.approx(8 * np.mean(sizes) / 256, abs=1e-4)
    by_method = rates[rates.recognizer == "tiny:recognizer"].set_index(["method", "quality"])
    assert (by_method.loc["downscale"].bytes_mean < by_method.loc["codec"].bytes_mean).all()


def test_each_preprocessor_is_measured_where_it_was_trained(project, tables):
    profile, pictures, codec = load_profile("tiny"), coded.load("cells", "test"), load_codec("jpeg")
    judges = coding.load_judges("cells", ["tiny:recognizer"])
    for method, quality, strength in (("npp", 60, 1.0), ("npp_mse", 5, 1.0), ("npp_qa", 20, None)):
        trained_at = None if method == "npp_qa" else quality
        folder = train_preprocessor(profile, "cells", "jpeg", method, trained_at)
        net = load_preprocessor(folder, preprocessor_parameters(profile, "cells", "jpeg", method, trained_at, 0))
        if strength is None:  # 20 lies 15 of 55 from lambda 1 to 8
            strength = 2 ** (3 * 15 / 55) / 8
        found = evaluate(Chain(Coded(codec, quality), pre=AtStrength(net, strength)), judges, pictures)
        rows = tables[0][(tables[0].method == method) & (tables[0].quality == quality)]
        assert rows.iloc[0].bytes_mean == pytest.approx(found.bytes.double().mean().item(), abs=1e-4)
        assert rows.iloc[0].value == pytest.approx(found.share("tiny:recognizer"), abs=1e-4)
        assert rows.iloc[0].psnr == pytest.approx(found.psnr.mean().item(), abs=1e-4)


def test_a_postprocessor_is_measured_behind_the_codec(project, tables):
    profile, pictures, codec = load_profile("tiny"), coded.load("cells", "test"), load_codec("jpeg")
    judges, rates = coding.load_judges("cells", ["tiny:recognizer"]), tables[0].set_index("method")
    for method in ("post", "both"):
        run = (profile, "cells", "jpeg", method, None, 0)
        nets = load_nets(train_preprocessor(*run), preprocessor_parameters(*run))
        pre = AtStrength(nets["preprocessor"], 2 ** (3 * 15 / 55) / 8) if method == "both" else None
        chain = Chain(Coded(codec, 20), post=nets["postprocessor"], pre=pre)
        found, rows = evaluate(chain, judges, pictures), rates.loc[method]
        row = rows[rows.quality == 20].iloc[0]
        assert row.bytes_mean == pytest.approx(found.bytes.double().mean().item(), abs=1e-4)
        assert row.value == pytest.approx(found.share("tiny:recognizer"), abs=1e-4)
        assert row.psnr == pytest.approx(found.psnr.mean().item(), abs=1e-4)
    assert (rates.loc["post"].bytes_mean.to_numpy() == rates.loc["codec"].bytes_mean.to_numpy()).all()
    assert (rates.loc["post"].psnr.to_numpy() != rates.loc["codec"].psnr.to_numpy()).any()


def test_gains_at_the_same_bytes_are_written_for_every_method(project, tables):
    same = pd.read_csv(project / "runs" / "tiny" / "cells" / "same_bytes-jpeg.csv")
    assert list(same.columns) == SAME_BYTES_COLUMNS
    assert same.groupby("method").size().to_dict() == dict.fromkeys(set(tables[0].method) - {"codec"}, 6)
    rates = tables[0][tables[0].recognizer == "tiny:recognizer"].set_index(["method", "quality"])
    post = same[(same.method == "post") & (same.recognizer == "tiny:recognizer")].set_index("quality")
    for quality in (5, 20, 60):  # the very same files
        alone, after = rates.loc["codec", quality], rates.loc["post", quality]
        assert post.loc[quality].bytes_mean == pytest.approx(alone.bytes_mean, abs=1e-3)
        assert post.loc[quality].alone == pytest.approx(alone.value, abs=1e-3)
        assert post.loc[quality].gain == pytest.approx(after.value - alone.value, abs=1e-3)
        assert post.loc[quality].low <= post.loc[quality].gain <= post.loc[quality].high


def test_a_second_time_says_the_same_without_training(project, tables, monkeypatch):
    monkeypatch.setattr(coding, "fit", None)
    for again, before in zip(evaluate_codec(load_profile("tiny"), "cells", "jpeg"), tables, strict=True):
        pd.testing.assert_frame_equal(again, before)


def test_another_codec_shows_what_transfers(project, tables):
    rates, bds = evaluate_codec(load_profile("tiny"), "cells", "webp")
    assert list(rates.method.unique()) == ["codec", "npp_qa for jpeg"]
    assert sorted(rates.quality.unique()) == [1, 60] and set(rates.codec) == {"webp"}
    assert list(bds.recognizer) == ["tiny:recognizer", "tiny:another"]
    # the strength at each end of this curve is that at the same end of the ladder
    profile = load_profile("tiny")
    net = load_preprocessor(
        train_preprocessor(profile, "cells", "jpeg"),
        preprocessor_parameters(profile, "cells", "jpeg", "npp_qa", None, 0),
    )
    pictures, found = (coded.load("cells", "test"), rates[rates.method == "npp_qa for jpeg"].set_index("quality"))
    for quality, strength in ((1, 1 / 8), (60, 1.0)):
        chain = Chain(Coded(load_codec("webp"), quality), pre=AtStrength(net, strength))
        sizes = evaluate(chain, {}, pictures).bytes.double()
        assert found.loc[quality].bytes_mean.iloc[0] == pytest.approx(sizes.mean().item(), abs=1e-4)


def test_a_codec_that_is_not_in_the_profile_is_refused(project):
    said = refusal(ParameterError, evaluate_codec, load_profile("tiny"), "cells", "bpg")
    assert said == "profile tiny measures no codec 'bpg' on cells; choose one of jpeg, webp."


# One curve


def test_a_curve_is_measured_at_each_quality(capsys):
    pictures, judges = tiny.pictures(9), {"a": tiny.source()}
    found = measure("m", "webp", 3, sent_by("webp"), [10, 40.0], judges, pictures, 4, "cpu")
    assert (found.method, found.codec, found.seed, list(found.answers)) == ("m", "webp", 3, [10, 40.0])
    for quality, answers in found.answers.items():
        expected = evaluate(Chain(Coded(load_codec("webp"), int(quality))), judges, pictures)
        assert torch.equal(answers.bytes, expected.bytes)
    assert capsys.readouterr().out.count(" bytes, ") == 2


def test_before_the_codec_stands_what_belongs_there():
    chain_at = sent_by("jpeg", lambda quality: Gaussian(quality / 10), shrink=2)
    chain = chain_at(20.0)
    assert chain.channel == Coded(load_codec("jpeg"), 20, 2) and chain.pre.sigma == 2.0
    assert sent_by("jpeg")(20).pre is None
    assert isinstance(whole(20.0), int) and whole(20.0) == 20 and whole(2.5) == 2.5


class Needs(nn.Module):
    """A judge that is right while the picture's rows stay as rough as they were."""

    def forward(self, images):
        rough = images.diff(dim=-1).abs().mean((1, 2, 3))
        return torch.stack([rough, torch.full_like(rough, 0.02), torch.zeros_like(rough)], 1)


def test_the_filter_that_is_taken_has_the_lowest_bd_rate_on_validation_pictures(project, monkeypatch):
    pictures, asked, compared = tiny.pictures(20), [], []
    monkeypatch.setattr(coding, "load_pictures", lambda *given: asked.append(given) or pictures)
    profile = load_profile("tiny").model_copy(update={"name": "filtered"})
    settings = profile.coding("cells")
    steps = settings.codecs["jpeg"].model_copy(
        update={"curve": [5, 20, 40, 80], "baselines": ["downscale", "gaussian", "bilateral"]}
    )
    settings = settings.model_copy(update={"codecs": {"jpeg": steps}, "source": "b"})
    profile = profile.model_copy(update={"preprocessing": {"cells": settings}})
    found = iter([-1.0, math.nan, -3.5, -2.0, *[math.nan] * 3, 4.0])
    monkeypatch.setattr(rate_accuracy, "bd_rate", lambda alone, line: compared.append((alone, line)) or next(found))
    table = choose_filters(profile, "cells", "jpeg", {"a": tiny.source(), "b": Needs()}, "cpu")
    assert asked == [("cells", "validation", 200)]
    assert list(table["filter"]) == ["gaussian"] * 4 + ["bilateral"] * 4
    assert list(table["setting"]) == [*FILTERS["gaussian"], *FILTERS["bilateral"]]
    assert list(table["chosen"]) == [False, False, True, False, False, False, False, True]

    def line(pre) -> list[float]:
        chains = [Chain(Coded(load_codec("jpeg"), quality), pre=pre) for quality in (5, 40, 80)]
        sizes = [evaluate(chain, {}, pictures).bytes.double().mean().item() for chain in chains]
        return [8 * size / 16**2 for size in sizes]  # bits a pixel

    made = [make() for filters in FILTERS.values() for make in filters.values()]
    for (alone, filtered), pre in zip(compared, made, strict=True):
        assert alone[0] == pytest.approx(line(None)) and filtered[0] == pytest.approx(line(pre))
    written = pd.read_csv(profile_folder(profile.name) / "cells" / "filters-jpeg.csv")
    pd.testing.assert_frame_equal(written, table)


# Rows, from made answers


def made_curve(method: str, factor: float, flips: int = 0) -> Curve:
    """Return a curve over 40 pictures with two judges; `flips` answers are lost at each quality."""
    generator = np.random.default_rng(0)
    hard, size = generator.uniform(size=40), generator.uniform(0.5, 2, 40)
    answers = {}
    for quality, rate, share in ((10, 100, 0.5), (30, 200, 0.7), (90, 500, 0.9)):
        right = torch.from_numpy(hard < share)
        right[:flips] = False
        records = {name: {"top1": right.roll(shift)} for name, shift in (("a", 0), ("b", 1))}
        sizes = torch.from_numpy(np.round(factor * rate * size)).long()
        answers[quality] = Answers(torch.full((40,), 30.0), torch.ones(40), records, sizes)
    return Curve(method, "jpeg", 0, answers)


def test_rows_of_a_curve_hold_interval_and_role():
    curve, pictures = made_curve("npp", 1.0), tiny.pictures(40)
    rows = rate_rows(curve, pictures, "a", "cells")
    assert [(row["quality"], row["recognizer"], row["role"]) for row in rows[:2]] == [
        (10, "a", "source"), (10, "b", "unseen"),
    ]  # fmt: skip
    assert all({"profile", "dataset"} | set(row) == set(RATE_COLUMNS) for row in rows) and len(rows) == 6
    record = curve.answers[10].by_recognizer["a"]["top1"]
    assert (rows[0]["value"], rows[0]["value_low"], rows[0]["value_high"]) == proportion_interval(record)


def test_a_saving_of_a_fifth_is_found_with_its_interval():
    alone, method, pictures = made_curve("codec", 1.0), made_curve("npp", 0.8), tiny.pictures(40)
    rows = bd_rows(method, alone, pictures, "a")
    assert [row["recognizer"] for row in rows] == ["a", "b"] and rows[0]["role"] == "source"
    for row in rows:
        assert row["bd"] == pytest.approx(-20, abs=0.5) and row["low"] == pytest.approx(-20, abs=0.5)
        assert row["high"] == pytest.approx(-20, abs=0.5) and row["no_overlap"] == 0
        top1 = [a.share(row["recognizer"]) for a in alone.answers.values()]
        assert (row["value_low"], row["value_high"]) == pytest.approx((top1[0], top1[-1]))
        assert {"profile", "dataset"} | set(row) == set(BD_COLUMNS)
    worse = bd_rows(made_curve("npp", 0.8, flips=12), alone, pictures, "a")[0]
    assert worse["bd"] > -20 and worse["low"] < worse["bd"] < worse["high"]


def test_at_the_same_bytes_a_cheaper_method_gains_and_has_no_dearest_point():
    alone, method, pictures = made_curve("codec", 1.0), made_curve("npp", 0.8), tiny.pictures(40)
    rows = same_bytes_rows(method, alone, pictures, "a")
    assert [(row["recognizer"], row["quality"]) for row in rows] == [(j, q) for j in "ab" for q in (10, 30, 90)]
    top1 = [a.share("a") for a in alone.answers.values()]
    for row, value in zip(rows, top1, strict=False):
        assert {"profile", "dataset"} | set(row) == set(SAME_BYTES_COLUMNS) and row["alone"] == value
    sizes = [a.bytes.double().mean().item() for a in alone.answers.values()]
    for row, expected in zip(rows[:2], np.interp(np.log(sizes[:2]), np.log(0.8) + np.log(sizes), top1), strict=True):
        assert row["value"] == pytest.approx(expected, abs=0.1) and 0 < row["low"] < row["gain"] < row["high"]
    assert math.isnan(rows[2]["gain"]) and rows[2]["no_overlap"] == 1
    one = made_curve("npp", 1.0)
    del one.answers[10], one.answers[90]
    assert same_bytes_rows(one, alone, pictures, "a") == []


def test_curves_are_compared_on_the_same_drawn_pictures():
    alone, method, pictures = made_curve("codec", 1.0), made_curve("npp", 0.8, 3), tiny.pictures(40)
    drawn = resampled(method, pictures, "b")
    sizes = np.stack([a.bytes.numpy() for a in method.answers.values()])
    right = np.stack([a.by_recognizer["b"]["top1"].numpy() for a in method.answers.values()])
    expected = resample(sizes, right, counts(40))
    assert drawn.drawn_rates == pytest.approx(expected.drawn_rates)
    assert drawn.drawn_values == pytest.approx(expected.drawn_values) and drawn.drawn_values.shape == (1000, 3)
    same = bd_rows(alone, alone, pictures, "b")[1]
    assert [same[key] for key in ("bd", "low", "high", "no_overlap")] == [0, 0, 0, 0]


def test_qualities_between_the_rungs_are_curves_of_their_own():
    curves = [made_curve("codec", 1.0), made_curve("npp", 0.9), made_curve("npp_qa", 0.8)]
    ((part, alone),) = at_unseen_qualities(curves, Ladder(curve=[10, 30, 90], rungs=[[30, 1]]))
    assert part.method == "npp_qa at unseen qualities" and alone.method == "codec"
    assert list(part.answers) == [10, 90] == list(alone.answers) and len(curves[0].answers) == 3
    row = bd_rows(part, alone, tiny.pictures(40), "a")[0]
    assert row["bd"] == pytest.approx(-20, abs=0.5) and row["method"] == part.method
    assert at_unseen_qualities(curves, Ladder(curve=[10, 90], rungs=[[10, 1], [30, 1]])) == []
    assert at_unseen_qualities(curves[:2], Ladder(curve=[10, 30, 90])) == [] == at_unseen_qualities(curves[:2], None)


def test_one_quality_is_no_curve():
    one = made_curve("npp", 1.0)
    del one.answers[10], one.answers[90]
    assert bd_rows(one, made_curve("codec", 1.0), tiny.pictures(40), "a") == []
    assert len(rate_rows(one, tiny.pictures(40), "a", "cells")) == 2


def test_detectors_go_through_the_same_rows(monkeypatch):
    times, match = [], detection._matched
    monkeypatch.setattr(detection, "_matched", lambda *sides: times.append(1) or match(*sides))
    pictures, judges = boxed.pictures(12), {"bright": boxed.Bright()}
    alone, blurred = (
        measure(name, "jpeg", 0, sent_by("jpeg", pre), [2, 20, 90], judges, pictures, 5, "cpu")
        for name, pre in (("codec", lambda quality: None), ("gaussian", lambda quality: Gaussian(1.5)))
    )
    times.clear()
    rows = rate_rows(alone, pictures, "bright", "scenes")
    assert len(times) == 3
    assert [row["metric"] for row in rows] == ["map50"] * 3 and {row["task"] for row in rows} == {"detection"}
    value, low, high = interval(alone.answers[90], pictures, "bright")
    assert (rows[2]["value"], rows[2]["value_low"], rows[2]["value_high"]) == (value, low, high)
    assert value > 99 and low <= value
    drawn = resampled(alone, pictures, "bright")
    assert drawn.drawn_values.shape == drawn.drawn_rates.shape == (1000, 3)
    assert drawn.values.tolist() == pytest.approx([row["value"] for row in rows])
    sizes = np.stack([a.bytes.numpy() for a in alone.answers.values()])
    assert drawn.drawn_rates == pytest.approx(counts(12) @ sizes.T / 12)
    times.clear()
    assert [row["metric"] for row in bd_rows(blurred, alone, pictures, "bright")] == ["map50"]
    assert len(times) == 3  # boxes of the other curve were matched before


# A folder of one's own

OWN = """\
preprocessing:
  squares:
    data: {{folder: data/squares, names: {{blue: null}}}}
    source: mine/fcos
    unseen: [mine/retinanet]
    recognition: {recognition}
    preprocessor: {{width: 2, identity: true, batch_norm: train}}
    training: {{steps: 2, batch: 4, lr: 1e-3}}
    evaluation_batch: 5
    codecs: {{jpeg: {{curve: [10, 60], rungs: [[10, 1], [60, 4]], baselines: [downscale]}}}}
    pictures: 7
"""


@pytest.fixture(params=["voc", "coco"])
def own(request, tmp_path, monkeypatch, one_thread):
    """A project with a folder of pictures of four sizes, and tiny detectors that know more than is in it."""
    torch.manual_seed(0)
    recognition = {"voc": "labels", "coco": "soft_labels"}[request.param]
    tiny.project(tmp_path, tiny.PROFILE + OWN.format(recognition=recognition))
    monkeypatch.chdir(tmp_path)
    boxed.folder(tmp_path / "data" / "squares", request.param, 40)
    (tmp_path / "mine").mkdir()
    for name, classes in (("fcos", ["Green", "N/A", "red"]), ("retinanet", ["red", "green"])):
        save_weights(make_detector(name, len(classes)), tmp_path / "mine" / f"{name}.safetensors")
        write_json(tmp_path / "mine" / f"{name}.json", {"classes": classes})
    return load_profile("tiny")


def test_a_folder_of_boxed_pictures_of_any_size_goes_the_whole_way(own):
    rates, bds = evaluate_codec(own, "squares", "jpeg")
    assert list(rates.columns) == PUBLIC.split(",") and list(bds.columns) == BD_COLUMNS
    assert set(rates.method) == {"codec", "downscale", "npp_qa"}
    assert set(rates.task) == {"detection"} and set(rates.metric) == {"map50"}
    assert dict(zip(rates.recognizer, rates.role, strict=True)) == {"mine/fcos": "source", "mine/retinanet": "unseen"}
    pictures, codec = coding.pictures_of(own, "squares", "test", 7), load_codec("jpeg")
    assert (
        set(rates.n) == {len(pictures)} == {7}
        and set(pictures.classes) == {"green", "red"}
        and len(set(pictures.sizes)) > 1
    )
    bpp, total = 0.0, 0
    for number in range(len(pictures)):
        size = len(codec.encode([pictures.picture(number)], 60)[0])
        height, width = pictures.picture(number).shape[:2]
        bpp, total = bpp + 8 * size / (height * width), total + size
    row = rates[(rates.method == "codec") & (rates.quality == 60)].iloc[0]
    assert row.bpp == pytest.approx(bpp / len(pictures), abs=1e-4)
    assert row.bytes_mean == pytest.approx(total / len(pictures), abs=1e-3)
    run = train_preprocessor(own, "squares", "jpeg")
    assert "data" in preprocessor_parameters(own, "squares", "jpeg", "npp_qa", None, 0)
    assert all(math.isfinite(line["loss"]) for line in tiny.log(run) if "loss" in line)
    skipped = (run.parents[1] / "skipped.txt").read_text()
    assert skipped == "" or "of other classes" in skipped
    shown = pair_at(own, "squares", "jpeg", "npp_qa", None, 0, coding.pictures_of(own, "squares", "validation", 4))
    assert len({images.shape for images in shown}) == 1


def test_a_class_that_a_judge_does_not_know_stops_before_any_training(own):
    changed = load_profile("tiny", {"preprocessing": {"squares": {"data": {"names": {"blue": "sky"}}}}})
    said = refusal(ParameterError, evaluate_codec, changed, "squares", "jpeg")
    assert said.startswith("detector 'mine/fcos' does not know 'sky'; ")


def test_bits_a_pixel_of_several_sizes_are_a_mean_over_pictures():
    pictures, sizes = boxed.mixed(3), torch.tensor([512, 1250, 1024])
    found = Answers(torch.zeros(3), None, bytes=sizes)
    assert bits_per_pixel(found, pictures) == pytest.approx((1 + 4 + 2) / 3)

import math

import boxed
import coded
import pandas as pd
import pytest
import tiny
import torch
from refusal import refusal

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.errors import ParameterError
from ra_core.evaluation import RATE_COLUMNS, evaluate
from ra_core.files import write_json
from ra_core.judges.detector_nets import make_detector
from ra_core.models.weights import save_weights
from ra_core.params import load_profile
from ra_core.paths import profile_folder
from ra_core.runs import AtStrength, resolve
from ra_core.steps import evaluate_codec, load_judges, pair_at, pictures_of, rates, trained
from ra_core.steps.curves import BD_COLUMNS, SAME_BYTES_COLUMNS
from ra_core.steps.rates import FILTERS, Measurement, choose_filters

project, tables = coded.project, coded.tables
PUBLIC = (
    "profile,dataset,task,method,codec,quality,seed,recognizer,role,n,bpp,bytes_mean,metric,"
    "value,value_low,value_high,psnr"
)


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
    sizes = rates.set_index("method").bytes_mean
    assert (sizes["post"].values == sizes["codec"].values).all() and (sizes["downscale"] < sizes["codec"].values).all()
    assert (rates.value_low <= rates.value).all() and (rates.value <= rates.value_high).all()
    assert list(bds.method) == [m for m in list(lengths)[1:] for _ in range(2)]


@pytest.mark.parametrize(
    ("method", "quality", "strength"),
    [
        ("codec", 5, None), ("npp", 60, 1.0), ("npp_mse", 5, 1.0), ("post", 20, None),
        ("npp_qa", 20, 2 ** (3 * 15 / 55) / 8), ("both", 20, 2 ** (3 * 15 / 55) / 8),  # 15 of 55 from lambda 1 to 8
    ],
)  # fmt: skip
def test_each_method_is_measured_where_it_stands_in_the_chain(project, tables, method, quality, strength):
    nets = {} if method == "codec" else trained(resolve(load_profile("tiny"), "cells", method, 0, "jpeg", quality))
    pre = AtStrength(nets["preprocessor"], strength) if strength else None
    chain = Chain(Coded(load_codec("jpeg"), quality), post=nets.get("postprocessor"), pre=pre)
    found = evaluate(chain, load_judges(["tiny:recognizer"]), coded.load("cells", "test"))
    row = tables[0][(tables[0].method == method) & (tables[0].quality == quality)].iloc[0]
    assert row.bytes_mean == pytest.approx(found.bytes.double().mean().item(), abs=1e-4)
    assert row.value == pytest.approx(found.verdicts["tiny:recognizer"].value(), abs=1e-4)
    assert row.psnr == pytest.approx(found.psnr.mean().item(), abs=1e-4)


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


def test_another_codec_shows_what_transfers(project, tables):
    rates, bds = evaluate_codec(load_profile("tiny"), "cells", "webp")
    assert list(rates.method.unique()) == ["codec", "npp_qa for jpeg"]
    assert sorted(rates.quality.unique()) == [1, 60] and set(rates.codec) == {"webp"}
    assert list(bds.recognizer) == ["tiny:recognizer", "tiny:another"]
    # the strength at each end of this curve is that at the same end of the ladder
    net = trained(resolve(load_profile("tiny"), "cells", "npp_qa", 0, "jpeg"))["preprocessor"]
    pictures, found = (coded.load("cells", "test"), rates[rates.method == "npp_qa for jpeg"].set_index("quality"))
    for quality, strength in ((1, 1 / 8), (60, 1.0)):
        chain = Chain(Coded(load_codec("webp"), quality), pre=AtStrength(net, strength))
        sizes = evaluate(chain, {}, pictures).bytes.double()
        assert found.loc[quality].bytes_mean.iloc[0] == pytest.approx(sizes.mean().item(), abs=1e-4)


def test_a_codec_that_is_not_in_the_profile_is_refused(project):
    said = refusal(ParameterError, evaluate_codec, load_profile("tiny"), "cells", "bpg")
    assert said == "profile tiny measures no codec 'bpg' on cells; choose one of jpeg, webp."


def test_the_filter_that_is_taken_has_the_lowest_bd_rate_on_validation_pictures(project, monkeypatch):
    pictures, asked, compared = tiny.pictures(20), [], []
    tiny.coded_pictures(monkeypatch, lambda *given: asked.append(given) or pictures)
    steps = {"curve": [5, 20, 60, 80], "baselines": ["downscale", "gaussian", "bilateral"]}
    profile = load_profile("tiny", {"preprocessing": {"cells": {"codecs": {"jpeg": steps}}}})
    found = iter([-1.0, math.nan, -3.5, -2.0, *[math.nan] * 3, 4.0])
    monkeypatch.setattr(rates, "bd_rate", lambda alone, line: compared.append((alone, line)) or next(found))
    measure = Measurement("jpeg", load_judges(["tiny:another", "tiny:recognizer"]), None, 20, torch.device("cpu"))
    chosen = {"gaussian": FILTERS["gaussian"]["sigma 1.2"], "bilateral": FILTERS["bilateral"]["sigma 2, tone 0.15"]}
    assert choose_filters(profile, "cells", measure) == chosen
    table = pd.read_csv(profile_folder(profile.name) / "cells" / "filters-jpeg.csv")
    assert asked == [("cells", "validation", 200)]
    assert list(table["filter"]) == ["gaussian"] * 4 + ["bilateral"] * 4
    assert list(table["setting"]) == [*FILTERS["gaussian"], *FILTERS["bilateral"]]
    assert list(table["chosen"]) == [False, False, True, False, False, False, False, True]

    def line(pre) -> list[float]:
        chains = [Chain(Coded(load_codec("jpeg"), quality), pre=pre) for quality in (5, 60, 80)]
        sizes = [evaluate(chain, {}, pictures).bytes.double().mean().item() for chain in chains]
        return [8 * size / 16**2 for size in sizes]  # bits a pixel

    nets = [net for filters in FILTERS.values() for net in filters.values()]
    for (alone, filtered), pre in zip(compared, nets, strict=True):
        assert alone[0] == pytest.approx(line(None)) and filtered[0] == pytest.approx(line(pre))


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
def own(request, tmp_path, monkeypatch):
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
    rates, _ = evaluate_codec(own, "squares", "jpeg")
    assert set(rates.method) == {"codec", "downscale", "npp_qa"}
    assert set(rates.task) == {"detection"} and set(rates.metric) == {"map50"}
    assert dict(zip(rates.recognizer, rates.role, strict=True)) == {"mine/fcos": "source", "mine/retinanet": "unseen"}
    pictures, codec = pictures_of(own, "squares", "test", 7), load_codec("jpeg")
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
    run = resolve(own, "squares", "npp_qa", 0, "jpeg")
    assert "data" in run.parameters
    assert all(math.isfinite(line["loss"]) for line in tiny.log(run.folder) if "loss" in line)
    skipped = (run.folder.parents[1] / "skipped.txt").read_text()
    assert skipped == "" or "of other classes" in skipped
    shown = pair_at(run, pictures_of(own, "squares", "validation", 4))
    assert len({images.shape for images in shown}) == 1


def test_a_class_that_a_judge_does_not_know_stops_before_any_training(own):
    changed = load_profile("tiny", {"preprocessing": {"squares": {"data": {"names": {"blue": "sky"}}}}})
    said = refusal(ParameterError, evaluate_codec, changed, "squares", "jpeg")
    assert said.startswith("detector 'mine/fcos' does not know 'sky'; ")

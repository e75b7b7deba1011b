import json

import coded
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.errors import ParameterError
from ra_core.metrics import to_8bit
from ra_core.models.preprocessors import QP_TABLE
from ra_core.models.proxies import make_proxy
from ra_core.objectives import Rung
from ra_core.params import load_profile
from ra_core.runs import AtStrength, CodingRun, coding, find_run, needed, planned, resolve
from ra_core.runs.coding import run_name
from ra_core.steps import pair_at, train


@pytest.fixture(autouse=True)
def project(tmp_path):
    with coded.at_project(tmp_path):
        yield tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings that are begun."""
    return tiny.count_trainings(monkeypatch)


def profile(**cells):
    """The tiny profile under its own name, with some values of its preprocessing changed."""
    changed = load_profile("tiny", {"preprocessing": {"cells": cells}} if cells else None)
    return changed.model_copy(update={"name": "tiny"})


# Which qualities, and how strongly


def on_rungs(*rungs: tuple[float, float]) -> CodingRun:
    """A run with the rungs (quality, lambda)."""
    return CodingRun({"rungs": [[q, weight, weight / 8] for q, weight in rungs]}, None)


PUBLISHED = on_rungs(*((qp, weight) for qp, weight, _ in QP_TABLE))
LADDER = on_rungs((5, 1), (20, 4), (60, 16))


def test_an_adaptive_run_is_trained_on_all_rungs_and_another_on_its_own():
    every = (Rung(5, 1, 0.125), Rung(60, 8, 1.0))
    assert run().rungs == run("post").rungs == run("both", 5).rungs == every
    assert [run(method, 60).rungs for method in ("npp",)] == [every[1:]] and run("npp_mse", 5).rungs == every[:1]


def test_strengths_are_the_published_ones():
    assert [rung.strength for rung in PUBLISHED.rungs] == [strength for _, _, strength in QP_TABLE]
    assert PUBLISHED.strength_at(44) == 0.03125 and PUBLISHED.strength_at(25) == 2.0
    assert PUBLISHED.strength_at(40) == 0.0625  # and not 0.1, its second
    assert PUBLISHED.strength_at(39) == pytest.approx(0.0625 * 2 ** (1 / 3))  # on the way to 0.125 at 37


@given(st.floats(0, 51), st.floats(0, 51))
def test_the_published_strength_falls_as_the_qp_rises(a, b):
    low, high = sorted((a, b))
    assert PUBLISHED.strength_at(low) >= PUBLISHED.strength_at(high) > 0


def test_the_strength_of_any_quality_lies_between_those_of_the_rungs():
    assert [LADDER.strength_at(q) for q in (5, 20, 60)] == pytest.approx([0.125, 0.5, 2.0])
    assert LADDER.strength_at(12.5) == pytest.approx(0.25)  # half way in log2
    assert LADDER.strength_at(40) == pytest.approx(1.0)
    assert (LADDER.strength_at(1), LADDER.strength_at(95)) == pytest.approx((0.125, 2.0))  # the ends hold
    falling = on_rungs((28, 8), (44, 0.5))  # a QP, which is better lower
    assert falling.strength_at(36) == pytest.approx((1 / 16) ** 0.5)


class Scale(nn.Module):
    """A preprocessor that multiplies by its strength, or by 3 where it is not adaptive."""

    def __init__(self, adaptive: bool):
        super().__init__()
        self.adaptive = adaptive

    def forward(self, images, strength=None):
        return images * (3 if strength is None else strength)


def test_a_link_of_a_chain_is_told_its_strength():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for strength in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            AtStrength(Scale(True), strength)
    for strength in (0.125, 2.0):
        assert torch.equal(AtStrength(Scale(True), strength)(images), (images * strength).clamp(0, 1))
        assert torch.equal(AtStrength(Scale(False), strength)(images), (images * 3).clamp(0, 1))


# What a run depends on


def run(method="npp_qa", quality=None, seed=0, codec="jpeg", **cells) -> CodingRun:
    return resolve(profile(**cells), "cells", method, seed, codec, quality)


def parameters(*given, **cells) -> dict:
    return run(*given, **cells).parameters


@pytest.mark.parametrize(
    "cells",
    [
        {"source": "tiny:another", "unseen": []},
        {"preprocessor": {"width": 3}},
        {"preprocessor": {"identity": False}},
        {"training": {"steps": 3}},
        {"training": {"lr": 1e-4}},
        {"recognition": "soft_labels"},
        {"mse_weight": 3.0},
        {"codecs": {"jpeg": {"rungs": [[5, 2], [60, 8]]}}},
        {"codecs": {"jpeg": {"proxy": "Hyperprior"}}},
    ],
    ids=str,
)
def test_what_changes_the_result_is_a_parameter(cells):
    assert parameters(**cells) != parameters()


@pytest.mark.parametrize(
    "cells",
    [
        {"unseen": []},
        {"pictures": 3},
        {"evaluation_batch": 1},
        {"transfer": {"avif": [10, 20]}},
        {"codecs": {"jpeg": {"curve": [1, 2], "baselines": ["gaussian"]}}},
        {"codecs": {"jpeg": {"both_ends": False}}},
        {"postprocessor": {"width": 5}, "restoration_weight": 1.0},
    ],
    ids=str,
)
def test_what_does_not_change_it_is_none(cells):
    assert parameters(**cells) == parameters()


def test_methods_differ_in_their_parameters():
    assert parameters("npp", 5)["rungs"] == [[5, 1, 0.125]] and parameters("npp", 5)["recognition"] == "labels"
    assert parameters("npp_mse", 5)["recognition"] is None
    for method in ("npp_qa", "npp", "npp_mse", "both"):
        quality = None if method in ("npp_qa", "both") else 5
        assert parameters(method, quality)["mse_weight"] == 0.5
        assert parameters(method, quality, mse_weight=3.0) != parameters(method, quality)
    assert parameters("post", mse_weight=3.0) == parameters("post")
    assert parameters("npp_mse", 5, npp_mse_weight=300.0)["mse_weight"] == 300
    assert parameters("npp", 5, npp_mse_weight=300.0) == parameters("npp", 5)
    assert parameters(quality=5) == parameters()  # one adaptive preprocessor has all qualities
    assert "JpegCodec" in parameters()["coder"]
    assert parameters(seed=1) != parameters() and json.dumps(parameters())


def test_a_training_for_all_qualities_may_be_longer():
    longer = {"codecs": {"jpeg": {"adaptive_steps": 77}}}
    for method, quality, steps in (("npp_qa", None, 77), ("post", None, 77), ("both", None, 77), ("npp", 5, None)):
        found = parameters(method, quality, **longer)
        usual = parameters(method, quality)["training"]
        assert found["training"] == usual | ({"steps": steps, "epochs": None} if steps else {})
    assert parameters("npp_mse", 5, **longer) == parameters("npp_mse", 5)


@pytest.mark.parametrize("method", ["post", "both"])
def test_a_postprocessor_depends_on_its_own_parameters(method):
    found = parameters(method)
    assert found["rungs"] == parameters()["rungs"] and found["quality"] is None
    assert found["postprocessor"]["width"] == 4 and found["restoration_weight"] == 1000
    for cells in ({"postprocessor": {"width": 5}}, {"restoration_weight": 1.0}, {"recognition": "soft_labels"}):
        assert parameters(method, **cells) != found
    for cells in ({"preprocessor": {"width": 3}}, {"codecs": {"jpeg": {"proxy": "Hyperprior"}}}):
        assert (parameters(method, **cells) == found) == (method == "post")
    assert parameters(method, quality=5) == found and json.dumps(found)


def test_both_ends_are_trained_and_measured_where_they_are_asked_for():
    every = ("npp_qa-jpeg", "post-jpeg", "both-jpeg", "npp-jpeg-5", "npp-jpeg-60", "npp_mse-jpeg-5", "npp_mse-jpeg-60")
    names = [f"cells/{name}/seed0" for name in every]
    assert [run.name for run in planned(profile(), "cells")] == names
    assert [run.name for run in needed(profile(), "cells", "jpeg")] == names
    assert [run.name for run in needed(profile(), "cells", "webp")] == names[:1]
    assert planned(profile())[0].name == "dn/plain/seed0" and len(planned(profile())) == 4 + 7
    without = [run.name for run in planned(profile(codecs={"jpeg": {"both_ends": False}}), "cells")]
    assert without == names[:1] + names[3:]


def test_tables_are_learned_where_they_are_asked_for_and_depend_on_no_preprocessor():
    asked = {"codecs": {"jpeg": {"tables": ["tables", "npp_tables"], "both_ends": False}}}
    names = [run.name for run in planned(profile(**asked), "cells")]
    assert names[:3] == [f"cells/{method}-jpeg/seed0" for method in ("npp_qa", "tables", "npp_tables")]
    for changed in ({"preprocessor": {"width": 3}}, {"mse_weight": 3.0}):
        assert parameters("tables", **changed) == parameters("tables")
        assert parameters("npp_tables", **changed) != parameters("npp_tables")


def test_a_preprocessor_may_send_smaller_pictures_and_tables_alone_never_do():
    asked = {"codecs": {"jpeg": {"shrink": 2}}}
    for method in ("npp_qa", "npp_tables", "both"):
        assert parameters(method, **asked) == parameters(method) | {"shrink": 2}
    for method in ("tables", "post"):
        assert parameters(method, **asked) == parameters(method)
    wanted, images = run("npp_qa", **asked), tiny.pictures(3).batch(torch.arange(3))[0]
    nets, codec = wanted.load() if train(wanted) else {}, load_codec("jpeg")
    out, sent = wanted.chain(nets, 60)(images, torch.arange(3)), to_8bit(AtStrength(nets["preprocessor"], 1.0)(images))
    decoded, sizes = Coded(codec, 60, 2).transmit(sent)
    assert torch.equal(out["stored"], decoded) and torch.equal(out["bytes"], sizes)
    assert torch.equal(wanted.chain({}, 60)(images, torch.arange(3))["bytes"], Coded(codec, 60).transmit(images)[1])


def test_learned_tables_go_into_the_files_of_the_chain():
    wanted = run("tables")
    nets = wanted.networks()
    with torch.no_grad():
        nets["tables"].change += 0.2
    images = tiny.pictures(3).batch(torch.arange(3))[0]
    out = wanted.chain(nets, 20)(images, torch.arange(3))
    expected = Coded(load_codec("jpeg").with_tables(nets["tables"].at(20)), 20).transmit(to_8bit(images))
    assert torch.equal(out["stored"], expected[0]) and torch.equal(out["bytes"], expected[1])
    assert (out["bytes"] < Coded(load_codec("jpeg"), 20).transmit(images)[1]).all()


def test_networks_of_a_seed_begin_the_same_in_every_method():
    before = torch.get_rng_state()
    made = {method: run(method).networks() for method in ("npp_qa", "post", "both")}
    assert torch.equal(torch.get_rng_state(), before)
    assert [list(nets) for nets in made.values()] == [
        ["preprocessor"], ["postprocessor"], ["preprocessor", "postprocessor"],
    ]  # fmt: skip
    for method, name in (("npp_qa", "preprocessor"), ("post", "postprocessor")):
        alone, together = made[method][name].state_dict(), made["both"][name].state_dict()
        other = run(method, seed=2).networks()[name].state_dict()
        assert all(torch.equal(alone[key], together[key]) for key in alone)
        assert any(not torch.equal(alone[key], other[key]) for key in alone)
    assert made["both"]["preprocessor"].adaptive and not run("npp", 5).networks()["preprocessor"].adaptive


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "nnp"}, "method 'nnp' is unknown; choose one of npp_qa, npp, "),
        ({"codec": "avif"}, "trains no preprocessor for codec 'avif' on cells; choose one of jpeg."),
        ({"method": "npp", "quality": 20}, "quality 20 is no rung of the ladder; choose one of 5, 60."),
        ({"seed": -1}, "seed -1 is not allowed"),
        ({"method": "tables", "codecs": {"jpeg": {"proxy": "Hyperprior"}}}, "tables of quantisation, which jpeg with"),
    ],
)
def test_what_a_profile_does_not_train_is_refused(given, said):
    assert said in refusal(ParameterError, run, **given)


def test_folders_say_what_they_hold(project):
    root = project / "runs" / "tiny" / "cells"
    assert run().folder == run(quality=5).folder == root / "npp_qa-jpeg" / "seed0"
    assert run("npp", 5.0, 2).folder == run("npp", 5, 2).folder == root / "npp-jpeg-5" / "seed2"
    assert run_name("npp_mse", "jpegxl", 2.5) == "npp_mse-jpegxl-2.5"


# Training


@pytest.mark.parametrize(
    ("method", "quality", "names"),
    [
        ("npp_qa", None, ["preprocessor"]), ("npp", 60, ["preprocessor"]), ("npp_mse", 5, ["preprocessor"]),
        ("post", None, ["postprocessor"]), ("both", None, ["postprocessor", "preprocessor"]),
        ("tables", None, ["tables"]), ("npp_tables", None, ["preprocessor", "tables"]),
    ],
)  # fmt: skip
def test_a_run_leaves_what_it_should(project, trained, monkeypatch, method, quality, names):
    if method == "post":
        monkeypatch.setattr(coding, "load_proxy", None)  # it needs none
    wanted = run(method, quality)
    folder = train(wanted)
    files = sorted(["log.jsonl", "params.yaml", *(f"{name}.safetensors" for name in names), "run.json"])
    assert folder == wanted.folder and tiny.names(folder) == files
    record = json.loads((folder / "run.json").read_text())
    assert (record["method"], record["codec"], record["quality"]) == (method, "jpeg", quality)
    assert record["coder"]["name"] == "jpeg" and record["data"]["train"]["name"] == "tiny/train"
    assert {"quality", "bpp", "psnr", "top1"} == set(record["metrics"]) and set(record["parameters"]) == set(names)
    lines = [line for line in tiny.log(folder) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(line.get("restoration", 1) > 0 for line in lines)
    assert method != "npp_mse" or all(line["recognition"] == 0 for line in lines)  # it never sees the answer
    fresh, found = wanted.networks(), find_run(folder)
    for name, net in found.stored().items():
        assert any(not torch.equal(a, b) for a, b in zip(fresh[name].parameters(), net.parameters(), strict=True))
    assert not any(net.training for net in found.load().values())
    train(wanted)
    assert len(trained) == 1


def test_a_learned_proxy_gives_the_gradient_where_the_profile_says_so(trained, monkeypatch):
    asked, learned = [], {"codecs": {"jpeg": {"proxy": "Hyperprior"}}}

    def load_proxy(name, codec, references, learned, folder, device):
        asked.append((name, codec, learned.name, references.shape))
        return make_proxy(name, n=2, m=2)

    monkeypatch.setattr(coding, "load_proxy", load_proxy)
    train(run(**learned))
    assert asked == [("Hyperprior", "jpeg", "Hyperprior", (8, 3, 16, 16))] and len(trained) == 1
    assert (
        parameters(**learned)["learned_proxy"] == profile().proxy.model_dump() and "learned_proxy" not in parameters()
    )


@pytest.mark.parametrize("method", ["npp_qa", "post", "both"])
def test_pictures_before_and_behind_the_codec_are_those_of_the_chain(method):
    pictures = tiny.pictures(3)
    clean, sent, seen = pair_at(run(method), pictures)
    nets, images = run(method).load(), pictures.batch(torch.arange(3))[0]
    pre = AtStrength(nets["preprocessor"], 1.0) if "preprocessor" in nets else None  # lambda 8 at the middle rung
    expected = Chain(Coded(load_codec("jpeg"), 60), nets.get("postprocessor"), pre=pre)(images, torch.arange(3))
    assert torch.equal(clean, images) and torch.equal(seen, expected["stored"])
    assert torch.equal(sent, images if pre is None else to_8bit(pre(images)))
    assert torch.equal(sent, clean) == (method == "post")

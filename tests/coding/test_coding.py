import json

import boxed
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from torch import nn

from ra_core import coding
from ra_core.chain import Chain
from ra_core.channels import Coded, to_arrays
from ra_core.codecs import load_codec
from ra_core.coding import (
    AtStrength,
    load_nets,
    load_preprocessor,
    make_net,
    make_nets,
    needed,
    pair_at,
    planned,
    preprocessor_folder,
    preprocessor_parameters,
    rungs,
    strength_at,
    train_preprocessor,
)
from ra_core.coding.scores import bits_per_pixel, metric_of, score, summary
from ra_core.data import elpv, scenes
from ra_core.errors import ParameterError
from ra_core.evaluation import Answers
from ra_core.metrics import to_8bit
from ra_core.models.preprocessors import QP_TABLE, preprocess
from ra_core.models.proxies import make_proxy
from ra_core.objectives import Rung
from ra_core.params import load_profile
from ra_core.params.coding import Ladder

PREPROCESSING = """\
preprocessing:
  cells:
    source: tiny:recognizer
    unseen: [tiny:another]
    preprocessor: {width: 2, identity: true}
    postprocessor: {width: 4, blocks: 1, residual: true}
    training: {steps: 3, batch: 5, lr: 1e-3}
    evaluation_batch: 5
    codecs:
      jpeg: {curve: [5, 20, 60], rungs: [[5, 1], [60, 8]], single: [5, 60], npp_mse: [5], both_ends: true}
      webp: {curve: [10, 60], rungs: [[10, 2]], proxy: Hyperprior}
"""
PUBLISHED = Ladder(curve=[25, 44], rungs=[[qp, weight] for qp, weight, _ in QP_TABLE])
LADDER = Ladder(curve=[5, 60], rungs=[[5, 1], [20, 4], [60, 16]])


def load(dataset: str, part: str, count: int = 0):
    """Stand in for `load_pictures`."""
    return tiny.pictures(12, seed=len(part), name=f"tiny/{part}")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project in a folder of its own, with tiny pictures in place of solar cells."""
    tiny.project(tmp_path, tiny.PROFILE + PREPROCESSING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(coding, "load_pictures", load)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings that are begun."""
    return tiny.count_trainings(monkeypatch, coding)


def profile(**cells):
    """The tiny profile under its own name, with some values of its preprocessing changed."""
    changed = load_profile("tiny", {"preprocessing": {"cells": cells}} if cells else None)
    return changed.model_copy(update={"name": "tiny"})


# Which qualities, and how strongly


def test_an_adaptive_preprocessor_is_trained_on_all_rungs():
    expected = (Rung(5, 1, 0.125), Rung(20, 4, 0.5), Rung(60, 16, 2.0))
    assert rungs(LADDER, "npp_qa", None) == expected
    assert rungs(LADDER, "post", None) == rungs(LADDER, "both", 5) == expected
    for rung in expected:
        assert rungs(LADDER, "npp", rung.quality) == (rung,) == rungs(LADDER, "npp_mse", rung.quality)


def test_strengths_are_the_published_ones():
    assert [rung.strength for rung in rungs(PUBLISHED, "npp_qa", None)] == [s for _, _, s in QP_TABLE]
    assert strength_at(PUBLISHED, 44) == 0.03125 and strength_at(PUBLISHED, 25) == 2.0


def test_of_two_rungs_of_one_quality_the_first_counts():
    assert strength_at(PUBLISHED, 40) == 0.0625  # and not 0.1, its second
    assert strength_at(PUBLISHED, 39) == pytest.approx(0.0625 * 2 ** (1 / 3))  # on the way to 0.125 at 37


@given(st.floats(0, 51), st.floats(0, 51))
def test_the_published_strength_falls_as_the_qp_rises(a, b):
    low, high = sorted((a, b))
    assert strength_at(PUBLISHED, low) >= strength_at(PUBLISHED, high) > 0


def test_a_quality_off_the_ladder_is_refused():
    for quality in (7, None):
        said = refusal(ParameterError, rungs, LADDER, "npp", quality)
        assert f"quality {quality!r} is no rung of the ladder; choose one of 5, 20, 60." in said


def test_the_strength_of_any_quality_lies_between_those_of_the_rungs():
    assert [strength_at(LADDER, q) for q in (5, 20, 60)] == pytest.approx([0.125, 0.5, 2.0])
    assert strength_at(LADDER, 12.5) == pytest.approx(0.25)  # half way in log2
    assert strength_at(LADDER, 40) == pytest.approx(1.0)
    assert (strength_at(LADDER, 1), strength_at(LADDER, 95)) == pytest.approx((0.125, 2.0))  # the ends hold
    falling = Ladder(curve=[44, 28], rungs=[[28, 8], [44, 0.5]])  # a QP, which is better lower
    assert strength_at(falling, 36) == pytest.approx((1 / 16) ** 0.5)


class Scale(nn.Module):
    """A preprocessor that multiplies by its strength, or by 3 where it is not adaptive."""

    def __init__(self, adaptive: bool):
        super().__init__()
        self.adaptive = adaptive

    def forward(self, images, strength=None):
        return images * (3 if strength is None else strength)


def test_a_link_of_a_chain_is_told_its_strength():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for strength in (0.125, 2.0):
        assert torch.equal(AtStrength(Scale(True), strength)(images), (images * strength).clamp(0, 1))
        assert torch.equal(AtStrength(Scale(False), strength)(images), (images * 3).clamp(0, 1))


# What a run depends on


def parameters(method="npp_qa", quality=None, seed=0, codec="jpeg", **cells) -> dict:
    return preprocessor_parameters(profile(**cells), "cells", codec, method, quality, seed)


@pytest.mark.parametrize(
    "cells",
    [
        {"source": "tiny:another", "unseen": []},
        {"preprocessor": {"width": 3}},
        {"preprocessor": {"identity": False}},
        {"training": {"steps": 4}},
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
        {"codecs": {"webp": {"rungs": []}}},
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
    names = ["npp_qa-jpeg", "post-jpeg", "both-jpeg", "npp-jpeg-5", "npp-jpeg-60", "npp_mse-jpeg-5"]
    assert [*planned(profile(), "cells")] == [*names, "npp_qa-webp"]
    assert planned(profile(), "cells")["both-jpeg"] == ("jpeg", "both", None)
    assert needed(profile(), "cells", "jpeg") == names
    without = planned(profile(codecs={"jpeg": {"both_ends": False}}), "cells")
    assert set(names) - set(without) == {"post-jpeg", "both-jpeg"}


def test_networks_of_a_seed_begin_the_same_in_every_method():
    made = {method: make_nets(parameters(method)) for method in ("npp_qa", "post", "both")}
    assert [list(nets) for nets in made.values()] == [
        ["preprocessor"], ["postprocessor"], ["preprocessor", "postprocessor"],
    ]  # fmt: skip
    for method, name in (("npp_qa", "preprocessor"), ("post", "postprocessor")):
        alone, together = made[method][name].state_dict(), made["both"][name].state_dict()
        assert all(torch.equal(alone[key], together[key]) for key in alone)
    assert made["both"]["preprocessor"].adaptive


def test_what_a_profile_does_not_train_is_refused():
    said = refusal(ParameterError, parameters, "nnp")
    assert said == "method 'nnp' is unknown; choose one of npp, npp_qa, npp_mse, post, both."
    assert "trains no preprocessor for codec 'avif' on cells; choose one of jpeg, webp." in refusal(
        ParameterError, parameters, codec="avif"
    )
    assert "no rung of the ladder" in refusal(ParameterError, parameters, "npp", 20)


def test_folders_say_what_they_hold(project):
    def name(*what):
        return str(preprocessor_folder("tiny", "cells", *what).relative_to(project / "runs" / "tiny" / "cells"))

    assert name("npp_qa", "jpeg", None, 0) == name("npp_qa", "jpeg", 5, 0) == "npp_qa-jpeg/seed0"
    assert name("npp", "jpeg", 5.0, 2) == name("npp", "jpeg", 5, 2) == "npp-jpeg-5/seed2"
    assert name("npp_mse", "jpegxl", 2.5, 0) == "npp_mse-jpegxl-2.5/seed0"


def test_a_seed_begins_the_same_everywhere():
    before = torch.get_rng_state()
    one, same, other = (make_net(parameters(seed=s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert one.adaptive and not make_net(parameters("npp", 5)).adaptive


# Training


@pytest.mark.parametrize(("method", "quality"), [("npp_qa", None), ("npp", 60), ("npp_mse", 5)])
def test_a_run_leaves_what_it_should(project, trained, method, quality):
    folder = train_preprocessor(profile(), "cells", "jpeg", method, quality)
    assert folder == preprocessor_folder("tiny", "cells", method, "jpeg", quality, 0)
    assert tiny.names(folder) == ["log.jsonl", "params.yaml", "preprocessor.safetensors", "run.json"]
    record = json.loads((folder / "run.json").read_text())
    assert (record["method"], record["codec"], record["quality"]) == (method, "jpeg", quality)
    assert record["coder"]["name"] == "jpeg" and record["data"]["train"]["name"] == "tiny/train"
    assert {"quality", "bpp", "psnr", "top1"} == set(record["metrics"])
    assert [line["step"] for line in tiny.log(folder) if "loss" in line] == [1, 2, 3]
    wanted = parameters(method, quality)
    fresh, net = make_net(wanted), load_preprocessor(folder, wanted)
    assert any(not torch.equal(a, b) for a, b in zip(fresh.parameters(), net.parameters(), strict=True))
    assert not net.training and len(trained) == 1


@pytest.mark.parametrize(
    ("method", "names"), [("post", ["postprocessor"]), ("both", ["postprocessor", "preprocessor"])]
)
def test_a_run_with_a_postprocessor_leaves_its_networks(trained, monkeypatch, method, names):
    if method == "post":
        monkeypatch.setattr(coding, "load_proxy", None)  # it needs none
    folder = train_preprocessor(profile(), "cells", "jpeg", method)
    files = ["log.jsonl", "params.yaml", *(f"{name}.safetensors" for name in names), "run.json"]
    assert folder.parent.name == f"{method}-jpeg" and tiny.names(folder) == files
    assert set(json.loads((folder / "run.json").read_text())["parameters"]) == set(names)
    assert all(line["restoration"] > 0 for line in tiny.log(folder) if "loss" in line)
    fresh, nets = make_nets(parameters(method)), load_nets(folder, parameters(method))
    for name, net in nets.items():
        assert any(not torch.equal(a, b) for a, b in zip(fresh[name].parameters(), net.parameters(), strict=True))
    train_preprocessor(profile(), "cells", "jpeg", method)
    assert len(trained) == 1


def test_a_pair_shows_what_is_sent_and_what_is_seen():
    pictures = load("cells", "test")
    for method in ("post", "both"):
        clean, sent, seen = pair_at(profile(), "cells", "jpeg", method, None, 0, pictures)
        nets = load_nets(preprocessor_folder("tiny", "cells", method, "jpeg", None, 0), parameters(method))
        decoded, _ = Coded(load_codec("jpeg"), 60).transmit(sent)
        assert torch.equal(sent, clean) == (method == "post")
        with torch.inference_mode():
            assert torch.equal(seen, to_8bit(nets["postprocessor"](decoded)))


def test_a_learned_proxy_gives_the_gradient_where_the_profile_says_so(trained, monkeypatch):
    asked = []

    def load_proxy(name, codec, profile, references):
        asked.append((name, codec, profile.proxy.name, references.shape))
        return make_proxy(name, n=2, m=2)

    monkeypatch.setattr(coding, "load_proxy", load_proxy)
    train_preprocessor(profile(), "cells", "webp")
    assert asked == [("Hyperprior", "webp", "Hyperprior", (8, 3, 16, 16))] and len(trained) == 1
    mine = parameters(codec="webp")
    assert mine["learned_proxy"] == profile().proxy.model_dump() and "learned_proxy" not in parameters()


def test_finished_work_is_left_alone_and_other_parameters_begin_anew(trained):
    folder = train_preprocessor(profile(), "cells", "jpeg")
    before = tiny.weights(folder)
    train_preprocessor(profile(), "cells", "jpeg")
    assert len(trained) == 1 and tiny.weights(folder) == before
    train_preprocessor(profile(training={"lr": 1e-2}), "cells", "jpeg")
    assert len(trained) == 2 and tiny.weights(folder) != before


def test_a_preprocessor_without_task_never_sees_the_answer(monkeypatch):
    terms = tiny.log(train_preprocessor(profile(), "cells", "jpeg", "npp_mse", 5))
    assert all(line["recognition"] == 0 for line in terms if "loss" in line)


def test_pictures_before_and_behind_the_codec_are_those_of_the_chain(monkeypatch):
    folder, pictures = train_preprocessor(profile(), "cells", "jpeg"), tiny.pictures(3)
    wanted, calls = parameters(), []
    pre = AtStrength(load_preprocessor(folder, wanted), wanted["rungs"][1][2])
    expected = Chain(Coded(load_codec("jpeg"), 60), pre=pre)(pictures.batch(torch.arange(3))[0], torch.arange(3))
    monkeypatch.setattr(coding, "preprocess", lambda *given: calls.append(1) or preprocess(*given))
    clean, sent, decoded = coding.pair_at(profile(), "cells", "jpeg", "npp_qa", None, 0, pictures)
    assert torch.equal(clean, pictures.batch(torch.arange(3))[0]) and torch.equal(decoded, expected["stored"])
    assert torch.equal(sent, to_8bit(pre(clean))) and not torch.equal(sent, clean) and len(calls) == 2


# Numbers


def answers(**judges) -> Answers:
    right = {name: {"top1": torch.tensor(flags).bool()} for name, flags in judges.items()}
    return Answers(torch.tensor([30.0, 32.0]), torch.ones(2), right, torch.tensor([96, 32]))


def test_bits_a_pixel_are_those_of_the_files_over_the_clean_pixels():
    assert bits_per_pixel(answers(), tiny.pictures(2)) == pytest.approx(8 * 64 / 256)
    pictures = tiny.pictures(3)
    images, codec = pictures.batch(torch.arange(3))[0], load_codec("jpeg")
    sizes = [len(file) for file in codec.encode(to_arrays(images), 30)]
    found = Answers(torch.zeros(3), torch.zeros(3), {}, Coded(codec, 30).transmit(images)[1])
    assert bits_per_pixel(found, pictures) == pytest.approx(8 * sum(sizes) / (3 * 256))


def test_a_classifier_is_measured_by_its_first_answer():
    found = answers(mine=[1, 0])
    assert metric_of(found, "mine") == "top1" and score(found, None, "mine") == 50
    assert summary(found, tiny.pictures(2), "mine") == {"bpp": 2.0, "psnr": 31.0, "top1": 50.0}


def test_a_detector_is_measured_by_its_precision():
    pictures = boxed.pictures(2)
    found = answers()
    found.detections["it"] = [t | {"scores": torch.ones(1)} for t in pictures.all_targets()]
    assert metric_of(found, "it") == "map50" and score(found, pictures, "it") == pytest.approx(100)
    assert summary(found, pictures, "it")["map50"] == pytest.approx(100)
    found.detections["it"][1]["boxes"] += 500
    assert score(found, pictures, "it") == pytest.approx(50)  # two classes, one of them found


# What comes from elsewhere


def test_pictures_come_from_their_modules(monkeypatch):
    asked = []
    monkeypatch.undo()
    monkeypatch.setattr(elpv, "load", lambda part: tiny.pictures(name=part))
    monkeypatch.setattr(scenes, "load", lambda part, count: asked.append((part, count)))
    assert len(coding.load_pictures("cells", "test")) == 12
    few = coding.load_pictures("cells", "test", 5)
    assert (len(few), few.name) == (5, "test")
    known = tiny.pictures(name="test").images
    assert torch.equal(few.images, known[[0, 2, 4, 7, 9]])
    assert len(coding.load_pictures("cells", "test", 99)) == 12
    coding.load_pictures("scenes", "test", 7)
    coding.load_pictures("scenes", "validation")
    assert asked == [("test", 7), ("validation", None)]


def test_judges_are_frozen_and_in_order():
    found = coding.load_judges("cells", ["tiny:another", "tiny:recognizer"])
    assert list(found) == ["tiny:another", "tiny:recognizer"]
    assert all(isinstance(judge, nn.Module) and not judge.training for judge in found.values())
    assert not any(p.requires_grad for judge in found.values() for p in judge.parameters())

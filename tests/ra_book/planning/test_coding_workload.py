"""Counting what a profile asks for around codecs."""

import pytest
import torch

from ra_book.planning.coding_workload import PICTURES, SMALL, coding_jobs
from ra_book.planning.workload import count
from ra_core.data import elpv, scenes
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.proxies import make_proxy
from ra_core.judges.recognizer import load_recognizer
from ra_core.objectives import Preprocessing, Rung
from ra_core.params import load_profile

PROFILE = """
preprocessing:
  cells:
    source: cell_resnet20
    unseen: [cell_vgg8]
    recognition: soft_labels
    preprocessor: {width: 2, identity: true}
    postprocessor: {width: 2, blocks: 1, residual: true}
    training: {steps: 10, batch: 4}
    codecs:
      jpeg:
        {curve: [5, 20, 40], rungs: [[5, 0.5], [40, 2.0]], single: [5], npp_mse: [40], both_ends: true}
    transfer: {webp: [5, 40]}
"""


def by_name(profile) -> dict:
    return {job.name: job for job in coding_jobs(profile)}


class Sent(Preprocessing):
    """The objective without its codec, whose files are counted apart."""

    def _transmit(self, sent, quality):
        return sent.clone(), sent.new_zeros(len(sent))


def test_what_is_counted_is_what_the_objective_does(write):
    found = by_name(write(PROFILE))["npp_qa-jpeg"]
    net = make_preprocessor("NPPQA", width=2, identity=True, batch_norm="frozen")
    judge, proxy = load_recognizer("cell_resnet20"), make_proxy("BlockDCT", codec="jpeg")
    objective = Sent(None, proxy, judge, (Rung(40, 2.0, 0.25),), "soft_labels")
    images = torch.rand(2, 3, SMALL, SMALL, generator=torch.Generator().manual_seed(0))
    batch = objective.prepare(images, torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    done = count(lambda: objective.terms({"preprocessor": net}, batch)["loss"].backward(), 2, net, judge)
    pixels = elpv.CROP**2 / SMALL**2
    assert done.macs * pixels == pytest.approx(found.work.macs, rel=0.02)
    assert done.kept * pixels == pytest.approx(found.work.kept, rel=0.2)


def test_a_run_that_ships_is_not_trained():
    found = by_name(load_profile("quick"))
    assert found["npp_qa-heic"].runs == 1
    assert [job.runs for job in coding_jobs(load_profile("quick")) if job.part == "scenes"] == [0, 1]
    assert found["npp_qa-jpeg-optimized"].macs == 0  # that of the scenes; the last of its name


def test_methods_ask_for_what_they_have(write):
    found = by_name(write(PROFILE))
    assert set(found) == {
        "npp_qa-jpeg", "post-jpeg", "both-jpeg", "npp-jpeg-5", "npp_mse-jpeg-40",
        "evaluation of jpeg", "evaluation of webp",
    }  # fmt: skip
    macs = {name: job.work.macs for name, job in found.items()}
    assert macs["npp_mse-jpeg-40"] < macs["npp_qa-jpeg"] < macs["both-jpeg"] and macs["post-jpeg"] < macs["both-jpeg"]
    assert found["both-jpeg"].trained == found["npp_qa-jpeg"].trained + found["post-jpeg"].trained
    assert all(job.coders == (("webp" if "webp" in name else "jpeg", 1.0),) for name, job in found.items())


def test_test_pictures_are_coded_once_for_each_quality_of_each_method(write):
    found, test = by_name(write(PROFILE)), PICTURES["cells"][0]["test"]
    assert found["evaluation of jpeg"].pictures == (3 + 3 + 3 + 3 + 1 + 1) * test  # alone, npp_qa, post, both, ...
    assert found["evaluation of webp"].pictures == (2 + 2) * test
    twice = by_name(write(PROFILE, seeds=[0, 1]))
    assert twice["evaluation of jpeg"].pictures == (3 + 2 * 11) * test
    assert twice["npp_qa-jpeg"].macs == 2 * found["npp_qa-jpeg"].macs


def test_the_known_numbers_of_pictures_are_right():
    rows = elpv._labels(elpv._folder())
    assert {part: len(elpv._members(rows, part)) for part in elpv.PARTS} == PICTURES["cells"][0]
    assert PICTURES["scenes"] == (scenes.COUNTS, scenes.SIDE)


def test_learned_proxies_are_trained_only_where_they_do_not_ship(write):
    small = {"n": 4, "m": 6, "weights": [512.0, 128.0], "training": {"steps": 4, "batch": 2}}
    found = by_name(write(PROFILE, proxy=small))
    assert [found[f"hyperprior-{weight}"].pictures for weight in (512, 128)] == [8, 4]
    assert not [name for name in by_name(write(PROFILE)) if name.startswith("hyperprior")]

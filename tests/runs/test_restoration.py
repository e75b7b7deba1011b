import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from tiny import profile

from ra_core import data, params
from ra_core.data import fingerprint, split_train
from ra_core.methods import restoring
from ra_core.params import load_profile
from ra_core.paths import profile_folder, project_root
from ra_core.runs import resolve
from ra_core.runs.folder import is_begun, write_params

pytestmark = pytest.mark.usefixtures("tiny_project")


def run_parameters(*given) -> dict:
    return resolve(*given).parameters


def make_networks(*given) -> dict:
    return resolve(*given).networks()


def load_splits(profile, *parts) -> dict:
    return data.load_splits(profile.data, parts, project_root(), profile_folder(profile.name))


# What a run depends on


@pytest.mark.parametrize(
    "overrides",
    [
        {"data": {"test_per_class": 2}},
        {"unseen": ["resnet26"]},
        {"unseen": []},
        {"modes": ["plain", "ra"]},
        {"seeds": [0, 1, 2]},
        {"evaluation_batch": 7},
        {"channels": {"factor": 8, "quality": 50}},
        {"tasks": {"sr": {"training": {"steps": 99}}}},
        {"tasks": {"dn": {"weights": {"ra_transformer": 0.5}}}},
        {"tasks": {"dn": {"transformer": {"width": 8}}}},
    ],
    ids=str,
)
def test_a_run_does_not_depend_on_what_does_not_touch_it(overrides):
    assert run_parameters(profile(**overrides), "dn", "ra", 0) == run_parameters(profile(), "dn", "ra", 0)


@pytest.mark.parametrize(
    "overrides",
    [
        {"tasks": {"dn": {"training": {"lr": 1e-2}}}},
        {"tasks": {"dn": {"training": {"steps": 4}}}},
        {"tasks": {"dn": {"training": {"batch": 4}}}},
        {"tasks": {"dn": {"training": {"precision": "bf16"}}}},
        {"tasks": {"dn": {"processor": {"width": 5}}}},
        {"tasks": {"dn": {"weights": {"ra": 0.5}}}},
        {"channels": {"sigma": 0.2}},
        {"source": "resnet20"},
        {"data": {"train_per_class": 3}},
        {"data": {"validation_per_class": 3}},
        {"data": {"source": "download"}},
        {"threads": 2},
        {"device": "auto"},
    ],
    ids=str,
)
def test_a_run_depends_on_what_touches_it(overrides):
    assert run_parameters(profile(**overrides), "dn", "ra", 0) != run_parameters(profile(), "dn", "ra", 0)


def test_runs_differ_by_task_mode_seed_and_transformer():
    settings = profile(tasks={"sr": {}}, modes=restoring())
    runs = [(task, mode, seed) for task in ("sr", "dn") for mode in restoring() for seed in (0, 1)]
    found = [json.dumps(run_parameters(settings, *run), sort_keys=True) for run in runs]
    assert len(set(found)) == len(runs)
    wider = profile(tasks={"dn": {"transformer": {"width": 8}}})
    of_t = [run_parameters(p, "dn", "ra_transformer", 0) for p in (profile(), wider)]
    assert of_t[0] != of_t[1]
    assert run_parameters(settings, "dn", "ra_transform", 0) == run_parameters(settings, "dn", "ra_transformer", 0)


def test_parameters_of_every_run_are_known_again_from_their_file(tmp_path):
    for name in ("smoke", "quick", "cifar10", "imagenet"):
        settings = load_profile(name, folder=Path(params.__file__).parents[2] / "params")
        for task in settings.tasks:
            for mode in settings.modes:
                parameters = run_parameters(settings, task, mode, 0)
                write_params(tmp_path / "run", parameters)
                assert is_begun(tmp_path / "run", parameters)


# What goes in


def test_splits_are_those_of_the_profile():
    splits = load_splits(profile(), "test", "train", "validation")
    assert list(splits) == ["test", "train", "validation"]
    for part, per_class in (("train", 4), ("validation", 2), ("test", 3)):
        assert torch.bincount(splits[part].labels).tolist() == [per_class] * 3
    whole = split_train(tiny.load("shipped", "train"), 2)
    assert fingerprint(splits["validation"]) == fingerprint(whole["validation"])
    assert len(load_splits(profile(data={"train_per_class": 0}), "train")["train"]) == 18
    assert list(load_splits(profile(), "test")) == ["test"]


def test_training_pictures_are_not_those_of_validation():
    splits = load_splits(profile(data={"train_per_class": 0}), "train", "validation")
    train, validation = (set(splits[part].digests()) for part in ("train", "validation"))
    assert len(train) == 18 and len(validation) == 6 and not train & validation


def test_a_folder_is_looked_for_in_the_project(tiny_project, monkeypatch):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tiny_project / "data" / "mine" / part / name).mkdir(parents=True)
            for i in range(5):
                picture = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(picture).save(tiny_project / "data" / "mine" / part / name / f"{i}.png")
    folder = {"kind": "folder", "source": "data/mine", "resize": 20, "crop": 16, "train_per_class": 0}
    monkeypatch.chdir(tiny_project / "notebooks")  # as JupyterLab does
    splits = load_splits(profile(data=folder), "train", "validation", "test")
    assert {part: len(s) for part, s in splits.items()} == {"train": 6, "validation": 4, "test": 6}
    assert splits["train"].batch(torch.arange(2))[0].shape == (2, 3, 16, 16)
    assert len(load_splits(profile(data=folder | {"source": str(tiny_project / "data" / "mine")}), "test")["test"]) == 6


def test_cifar10_is_looked_for_in_the_project(tiny_project, monkeypatch):
    asked = []
    monkeypatch.setattr("ra_core.data.cifar10.load", lambda *given: asked.append(given) or tiny.load(*given))
    monkeypatch.chdir(tiny_project / "notebooks")  # as JupyterLab does
    load_splits(profile(data={"source": "data/mine"}), "test")
    assert asked == [("data/mine", "test", tiny_project)]


def test_networks_of_a_seed_begin_the_same_in_every_mode():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = {mode: make_networks(profile(), "dn", mode, 0) for mode in restoring()}
    assert torch.equal(torch.get_rng_state(), state)
    first = found["plain"]["processor"].state_dict()
    for mode, nets in found.items():
        assert list(nets) == ["processor"] + ["transformer"] * (mode == "ra_transformer")
        assert all(torch.equal(value, first[name]) for name, value in nets["processor"].state_dict().items())
    other = make_networks(profile(), "dn", "plain", 1)["processor"].state_dict()
    assert not torch.equal(other["head.0.weight"], first["head.0.weight"])


def test_networks_have_the_size_and_scale_of_their_task():
    settings = profile(tasks={"sr": {"processor": {"width": 6, "blocks": 2}}, "dn": {"transformer": {"width": 7}}})
    processor = make_networks(settings, "sr", "ra", 0)["processor"]
    assert processor(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 16, 16) and processor.head[0].out_channels == 6
    nets = make_networks(settings, "dn", "ra_transformer", 0)
    assert nets["processor"](torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert nets["transformer"].head[0].out_channels == 7

import json
import re

import pytest
import tiny
import torch
from refusal import refusal
from tiny import profile

import ra_core.training as loop
from ra_core import data
from ra_core.channels import Noise
from ra_core.data import fingerprint
from ra_core.errors import ParameterError, RAError
from ra_core.files import content_of
from ra_core.params import load_profile
from ra_core.paths import profile_folder, project_root
from ra_core.runs import is_complete, resolve
from ra_core.steps import train, trainings

pytestmark = pytest.mark.usefixtures("tiny_project")


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings that are begun."""
    return tiny.count_trainings(monkeypatch)


def everything(folder) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def run_parameters(*given) -> dict:
    return resolve(*given).parameters


def train_run(*given):
    return train(resolve(*given))


def load_splits(profile, *parts) -> dict:
    return data.load_splits(profile.data, parts, project_root(), profile_folder(profile.name))


# Training


@pytest.mark.parametrize("mode", ["plain", "ra_transform"])
def test_a_run_leaves_exactly_what_is_contracted(tiny_project, mode):
    folder = train_run(profile(), "dn", mode, 3)
    mode = "ra_transformer" if mode == "ra_transform" else mode
    assert folder == tiny_project / "runs" / "tiny" / "dn" / mode / "seed3"
    files = ["log.jsonl", "params.yaml", "processor.safetensors", "run.json"]
    assert tiny.names(folder) == files + ["transformer.safetensors"] * (mode == "ra_transformer")
    run = json.loads((folder / "run.json").read_text())
    assert list(run) == [
        "profile", "task", "mode", "seed", "source", "git", "versions", "device", "threads", "data", "started",
        "wall_seconds", "peak_memory_mb", "images_per_s", "parameters", "sha256", "metrics",
    ]  # fmt: skip
    assert run["sha256"] == {net: content_of(folder / f"{net}.safetensors") for net in run["parameters"]}
    assert list(run.values())[:5] == ["tiny", "dn", mode, 3, "tiny:recognizer"]
    assert set(run["git"]) == {"commit", "dirty"}
    assert {"python", "torch", "torchvision", "numpy", "pillow", "ra_core"} <= set(run["versions"])
    assert re.fullmatch(r"cpu \(\w+, 1 threads\)", run["device"]) and run["threads"] == 1
    splits = load_splits(profile(), "train", "validation")
    assert run["data"] == {
        part: {"name": s.name, "pictures": len(s), "fingerprint": fingerprint(s)} for part, s in splits.items()
    }
    assert run["parameters"] == {net: 2414 for net in ("processor", "transformer")[: 1 + (mode != "plain")]}
    assert set(run["metrics"]) == {"psnr", "ssim", "top1"} and 3 < run["metrics"]["psnr"] < 40
    assert 0 < run["wall_seconds"] < 60 and 50 < run["peak_memory_mb"] < 1e5 and run["images_per_s"] > 0
    assert is_complete(folder, run_parameters(profile(), "dn", mode, 3))
    lines = tiny.log(folder)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5]
    assert lines[-1]["validation"] == run["metrics"]


def test_a_finished_run_is_not_repeated_and_not_touched(trained):
    folder = train_run(profile(), "dn", "ra", 0)
    before = everything(folder)
    for again in (profile(), profile(data={"test_per_class": 1}), profile(unseen=[]), profile(evaluation_batch=3)):
        assert train_run(again, "dn", "ra", 0) == folder
    assert everything(folder) == before and trained == ["dn ra seed0"]


def test_the_transformer_is_trained_on_the_finished_processor_of_plain(trained):
    folder = train_run(profile(), "dn", "ra_transformer", 0)
    assert trained == ["dn plain seed0", "dn ra_transformer seed0"]
    processor, transformer = ((folder / f"{name}.safetensors").read_bytes() for name in ("processor", "transformer"))
    assert processor == (folder.parents[1] / "plain" / "seed0" / "processor.safetensors").read_bytes()
    assert len({line["distortion"] for line in tiny.log(folder) if "loss" in line}) > 1  # batches differ
    train_run(profile(), "dn", "ra_transformer", 1)
    assert trained[2:] == ["dn plain seed1", "dn ra_transformer seed1"]
    other = folder.parent / "seed1" / "transformer.safetensors"
    assert other.read_bytes() != transformer


def test_a_changed_parameter_trains_again(trained):
    folder = train_run(profile(), "dn", "ra", 0)
    before = tiny.weights(folder)
    changed = profile(tasks={"dn": {"training": {"lr": 1e-2}}})
    train_run(changed, "dn", "ra", 0)
    assert len(trained) == 2 and tiny.weights(folder) != before
    assert is_complete(folder, run_parameters(changed, "dn", "ra", 0))
    train_run(profile(), "dn", "ra", 0)
    assert len(trained) == 3 and tiny.weights(folder) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"source": "tiny:recogniser"}, "recognizer 'tiny:recogniser' cannot be made"),
        ({"source": "resnet20"}, "recognizer 'resnet20' knows 10 classes"),
        ({"data": {"kind": "folder", "source": "nowhere"}}, "nowhere"),
        ({"data": {"train_per_class": 1000}}, "1000 pictures of each class"),
        ({"data": {"validation_per_class": 8}}, "8 pictures of each class"),
    ],
)
def test_a_mistake_costs_no_finished_run(tiny_project, overrides, said):
    folder = train_run(profile(), "dn", "ra", 0)
    before = everything(folder)
    assert said in refusal(RAError, train_run, profile(**overrides), "dn", "ra", 0)
    assert everything(folder) == before and is_complete(folder, run_parameters(profile(), "dn", "ra", 0))


@pytest.mark.parametrize(
    ("task", "mode", "seed", "said"),
    [
        ("jpg", "ra", 0, "no task 'jpg'"),
        ("dn", "rra", 0, "method 'rra' is unknown"),
        ("dn", "ra", -1, "seed -1 is not allowed; give a whole number from 0 to"),
        ("dn", "ra", 10**20, f"seed {10**20} is not allowed"),
    ],
)
def test_an_unknown_task_mode_or_seed_is_refused(tiny_project, task, mode, seed, said):
    assert said in refusal(ParameterError, train_run, profile(), task, mode, seed)
    assert tiny.names(tiny_project) == ["notebooks", "params"]


def test_overrides_have_runs_of_their_own(tiny_project):
    changed = load_profile("tiny", {"tasks": {"dn": {"training": {"steps": 2}}}})
    assert train_run(changed, "dn", "plain", 0) == tiny_project / "runs" / "tiny-custom" / "dn" / "plain" / "seed0"
    assert tiny.names(tiny_project / "runs") == ["tiny-custom"] and project_root() == tiny_project


def test_a_run_comes_back_as_it_was_trained(monkeypatch):
    kept = {}

    def fit(networks, *arguments, **keywords):
        kept.update(networks)
        return loop.fit(networks, *arguments, **keywords)

    monkeypatch.setattr(trainings, "fit", fit)
    train_run(profile(), "dn", "ra_transformer", 0)
    for mode in ("ra_transformer", "ra_transform"):
        run = resolve(profile(), "dn", mode, 0)
        nets, stored = run.load(), run.stored()
        chain = run.chain(nets)
        assert chain.channel == Noise(0.1) and stored.keys() == {"processor", "transformer"}
        assert chain.post is nets["processor"] and chain.transformer is nets["transformer"]
        for name, net in stored.items():
            assert all(torch.equal(v, kept[name].state_dict()[k]) for k, v in net.state_dict().items())

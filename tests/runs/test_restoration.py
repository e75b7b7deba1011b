import json

import noise
import pytest
import tiny
import torch
from refusal import refusal
from tiny import profile

from ra_core.errors import ParameterError, WeightsError
from ra_core.methods import restoring
from ra_core.runs import resolve, write_params
from ra_core.runs.folder import essence
from ra_core.steps import trainings

pytestmark = pytest.mark.usefixtures("tiny_project")


def run_parameters(*given) -> dict:
    return resolve(*given).parameters


def make_networks(*given) -> dict:
    return resolve(*given).networks()


# What a run depends on


@pytest.mark.parametrize(
    ("touches", "overrides"),
    [
        *((False, overrides) for overrides in (
            {"data": {"test_per_class": 2}}, {"unseen": ["resnet26"]}, {"unseen": []}, {"modes": ["plain", "ra"]},
            {"seeds": [0, 1, 2]}, {"evaluation_batch": 7}, {"channels": {"factor": 8, "quality": 50}},
            {"tasks": {"sr": {"training": {"steps": 99}}}}, {"tasks": {"dn": {"weights": {"ra_transformer": 0.5}}}},
            {"tasks": {"dn": {"transformer": {"width": 8}}}}, {"threads": 2}, {"device": "auto"},
        )),
        *((True, overrides) for overrides in (
            {"tasks": {"dn": {"training": {"lr": 1e-2}}}}, {"tasks": {"dn": {"training": {"steps": 4}}}},
            {"tasks": {"dn": {"training": {"batch": 4}}}}, {"tasks": {"dn": {"training": {"precision": "bf16"}}}},
            {"tasks": {"dn": {"processor": {"width": 5}}}}, {"tasks": {"dn": {"weights": {"ra": 0.5}}}},
            {"channels": {"sigma": 0.2}}, {"source": "resnet20"}, {"data": {"train_per_class": 3}},
            {"data": {"validation_per_class": 3}}, {"data": {"source": "download"}},
        )),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_what_touches_its_result(touches, overrides):
    changed, usual = (run_parameters(settings, "dn", "ra", 0) for settings in (profile(**overrides), profile()))
    assert (essence(changed) != essence(usual)) == touches


def test_what_was_finished_on_a_gpu_is_used_on_a_cpu(monkeypatch):
    begun, run = [], resolve(profile(), "dn", "ra")
    monkeypatch.setattr(trainings, "_train", lambda run, team: begun.append(run))
    write_params(run.folder, run_parameters(profile(device="cuda", threads=9), "dn", "ra", 0))
    (run.folder / "run.json").write_text("{}")
    assert trainings.train(run) == run.folder and not begun
    other = resolve(profile(tasks={"dn": {"training": {"lr": 1e-2}}}), "dn", "ra")
    trainings.train(other)
    assert begun == [other] and other.folder == run.folder


def test_where_a_folder_is_tested_is_no_parameter_of_its_run():
    folder = {"kind": "folder", "source": "data/mine"}
    apart = run_parameters(profile(data=folder | {"test": "data/other"}), "dn", "ra", 0)
    assert apart == run_parameters(profile(data=folder), "dn", "ra", 0) and "test" not in apart["data"]


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_how_pictures_are_kept_is_no_parameter_of_its_run_and_yet_told_to_what_loads_them(tiny_project, cache):
    for i in range(12):
        noise.save(tiny_project / "mine" / f"{i}.png", i)
    folder = {"kind": "folder", "source": "mine", "resize": 20, "crop": 16, "train_per_class": 0, "test_per_class": 0}
    usual, kept = (resolve(profile(data=folder | {"cache": how}), "dn", "ra") for how in ("none", cache))
    assert kept.parameters == usual.parameters and "cache" not in usual.parameters["data"]
    assert kept.fingerprints() == usual.fingerprints() and usual.splits()["train"].cache is None
    images = [run.splits()["train"].batch(torch.arange(2))[0] for run in (usual, kept)]
    assert torch.equal(*images)
    assert (kept.folder.parents[2] / "decoded-train.bin").exists() == (cache == "disk")


def test_runs_differ_by_task_mode_seed_and_transformer():
    settings = profile(tasks={"sr": {}}, modes=restoring())
    runs = [(task, mode, seed) for task in ("sr", "dn") for mode in restoring() for seed in (0, 1)]
    found = [json.dumps(run_parameters(settings, *run), sort_keys=True) for run in runs]
    assert len(set(found)) == len(runs)
    wider = profile(tasks={"dn": {"transformer": {"width": 8}}})
    of_t = [run_parameters(p, "dn", "ra_transformer", 0) for p in (profile(), wider)]
    assert of_t[0] != of_t[1]
    assert run_parameters(settings, "dn", "ra_transform", 0) == run_parameters(settings, "dn", "ra_transformer", 0)


# What it begins with


def begun_with(name: str, **task):
    return profile(tasks={"dn": {"start": name, **task}}, modes=restoring())


def test_a_training_begins_with_finished_networks_and_is_another_run(tiny_project):
    finished = resolve(profile(), "dn", "plain")
    trainings.train(finished)
    settings = begun_with("runs/tiny/dn/plain/seed0")
    run = resolve(settings, "dn", "ra_transformer")
    told = {
        "run": "runs/tiny/dn/plain/seed0",
        "sha256": json.loads((finished.folder / "run.json").read_text())["sha256"],
    }
    assert run.parameters["start"] == told
    assert run.before == resolve(settings, "dn", "plain", 0) and run.before.parameters["start"] == told
    assert {**run.parameters, "start": None} == {**run_parameters(profile(), "dn", "ra_transformer", 0), "start": None}
    fresh, begun = run.networks(), run.networks()
    run.begin(begun)
    trained = finished.stored()["processor"].state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in begun["processor"].state_dict().items())
    same = zip(begun["transformer"].parameters(), fresh["transformer"].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)  # the finished run has none

    trainings.train(run)
    kept = (folder / "processor.safetensors" for folder in (run.folder, run.before.folder))
    assert len({path.read_bytes() for path in kept}) == 1  # that of plain, begun with the same
    (finished.folder / "processor.safetensors").unlink()
    assert set(run.load()) == {"processor", "transformer"}  # what it began with is no longer needed


def test_what_a_training_begins_with_must_be_there_and_fit(tiny_project):
    trainings.train(resolve(profile(), "dn", "plain"))
    name = "runs/tiny/dn/plain/seed0"
    assert "did you mean 'photos/sr/plain'" in refusal(
        ParameterError, resolve, begun_with("photos/sr/plane"), "dn", "ra"
    )
    assert "has task sr" in refusal(ParameterError, resolve, begun_with("photos/sr/plain"), "dn", "ra")
    wider = begun_with(name, processor={"width": 5})
    assert "has processor" in refusal(ParameterError, resolve, wider, "dn", "ra")
    run = resolve(begun_with(name), "dn", "ra")
    weights = tiny_project / name / "processor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert "SHA-256" in refusal(WeightsError, trainings.train, run)


# What goes in


def test_a_folder_is_looked_for_in_the_project(tiny_project, monkeypatch):
    for part in ("train", "val"):
        for i in range(10):
            noise.save(tiny_project / "data" / "mine" / part / "ab"[i % 2] / f"{i}.png", i)
    folder = {"kind": "folder", "source": "data/mine", "resize": 20, "crop": 16, "train_per_class": 0}
    monkeypatch.chdir(tiny_project / "notebooks")  # as JupyterLab does
    run = resolve(profile(data=folder), "dn", "ra")
    splits = run.splits()
    assert {part: len(found) for part, found in splits.items()} == {"train": 6, "validation": 4}
    assert splits["train"].batch(torch.arange(2))[0].shape == (2, 3, 16, 16)
    elsewhere = resolve(profile(data=folder | {"source": str(tiny_project / "data" / "mine")}), "dn", "ra")
    assert run.fingerprints() == elsewhere.fingerprints() and run.own_pictures


def test_cifar10_is_looked_for_in_the_project_and_never_changes(tiny_project, monkeypatch):
    asked = []
    monkeypatch.setattr("ra_core.data.cifar10.load", lambda *given: asked.append(given) or tiny.load(*given))
    monkeypatch.chdir(tiny_project / "notebooks")  # as JupyterLab does
    run = resolve(profile(data={"source": "data/mine"}), "dn", "ra")
    assert {part: len(found) for part, found in run.splits().items()} == {"train": 12, "validation": 6}
    assert set(asked) == {("data/mine", "train", tiny_project)}
    assert run.fingerprints() == {} and not run.own_pictures


def test_networks_of_a_seed_begin_the_same_in_every_mode():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    settings = profile(modes=restoring())
    found = {mode: make_networks(settings, "dn", mode, 0) for mode in restoring()}
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

import json
import re

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image
from refusal import refusal

from ra_core import experiments, training
from ra_core.channels import Noise
from ra_core.data import fingerprint, split_train
from ra_core.errors import ParameterError, RAError, TrainingError
from ra_core.experiments import (
    evaluate_task,
    load_recognizers,
    load_run,
    load_splits,
    make_networks,
    merge_tables,
    run_parameters,
    set_threads,
    task_chains,
    train_run,
)  # fmt: skip
from ra_core.losses import MODES
from ra_core.params import load_profile
from ra_core.paths import project_root, run_folder
from ra_core.runs import is_begun, is_complete, write_params

ACCURACY = "profile,task,mode,seed,recognizer,role,n,top1,top1_low,top1_high,top5,psnr,ssim"
PAIRED = "profile,task,mode,seed,recognizer,role,n,difference,low,high"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project in a folder of its own, with tiny pictures in place of CIFAR-10."""
    with tiny.at_project(tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings that are begun."""
    return tiny.count_trainings(monkeypatch, experiments)


def profile(**overrides):
    """The tiny profile under its own name, with some values changed."""
    changed = load_profile("tiny", overrides or None)
    return changed.model_copy(update={"name": "tiny"})


def everything(folder) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


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
    settings = profile(tasks={"sr": {}}, modes=list(MODES))
    runs = [(task, mode, seed) for task in ("sr", "dn") for mode in MODES for seed in (0, 1)]
    found = [json.dumps(run_parameters(settings, *run), sort_keys=True) for run in runs]
    assert len(set(found)) == len(runs)
    wider = profile(tasks={"dn": {"transformer": {"width": 8}}})
    of_t = [run_parameters(p, "dn", "ra_transformer", 0) for p in (profile(), wider)]
    assert of_t[0] != of_t[1]
    assert run_parameters(settings, "dn", "ra_transform", 0) == run_parameters(settings, "dn", "ra_transformer", 0)


def test_parameters_of_every_run_are_known_again_from_their_file(tmp_path):
    for name in ("smoke", "quick", "cifar10", "imagenet"):
        settings = load_profile(name, folder=tiny.Path(experiments.__file__).parents[1] / "params")
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


def test_a_folder_is_looked_for_in_the_project(project, monkeypatch):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (project / "data" / "mine" / part / name).mkdir(parents=True)
            for i in range(5):
                picture = np.random.default_rng(i).integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(picture).save(project / "data" / "mine" / part / name / f"{i}.png")
    folder = {"kind": "folder", "source": "data/mine", "resize": 20, "crop": 16, "train_per_class": 0}
    monkeypatch.chdir(project / "notebooks")  # as JupyterLab does
    splits = load_splits(profile(data=folder), "train", "validation", "test")
    assert {part: len(s) for part, s in splits.items()} == {"train": 6, "validation": 4, "test": 6}
    assert splits["train"].batch(torch.arange(2))[0].shape == (2, 3, 16, 16)
    assert len(load_splits(profile(data=folder | {"source": str(project / "data" / "mine")}), "test")["test"]) == 6


def test_cifar10_is_looked_for_in_the_project(project, monkeypatch):
    asked = []
    monkeypatch.setattr("ra_core.data.cifar10.load", lambda *given: asked.append(given) or tiny.load(*given))
    monkeypatch.chdir(project / "notebooks")  # as JupyterLab does
    load_splits(profile(data={"source": "data/mine"}), "test")
    assert asked == [("data/mine", "test", project)]


def test_networks_of_a_seed_begin_the_same_in_every_mode():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = {mode: make_networks(profile(), "dn", mode, 0) for mode in MODES}
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


def test_recognizers_come_with_the_source_first():
    found = load_recognizers(profile())
    assert list(found) == ["tiny:recognizer", "tiny:another"]
    assert found["tiny:recognizer"](torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_threads_are_those_of_the_profile(monkeypatch):
    set_threads(profile())
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(experiments, "own_cores", lambda: 2)
    set_threads(profile(threads=0))
    assert torch.get_num_threads() == 2


# Training


@pytest.mark.parametrize("mode", ["plain", "ra_transform"])
def test_a_run_leaves_exactly_what_is_contracted(project, mode):
    folder = train_run(profile(), "dn", mode, 3)
    mode = "ra_transformer" if mode == "ra_transform" else mode
    assert folder == project / "runs" / "tiny" / "dn" / mode / "seed3"
    files = ["log.jsonl", "params.yaml", "processor.safetensors", "run.json"]
    assert tiny.names(folder) == files + ["transformer.safetensors"] * (mode == "ra_transformer")
    run = json.loads((folder / "run.json").read_text())
    assert list(run) == [
        "profile", "task", "mode", "seed", "source", "git", "versions", "device", "threads", "data", "started",
        "wall_seconds", "peak_memory_mb", "images_per_s", "parameters", "metrics",
    ]  # fmt: skip
    assert [run[key] for key in ("profile", "task", "mode", "seed", "source")] == [
        "tiny",
        "dn",
        mode,
        3,
        "tiny:recognizer",
    ]
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


def test_a_changed_parameter_trains_again(trained):
    folder = train_run(profile(), "dn", "ra", 0)
    before = tiny.weights(folder)
    changed = profile(tasks={"dn": {"training": {"lr": 1e-2}}})
    train_run(changed, "dn", "ra", 0)
    assert len(trained) == 2 and tiny.weights(folder) != before
    assert is_complete(folder, run_parameters(changed, "dn", "ra", 0))
    train_run(profile(), "dn", "ra", 0)
    assert len(trained) == 3 and tiny.weights(folder) == before


def test_an_unfinished_run_of_other_parameters_is_given_up(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "save_weights", stop)  # the checkpoint of the last step is written by then
        train_run(profile(), "dn", "ra", 0)
    folder = run_folder("tiny", "dn", "ra", 0)
    assert "checkpoint.pt" in tiny.names(folder) and "run.json" not in tiny.names(folder)
    changed = profile(tasks={"dn": {"training": {"lr": 1e-2}}})
    train_run(changed, "dn", "ra", 0)
    assert tiny.log(folder)[0]["lr"] == 1e-2
    assert tiny.names(folder) == ["log.jsonl", "params.yaml", "processor.safetensors", "run.json"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"source": "tiny:recogniser"}, "recognizer 'tiny:recogniser' cannot be made"),
        ({"data": {"kind": "folder", "source": "nowhere"}}, "nowhere is not a folder"),
        ({"data": {"train_per_class": 1000}}, "1000 pictures of each class"),
        ({"data": {"validation_per_class": 8}}, "8 pictures of each class"),
    ],
)
def test_a_mistake_costs_no_finished_run(project, overrides, said):
    folder = train_run(profile(), "dn", "ra", 0)
    before = everything(folder)
    assert said in refusal(RAError, train_run, profile(**overrides), "dn", "ra", 0)
    assert everything(folder) == before and is_complete(folder, run_parameters(profile(), "dn", "ra", 0))


@pytest.mark.parametrize(
    ("task", "mode", "said"), [("jpg", "ra", "no task 'jpg'"), ("dn", "rra", "mode 'rra' is unknown")]
)
def test_an_unknown_task_or_mode_is_refused(project, task, mode, said):
    assert said in refusal(ParameterError, train_run, profile(), task, mode, 0)
    assert tiny.names(project) == ["notebooks", "params"]


@pytest.mark.parametrize("seed", [-1, 10**20])
def test_a_seed_that_no_training_can_have_is_refused(project, seed):
    said = refusal(ParameterError, train_run, profile(), "dn", "ra", seed)
    assert f"seed {seed} is not allowed; give a whole number from 0 to" in said
    assert tiny.names(project) == ["notebooks", "params"]


def test_a_source_of_other_classes_is_refused_before_training(project, trained):
    said = refusal(ParameterError, train_run, profile(source="resnet20"), "dn", "ra", 0)
    assert "recognizer 'resnet20' knows 10 classes" in said and not trained


def test_a_broken_checkpoint_is_told_and_not_overwritten(project):
    folder = run_folder("tiny", "dn", "ra", 0)
    write_params(folder, run_parameters(profile(), "dn", "ra", 0))
    (folder / "checkpoint.pt").write_bytes(b"half a che")
    said = refusal(TrainingError, train_run, profile(), "dn", "ra", 0)
    assert said == f"{folder / 'checkpoint.pt'} is not a whole checkpoint; delete it to start anew."
    assert (folder / "checkpoint.pt").read_bytes() == b"half a che"


def test_overrides_have_runs_of_their_own(project):
    changed = load_profile("tiny", {"tasks": {"dn": {"training": {"steps": 2}}}})
    assert train_run(changed, "dn", "plain", 0) == project / "runs" / "tiny-custom" / "dn" / "plain" / "seed0"
    assert tiny.names(project / "runs") == ["tiny-custom"] and project_root() == project


def test_a_run_comes_back_as_it_was_trained(monkeypatch):
    kept = {}

    def fit(networks, *arguments, **keywords):
        kept.update(networks)
        return training.fit(networks, *arguments, **keywords)

    monkeypatch.setattr(experiments, "fit", fit)
    train_run(profile(), "dn", "ra_transformer", 0)
    for name in ("ra_transformer", "ra_transform"):
        chain = load_run(profile(), "dn", name, 0)
        assert chain.channel == Noise(0.1)
        for net, trained in ((chain.post, kept["processor"]), (chain.transformer, kept["transformer"])):
            assert all(torch.equal(v, trained.state_dict()[k]) for k, v in net.state_dict().items())


# Evaluation


def test_every_chain_of_a_task_is_trained_once_and_in_order(trained):
    settings = profile(modes=["plain", "ra"], seeds=[0, 4])
    chains = task_chains(settings, "dn")
    pairs = [("plain", 0), ("plain", 4), ("ra", 0), ("ra", 4)]
    assert list(chains) == [("oracle", 0), ("unprocessed", 0), *pairs]
    assert chains["oracle", 0].channel is None and chains["unprocessed", 0].post is None
    assert trained == [f"dn {mode} seed{seed}" for mode, seed in pairs]
    task_chains(settings, "dn")
    assert len(trained) == 4


def test_tables_have_exactly_the_contracted_columns_and_rows(project):
    settings = profile()
    accuracy, paired = evaluate_task(settings, "dn")
    folder = project / "runs" / "tiny" / "dn"
    assert (folder / "accuracy.csv").read_text().splitlines()[0] == ACCURACY
    assert (folder / "paired.csv").read_text().splitlines()[0] == PAIRED
    pd.testing.assert_frame_equal(pd.read_csv(folder / "accuracy.csv"), accuracy)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "paired.csv"), paired)

    versions = ["oracle", "unprocessed", *MODES]
    rows = [(mode, name) for mode in versions for name in settings.recognizers]
    assert list(zip(accuracy["mode"], accuracy["recognizer"], strict=True)) == rows
    assert set(accuracy["profile"]) == {"tiny"} and set(accuracy["task"]) == {"dn"} and set(accuracy["seed"]) == {0}
    assert accuracy["role"].tolist() == ["source", "unseen"] * 6 and set(accuracy["n"]) == {9}
    assert accuracy["psnr"].isna().tolist() == accuracy["ssim"].isna().tolist() == [True] * 2 + [False] * 10
    assert (accuracy["top1_low"] <= accuracy["top1"]).all() and (accuracy["top1"] <= accuracy["top1_high"]).all()
    assert accuracy[["top1", "top1_low", "top1_high", "top5"]].stack().between(0, 100).all()
    assert set(accuracy["top5"]) == {100}  # of three classes

    assert list(zip(paired["mode"], paired["recognizer"], strict=True)) == rows[6:]
    top1 = accuracy.set_index(["mode", "recognizer"])["top1"]
    for row in paired.itertuples():
        gain = top1[row.mode, row.recognizer] - top1["plain", row.recognizer]
        assert row.difference == pytest.approx(gain, abs=1e-3) and row.low <= row.difference <= row.high
    by_mode = accuracy.set_index(["mode", "recognizer"])
    assert by_mode.loc["ra_transformer", "psnr"].tolist() == by_mode.loc["plain", "psnr"].tolist()


def test_the_panel_holds_pictures_answers_and_confidences(project):
    evaluate_task(profile(seeds=[2, 0], modes=["plain", "ra"]), "dn")
    panel = np.load(project / "runs" / "tiny" / "dn" / "panel.npz")
    assert panel["versions"].tolist() == ["oracle", "unprocessed", "plain", "ra"]
    assert panel["recognizers"].tolist() == ["tiny:recognizer", "tiny:another"]
    assert panel["images"].shape == (4, 3, 3, 16, 16) and panel["images"].dtype == np.uint8
    assert panel["answers"].shape == panel["confidences"].shape == (4, 2, 3)
    assert panel["labels"].tolist() == [0, 1, 2] and panel["classes"].tolist() == list(tiny.CLASSES)
    test = load_splits(profile(), "test")["test"]
    chosen = [test.labels.tolist().index(label) for label in (0, 1, 2)]
    assert np.array_equal(panel["images"][0], test.images[chosen].numpy())
    # What is under a picture is what its recognizer says to that very picture, here of the first seed.
    assert is_complete(run_folder("tiny", "dn", "ra", 2), run_parameters(profile(), "dn", "ra", 2))
    for r, recognizer in enumerate(load_recognizers(profile()).values()):
        for v in range(4):
            confidence, answer = recognizer(torch.from_numpy(panel["images"][v]).float() / 255).softmax(1).max(1)
            assert panel["answers"][v, r].tolist() == answer.tolist()
            np.testing.assert_allclose(panel["confidences"][v, r], confidence.numpy(), rtol=1e-4)


def test_tables_of_all_tasks_are_put_together(project):
    small = {"processor": {"width": 4, "blocks": 1}, "training": {"steps": 2, "batch": 5}}
    settings = profile(tasks={"jpeg": small, "sr": small}, modes=["plain", "ra"])
    accuracy, paired = merge_tables(settings)
    assert list(accuracy["task"].unique()) == list(settings.tasks) == ["dn", "jpeg", "sr"]
    assert len(accuracy) == 3 * 4 * 2 and len(paired) == 3 * 2
    root = project / "runs" / "tiny"
    assert (root / "accuracy.csv").read_text().splitlines()[0] == ACCURACY
    for name in ("accuracy", "paired"):
        parts = [(root / task / f"{name}.csv").read_text().splitlines()[1:] for task in settings.tasks]
        assert (root / f"{name}.csv").read_text().splitlines()[1:] == [line for part in parts for line in part]


def test_without_plain_there_is_nothing_to_pair(project):
    accuracy, paired = merge_tables(profile(modes=["ra"]))
    assert len(accuracy) == 3 * 2 and len(paired) == 0
    assert (project / "runs" / "tiny" / "paired.csv").read_text() == PAIRED + "\n"

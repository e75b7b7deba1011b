"""Training from a folder of one's own: read ahead, without labels, and with compiled networks."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image
from ra_core.experiments import evaluate_task, load_splits, train_run
from refusal import refusal

from ra_core.data.folders import FolderPictures, load_flat, load_tree
from ra_core.errors import DataError, TrainingError
from ra_core.params import load_profile

FOLDER = {"kind": "folder", "source": "data/photos", "resize": 24, "crop": 16}
MODES = ["plain", "ra_unsupervised"]


def save(path, seed, side=30):
    array = np.random.default_rng(seed).integers(0, 256, (side, side + 7, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a folder of thirty pictures and two files that are none."""
    tiny.project(tmp_path)
    for seed in range(30):
        save(tmp_path / "data" / "photos" / f"{seed:02}.png", seed, side=20 + seed)
    (tmp_path / "data" / "photos" / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "data" / "photos" / "diary.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def profile(**overrides):
    values = {"data": FOLDER | {"validation_per_class": 1, "train_per_class": 0, "test_per_class": 0}, "modes": MODES}
    return load_profile("tiny", values | overrides).model_copy(update={"name": "tiny"})


def photos(project) -> FolderPictures:
    return load_flat(project / "data" / "photos", 0.4, 0.2, 24, 16)["train"]


def test_what_is_read_ahead_teaches_the_same_to_the_byte(project, monkeypatch):
    pictures = photos(project)
    for name, depth in (("now", 0), ("ahead", 2)):
        monkeypatch.setattr(FolderPictures, "prefetch", depth)
        tiny.train(project / name, pictures=pictures, steps=9, checkpoint_seconds=60)
    assert tiny.weights(project / "now") == tiny.weights(project / "ahead")
    losses = [[line["loss"] for line in tiny.log(project / name)] for name in ("now", "ahead")]
    assert losses[0] == losses[1]


def break_off(folder, pictures):
    """Train until the sixth batch is asked for."""
    calls = []

    class Stops(FolderPictures):
        def training_batch(self, indices, generator):
            calls.append(indices)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return super().training_batch(indices, generator)

    stopping = Stops(**{key: getattr(pictures, key) for key in pictures.__dataclass_fields__})
    with pytest.raises(KeyboardInterrupt):
        tiny.train(folder, pictures=stopping, steps=8)
    assert not (folder / "processor.safetensors").exists()


def test_a_run_that_goes_on_sees_the_pictures_it_would_have_seen(project):
    pictures = photos(project)
    tiny.train(project / "whole", pictures=pictures, steps=8)
    break_off(project / "broken", pictures)
    tiny.train(project / "broken", pictures=pictures, steps=8)
    assert tiny.weights(project / "broken") == tiny.weights(project / "whole")


def test_a_run_goes_on_with_a_copy_and_not_with_a_picture_that_changed(project):
    tree = project / "data" / "tree"
    for seed in range(12):
        save(tree / "train" / "ab"[seed % 2] / f"{seed}.bmp", seed)

    def pictures():
        return load_tree(tree, "train", 24, 16)

    break_off(project / "run", pictures())
    path = tree / "train" / "a" / "0.bmp"
    picture, size = Image.open(path), path.stat().st_size
    Image.eval(picture, lambda value: 255 - value).save(path)
    assert path.stat().st_size == size
    said = refusal(TrainingError, tiny.train, project / "run", pictures=pictures(), steps=8)
    assert said.startswith("the training pictures have changed since")
    picture.save(path)  # at another time
    tiny.train(project / "run", pictures=pictures(), steps=8)


def test_a_picture_that_breaks_while_training_is_named(project):
    pictures = photos(project)
    (pictures.folder / pictures.files[1]).write_text("gone bad")
    said = refusal(DataError, tiny.train, project / "run", pictures=pictures)
    assert pictures.files[1] in said and f"ra_core.data.check {pictures.folder} lists all such files" in said


def test_a_finished_run_of_pictures_that_have_changed_is_refused_and_kept(project):
    place = train_run(profile(), "dn", "plain", 0)
    assert train_run(profile(), "dn", "plain", 0) == place
    weights, gone = (place / "processor.safetensors").read_bytes(), project / "data" / "photos" / "07.png"
    kept = gone.read_bytes()
    gone.unlink()
    said = [
        refusal(DataError, train_run, profile(), "dn", "plain", 0),
        refusal(DataError, evaluate_task, profile(), "dn"),
    ]
    assert all("pictures have changed since the run in" in one and str(place) in one for one in said)
    assert (place / "processor.safetensors").read_bytes() == weights and (place / "run.json").exists()
    gone.write_bytes(kept)
    assert train_run(profile(), "dn", "plain", 0) == place


def test_modes_without_labels_learn_from_pictures_alone(project):
    accuracy, _ = evaluate_task(profile(), "dn")
    oracle = accuracy[accuracy["mode"] == "oracle"]
    assert (oracle["top1"] == 100).all()  # right is what each says to the clean picture
    assert accuracy["top1"].between(0, 100).all() and set(accuracy["mode"]) == {"oracle", "unprocessed", *MODES}
    run = json.loads((project / "runs/tiny/dn/ra_unsupervised/seed0/run.json").read_text())
    sizes = {part: facts["pictures"] for part, facts in run["data"].items()}
    assert sizes["train"] + sizes["validation"] + accuracy["n"].max() == 30
    panel = np.load(project / "runs/tiny/dn/panel.npz")
    assert panel["images"].shape[1] == len(panel["labels"]) == min(6, accuracy["n"].max())
    assert panel["labels"].tolist() == panel["answers"][0, 0].tolist()


def test_what_was_skipped_is_listed(project, capsys):
    load_splits(profile(), "train")
    path = project / "runs" / "tiny" / "skipped.csv"
    skipped = pd.read_csv(path)
    assert skipped["file"].tolist() == ["diary.png", "half.jpg"]
    assert "not a picture of a known kind" in skipped["reason"][0]
    assert "2 files of data/photos cannot be used and are skipped" in capsys.readouterr().out
    for name in skipped["file"]:
        (project / "data" / "photos" / name).unlink()
    load_splits(profile(), "train")
    assert not path.exists()


def test_the_first_process_alone_writes_and_tells_what_was_skipped(project, capsys, monkeypatch):
    kept = project / "runs" / "tiny" / "skipped.csv"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("by the first")
    monkeypatch.setenv("RANK", "1")
    load_splits(profile(), "train")
    assert capsys.readouterr().out == "" and kept.read_text() == "by the first"
    assert [path.name for path in kept.parent.iterdir()] == ["skipped.csv"]
    monkeypatch.setenv("RANK", "0")
    load_splits(profile(), "train")
    assert "2 files of data/photos" in capsys.readouterr().out and "diary.png" in kept.read_text()
    assert (kept.parent / "checked.json").exists()


def test_counts_a_class_mean_nothing_without_classes(project):
    said = refusal(DataError, load_splits, profile(data=FOLDER | {"test_per_class": 2}), "test")
    assert said.startswith("data/photos has no class folders, so train_per_class and test_per_class mean nothing")


@pytest.mark.parametrize("mode", ["ra", "ra_transformer"])
def test_modes_with_labels_are_refused_without_them(project, mode):
    said = refusal(DataError, train_run, profile(modes=["plain", mode]), "dn", mode, 0)
    assert said == (
        f"mode {mode} learns from labels, and data/photos holds pictures alone; train plain and ra_unsupervised, "
        "or add a table labels.csv or class folders."
    )


def test_a_table_of_labels_serves_every_mode(project):
    names = sorted(path.name for path in (project / "data" / "photos").glob("[0-9]*.png"))
    rows = [f"{name},{i % 3}" for i, name in enumerate(names)]
    (project / "data" / "photos" / "labels.csv").write_text("\n".join(["file,index", *rows]))
    accuracy, paired = evaluate_task(profile(modes=["plain", "ra"]), "dn")
    assert set(paired["mode"]) == {"ra"} and (accuracy["n"] == len(load_splits(profile(), "test")["test"])).all()


# Compiled networks


@pytest.fixture
def eager(monkeypatch):
    """Compile as torch does, but run what was captured as it stands; return how many networks were compiled."""
    compiled, compile = [], torch.nn.Module.compile

    def captured(net):
        compiled.append(net)
        compile(net, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", captured)
    yield compiled
    torch.compiler.reset()


def test_compiled_networks_learn_the_same_and_keep_their_names(tmp_path, eager):
    tiny.train(tmp_path / "plain", "ra_transformer")
    assert eager == []
    tiny.train(tmp_path / "compiled", "ra_transformer", compile=True)
    assert len(eager) == 3  # the recognizer too
    assert tiny.weights(tmp_path / "compiled") == tiny.weights(tmp_path / "plain")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a compiler")
def test_a_compiler_changes_a_training_by_rounding_alone(tmp_path):
    tiny.train(tmp_path / "plain", "ra")
    tiny.train(tmp_path / "compiled", "ra", compile=True)
    losses = [[line["loss"] for line in tiny.log(tmp_path / name)] for name in ("plain", "compiled")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)

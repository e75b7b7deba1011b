"""Training from a folder of one's own: without labels, going on, and with what has changed since."""

import json

import noise
import numpy as np
import pytest
import tiny
from PIL import Image
from refusal import refusal
from trouble import Interrupt, Interrupted

from ra_core.data.folders import load_tree
from ra_core.errors import DataError, TrainingError
from ra_core.runs import resolve
from ra_core.steps import evaluate_task, train

FOLDER = {"kind": "folder", "source": "data/photos", "resize": 24, "crop": 16}
MODES = ["plain", "ra_unsupervised"]


@pytest.fixture
def photos(tiny_project):
    """Thirty pictures of several sizes."""
    for seed in range(30):
        noise.save(tiny_project / "data" / "photos" / f"{seed:02}.png", seed)
    return tiny_project / "data" / "photos"


def profile(**overrides):
    data = FOLDER | {"validation_per_class": 1, "train_per_class": 0, "test_per_class": 0}
    return tiny.profile(**{"data": data, "modes": MODES} | overrides)


def test_a_run_goes_on_with_a_copy_and_not_with_a_picture_that_changed(tmp_path):
    for seed in range(12):
        noise.save(tmp_path / "tree" / "train" / "ab"[seed % 2] / f"{seed}.bmp", seed)

    def go_on(name, **changes):
        return tiny.train(tmp_path / name, pictures=load_tree(tmp_path / "tree", "train", 24, 16), steps=8, **changes)

    with pytest.raises(Interrupt):
        go_on("run", channel=Interrupted(6))
    path = tmp_path / "tree" / "train" / "a" / "0.bmp"
    picture, size = Image.open(path), path.stat().st_size
    Image.eval(picture, lambda value: 255 - value).save(path)
    assert path.stat().st_size == size and "training pictures" in refusal(TrainingError, go_on, "run")
    picture.save(path)  # at another time
    for name in ("run", "once"):
        go_on(name)
    assert tiny.weights(tmp_path / "run") == tiny.weights(tmp_path / "once")


def test_a_finished_run_of_pictures_that_have_changed_is_refused_and_kept(photos):
    run = resolve(profile(), "dn", "plain")
    place = train(run)
    weights, gone = tiny.weights(place), photos / run.splits()["train"].files[0]
    kept = gone.read_bytes()
    gone.unlink()
    for said in (refusal(DataError, train, run), refusal(DataError, evaluate_task, profile(), "dn")):
        assert "have changed" in said and str(place) in said
    assert tiny.weights(place) == weights and (place / "run.json").exists()
    gone.write_bytes(kept)
    assert train(run) == place


def test_modes_without_labels_learn_from_pictures_alone(tiny_project, photos):
    accuracy, _ = evaluate_task(profile(), "dn")
    assert (accuracy[accuracy["mode"] == "oracle"]["top1"] == 100).all()  # right is what each says to the clean picture
    assert accuracy["top1"].between(0, 100).all() and set(accuracy["mode"]) == {"oracle", "unprocessed", *MODES}
    run = json.loads((tiny_project / "runs/tiny/dn/ra_unsupervised/seed0/run.json").read_text())
    assert sum(facts["pictures"] for facts in run["data"].values()) + accuracy["n"].max() == 30
    answers = np.load(tiny_project / "runs/tiny/dn/answers.npz")
    assert len(answers["labels"]) == accuracy["n"].max()
    assert answers["labels"].tolist() == answers["answers"][0, 0].tolist()


@pytest.mark.parametrize("mode", ["ra", "ra_transformer"])
def test_modes_with_labels_are_refused_without_them(photos, mode):
    said = refusal(DataError, train, resolve(profile(modes=["plain", mode]), "dn", mode))
    assert mode in said and "data/photos" in said and "labels.csv" in said


def test_a_table_of_labels_serves_every_mode(photos):
    rows = [f"{path.name},{number % 3}" for number, path in enumerate(sorted(photos.glob("*.png")))]
    (photos / "labels.csv").write_text("\n".join(["file,index", *rows]))
    accuracy, paired = evaluate_task(profile(modes=["plain", "ra"]), "dn")
    assert set(paired["mode"]) == {"ra"} and accuracy["n"].nunique() == 1

import json

import boxed
import pytest
import tiny
import torch
from refusal import refusal
from safetensors import safe_open
from safetensors.torch import load_file
from trouble import killed

from ra_core.data import fingerprint
from ra_core.data.boxes import BoxedPictures
from ra_core.detection import detect, mean_ap
from ra_core.errors import DataError, ParameterError
from ra_core.judges.detector import load_detector
from ra_core.judges.detector_nets import TRUNKS, make_detector
from ra_core.pretraining import detectors
from ra_core.pretraining.detectors import RECIPE, Detection, main, train_detector

SIDECAR = {
    "name", "classes", "input", "features", "parameters", "stored", "recipe", "seed", "trained_on",
    "train_fingerprint", "train_pictures", "validated_on", "validation_fingerprint", "validation_pictures",
    "validation", "seconds", "threads", "torch", "machine",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(RECIPE, "batch", 3)


def train(folder, **changes):
    arguments = {
        "name": "fcos", "train": boxed.pictures(9), "validation": boxed.pictures(4, 1, name="others"),
        "folder": folder, "steps": 2, "device": "cpu",
    }  # fmt: skip
    return train_detector(**arguments | changes)


def test_it_says_what_it_did_and_writes_a_detector_of_that_score(tmp_path):
    sidecar, validation = train(tmp_path, steps=30), boxed.pictures(4, 1)
    assert tiny.names(tmp_path) == ["fcos.json", "fcos.safetensors"]
    assert set(sidecar) == SIDECAR and sidecar["recipe"] == RECIPE | {"steps": 30, "augmentation": "mirror"}
    assert json.loads((tmp_path / "fcos.json").read_text()) == sidecar
    assert (sidecar["classes"], sidecar["features"], sidecar["seed"]) == (list(boxed.CLASSES), "resnet20", 0)
    assert sidecar["train_fingerprint"] == fingerprint(boxed.pictures(9)) and sidecar["train_pictures"] == 9
    assert sidecar["validated_on"] == "others" and sidecar["validation_pictures"] == 4
    assert sidecar["parameters"] == sum(p.numel() for p in make_detector("fcos", 3).parameters())
    with safe_open(tmp_path / "fcos.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sidecar"]) == sidecar
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert not [name for name in stored if name.endswith("num_batches_tracked")]
    scores = mean_ap(detect(load_detector("fcos", folder=tmp_path), validation), validation.all_targets())
    assert {key: round(value, 2) for key, value in scores.items()} == sidecar["validation"]
    assert sidecar["validation"]["map50"] > 20


@pytest.mark.parametrize("name", TRUNKS)
def test_the_objective_is_the_sum_of_the_detector_s_losses(name):
    torch.manual_seed(0)
    net = make_detector(name, 3).train()
    objective = Detection(name)
    batch = objective.prepare(*boxed.pictures(3).batch(torch.arange(3)), None)
    terms = objective.terms({"detector": net}, batch)
    assert objective.settings == {"detector": name}
    parts = [value for key, value in terms.items() if key != "loss"]
    assert len(parts) >= 2 and torch.allclose(terms["loss"], sum(parts))
    terms["loss"].backward()
    assert sum(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters()) > 30


def test_killed_in_between_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    once = train(tmp_path / "once", name="faster_rcnn", steps=4)  # the one that draws boxes at random
    with killed(monkeypatch, Detection, 4):
        train(tmp_path / "again", name="faster_rcnn", steps=4)
    assert tiny.names(tmp_path / "again") == ["faster_rcnn.run"]
    again = train(tmp_path / "again", name="faster_rcnn", steps=4)
    assert tiny.names(tmp_path / "again") == ["faster_rcnn.json", "faster_rcnn.safetensors"]
    weights = [load_file(tmp_path / run / "faster_rcnn.safetensors") for run in ("once", "again")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert again | {"seconds": 0} == once | {"seconds": 0}


def test_what_cannot_be_trained_is_refused(tmp_path):
    assert "'yolo'" in refusal(ParameterError, train, tmp_path, name="yolo")
    pictures = boxed.pictures(3)
    others = BoxedPictures(pictures.keys, pictures.read, pictures.objects, ("cyan", "green", "blue"), "others")
    said = refusal(DataError, train, tmp_path, validation=others)
    assert "squares" in said and "others" in said and not list(tmp_path.glob("*.safetensors"))


def test_the_command_trains_on_the_scenes_or_on_a_folder(tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(detectors, "train_detector", lambda *given: called.append(given) or {"name": "fcos"})
    assert main(["retinanet", "--folder", str(tmp_path), "--steps", "7", "--seed", "3"]) == 0
    name, train_, validation, *rest = called.pop()
    assert (name, train_.name, validation.name) == ("retinanet", "scenes/train", "scenes/validation")
    assert rest == [tmp_path, 7, 3] and json.loads(capsys.readouterr().out) == {"name": "fcos"}
    root = boxed.folder(tmp_path / "squares", "coco", 40)
    assert main(["fcos", "--folder", str(tmp_path), "--pictures", str(root), "--resize", "32"]) == 0
    _, train_, validation, *_ = called.pop()
    assert (train_.name, validation.name) == ("squares/train", "squares/validation")
    assert all(min(size) == 32 for size in train_.sizes) and len(train_) > len(validation) > 0
    with pytest.raises(SystemExit):
        main(["yolo"])


@pytest.mark.parametrize("name", TRUNKS)
def test_pictures_may_differ_in_size(tmp_path, name):
    sidecar = train(tmp_path, name=name, train=boxed.mixed(9), validation=boxed.mixed(4))
    assert (sidecar["trained_on"], sidecar["train_pictures"]) == ("mixed", 9)


def test_what_fills_up_a_batch_is_not_looked_at():
    pictures = boxed.mixed(4)
    images, targets = pictures.training_batch(torch.arange(4), torch.Generator().manual_seed(0))
    shown = Detection("fcos").prepare(images, targets, None)["images"]
    assert [tuple(image.shape[1:]) for image in shown] == list(pictures.sizes)

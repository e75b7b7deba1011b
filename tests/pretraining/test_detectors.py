import json

import boxed
import pytest
import torch
from pretrained import train_detector as train
from refusal import refusal

from ra_core.data.boxes import BoxedPictures
from ra_core.detection import detect, mean_ap
from ra_core.errors import DataError, ParameterError
from ra_core.judges.detector import load_detector
from ra_core.judges.detector_nets import make_detector
from ra_core.judges.trunks import TRUNKS
from ra_core.pretraining import detectors
from ra_core.pretraining.detectors import RECIPE, Detection, main


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(RECIPE, "batch", 3)


def test_it_learns_and_its_score_is_that_of_the_stored_weights(tmp_path):
    sidecar, validation = train(tmp_path, name="fcos", steps=30), boxed.pictures(4, 1)
    assert sidecar["recipe"] == RECIPE | {"steps": 30, "augmentation": "mirror"}
    assert (sidecar["classes"], sidecar["features"]) == (list(boxed.CLASSES), "resnet20")
    assert (sidecar["validated_on"], sidecar["validation_pictures"]) == ("others", 4)
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
def test_pictures_may_differ_in_size_and_what_fills_up_a_batch_is_not_looked_at(tmp_path, name):
    sidecar, pictures = train(tmp_path, name=name, train=boxed.mixed(9), validation=boxed.mixed(4)), boxed.mixed(4)
    assert (sidecar["trained_on"], sidecar["train_pictures"]) == ("mixed", 9)
    images, targets = pictures.training_batch(torch.arange(4), torch.Generator().manual_seed(0))
    shown = Detection(name).prepare(images, targets, None)["images"]
    assert [tuple(image.shape[1:]) for image in shown] == list(pictures.sizes)


@pytest.mark.parametrize("numbers", ["--resize -5", "--steps -1", "--seed -1"])
def test_numbers_that_cannot_be_are_one_sentence(tmp_path, capsys, numbers):
    assert main(["fcos", "--folder", str(tmp_path), "--pictures", str(tmp_path), *numbers.split()]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert numbers.split()[1] in said

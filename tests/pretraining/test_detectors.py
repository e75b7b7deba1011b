import json

import boxed
import pytest
import tiny
import torch
from refusal import refusal
from safetensors import safe_open
from safetensors.torch import load_file

from ra_core.data import fingerprint
from ra_core.data.boxes import BoxedPictures
from ra_core.detection import detect, mean_ap
from ra_core.errors import DataError, ParameterError
from ra_core.judges.detector_nets import TRUNKS, make_detector
from ra_core.judges.detector import load_detector
from ra_core.pretraining import detectors
from ra_core.pretraining.detectors import RECIPE, STEPS, Detection, main, train_detector

SIDECAR = {
    "name", "classes", "input", "features", "parameters", "stored", "recipe", "seed", "trained_on",
    "train_fingerprint", "train_pictures", "validated_on", "validation_fingerprint", "validation_pictures",
    "validation", "seconds", "threads", "torch", "machine",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(RECIPE, "batch", 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(folder, **changes):
    arguments = {
        "name": "fcos", "train": boxed.pictures(9), "validation": boxed.pictures(4, 1, name="others"),
        "folder": folder, "steps": 2, "device": "cpu",
    }  # fmt: skip
    return train_detector(**arguments | changes)


def test_it_says_what_it_did_and_leaves_two_files(tmp_path):
    sidecar = train(tmp_path)
    assert tiny.names(tmp_path) == ["fcos.json", "fcos.safetensors"]
    assert set(sidecar) == SIDECAR and set(sidecar["validation"]) == {"map", "map50", "map75"}
    assert json.loads((tmp_path / "fcos.json").read_text()) == sidecar
    assert sidecar["recipe"] == RECIPE | {"steps": 2, "augmentation": "mirror"}
    assert (sidecar["classes"], sidecar["features"], sidecar["seed"]) == (list(boxed.CLASSES), "resnet20", 0)
    assert sidecar["train_fingerprint"] == fingerprint(boxed.pictures(9)) and sidecar["train_pictures"] == 9
    assert sidecar["validated_on"] == "others" and sidecar["validation_pictures"] == 4
    assert sidecar["parameters"] == sum(p.numel() for p in make_detector("fcos", 3).parameters())
    with safe_open(tmp_path / "fcos.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sidecar"]) == sidecar
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert not [name for name in stored if name.endswith("num_batches_tracked")]


def test_what_it_writes_is_a_detector_of_that_score(tmp_path):
    sidecar = train(tmp_path, steps=30)
    validation = boxed.pictures(4, 1)
    scores = mean_ap(detect(load_detector("fcos", folder=tmp_path), validation), validation.all_targets())
    assert {key: round(value, 2) for key, value in scores.items()} == sidecar["validation"]
    assert sidecar["validation"]["map50"] > 20


def test_the_features_begin_as_those_of_a_recognizer(tmp_path, monkeypatch):
    begun = []
    make = detectors.make_detector

    def watched(*arguments, **options):
        begun.append(options)
        return make(*arguments, **options)

    monkeypatch.setattr(detectors, "make_detector", watched)
    train(tmp_path, steps=1)
    assert begun == [{"trained_features": True}]


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


class Killed(BaseException):
    pass


def test_killed_in_between_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    once = train(tmp_path / "once", name="faster_rcnn", steps=4)  # the one that draws boxes at random
    terms, calls = Detection.terms, []

    def kill(self, networks, batch):
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return terms(self, networks, batch)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Detection, "terms", kill)
        train(tmp_path / "again", name="faster_rcnn", steps=4)
    assert tiny.names(tmp_path / "again") == ["faster_rcnn.run"]
    again = train(tmp_path / "again", name="faster_rcnn", steps=4)
    assert tiny.names(tmp_path / "again") == ["faster_rcnn.json", "faster_rcnn.safetensors"]
    weights = [load_file(tmp_path / run / "faster_rcnn.safetensors") for run in ("once", "again")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert again | {"seconds": 0} == once | {"seconds": 0}


def test_what_cannot_be_trained_is_refused(tmp_path):
    assert "detector 'yolo' is none of the small ones" in refusal(ParameterError, train, tmp_path, name="yolo")
    pictures = boxed.pictures(3)
    others = BoxedPictures(pictures.keys, pictures.read, pictures.objects, ("cyan", "green", "blue"), "others")
    said = refusal(DataError, train, tmp_path, validation=others)
    assert said == "squares and others have different classes; load both with the same ones."
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_command_trains_on_the_scenes(tmp_path, monkeypatch, capsys):
    called = []

    def note(*arguments):
        called.append(arguments)
        return {"name": "fcos"}

    monkeypatch.setattr(detectors, "train_detector", note)
    main(["retinanet", "--folder", str(tmp_path), "--steps", "7", "--seed", "3"])
    name, train_, validation, *rest = called[0]
    assert (name, train_.name, validation.name, rest) == (
        "retinanet",
        "scenes/train",
        "scenes/validation",
        [tmp_path, 7, 3],
    )
    assert json.loads(capsys.readouterr().out) == {"name": "fcos"}
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


def test_the_command_trains_on_a_folder(tmp_path, monkeypatch, capsys):
    called, root = [], boxed.folder(tmp_path / "squares", "coco", 40)
    monkeypatch.setattr(detectors, "train_detector", lambda *given: called.append(given) or {})
    main(["fcos", "--folder", str(tmp_path), "--pictures", str(root), "--resize", "32"])
    _, train_, validation, *_ = called[0]
    assert (train_.name, validation.name) == ("squares/train", "squares/validation")
    assert all(min(size) == 32 for size in train_.sizes) and len(train_) > len(validation) > 0
    capsys.readouterr()


def test_every_small_detector_has_a_length():
    assert set(STEPS) == set(TRUNKS) and min(STEPS.values()) > 0

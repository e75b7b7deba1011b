import json
import urllib.error

import boxed
import pytest
import torch
from refusal import refusal
from torch import nn
from torchvision import models

from ra_core.data import cifar10, scenes
from ra_core.detection import detect, mean_ap
from ra_core.errors import ParameterError, WeightsError
from ra_core.judges.detector import SHIPPED, Detected, Detector, load_detector
from ra_core.judges.detector_nets import Unresized, make_detector
from ra_core.judges.trunks import TRUNKS
from ra_core.models.weights import save_weights

LOSSES = {
    "fcos": {"classification", "bbox_regression", "bbox_ctrness"},
    "faster_rcnn": {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"},
    "retinanet": {"classification", "bbox_regression"},
}


@pytest.fixture(scope="module", params=TRUNKS)
def detector(request):
    """Each small detector with features of a recognizer and a fresh head."""
    torch.manual_seed(0)
    return Detector(make_detector(request.param, 3, trained_features=True), request.param, boxed.CLASSES)


@pytest.fixture
def batch():
    return boxed.pictures(3, side=96).batch(torch.arange(3))


# The wrapper


def test_answers_are_boxes_scores_and_labels_in_the_picture(detector, batch):
    with torch.inference_mode():
        answers = detector(batch[0][:, :, :80])
    assert len(answers) == 3
    for answer in answers:
        count = len(answer["scores"])
        assert answer["boxes"].shape == (count, 4) and answer["labels"].shape == (count,)
        assert ((answer["labels"] >= 0) & (answer["labels"] <= 3)).all()
        assert (answer["boxes"] >= 0).all() and (answer["boxes"] <= torch.tensor([96, 80, 96, 80])).all()


def test_losses_give_gradients_to_the_pictures_and_never_to_the_weights(detector, batch):
    images, targets = batch
    images.requires_grad_(True)
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for given in (targets, [nothing] * 3):
        torch.manual_seed(0)
        losses = detector.losses(images, given)
        assert set(losses) == LOSSES[detector.name]
        assert all(loss.ndim == 0 and loss.isfinite() and loss.requires_grad for loss in losses.values())
        (gradient,) = torch.autograd.grad(sum(losses.values()), images)
        assert (gradient.abs().amax((1, 2, 3)) > 0).all() and gradient.isfinite().all()
    assert not any(p.requires_grad or p.grad is not None for p in detector.parameters())


@pytest.mark.parametrize("name", ["fcos", "retinanet"])  # the boxes that the third looks at depend on the picture
def test_the_gradient_is_that_of_the_losses(name):
    torch.manual_seed(0)
    detector = Detector(make_detector(name, 3, trained_features=True), name, boxed.CLASSES).double()
    images, targets = boxed.pictures(1).batch(torch.arange(1))
    targets[0]["boxes"] = targets[0]["boxes"].double()
    # A flat picture has equal maxima, where there is no one gradient.
    images = torch.rand(images.shape, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(sum(detector.losses(images, targets).values()), images)
    direction, step = torch.randn_like(images), 1e-6
    with torch.no_grad():
        ahead, behind = (sum(detector.losses(images + s * direction, targets).values()) for s in (step, -step))
    slope = (gradient * direction).sum()
    assert slope.abs() > 1e-4
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(slope.item(), rel=1e-3)


def test_soft_labels_are_likelihoods_of_every_place_with_gradients(detector, batch):
    images = batch[0].requires_grad_(True)
    soft = detector.soft_labels(images)
    one_stage = detector.name != "faster_rcnn"
    assert len(soft) == 3 and soft.ndim == 3 and (soft.shape[2] > 1) == one_stage
    assert soft.min() >= 0 and soft.max() <= 1 and soft.std() > 0
    soft[0].square().sum().backward()
    reached = images.grad.abs().amax((1, 2, 3))
    assert reached[0] > 0 and (reached[1:] == 0).all()
    with torch.no_grad():
        torch.testing.assert_close(detector.soft_labels(images[1:2]), soft[1:2], rtol=1e-4, atol=1e-6)
    assert not any(p.requires_grad for p in detector.parameters())


def test_the_best_place_of_fcos_is_where_its_best_box_is():
    detector = load_detector("fcos")
    images, _ = scenes.load("validation", 2).batch(torch.arange(2))
    with torch.no_grad():
        soft = detector.soft_labels(images)
    for found, likely in zip(detector(images), soft, strict=True):
        assert found["scores"][0].item() == pytest.approx(likely.max().sqrt().item(), abs=1e-4)
        assert found["labels"][0].item() == likely.amax(0).argmax().item()


def test_asking_for_losses_leaves_everything_as_it_was(detector, batch):
    images, targets = batch
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    kept = [{key: value.clone() for key, value in target.items()} for target in targets]
    once = (torch.manual_seed(1), detector.losses(images, targets))[1]
    assert not any(module.training for module in detector.modules())
    assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
    assert all(torch.equal(t[key], k[key]) for t, k in zip(targets, kept, strict=True) for key in k)
    again = (torch.manual_seed(1), detector.losses(images, targets))[1]
    assert all(torch.equal(once[key], again[key]) for key in once)
    wrong = [{"boxes": targets[0]["boxes"].flip(1), "labels": targets[0]["labels"]}] * 3
    with pytest.raises(AssertionError):
        detector.losses(images, wrong)
    assert not any(module.training for module in detector.modules())


def test_ignored_objects_are_not_trained_on(detector, batch):
    images, targets = batch
    more = [target | {"ignored_boxes": torch.zeros(1, 4), "ignored_labels": torch.tensor([2])} for target in targets]
    values = []
    for given in (targets, more):
        torch.manual_seed(0)
        values.append(torch.stack(list(detector.losses(images, given).values())))
    assert torch.equal(*values)


def test_pictures_are_normalised_and_padded_but_never_resized(detector):
    pictures = [torch.rand(3, 50, 70), torch.rand(3, 64, 33)]
    batch, _ = detector.net.transform(pictures)
    assert batch.tensors.shape == (2, 3, 64, 96) and batch.image_sizes == [(50, 70), (64, 33)]
    mean, std = (torch.tensor(getattr(detector.net.transform, f"image_{key}")).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(batch.tensors[0, :, :50, :70], (pictures[0] - mean) / std, atol=1e-6)
    assert (batch.tensors[0, :, 50:] == 0).all()
    with torch.inference_mode():
        assert len(detector(pictures)) == 2
        for size in ((1, 1), (31, 200)):
            assert len(detector(torch.rand(1, 3, *size))) == 1


# Those that ship

TRAINED = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_detector_is_small_documented_and_works(name):
    file = SHIPPED / f"{name}.safetensors"
    assert file.stat().st_size <= 4e6
    sidecar = json.loads((SHIPPED / f"{name}.json").read_text())
    assert sidecar["name"] == name and tuple(sidecar["classes"]) == cifar10.CLASSES
    assert sidecar["trained_on"] == "scenes/train" and sidecar["validated_on"] == "scenes/validation"
    assert sidecar["validation"]["map50"] >= 60
    detector = load_detector(name)
    assert detector.classes == cifar10.CLASSES
    assert sidecar["parameters"] == sum(p.numel() for p in detector.parameters())
    test = scenes.load("test", 24)
    assert mean_ap(detect(detector, test), test.all_targets())["map50"] >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_detector_is_as_good_as_stated(name):
    stated = json.loads((SHIPPED / f"{name}.json").read_text())["validation"]
    validation = scenes.load("validation")
    scores = mean_ap(detect(load_detector(name), validation), validation.all_targets())
    assert scores == pytest.approx(stated, abs=0.3)


def shipped(folder, name: str = "fcos") -> None:
    """Lay a detector of three classes into a folder."""
    save_weights(make_detector(name, 3), folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps({"classes": boxed.CLASSES}))


@pytest.mark.parametrize("name", TRUNKS)
def test_a_detector_of_one_s_own_is_loaded_from_its_folder(tmp_path, name):
    shipped(tmp_path, name)
    detector = load_detector(name, folder=tmp_path)
    assert (detector.name, detector.classes) == (name, boxed.CLASSES)
    assert not any(p.requires_grad for p in detector.parameters())
    other = make_detector(name, 3)
    save_weights(other, tmp_path / "other.safetensors")
    found = load_detector(name, tmp_path / "other.safetensors", tmp_path).net.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in other.state_dict().items())


def test_broken_files_of_a_detector_are_refused(tmp_path):
    assert "fcos.json" in refusal(WeightsError, load_detector, "fcos", folder=tmp_path)
    shipped(tmp_path)
    for sidecar in ("[]", '{"name": "fcos"}', "3", '{"classes": ["one"]}'):
        (tmp_path / "fcos.json").write_text(sidecar)
        assert "fcos." in refusal(WeightsError, load_detector, "fcos", folder=tmp_path)


# torchvision's


def test_a_pretrained_detector_keeps_its_normalisation_and_classes(monkeypatch):
    asked = []

    def small(name, **options):
        asked.append((name, options))
        net = make_detector("fcos", options["num_classes"] - 1)
        net.transform.image_mean = [0.5, 0.25, 0.125]
        return net

    monkeypatch.setattr(models, "get_model", small)
    detector = load_detector("fcos_resnet50_fpn")
    weights = models.detection.FCOS_ResNet50_FPN_Weights.COCO_V1
    assert asked == [("fcos_resnet50_fpn", {"weights": weights, "weights_backbone": None, "num_classes": 91})]
    assert len(detector.classes) == 90 and detector.classes[:2] == ("person", "bicycle")
    assert detector.net.transform.image_mean == [0.5, 0.25, 0.125]
    assert isinstance(detector.net.transform, Unresized)


MOBILE = "fasterrcnn_mobilenet_v3_large_320_fpn"
FILE = f"hub/checkpoints/{MOBILE}-907ea3f9.pth"


def test_a_pretrained_detector_without_network_says_what_to_do(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    said = refusal(WeightsError, load_detector, MOBILE)
    assert MOBILE in said and str(tmp_path / FILE) in said and "TORCH_HOME" in said
    assert "Name or service not known" in said


def test_a_pretrained_detector_comes_from_the_cache_folder(tmp_path, monkeypatch):
    net = models.get_model(MOBILE, weights=None, weights_backbone=None, num_classes=91)
    (tmp_path / FILE).parent.mkdir(parents=True)
    torch.save(net.state_dict(), tmp_path / FILE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = load_detector(MOBILE)
    assert torch.equal(found.net.rpn.head.conv[0][0].weight, net.rpn.head.conv[0][0].weight)
    assert found.with_classes(("Dining table", "sofa")).classes == ("Dining table", "sofa")


# Other names


class Everything(nn.Module):
    """A detector that finds a box of each of its four classes, and keeps the targets it is trained on."""

    def __init__(self):
        super().__init__()
        self.transform = make_detector("fcos", 1).transform

    def forward(self, images, targets=None):
        self.targets = targets
        boxes = torch.arange(16.0).view(4, 4)
        found = {"boxes": boxes, "labels": torch.tensor([4, 3, 2, 1]), "scores": torch.arange(4.0)}
        return {} if targets else [found for _ in images]


def test_labels_are_those_of_the_classes_of_the_pictures():
    detector = Detector(Everything(), "all", ["cat", "dining table", "couch", "N/A"]).with_classes(("Sofa", "cat"))
    assert detector.classes == ("Sofa", "cat")
    (answer,) = detector([torch.zeros(3, 8, 8)])
    assert answer["labels"].tolist() == [1, 2] and answer["scores"].tolist() == [1, 3]
    assert torch.equal(answer["boxes"], torch.arange(16.0).view(4, 4)[[1, 3]])
    target = {"boxes": torch.ones(3, 4), "labels": torch.tensor([2, 1, 2])}
    detector.losses([torch.zeros(3, 8, 8)], [target])
    assert detector.net.targets[0]["labels"].tolist() == [1, 3, 1]
    assert target["labels"].tolist() == [2, 1, 2]
    again = detector.with_classes(("cat",))([torch.zeros(3, 8, 8)])
    assert again[0]["labels"].tolist() == [1] and again[0]["scores"].tolist() == [3]


def test_a_class_that_a_detector_does_not_know_is_named():
    said = refusal(ParameterError, Detector(Everything(), "all", ["cat"]).with_classes, ("Cat", "raccoon"))
    assert "'all'" in said and "'raccoon'" in said and "'Cat'" not in said


def test_a_detector_of_ones_own_is_named_by_its_place(tmp_path, monkeypatch):
    for name in ("params", "notebooks", "mine"):
        (tmp_path / name).mkdir()
    net = make_detector("retinanet", 2)
    save_weights(net, tmp_path / "mine" / "retinanet.safetensors")
    (tmp_path / "mine" / "retinanet.json").write_text(json.dumps({"classes": ["one", "two"]}))
    monkeypatch.chdir(tmp_path / "notebooks")
    for name in ("mine/retinanet", str(tmp_path / "mine" / "retinanet")):
        found = load_detector(name)
        assert (found.name, found.classes) == (name, ("one", "two"))
        assert torch.equal(next(found.net.parameters()), next(net.parameters()))
    assert "mine/fcos.json" in refusal(WeightsError, load_detector, "mine/fcos")


@pytest.mark.parametrize("name", ["ssd300_vgg16", "maskrcnn_resnet50_fpn", "resnet18", "FCOS", ""])
def test_an_unknown_name_is_refused(name):
    said = refusal(ParameterError, load_detector, name)
    assert repr(name) in said and "fcos, faster_rcnn, retinanet, fasterrcnn_mobilenet" in said


def test_boxes_are_found_in_full_precision_whatever_the_training_around_has(detector, batch):
    images, _ = batch
    precise = detector.look(images, images, None, None)["found"]
    with torch.autocast("cpu", torch.bfloat16):
        found = detector.look(images, images, None, None)["found"]
    assert all(torch.equal(one[key], same[key]) for one, same in zip(precise, found, strict=True) for key in one)


def test_what_was_found_becomes_arrays_with_the_surest_first():
    boxes = torch.arange(8.0).view(2, 4)
    found = [{"boxes": boxes, "scores": torch.tensor([0.2, 0.9]), "labels": torch.tensor([3, 1])}]
    found.append({key: value[:0] for key, value in found[0].items()})
    arrays = Detected(found, []).arrays()
    assert arrays["boxes"].shape == (2, 100, 4) and arrays["scores"].shape == arrays["labels"].shape == (2, 100)
    assert arrays["boxes"][0, :2].tolist() == [[4, 5, 6, 7], [0, 1, 2, 3]] and not arrays["boxes"][0, 2:].any()
    assert arrays["labels"][0, :3].tolist() == [1, 3, 0] and arrays["scores"][0, 0] == pytest.approx(0.9)
    assert not arrays["labels"][1].any()

"""Judges out of files: fed as their sidecar says, scored as any other."""

import warnings
from pathlib import Path

import boxed
import numpy as np
import pytest
import torch
from judge_files import CLASSES, DETECTOR, SCALING, SIDE, onnx_means, pictures, scripted, tflite_means, write
from PIL import Image
from refusal import refusal
from torchvision import models

from ra_core.chain import Chain
from ra_core.channels import make_channel
from ra_core.data import Pictures
from ra_core.detection import detect, mean_ap
from ra_core.errors import ParameterError
from ra_core.evaluation import evaluate
from ra_core.judges import load_judge
from ra_core.judges.files import resized
from ra_core.models.weights import save_weights

pytestmark = pytest.mark.usefixtures("empty_project")


def coloured(classes=("green", "blue", "red"), side: int = SIDE) -> Pictures:
    """Return pictures that are mostly of their class, which red, green and blue are in another order here."""
    images = torch.full((12, 3, side, side), 40, dtype=torch.uint8)
    labels = torch.arange(12) % 3
    for image, label in zip(images, labels.tolist(), strict=True):
        image[CLASSES.index(("green", "blue", "red")[label])] = 200
    return Pictures(images, labels, tuple(classes), "coloured")


def test_scaling_is_that_of_the_sidecar():
    scaling = {"channels": "BGR", "divisor": 2, "mean": [1, 2, 3], "std": [4, 5, 6]}
    write("means", onnx_means(), scaling=scaling)
    images = pictures()
    blue_first = (255 * images).flip(1).mean((2, 3))
    expected = (blue_first / 2 - torch.tensor([1, 2, 3])) / torch.tensor([4, 5, 6])
    assert torch.allclose(load_judge("means")(images), expected, atol=1e-4)


def test_a_background_class_is_left_out_and_probabilities_become_scores():
    probabilities = {"classes": ["green", "blue"], "background": True, "output": "probabilities"}
    write("means", tflite_means(), framework="tflite", **probabilities)
    images = pictures()
    expected = images.mean((2, 3))[:, 1:]
    found = load_judge("means")(images)
    assert torch.allclose(found.exp(), expected, atol=1e-5)
    assert load_judge("means")(torch.zeros(1, 3, SIDE, SIDE)).isfinite().all()


@pytest.mark.parametrize(
    ("rule", "size"), [("squeeze", (6, 9)), ("fit", (20, 12)), ("crop", (10, 8)), ("none", (4, 4))]
)
@pytest.mark.parametrize("before", [(16, 12), (5, 30), (6, 9)])
def test_pictures_are_resized_as_pillow_does_it(rule, size, before):
    image = torch.randint(0, 256, (1, 3, *before), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, across, down = resized(image, *size, rule)
    scale = {"fit": min, "crop": max}.get(rule, min)(size[0] / before[0], size[1] / before[1])
    after = {"squeeze": size, "none": before}.get(rule, tuple(max(1, round(side * scale)) for side in before))
    expected = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize(after[::-1], Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(expected)).permute(2, 0, 1).int()
    assert (down, across) == (after[0] / before[0], after[1] / before[1])
    if rule == "crop":
        top, left = (after[0] - size[0]) // 2, (after[1] - size[1]) // 2
        expected = expected[:, top : top + size[0], left : left + size[1]]
    assert found.shape[-2:] == (before if rule == "none" else size)
    inner = found[0, :, : expected.shape[1], : expected.shape[2]].int()
    assert (inner - expected).abs().max() <= 1
    if rule == "fit":
        assert (found[0, :, expected.shape[1] :] == 114).all() and (found[0, :, :, expected.shape[2] :] == 114).all()
    floats, *_ = resized(image / 255, *size, rule)
    assert (255 * floats - found).abs().max() <= 1.01


def test_a_network_of_torchvision_is_no_black_box_and_can_be_learned_from():
    torch.manual_seed(0)
    net = models.squeezenet1_1(num_classes=3).eval()
    save_weights(net, Path("judges", "own.safetensors"))
    scaling = {"channels": "BGR", "divisor": 1, "mean": [104, 117, 123]}
    fields = {"framework": "torchvision", "architecture": "squeezenet1_1", "input": [40, 40]}
    write("own", None, scaling=scaling, **fields)
    judge, images = load_judge("own", CLASSES), pictures(side=40).requires_grad_(True)
    expected = net((255 * images).flip(1) - torch.tensor([104, 117, 123]).view(3, 1, 1))
    assert not judge.black_box and torch.allclose(judge(images), expected, atol=1e-4)
    for term in (
        judge.task_loss(images, torch.tensor([0, 1, 2, 0, 1])),
        judge.distance(images, images.detach().flip(3)),
    ):
        (gradient,) = torch.autograd.grad(term.sum(), images)
        assert (gradient.abs().amax((1, 2, 3)) > 0).all()
    assert not any(p.requires_grad for p in judge.parameters())


@pytest.mark.parametrize("side", [SIDE, 20])
def test_a_black_box_is_scored_like_any_judge_in_the_order_of_the_pictures_classes(side):
    write("means", onnx_means())
    set_of, judge = coloured(side=side), load_judge("means")
    for chain in (Chain(), Chain(make_channel("dn"))):
        answers = evaluate(chain, {"it": judge}, set_of, batch=5)
        verdict = answers.verdicts["it"]
        assert verdict.value() == 100 and verdict.answer.tolist() == set_of.labels.tolist()
        assert verdict.interval()[0] == 100 and answers.summary("it")["top1"] == 100
    assert judge.distance(pictures(), pictures().flip(3)).max() < 1e-6
    images, unlabelled = pictures(), Pictures(pictures(), None, ("unknown",), "photos")
    assert judge.look(images, images, None, unlabelled)["top1"].all()


def test_pictures_of_other_classes_are_refused():
    write("means", onnx_means())
    judge = load_judge("means")
    assert "'yellow'" in refusal(ParameterError, judge.with_classes, ("red", "green", "yellow"))
    set_of = coloured(("red", "green", "blue", "yellow"))
    assert "coloured has 4" in refusal(ParameterError, evaluate, Chain(), {"it": judge}, set_of)


def test_a_judge_that_is_fed_wrongly_is_warned_of_on_clean_pictures_alone():
    write("means", onnx_means(), scaling={"channels": "BGR", "divisor": 255})
    write("right", onnx_means())
    judges = {name: load_judge(name) for name in ("means", "right")}
    with pytest.warns(UserWarning, match=r"'means' reaches 33\.3 % .* states 90\.0 %") as caught:
        evaluate(Chain(), judges, coloured())
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(Chain(make_channel("dn")), judges, coloured())


class FindsBright(torch.nn.Module):
    """A detector to be scripted, of the form that torchvision's have: losses, and boxes a picture."""

    def forward(self, images: list[torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
        found: list[dict[str, torch.Tensor]] = []
        for image in images:
            places = torch.nonzero(image.amax(0) > 0.6)
            if len(places) == 0:
                places = torch.zeros(1, 2, dtype=torch.long)
            low, high = places.amin(0), places.amax(0) + 1
            box = torch.stack([low[1], low[0], high[1], high[0]])[None].float()
            labels = image.mean((1, 2)).argmax()[None] + 1
            found.append({"boxes": box, "labels": labels, "scores": image.amax()[None]})
        return {}, found


def test_a_detector_in_torchscript_is_scored_on_boxed_pictures_of_any_size():
    fields = DETECTOR | {"classes": CLASSES, "resize": "none", "framework": "torchscript", "decoder": "faster_rcnn"}
    write("it", scripted(FindsBright(), Path("made.pt")), **fields)
    squares = boxed.mixed(6)
    judge = load_judge("it", squares.classes)
    assert judge.metric == "map50" and judge.black_box
    found = detect(judge, squares, batch=2)
    assert mean_ap(found, squares.all_targets()) == pytest.approx({"map": 100, "map50": 100, "map75": 100})
    answers = evaluate(Chain(), {"it": judge}, boxed.pictures(4), batch=2)
    assert answers.verdicts["it"].value() == pytest.approx(100)


def test_a_detector_of_torchvision_keeps_its_gradients_and_is_normalised_by_its_sidecar():
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    net = models.get_model(name, weights=None, weights_backbone=None, num_classes=3)
    save_weights(net, Path("judges", "it.safetensors"))
    scaling = SCALING | {"mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 1]}
    fields = DETECTOR | {"framework": "torchvision", "architecture": name, "resize": "none", "scaling": scaling}
    write("it", None, **fields)
    judge = load_judge("it")
    assert judge.classes == ("red", "green") and not judge.black_box
    assert judge.net.transform.image_mean == pytest.approx([0.5, 0.25, 0.125])
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    judge.task_loss(images, [{"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}]).backward()
    assert images.grad.abs().sum() > 0

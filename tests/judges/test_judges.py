"""What recognizers and detectors answer alike, and judges by name."""

from pathlib import Path

import boxed
import pytest
import torch
from refusal import refusal
from torch import nn

from ra_core.data import Pictures
from ra_core.errors import ParameterError
from ra_core.judges import JUDGES, Detector, Recognizer, load_judge
from ra_core.judges.detector_nets import make_detector
from ra_core.registry import load_extensions


def classifier(classes: int = 3) -> Recognizer:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes))
    return Recognizer(net, "small", (0.5,) * 3, (0.5,) * 3)


@pytest.fixture(params=["classifier", "detector"])
def both(request):
    """Return a judge and pictures with what it should say of them."""
    torch.manual_seed(0)
    squares = boxed.pictures(4)
    if request.param == "detector":
        return Detector(make_detector("fcos", 3, trained_features=True), "fcos", boxed.CLASSES), squares
    images = torch.stack([torch.from_numpy(squares.picture(i)).permute(2, 0, 1) for i in range(4)])
    return classifier(), Pictures(images, torch.tensor([0, 1, 2, 0]), boxed.CLASSES, "squares")


def test_every_judge_has_a_loss_by_labels_and_a_distance_without(both):
    judge, pictures = both
    images, labels = pictures.batch(torch.arange(4))
    seen = images.flip(3).requires_grad_(True)
    torch.manual_seed(0)
    loss, distance = judge.task_loss(seen, labels), judge.distance(seen, images)
    assert loss.shape == (() if judge.loss_of_batch else (4,)) and distance.shape == (4,)
    assert (distance > 0).all() and not judge.distance(images, images).any()
    for term in (loss, distance):
        [gradient] = torch.autograd.grad(term.sum(), seen, retain_graph=True)
        assert (gradient.abs().amax((1, 2, 3)) > 0).all() and gradient.isfinite().all()
    assert not any(p.requires_grad or p.grad is not None for p in judge.parameters())


def test_every_judge_looks_batch_by_batch_and_gives_one_verdict(both):
    judge, pictures = both

    def verdict(*batches):
        looks = []
        with torch.inference_mode():
            for indices in map(torch.tensor, batches):
                images, labels = pictures.batch(indices)
                looks.append(judge.look(images, images, labels, pictures))
        return judge.verdict(looks, pictures)

    once, again = verdict([0, 1, 2, 3]), verdict([0, 1], [2, 3])
    value, low, high = once.interval()
    assert once.metric == judge.metric and value == once.value() == again.value() and 0 <= low <= value <= high <= 100
    assert once.drawn().shape == (1000,) and (once.drawn() == again.drawn()).all()
    difference, low, high = once.difference(again)
    assert difference == 0 and low <= 0 <= high


def test_a_recognizer_needs_the_classes_of_the_labels_and_without_labels_is_asked_of_the_clean_picture():
    judge, images, labels = classifier(5), torch.rand(4, 3, 8, 8), torch.zeros(4).long()
    said = refusal(ParameterError, judge.look, images, images, labels, Pictures(images, labels, boxed.CLASSES, "mine"))
    assert "'small'" in said and "5" in said and "3" in said and "mine" in said
    assert judge.look(images, images, None, Pictures(images, None, ("one",), "unlabelled"))["top1"].all()


STRANGER = """
from torch import nn
from ra_core.judges import JUDGES, Recognizer

@JUDGES.register("blind")
def blind():
    return Recognizer(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), "blind", (0,) * 3, (1,) * 3)
"""


def test_a_judge_of_ones_own_is_registered_by_one_file_and_loaded_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(JUDGES, "_known", dict(JUDGES))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_judge.py").write_text(STRANGER)
    load_extensions(["my_judge"])
    judge = load_judge("blind", ("cat", "dog"))
    assert judge.name == "blind" and judge(torch.rand(1, 3, 2, 2)).shape == (1, 2)


def test_judges_that_ship_are_loaded_by_name_and_detectors_count_the_classes_given():
    assert isinstance(load_judge("vgg8"), Recognizer)
    assert load_judge("fcos", ("dog", "cat")).classes == ("dog", "cat") != load_judge("fcos").classes


@pytest.mark.usefixtures("empty_project")
def test_an_unknown_judge_brings_the_nearest_one_and_lists_those_in_files():
    Path("judges/mcunet_10fps.json").write_text("{}")
    said = refusal(ParameterError, load_judge, "mcunet_5fps")
    assert "'mcunet_5fps' is unknown; did you mean 'mcunet_10fps'?" in said and "resnet20, " in said
    for wrong, near in (("vgg_8", "vgg8"), ("resnet181", "resnet18"), ("fcos_resnet50_fp", "fcos_resnet50_fpn")):
        assert f"did you mean {near!r}?" in refusal(ParameterError, load_judge, wrong)
    said = refusal(ParameterError, load_judge, "nobody")
    assert "'nobody'" in said and "did you mean" not in said and ", mcunet_10fps, " in said

"""Several recognizers as one source."""

import pytest
import torch
from refusal import refusal

from ra_core.errors import ParameterError
from ra_core.judges import Ensemble, load_judge, members_of


def test_an_ensemble_is_the_mean_of_its_members():
    found, images = load_judge("resnet20+vgg8"), torch.rand(4, 3, 32, 32)
    assert isinstance(found, Ensemble) and found.name == "resnet20+vgg8"
    assert [each.name for each in found.members] == members_of(found.name) == ["resnet20", "vgg8"]
    first, second = (load_judge(name) for name in members_of(found.name))
    mean = (first(images).softmax(1) + second(images).softmax(1)) / 2
    assert torch.allclose(found(images).softmax(1), mean, atol=1e-6)
    labels, clean = torch.arange(4), torch.rand(4, 3, 32, 32)
    both = [(each.task_loss(images, labels), each.distance(images, clean)) for each in (first, second)]
    assert torch.allclose(found.task_loss(images, labels), (both[0][0] + both[1][0]) / 2)
    assert torch.allclose(found.distance(images, clean), (both[0][1] + both[1][1]) / 2)


def test_an_ensemble_is_frozen_and_stays_in_evaluation_mode():
    found = load_judge("resnet20+mobilenet").train()
    assert not any(module.training for module in found.modules())
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert first_member(found) is not found and load_judge("vgg8").members[0].name == "vgg8"


def first_member(judge):
    return judge.members[0]


def test_a_source_may_be_nobody():
    assert members_of(None) == []


@pytest.mark.parametrize("name", ["resnet20+fcos", "resnet20+nobody"])
def test_what_is_no_recognizer_is_refused(name):
    assert name.split("+")[1] in refusal(ParameterError, load_judge, name)

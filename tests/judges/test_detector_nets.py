"""The small detectors as networks: their features, the objects that they learn from, their levels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ra_core.judges.detector_nets import make_detector
from ra_core.judges.recognizer import load_recognizer
from ra_core.judges.trunks import TRUNKS


@pytest.mark.parametrize("name", TRUNKS)
def test_the_first_features_are_those_of_the_recognizer_at_half_the_size(name):
    trunk, net = TRUNKS[name], make_detector(name, 10, trained_features=True).eval()
    classifier, images = load_recognizer(trunk.recognizer).net, torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = nn.Sequential(*list(classifier)[: trunk.cuts[0]])(F.avg_pool2d(images, 2))
        found = net.backbone.stages[0](images)
    assert expected.shape == (2, trunk.widths[0], 8, 12)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", TRUNKS)
def test_every_size_of_object_is_learned_from(name):
    """Of objects from 28 to 128 pixels, none is without a place in the picture that answers for it."""
    torch.manual_seed(0)
    net = make_detector(name, 10).train()
    for side in (28, 40, 64, 90, 128):
        target = {"boxes": torch.tensor([[50.0, 50.0, 50 + side, 50 + side]]), "labels": torch.tensor([1])}
        losses = net([torch.rand(3, 224, 224)], [target])
        regression = losses.get("bbox_regression", losses.get("loss_rpn_box_reg"))
        assert regression > 0, side


@pytest.mark.parametrize("name", TRUNKS)
def test_all_weights_of_a_fresh_detector_can_be_trained_and_its_levels_have_strides_8_16_and_32(name):
    net = make_detector(name, 3, trained_features=True)
    assert all(p.requires_grad for p in net.parameters())
    assert make_detector(name, 3).state_dict().keys() == net.state_dict().keys()
    levels = net.backbone(torch.zeros(1, 3, 224, 224)).values()
    assert [tuple(level.shape) for level in levels] == [(1, 64, 28, 28), (1, 64, 14, 14), (1, 64, 7, 7)]

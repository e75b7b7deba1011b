"""Classifiers of solar cells: what they see, what is trained, and where their weights come from."""

import pytest
import torch
from torch import nn

from ra_core.models import cell_nets, efficientnet_lite
from ra_core.models.cell_nets import CELL_FAMILIES, begin_from_imagenet, on_imagenet, on_patches
from ra_core.models.cifar_nets import FAMILIES

SIZES = {
    "cell_resnet20": 278_434, "cell_vgg8": 522_370, "cell_mobilenet": 296_194, "cell_lite0": 701_218,
    "cell_lite1": 989_730,
}  # fmt: skip


def test_sizes():
    sizes = {name: sum(p.numel() for p in net(2).parameters()) for name, net in CELL_FAMILIES.items()}
    assert sizes == SIZES


@pytest.mark.parametrize("name", FAMILIES)
def test_squares_are_seen_as_pixels(name):
    torch.manual_seed(0)
    net = on_patches(name, 7, patch=2).eval()
    images = torch.randn(2, 3, 48, 64)
    squares = torch.cat([images[:, c : c + 1, y::2, x::2] for c in range(3) for y in (0, 1) for x in (0, 1)], 1)
    with torch.no_grad():
        assert torch.equal(net(images), net[1](squares)) and net(images).shape == (2, 7)
    assert type(net[1]) is type(FAMILIES[name]())


@pytest.mark.parametrize("name", CELL_FAMILIES)
def test_cells_of_296_pixels_become_logits_with_gradients(name):
    torch.manual_seed(0)
    images = torch.randn(2, 3, 296, 296, requires_grad=True)
    logits = CELL_FAMILIES[name](2)(images)
    assert logits.shape == (2, 2)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all() and images.grad.isfinite().all()


def test_of_a_network_on_imagenet_only_the_last_layer_is_trained():
    torch.manual_seed(0)
    net = on_imagenet("lite0", 2).train()
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["4.weight", "4.bias"]
    before = {name: value.clone() for name, value in net[1].state_dict().items()}
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    nn.functional.cross_entropy(net(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1])).backward()
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in net[1].state_dict().items())


def test_a_trunk_begins_with_the_published_weights(monkeypatch):
    torch.manual_seed(0)
    whole = efficientnet_lite.efficientnet_lite("lite0").eval()
    monkeypatch.setattr(efficientnet_lite, "published", lambda name: whole.state_dict())
    net = on_imagenet("lite0", 2).eval()
    begin_from_imagenet(net, "lite0")
    images = torch.randn(1, 3, 64, 64)
    blocks = 3 + sum(blocks for _, blocks, *_ in efficientnet_lite.STAGES[: cell_nets.STAGES])
    with torch.no_grad():
        assert torch.equal(net[1](images), whole[0][:blocks](images))

"""Classifiers of solar cells: what they see, what is trained, and where their weights come from."""

import pytest
import torch
from torch import nn

from ra_core.models import cell_nets, efficientnet_lite
from ra_core.models.cell_nets import begin_from_imagenet, on_imagenet, on_patches
from ra_core.models.cifar_nets import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_squares_are_seen_as_pixels(name):
    torch.manual_seed(0)
    net, images = on_patches(name, 7, patch=2).eval(), torch.randn(2, 3, 48, 64)
    squares = torch.cat([images[:, c : c + 1, y::2, x::2] for c in range(3) for y in (0, 1) for x in (0, 1)], 1)
    with torch.no_grad():
        assert torch.equal(net(images), net[1](squares)) and net(images).shape == (2, 7)
    assert list(net[1].state_dict()) == list(FAMILIES[name]().state_dict())


def test_of_a_network_on_imagenet_only_the_last_layer_is_trained():
    torch.manual_seed(0)
    net = on_imagenet("lite0", 2).train()
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["4.weight", "4.bias"]
    before = {name: value.clone() for name, value in net[1].state_dict().items()}
    nn.functional.cross_entropy(net(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1])).backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in net[1].state_dict().items())


def test_a_trunk_begins_with_the_published_weights(monkeypatch):
    torch.manual_seed(0)
    whole = efficientnet_lite.efficientnet_lite("lite0").eval()
    monkeypatch.setattr(efficientnet_lite, "published", lambda name: whole.state_dict())
    net = on_imagenet("lite0", 2).eval()
    begin_from_imagenet(net, "lite0")
    images = torch.randn(1, 3, 64, 96)
    blocks = 3 + sum(blocks for _, blocks, *_ in efficientnet_lite.STAGES[: cell_nets.STAGES])
    with torch.no_grad():
        found = net[1](images)
        assert torch.equal(found, whole[0][:blocks](images)) and found.shape == (1, 112, 4, 6)

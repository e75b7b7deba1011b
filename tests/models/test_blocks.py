"""Blocks that several networks are made of: what folding normalisation into convolutions keeps."""

import pytest
import torch
from torch import nn

from ra_core.models.blocks import fold_normalisation
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES


def trained(net: nn.Module) -> nn.Module:
    """Give every normalisation other statistics and factors, as a training does."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values, low in ((layer.running_mean, -0.2), (layer.running_var, 0.5)):
                nn.init.uniform_(values, low, low + 1)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.3, 0.3)
    return net.eval()


def answer_and_gradient(net: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    given = images.clone().requires_grad_()
    answer = net(given)
    (gradient,) = torch.autograd.grad(answer.square().sum(), given)
    return answer.detach(), gradient


@pytest.mark.parametrize("family", [*FAMILIES, "cell_lite0"])
def test_folded_networks_answer_as_before_and_so_do_their_gradients(family):
    torch.manual_seed(0)
    net = trained((FAMILIES | CELL_FAMILIES)[family](10))
    images = torch.rand(2, 3, *((64, 48) if family.startswith("cell") else (32, 32)))
    before, gradient = answer_and_gradient(net, images)
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    after, folded_gradient = answer_and_gradient(fold_normalisation(net), images)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-4 * before.abs().max())
    assert torch.allclose(folded_gradient, gradient, rtol=1e-2, atol=1e-4 * gradient.abs().max())
    left = sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
    assert left == (norms if family == "densenet17" else 0)  # there each stands before its convolution


def test_only_a_normalisation_right_behind_a_convolution_is_folded():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    kept = dict(net.state_dict())
    fold_normalisation(net)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in kept.items())

"""Blocks that several networks are made of: what folding normalisation into convolutions keeps."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

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


def norms_left(net: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in fold_normalisation(net).modules())


class Parts(nn.Module):
    """A way through two pairs of layers that depends on the pictures, so that only each pair is a fixed one."""

    def __init__(self, *parts: nn.Module):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        return self.parts[int(x.mean() > 0)](x)


class Named(nn.Module):
    """A convolution and a normalisation by name, `use(conv, norm, x)` of which it answers."""

    def __init__(self, use):
        super().__init__()
        self.conv, self.norm, self.use = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), use

    def forward(self, x):
        return self.use(self.conv, self.norm, x)


def test_a_resnet_of_torchvision_is_folded_whole():
    torch.manual_seed(0)
    net, images = trained(resnet18(num_classes=4)), torch.rand(2, 3, 64, 64)
    before, gradient = answer_and_gradient(net, images)
    assert norms_left(net) == 0
    after, folded_gradient = answer_and_gradient(net, images)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-4 * before.abs().max())
    assert torch.allclose(folded_gradient, gradient, rtol=1e-2, atol=1e-4 * gradient.abs().max())


def test_where_the_way_depends_on_the_pictures_the_fixed_parts_are_folded():
    pairs = [nn.Sequential(nn.Conv2d(3, 3, 1), trained(nn.BatchNorm2d(3))) for _ in range(2)]
    net, images = Parts(*pairs).eval(), torch.rand(2, 3, 8, 8)
    before = net(images), net(-images)
    assert norms_left(net) == 0
    assert all(torch.allclose(net(x), y, atol=1e-5) for x, y in zip((images, -images), before, strict=True))


@pytest.mark.parametrize(
    "use",
    [
        lambda conv, norm, x: norm(conv(x).relu()),
        lambda conv, norm, x: norm(conv(x)) + conv(-x),
        lambda conv, norm, x: (lambda found: norm(found) + found)(conv(x)),
        lambda conv, norm, x: norm(conv(norm(x))),
    ],
    ids=["not right behind it", "a convolution used twice", "its answer used twice", "a normalisation used twice"],
)
def test_what_cannot_be_folded_is_left_alone(use):
    net = Named(use)
    kept = dict(net.state_dict())
    assert norms_left(net) == 1
    assert all(torch.equal(net.state_dict()[key], value) for key, value in kept.items())

"""Blocks that several networks are made of: borders as in TensorFlow, and what folding normalisation keeps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from ra_core.models.blocks import SameConv, fold_normalisation
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.preprocessors import NPP
from ra_core.models.processors import SRResNet

NETS = FAMILIES | {
    "cell_lite0": CELL_FAMILIES["cell_lite0"], "resnet18": lambda classes: resnet18(num_classes=classes),
    "SRResNet": lambda classes: SRResNet(1, width=4, blocks=2), "NPP": lambda classes: NPP(width=2),
}  # fmt: skip
LEFT = {"densenet17": 17}  # normalisations before their convolution


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 8), (6, 5), (1, 2)])
def test_a_border_split_as_in_tensorflow_is_that_of_a_picture_with_zeros_around(kernel, stride, size):
    torch.manual_seed(0)
    conv, images = SameConv(2, 4, kernel, stride, groups=2), torch.rand(2, 2, *size, requires_grad=True)
    missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in size]
    (top, left), (height, width) = ([m // 2 for m in missing], missing)
    around = F.pad(images, (left, width - left, top, height - top))
    expected = F.conv2d(around, conv.weight, conv.bias, stride, groups=2)
    answer = conv(images)
    assert torch.allclose(answer, expected, atol=1e-6)
    wanted = images, conv.weight, conv.bias
    found, known = (torch.autograd.grad(each.square().sum(), wanted) for each in (answer, expected))
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, known, strict=True))


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


def norms_left(net: nn.Module) -> int:
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in fold_normalisation(net).modules())


@pytest.mark.parametrize("family", NETS)
def test_folded_networks_answer_as_before_and_so_do_their_gradients(family):
    torch.manual_seed(0)
    net = trained(NETS[family](10))
    images = torch.rand(2, 3, *((32, 32) if family in FAMILIES else (64, 48)))
    before, gradient = answer_and_gradient(net, images)
    assert norms_left(net) == LEFT.get(family, 0)
    after, folded_gradient = answer_and_gradient(net, images)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-4 * before.abs().max())
    assert torch.allclose(folded_gradient, gradient, rtol=1e-2, atol=1e-4 * gradient.abs().max())


class Doubled(nn.Conv2d):
    """A convolution of a stranger, who answers twice as much."""

    def forward(self, x):
        return 2 * super().forward(x)


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 1)


def norm(**kwargs) -> nn.BatchNorm2d:
    return trained(nn.BatchNorm2d(3, **kwargs))


def hooked(layer: nn.Module) -> nn.Module:
    layer.register_forward_hook(lambda layer, given, answer: 2 * answer)
    return layer


ONCE, ANYWHERE = nn.ReLU(), conv()


@pytest.mark.parametrize(
    ("net", "left"),
    [
        (nn.Sequential(conv(), nn.ReLU(), norm(), conv()), 1),
        (nn.Sequential(Doubled(3, 3, 1), norm()), 1),
        (nn.Sequential(hooked(conv()), norm()), 1),
        (nn.Sequential(conv(), hooked(norm())), 1),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), norm()), 1),
        (nn.Sequential(conv(), ONCE, conv(), ONCE, norm()), 1),
        (nn.Sequential(nn.Sequential(ANYWHERE, norm()), ANYWHERE, norm()), 0),
        (nn.Sequential(SameConv(3, 3, 3, 2), norm()), 0),
        (nn.Sequential(nn.ConvTranspose2d(3, 3, 3, 2), norm()), 0),
        (nn.Sequential(nn.ConvTranspose2d(3, 3, 3, 2, groups=3), norm()), 1),
    ],
    ids=["not right behind it", "of another kind", "hook of a convolution", "hook of a normalisation",
         "weights made anew at each call", "a layer in two places between", "a convolution in two places", "our own",
         "one that doubles the sides", "the same in groups"],
)  # fmt: skip
def test_what_can_be_folded_is_and_all_else_is_left_alone(net, left):
    images = torch.rand(2, 3, 8, 8)
    before = net.eval()(images)
    assert norms_left(net) == left
    assert torch.allclose(net(images), before, atol=1e-5)


def test_a_normalisation_by_the_batch_itself_is_left_alone():
    net = nn.Sequential(conv(), nn.BatchNorm2d(3, track_running_stats=False))
    assert norms_left(net) == 1

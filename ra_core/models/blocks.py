"""Blocks that several networks are made of."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class SameConv(nn.Conv2d):
    """A convolution whose border is split as TensorFlow does: at stride 2 an even side gets more on the far end."""

    def forward(self, x):
        before, after = zip(*map(self._sides, x.shape[-2:]), strict=True)
        weight = self.weight
        if before != after:  # zeros before the taps, which are few, take the place of a border only behind the picture
            weight = F.pad(weight, (after[1] - before[1], 0, after[0] - before[0], 0))
        return F.conv2d(x, weight, self.bias, self.stride, after, groups=self.groups)

    def _sides(self, size: int) -> tuple[int, int]:
        """Return how many pixels of border lie before and behind a side."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return missing // 2, missing - missing // 2


def relu() -> nn.ReLU:
    """Return a rectifier that writes over what it is given, which saves memory and a pass through it."""
    return nn.ReLU(inplace=True)


def conv_bn(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution and its normalisation; sides are kept at stride 1."""
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    """Layers beside the identity, or alone where there is no `shortcut`; nothing after the sum."""

    def __init__(self, *layers: nn.Module, shortcut: bool = True):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*layers), shortcut

    def forward(self, x):
        return x + self.body(x) if self.shortcut else self.body(x)


class Appended(nn.Sequential):
    """Layers whose answer stands behind their input, as in a densely connected network (Huang et al. 2017)."""

    def forward(self, x):
        return torch.cat([x, super().forward(x)], dim=1)


def stage(block: Callable[[int, int, int], nn.Module], c_in: int, c_out: int, stride: int, count: int) -> list:
    """Return blocks in a row, made by `block(c_in, c_out, stride)`; the first one changes channels and size."""
    return [block(c_in, c_out, stride), *(block(c_out, c_out, 1) for _ in range(count - 1))]


def parameter_count(net: nn.Module) -> int:
    """Return how many numbers a network has that may be learned."""
    return sum(p.numel() for p in net.parameters())


def for_inference(net: nn.Module, device: str | torch.device) -> nn.Module:
    """Return a network that is trained no more, in evaluation mode on a device, folded and laid out to be fast."""
    return fold_normalisation(net).to(device, memory_format=torch.channels_last)


def fold_normalisation(net: nn.Module) -> nn.Module:
    """Give every convolution of a network that is not trained any more the normalisation right behind it, in place.

    It answers the same within rounding, in less time and memory. Found are pairs that follow each other in a
    `Sequential`, and those of torchvision's ResNets, by their names.
    """
    for part in list(net.eval().modules()):
        layers = part._modules  # all of them: `named_children` leaves out what stands there a second time
        pairs = pairwise(layers) if type(part).forward is nn.Sequential.forward else ()
        if type(part).__module__ == "torchvision.models.resnet":
            pairs = [(f"conv{n}", f"bn{n}") for n in (1, 2, 3) if f"conv{n}" in layers]
        for name, behind in list(pairs):
            if _folds(layers[name], layers[behind]):
                conv, norm = layers[name], layers[behind]
                setattr(part, name, fuse_conv_bn_eval(conv, norm, transpose=conv.transposed))
                setattr(part, behind, nn.Identity())
    return net


def _folds(conv: nn.Module, norm: nn.Module) -> bool:
    """Say whether a pair of layers answers what its weights say: a stranger's own kind or a hook may change that.

    Torch fuses no transposed convolution in groups.
    """
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in (conv, norm))
    known = type(conv) in (nn.Conv2d, nn.ConvTranspose2d, SameConv) and type(norm) is nn.BatchNorm2d
    return known and not hooked and norm.track_running_stats and not (conv.transposed and conv.groups > 1)

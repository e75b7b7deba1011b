"""Blocks that several networks are made of."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


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


def fold_normalisation(net: nn.Module) -> nn.Module:
    """Give every convolution of a network that is not trained any more the normalisation right behind it, in place.

    It answers the same within rounding, in less time and memory. Only pairs that follow each other in a `Sequential`
    are found.
    """
    for part in net.eval().modules():
        if isinstance(part, nn.Sequential):
            for (name, layer), (behind, norm) in pairwise(list(part.named_children())):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(part, name, fuse_conv_bn_eval(layer, norm))
                    setattr(part, behind, nn.Identity())
    return net

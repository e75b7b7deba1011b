"""Blocks that several networks are made of."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn
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


class _Layers(fx.Tracer):
    """Follows pictures through a network; what consists of no other modules is a layer, also one of our own kind."""

    def is_leaf_module(self, module, name):
        return next(module.children(), None) is None or super().is_leaf_module(module, name)


def fold_normalisation(net: nn.Module) -> nn.Module:
    """Give every convolution of a network that is not trained any more the normalisation right behind it, in place.

    It answers the same within rounding, in less time and memory. Of a network whose way depends on what it is given
    only the parts are looked at that have a fixed one.
    """
    try:
        nodes = [node for node in _Layers().trace(net.eval()).nodes if node.op == "call_module"]
    except Exception:  # a stranger's forward pass may raise anything where it gets no picture
        for part in net.children():
            fold_normalisation(part)
        return net
    calls = Counter(node.target for node in nodes)
    for node in nodes:
        before = next(iter(node.all_input_nodes), None)
        if before in nodes and len(before.users) == calls[before.target] == calls[node.target] == 1:
            conv, norm = (net.get_submodule(name) for name in (before.target, node.target))
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
                net.set_submodule(before.target, fuse_conv_bn_eval(conv, norm))
                net.set_submodule(node.target, nn.Identity())
    return net

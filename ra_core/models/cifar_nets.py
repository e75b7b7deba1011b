"""Five small classifier families for 32 x 32 pictures: one source and four unlike it.

Each function returns a fresh network from normalised pictures (B, 3, 32, 32) to logits (B, classes).
"""

import torch
from torch import nn
from torch.nn import functional as F


def _conv_bn(c_in: int, c_out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


def _head(channels: int, classes: int, pool: nn.Module | None = None) -> list[nn.Module]:
    return [pool or nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(_conv_bn(c_in, c_out, 3, stride), nn.ReLU(), _conv_bn(c_out, c_out))
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else _conv_bn(c_in, c_out, 1, stride)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def _resnet(blocks: tuple[int, int, int], width: int, classes: int, c_in: int) -> nn.Sequential:
    layers, channels = [_conv_bn(c_in, width), nn.ReLU()], width
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(BasicBlock(channels, width * 2**stage, stride))
            channels = width * 2**stage
    return nn.Sequential(*layers, *_head(channels, classes))


def resnet20(classes: int = 10, c_in: int = 3) -> nn.Module:
    """ResNet-20 for CIFAR (He et al. 2016, section 4.2), with 1 x 1 shortcuts; the source recognizer."""
    return _resnet((3, 3, 3), 16, classes, c_in)


def resnet26(classes: int = 10, c_in: int = 3) -> nn.Module:
    """A deeper residual network whose depth sits in the coarse stages: 2, 4 and 6 blocks."""
    return _resnet((2, 4, 6), 16, classes, c_in)


def vgg8(classes: int = 10, c_in: int = 3) -> nn.Module:
    """Plain 3 x 3 convolutions and max pooling, no shortcuts (after Simonyan and Zisserman 2015)."""
    layers, channels = [], c_in
    for width in (32, 32, "pool", 64, 64, "pool", 128, 128, "pool", 192):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [_conv_bn(channels, width), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers, *_head(channels, classes, nn.AdaptiveMaxPool2d(1)))


class DenseLayer(nn.Module):
    """BN, ReLU, 3 x 3 convolution, appended to its input (Huang et al. 2017)."""

    def __init__(self, c_in: int, growth: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(c_in)
        self.conv = nn.Conv2d(c_in, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], dim=1)


def densenet17(classes: int = 10, c_in: int = 3, growth: int = 20, layers_per_block: tuple = (1, 5, 8)) -> nn.Module:
    """A densely connected network of 17 convolutions and growth 20, most of them in the coarse stages."""
    channels = 24
    layers: list[nn.Module] = [nn.Conv2d(c_in, channels, 3, padding=1, bias=False)]
    for block, count in enumerate(layers_per_block):
        for _ in range(count):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        if block < len(layers_per_block) - 1:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, *_head(channels, classes))


class InvertedResidual(nn.Module):
    """1 x 1 expansion, 3 x 3 depthwise, 1 x 1 projection (Sandler et al. 2018).

    The activation is hard-swish (Howard et al. 2019).
    """

    def __init__(self, c_in: int, c_out: int, stride: int, expansion: int):
        super().__init__()
        wide = c_in * expansion
        self.body = nn.Sequential(
            _conv_bn(c_in, wide, 1), nn.Hardswish(),
            _conv_bn(wide, wide, 3, stride, groups=wide), nn.Hardswish(),
            _conv_bn(wide, c_out, 1),
        )  # fmt: skip
        self.residual = c_in == c_out and stride == 1

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet(classes: int = 10, c_in: int = 3) -> nn.Module:
    """A mobile network of inverted residuals on a 16 x 16 grid."""
    layers: list[nn.Module] = [_conv_bn(c_in, 16), nn.Hardswish(), _conv_bn(16, 32, 3, 2), nn.Hardswish()]
    channels = 32
    for width, stride, count in ((32, 1, 2), (64, 2, 4), (96, 1, 3)):
        for block in range(count):
            layers.append(InvertedResidual(channels, width, stride if block == 0 else 1, expansion=3))
            channels = width
    layers += [_conv_bn(channels, 256, 1), nn.Hardswish()]
    return nn.Sequential(*layers, *_head(256, classes))


FAMILIES = {net.__name__: net for net in (resnet20, resnet26, vgg8, densenet17, mobilenet)}

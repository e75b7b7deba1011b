"""Five small classifier families for 32 x 32 pictures: one source and four unlike it.

Each function returns a fresh network from normalised pictures (B, 3, 32, 32) to logits (B, classes).
"""

from collections import OrderedDict

from torch import nn
from torch.nn import functional as F

from ra_core.models.blocks import Appended, Residual, conv_bn, relu, stage


def _classifier(layers: list[nn.Module], channels: int, classes: int, pool=nn.AdaptiveAvgPool2d) -> nn.Sequential:
    return nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(channels, classes))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, figure 2)."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(conv_bn(c_in, c_out, 3, stride), relu(), conv_bn(c_out, c_out))
        same = c_in == c_out and stride == 1
        self.shortcut = nn.Identity() if same else conv_bn(c_in, c_out, 1, stride)

    def forward(self, x):
        return F.relu_(self.body(x) + self.shortcut(x))


def _resnet(blocks: tuple[int, int, int], classes: int, c_in: int) -> nn.Sequential:
    layers, channels = [conv_bn(c_in, 16), relu()], 16
    for width, count, stride in zip((16, 32, 64), blocks, (1, 2, 2), strict=True):
        layers += stage(BasicBlock, channels, width, stride, count)
        channels = width
    return _classifier(layers, channels, classes)


def resnet20(classes: int = 10, c_in: int = 3) -> nn.Module:
    """ResNet-20 for CIFAR (He et al. 2016, section 4.2), with 1 x 1 shortcuts; the source recognizer."""
    return _resnet((3, 3, 3), classes, c_in)


def resnet26(classes: int = 10, c_in: int = 3) -> nn.Module:
    """A deeper residual network whose depth sits in the coarse stages: 2, 4 and 6 blocks."""
    return _resnet((2, 4, 6), classes, c_in)


def vgg8(classes: int = 10, c_in: int = 3) -> nn.Module:
    """Plain 3 x 3 convolutions and max pooling, no shortcuts (after Simonyan and Zisserman 2015)."""
    layers, channels = [], c_in
    for width in (32, 32, "pool", 64, 64, "pool", 128, 128, "pool", 192):
        if width == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [conv_bn(channels, width), relu()]
            channels = width
    return _classifier(layers, channels, classes, nn.AdaptiveMaxPool2d)


def densenet17(classes: int = 10, c_in: int = 3) -> nn.Module:
    """A densely connected network of 17 convolutions and growth 20, most of them in the coarse stages."""
    channels, growth = 24, 20
    layers: list[nn.Module] = [nn.Conv2d(c_in, channels, 3, padding=1, bias=False)]
    for count in (1, 5, 8):
        if len(layers) > 1:  # between two blocks
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(count):
            conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
            layers.append(Appended(OrderedDict(norm=nn.BatchNorm2d(channels), relu=relu(), conv=conv)))
            channels += growth
        layers += [nn.BatchNorm2d(channels), relu()]
    return _classifier(layers, channels, classes)


def inverted_residual(c_in: int, c_out: int, stride: int) -> nn.Module:
    """1 x 1 expansion, 3 x 3 depthwise, 1 x 1 projection (Sandler et al. 2018), hard-swish (Howard et al. 2019)."""
    wide = 3 * c_in
    return Residual(
        conv_bn(c_in, wide, 1), nn.Hardswish(), conv_bn(wide, wide, 3, stride, groups=wide), nn.Hardswish(),
        conv_bn(wide, c_out, 1), shortcut=c_in == c_out and stride == 1,
    )  # fmt: skip


def mobilenet(classes: int = 10, c_in: int = 3) -> nn.Module:
    """A mobile network of inverted residuals on a 16 x 16 grid."""
    layers, channels = [conv_bn(c_in, 16), nn.Hardswish(), conv_bn(16, 32, 3, 2), nn.Hardswish()], 32
    for width, stride, count in ((32, 1, 2), (64, 2, 4), (96, 1, 3)):
        layers += stage(inverted_residual, channels, width, stride, count)
        channels = width
    return _classifier([*layers, conv_bn(channels, 256, 1), nn.Hardswish()], 256, classes)


FAMILIES = {net.__name__: net for net in (resnet20, resnet26, vgg8, densenet17, mobilenet)}
# Those that were shown only the pictures of every second class.
OF_HALVES = {f"{net.__name__}_{half}": net for net in (resnet20, vgg8) for half in ("even", "odd")}

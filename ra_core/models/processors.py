"""Image-to-image networks: processors P and transformers T.

Every network maps pictures (B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W). At their default widths
they have the published sizes; `width` and `blocks` make them smaller.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from ra_core.registry import Registry
from ra_core.errors import ParameterError


def _to_unit_range(x: torch.Tensor) -> torch.Tensor:
    """Map any value to (0, 1) by a shifted hyperbolic tangent."""
    return (torch.tanh(x) + 1) / 2


class PReLU(nn.PReLU):
    """Parametric rectifier of one slope (He et al. 2015); on a CPU with a gradient of its own, faster there."""

    def forward(self, x):
        if x.device.type not in ("cpu", "meta"):  # on meta, planning counts what a CPU does
            return super().forward(x)
        return _OnCPU.apply(x, self.weight.to(x.dtype))


class _OnCPU(torch.autograd.Function):
    """torch's own answer; its gradient by way of ReLU's, which is vectorised: in bf16 four to five times as fast."""

    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x, slope)
        return torch.prelu(x, slope)

    @staticmethod
    def backward(ctx, gradient):
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(gradient, x, 0)  # the gradient where x > 0, else 0
        below = gradient - above
        return above + slope * below, (below * x).sum().view(1)


class ResidualBlock(nn.Module):
    """Convolution, BN, PReLU, convolution, BN, beside the identity; nothing after the sum."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), PReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x):
        return x + self.body(x)


class SRResNet(nn.Module):
    """Residual network with pixel-shuffle upsampling (Ledig et al. 2017, here with five blocks).

    734,092 parameters at scale 4 and 438,666 at scale 1. `scale` is a power of two. With `residual` the network's
    answer is subtracted from its input, enlarged by bicubic interpolation, and the difference clamped; its last layer
    begins at zero, so the network begins as the identity or as that enlargement.
    """

    def __init__(self, scale: int = 4, width: int = 64, blocks: int = 5, residual: bool = False):
        super().__init__()
        if scale < 1 or scale & (scale - 1):
            raise ParameterError(f"SRResNet was given scale {scale}; allowed are powers of two: 1, 2, 4, 8.")
        self.scale, self.residual = scale, residual
        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), PReLU())
        self.body = nn.Sequential(
            *[ResidualBlock(width) for _ in range(blocks)], nn.Conv2d(width, width, 3, padding=1), PReLU()
        )
        upsamplers = [
            nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), PReLU())
            for _ in range(int(math.log2(scale)))
        ]
        self.tail = nn.Sequential(*upsamplers, nn.Conv2d(width, 3, 9, padding=4))
        # A random answer can drive whole pictures into the clamp, where no gradient reaches them.
        if residual:
            nn.init.zeros_(self.tail[-1].weight)
            nn.init.zeros_(self.tail[-1].bias)

    def forward(self, x):
        features = self.head(x)
        answer = self.tail(features + self.body(features))
        if not self.residual:
            return _to_unit_range(answer)
        if self.scale > 1:
            x = nn.functional.interpolate(x, scale_factor=self.scale, mode="bicubic")
        return (x - answer).clamp(0, 1)


class _DenseLayer(nn.Module):
    def __init__(self, c_in: int, growth: int):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(c_in, growth, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return torch.cat([x, self.conv(x)], dim=1)


class SRDenseNet(nn.Module):
    """Densely connected super-resolution (Tong et al. 2017): 8 blocks of 8 layers; its output is not bounded.

    5,455,043 parameters at scale 4. `width` is the growth, `blocks` the number of blocks.
    """

    def __init__(self, scale: int = 4, width: int = 16, blocks: int = 8, layers: int = 8):
        super().__init__()
        if scale < 1 or scale & (scale - 1):
            raise ParameterError(f"SRDenseNet was given scale {scale}; allowed are powers of two: 1, 2, 4, 8.")
        self.scale = scale
        channels, reduced = width, 8 * width
        body: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(blocks * layers):
            body.append(_DenseLayer(channels, width))
            channels += width
        upsamplers = [nn.ConvTranspose2d(reduced, reduced, 4, 2, 1) for _ in range(int(math.log2(scale)))]
        self.net = nn.Sequential(
            *body, nn.Conv2d(channels, reduced, 1), *upsamplers, nn.Conv2d(reduced, 3, 3, padding=1)
        )

    def forward(self, x):
        return self.net(x)


class _ReflectBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        conv = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), nn.BatchNorm2d(width)]
        self.body = nn.Sequential(*conv, nn.ReLU(), *again)

    def forward(self, x):
        return x + self.body(x)


class ResnetGenerator(nn.Module):
    """Down twice, residual blocks, up twice (Johnson et al. 2016), as P for dn and jpeg and as the usual T.

    7,841,411 parameters. Height and width must be multiples of 4, and at least 8.
    """

    scale = 1

    def __init__(self, scale: int = 1, width: int = 64, blocks: int = 6):
        super().__init__()
        if scale != 1:
            raise ParameterError(f"ResnetGenerator was given scale {scale}; it keeps the size, so only 1 is allowed.")
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        ]  # fmt: skip
        for c in (width, 2 * width):
            layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU()]
        layers += [_ReflectBlock(4 * width) for _ in range(blocks)]
        for c in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=False),
                nn.BatchNorm2d(c // 2), nn.ReLU(),
            ]  # fmt: skip
        self.net = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7))

    def forward(self, x):
        if any(side % 4 or side < 8 for side in x.shape[-2:]):
            raise ParameterError(
                f"ResnetGenerator was given a picture of {x.shape[-2]} x {x.shape[-1]} pixels; "
                "height and width must be multiples of 4 and at least 8: crop or pad it first."
            )
        return _to_unit_range(self.net(x))


PROCESSORS = Registry("processor")
for _n, _t in {
    "SRResNet": SRResNet,
    "SRDenseNet": SRDenseNet,
    "ResnetGenerator": ResnetGenerator,
}.items():
    PROCESSORS.add(_n, _t)



def make_processor(name: str, scale: int, **sizes: int | None) -> nn.Module:
    """Return a fresh processor or transformer; `sizes` may hold `width`, `blocks` and, for SRResNet, `residual`.

    Raises `ParameterError` for an unknown name.
    """
    if name not in PROCESSORS:
        raise ParameterError(f"processor {name!r} is unknown; choose one of {', '.join(PROCESSORS)}.")
    return PROCESSORS[name](scale=scale, **{k: v for k, v in sizes.items() if v})

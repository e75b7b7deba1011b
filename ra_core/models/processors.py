"""Image-to-image networks: processors P and transformers T.

Every network maps pictures (B, 3, H, W) in [0, 1] to (B, 3, scale * H, scale * W), and has the published size unless
`width` and `blocks` make it smaller. One's own is a class that is made with `scale` and registered by
`@PROCESSORS.register("Name")`.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from ra_core.errors import ParameterError
from ra_core.models.blocks import Appended, Residual, relu
from ra_core.models.registry import PROCESSORS, make


def _doublings(name: str, scale: int) -> int:
    if scale < 1 or scale & (scale - 1):
        raise ParameterError(f"{name} was given scale {scale}; allowed are powers of two: 1, 2, 4, 8.")
    return int(math.log2(scale))


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


@PROCESSORS.register("SRResNet")
class SRResNet(nn.Module):
    """Residual network with pixel-shuffle upsampling (Ledig et al. 2017, here with five blocks).

    734,092 parameters at scale 4 and 438,666 at scale 1. `scale` is a power of two. With `residual` the network's
    answer is subtracted from its input, enlarged by bicubic interpolation, and the difference clamped; its last layer
    begins at zero, so the network begins as the identity or as that enlargement.
    """

    def __init__(self, scale: int = 4, width: int = 64, blocks: int = 5, residual: bool = False):
        super().__init__()
        doublings = _doublings("SRResNet", scale)
        self.scale, self.residual = scale, residual

        def conv(channels: int = width) -> nn.Conv2d:
            return nn.Conv2d(width, channels, 3, padding=1)

        def block() -> Residual:
            return Residual(conv(), nn.BatchNorm2d(width), PReLU(), conv(), nn.BatchNorm2d(width))

        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), PReLU())
        self.body = nn.Sequential(*[block() for _ in range(blocks)], conv(), PReLU())
        upsamplers = [nn.Sequential(conv(4 * width), nn.PixelShuffle(2), PReLU()) for _ in range(doublings)]
        self.tail = nn.Sequential(*upsamplers, nn.Conv2d(width, 3, 9, padding=4))
        # A random answer can drive whole pictures into the clamp, where no gradient reaches them.
        if residual:
            nn.init.zeros_(self.tail[-1].weight)
            nn.init.zeros_(self.tail[-1].bias)

    def forward(self, x):
        features = self.head(x)
        answer = self.tail(features + self.body(features))
        if not self.residual:
            return (answer.tanh() + 1) / 2
        if self.scale > 1:
            x = nn.functional.interpolate(x, scale_factor=self.scale, mode="bicubic")
        return (x - answer).clamp(0, 1)


@PROCESSORS.register("SRDenseNet")
class SRDenseNet(nn.Module):
    """Densely connected super-resolution (Tong et al. 2017): 8 blocks of 8 layers; its output is not bounded.

    5,455,043 parameters at scale 4. `width` is the growth, `blocks` the number of blocks.
    """

    def __init__(self, scale: int = 4, width: int = 16, blocks: int = 8):
        super().__init__()
        doublings, reduced, dense = _doublings("SRDenseNet", scale), 8 * width, 8 * blocks
        head = [nn.Conv2d(3, width, 3, padding=1), relu()]
        body = [Appended(OrderedDict(conv=nn.Sequential(nn.Conv2d(width * count, width, 3, padding=1), relu())))
                for count in range(1, dense + 1)]  # fmt: skip
        upsamplers = [nn.ConvTranspose2d(reduced, reduced, 4, 2, 1) for _ in range(doublings)]
        bottleneck = nn.Conv2d(width * (dense + 1), reduced, 1)
        self.net = nn.Sequential(*head, *body, bottleneck, *upsamplers, nn.Conv2d(reduced, 3, 3, padding=1))

    def forward(self, x):
        return self.net(x)


@PROCESSORS.register("ResnetGenerator")
class ResnetGenerator(nn.Module):
    """Down twice, residual blocks, up twice (Johnson et al. 2016), as P for dn and jpeg and as the usual T.

    7,841,411 parameters. Height and width must be multiples of 4, and at least 8.
    """

    def __init__(self, scale: int = 1, width: int = 64, blocks: int = 6):
        super().__init__()
        if scale != 1:
            raise ParameterError(f"ResnetGenerator was given scale {scale}; it keeps the size, so only 1 is allowed.")

        def conv(c_in: int, c_out: int, kernel: int, *options: int) -> list[nn.Module]:
            return [nn.Conv2d(c_in, c_out, kernel, *options, bias=False), nn.BatchNorm2d(c_out)]

        def up(c_in: int, c_out: int) -> list[nn.Module]:
            larger = nn.ConvTranspose2d(c_in, c_out, 3, 2, 1, output_padding=1, bias=False)
            return [larger, nn.BatchNorm2d(c_out), relu()]

        def block(c: int) -> Residual:
            first = [nn.ReflectionPad2d(1), *conv(c, c, 3), relu()]
            return Residual(*first, nn.ReflectionPad2d(1), *conv(c, c, 3))

        self.net = nn.Sequential(
            nn.ReflectionPad2d(3), *conv(3, width, 7), relu(),
            *conv(width, 2 * width, 3, 2, 1), relu(), *conv(2 * width, 4 * width, 3, 2, 1), relu(),
            *[block(4 * width) for _ in range(blocks)], *up(4 * width, 2 * width), *up(2 * width, width),
            nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7),
        )  # fmt: skip

    def forward(self, x):
        if any(side % 4 or side < 8 for side in x.shape[-2:]):
            raise ParameterError(
                f"ResnetGenerator was given a picture of {x.shape[-2]} x {x.shape[-1]} pixels; "
                "height and width must be multiples of 4 and at least 8: crop or pad it first."
            )
        return (self.net(x).tanh() + 1) / 2


def make_processor(name: str, scale: int, **sizes: int | None) -> nn.Module:
    """Return a fresh processor or transformer; `sizes` may hold `width`, `blocks` and, for SRResNet, `residual`.

    Sizes that are None (or 0) keep their default. Raises `ParameterError` for an unknown name, size or scale.
    """
    return make(PROCESSORS, name, scale=scale, **{key: value or None for key, value in sizes.items()})

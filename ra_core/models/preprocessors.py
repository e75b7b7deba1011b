"""Networks before a codec: they change a picture so that fewer bytes keep what a recognizer needs.

Source: Lu et al. 2022, "Preprocessing Enhanced Image Compression for Machine Vision".
"""

import numpy as np
import torch
from torch import nn

from ra_core.models.blocks import relu
from ra_core.models.registry import PREPROCESSORS, make
from ra_core.padding import check_pictures, pad_to_multiple

STRIDE = 16  # four halvings

# (quantiser QP, lambda of the task loss, strength given to the network = lambda / 8), as published.
QP_TABLE = (
    (44, 0.25, 0.03125), (40, 0.5, 0.0625), (40, 0.8, 0.1), (37, 1.0, 0.125), (34, 2.0, 0.25),
    (31, 4.0, 0.5), (29, 6.0, 0.75), (28, 8.0, 1.0), (25, 16.0, 2.0),
)  # fmt: skip


def interpolated(strengths: dict[float, float], quality: float) -> float:
    """Return the strength at any quality, in log2 between those that are known; outside them the ends hold."""
    known = sorted(strengths)
    return float(2 ** np.interp(quality, known, np.log2([strengths[q] for q in known])))


def _conv_bn(c_in: int, c_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, 3, stride, 1), nn.BatchNorm2d(c_out), relu()]


def _down(c_in: int, w: int) -> nn.ModuleDict:
    """Two convolutions, whose result is kept for the way up, and a third that halves the sides."""
    keep = nn.Sequential(*_conv_bn(c_in, w), *_conv_bn(w, w))
    return nn.ModuleDict({"keep": keep, "shrink": nn.Sequential(*_conv_bn(w, w, stride=2))})


def _up(c_in: int, w: int) -> nn.ModuleDict:
    """Two convolutions and one that doubles the sides."""
    layers = [*_conv_bn(c_in, 2 * w), *_conv_bn(2 * w, 2 * w)]
    layers += [nn.ConvTranspose2d(2 * w, w, 3, 2, 1, output_padding=1), nn.BatchNorm2d(w), relu()]
    return nn.ModuleDict({"body": nn.Sequential(*layers)})


def _scaling(hidden: int, channels: int, level: bool) -> nn.ModuleDict:
    """One factor a channel, 0 or more, from a picture's strength; `level` lets it begin as 1 for any strength."""
    net = nn.Sequential(nn.Linear(1, hidden), relu(), nn.Linear(hidden, channels), relu())
    if level:
        nn.init.zeros_(net[2].weight)
        nn.init.ones_(net[2].bias)
    return nn.ModuleDict({"net": net})


@PREPROCESSORS.register("NPP")
class NPP(nn.Module):
    """A convolution of single pixels beside a U-Net of four levels; 9,422,235 parameters at width 32.

    Takes pictures (B, 3, H, W) in [0, 1] of any size and returns pictures of the same size whose values are not
    bounded: `preprocess` clamps them. Published, the two branches end in ReLUs and their sum is the picture. With
    `identity` both results are added to the input, and as their last layers begin at zero the network begins as the
    identity, to the bit. `batch_norm` is `train` (statistics of the batch in training, running ones in evaluation) or
    `frozen` (running statistics always: as published, where they stayed at mean 0 and variance 1).
    """

    adaptive = False

    def __init__(self, width: int = 32, identity: bool = False, batch_norm: str = "train"):
        super().__init__()
        self.identity, self.batch_norm = identity, batch_norm
        w = width
        self.pixel = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])
        self.down = nn.ModuleList([_down(3, w), _down(w, 2 * w), _down(2 * w, 4 * w), _down(4 * w, 8 * w)])
        self.up = nn.ModuleList([_up(8 * w, 8 * w), _up(16 * w, 4 * w), _up(8 * w, 2 * w), _up(4 * w, w)])
        self.head = nn.Sequential(*_conv_bn(2 * w, w), *_conv_bn(w, w), nn.Conv2d(w, 3, 1))
        if identity:
            for last in (self.pixel[1], self.head[-1]):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.train()

    def train(self, mode: bool = True):
        super().train(mode)
        for layer in self.modules():
            if self.batch_norm == "frozen" and isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def forward(self, images, strength=None):
        check_pictures(images, type(self).__name__)
        x = padded = pad_to_multiple(images, STRIDE)
        factors, end, kept = self._factors(strength, x), nn.Identity() if self.identity else relu(), []

        def scaled(features, place):
            return features * factors[place] if place in factors else features

        pixel = end(scaled(self.pixel[1](scaled(self.pixel[0](x), "pixel0").relu()), "pixel1"))
        for level, down in enumerate(self.down):
            kept.append(down["keep"](x))
            x = scaled(down["shrink"](kept[-1]), f"down{level}")
        for level, up in enumerate(self.up):
            x = scaled(torch.cat([up["body"](x), kept.pop()], dim=1), f"up{level}")
        changed = pixel + end(self.head(x))
        return (padded + changed if self.identity else changed)[..., : images.shape[-2], : images.shape[-1]]

    def _factors(self, strength, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what multiplies the features at each named place; nothing does here."""
        return {}


@PREPROCESSORS.register("NPPQA")
class NPPQA(NPP):
    """NPP for all qualities: factors learned from a picture's strength scale its features; 9,461,537 parameters.

    Called with pictures and `strength`, a positive number or one a picture, (B,): lambda / 8, as in `QP_TABLE`. In the
    form that begins as the identity every factor begins as 1, and the factors are learned from log2 of the strength,
    in which the qualities lie evenly.
    """

    adaptive = True

    def __init__(self, width: int = 32, identity: bool = False, batch_norm: str = "train"):
        super().__init__(width, identity, batch_norm)
        w = width
        places = {
            "pixel0": (16, 3), "pixel1": (16, 3), "down0": (w, w), "down1": (w, 2 * w), "down2": (2 * w, 4 * w),
            "up1": (2 * w, 8 * w), "up2": (2 * w, 4 * w), "up3": (w, 2 * w),
        }  # fmt: skip
        self.scaling = nn.ModuleDict({place: _scaling(*sizes, identity) for place, sizes in places.items()})

    def _factors(self, strength, x):
        values = torch.as_tensor(strength, dtype=torch.float32, device=x.device).expand(len(x))
        seen = (values.log2() if self.identity else values)[:, None]
        return {place: layer["net"](seen)[:, :, None, None] for place, layer in self.scaling.items()}


def make_preprocessor(name: str, **sizes) -> nn.Module:
    """Return a fresh preprocessor, `NPP` or `NPPQA`; `sizes` are `width`, `identity` and `batch_norm`.

    Sizes that are None keep their default. Raises `ParameterError` for an unknown name or size.
    """
    return make(PREPROCESSORS, name, **sizes)


def preprocess(net: nn.Module, images: torch.Tensor, strength: torch.Tensor | float | None = None) -> torch.Tensor:
    """Return what `net` makes of pictures (B, 3, H, W), clamped to [0, 1], as a codec takes it.

    A grey picture, of three equal channels, stays grey: colour would be nothing but bytes.
    """
    answer = net(images, strength) if getattr(net, "adaptive", False) else net(images)
    grey = (images == images[:, :1]).flatten(1).all(1)[:, None, None, None]
    return torch.where(grey, answer.mean(1, keepdim=True), answer).clamp(0, 1)

"""Real codecs as channels, whose bytes are counted."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ra_core.channels.base import Channel, from_arrays, to_arrays
from ra_core.channels.downsample import resize
from ra_core.codecs import Codec


@dataclass(frozen=True)
class Coded(Channel):
    """A real codec at one quality; the bytes of its files are known.

    With `shrink` above 1 the picture is made that many times smaller a side before it is coded, and enlarged after.
    """

    codec: Codec
    quality: float  # which the codec checks
    shrink: float = 1

    def transmit(self, images, generator=None, indices=None):
        """Return what comes out of the decoder, (B, 3, H, W) in [0, 1], and the bytes of each file, (B,)."""
        height, width = images.shape[-2:]
        small = images if self.shrink == 1 else shrunk(images, self.shrink)
        files = self.codec.encode(to_arrays(small), self.quality)
        decoded = from_arrays(self.codec.decode(files), images.device).to(images)
        if self.shrink > 1:
            decoded = resize(decoded, (height, width))
        return decoded, torch.tensor([len(file) for file in files])


def shrunk(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] as they are sent, `factor` times smaller a side, in 8 bits."""
    return resize(images, smaller(images, factor))


def smaller(images: torch.Tensor, factor: float) -> tuple[int, int]:
    """Return the sides in whole pixels of pictures that are sent `factor` times smaller a side."""
    height, width = (max(1, round(side / factor)) for side in images.shape[-2:])
    return height, width


def with_gradient(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return pictures resized as `resize` does, but not rounded, so that gradients pass."""
    return F.interpolate(images, size, mode="bicubic", antialias=True)

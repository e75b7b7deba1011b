"""Real codecs as channels, whose bytes are counted."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ra_core.channels.base import Channel, from_arrays, to_arrays
from ra_core.channels.downsample import Downsample
from ra_core.codecs import Codec
from ra_core.padding import pad_to_multiple


@dataclass(frozen=True)
class Coded(Channel):
    """A real codec at one quality; the bytes of its files are known.

    With `shrink` above 1 the picture is downsampled by that factor before it is coded and enlarged after; where it is
    no multiple of it, its last row and column are repeated before and cut off after.
    """

    codec: Codec
    quality: float  # which the codec checks
    shrink: int = 1

    def transmit(self, images, generator=None, indices=None):
        """Return what comes out of the decoder, (B, 3, H, W) in [0, 1], and the bytes of each file, (B,)."""
        height, width = images.shape[-2:]
        small = images if self.shrink == 1 else shrunk(images, self.shrink)
        files = self.codec.encode(to_arrays(small), self.quality)
        decoded = from_arrays(self.codec.decode(files), images.device).to(images)
        if self.shrink > 1:
            decoded = Downsample(self.shrink).enlarge(decoded)[..., :height, :width]
        return decoded, torch.tensor([len(file) for file in files])


def shrunk(images: torch.Tensor, factor: int) -> torch.Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] as they are sent, `factor` times smaller a side, in whole pixels."""
    return Downsample(factor)(pad_to_multiple(images, factor))


def with_gradient(images: torch.Tensor, scale: float) -> torch.Tensor:
    """Return pictures as `Downsample` or its `enlarge` resizes them, but not rounded, so that gradients pass."""
    return F.interpolate(images, scale_factor=scale, mode="bicubic", antialias=True)

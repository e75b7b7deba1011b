"""JPEG restoration: the codec JPEG at one quality."""

from dataclasses import dataclass
from functools import cache

import torch

from ra_core.channels.base import Channel, parameter, task
from ra_core.channels.coded import Coded
from ra_core.channels.jpeg_tensors import through_jpeg
from ra_core.codecs import load_codec

SMALL = 48**2  # pixels up to which tensors are faster than Pillow on a CPU too


@task("jpeg", "JPEG restoration")
@dataclass(frozen=True)
class Jpeg(Channel):
    """JPEG, coded and decoded in memory; `subsampling` is 4:2:0 (Pillow's default) or 4:4:4.

    Files are Pillow's. Where only pictures are wanted they are computed without one on a GPU, and on a CPU where they
    are small; they are the same in every value, else Pillow makes them there too.
    """

    quality: int = parameter(10, "jpeg: Pillow's quality", ge=1, le=100)
    subsampling: str = parameter("4:2:0", choices=("4:2:0", "4:4:4"))

    def __call__(self, images, generator=None, indices=None):
        fast = images.device.type == "cuda" or images[0, 0].numel() <= SMALL
        if fast and as_pillow(images.device):
            return through_jpeg(images, self.quality, self.subsampling).to(images)
        return super().__call__(images)

    def transmit(self, images, generator=None, indices=None):
        """Return what comes out of the decoder and the bytes of each file, (B,)."""
        return Coded(load_codec("jpeg" if self.subsampling == "4:2:0" else "jpeg-444"), self.quality).transmit(images)


@cache
def as_pillow(device: torch.device) -> bool:
    """Say whether tensors on a device give the pixels of the Pillow at hand, of a few small pictures of noise."""
    noise = torch.rand((4, 3, 19, 37), generator=torch.Generator().manual_seed(0)).to(device)
    kinds = [Jpeg(quality, subsampling) for quality in (1, 50, 95) for subsampling in ("4:2:0", "4:4:4")]
    return all(torch.equal(through_jpeg(noise, k.quality, k.subsampling), k.transmit(noise)[0]) for k in kinds)

"""JPEG restoration: the codec JPEG at one quality."""

from dataclasses import dataclass

from ra_core.channels.base import Channel, parameter, task
from ra_core.channels.coded import Coded
from ra_core.codecs import load_codec


@task("jpeg", "JPEG restoration")
@dataclass(frozen=True)
class Jpeg(Channel):
    """JPEG by Pillow, coded and decoded in memory; `subsampling` is 4:2:0 (Pillow's default) or 4:4:4."""

    quality: int = parameter(10, "jpeg: Pillow's quality", ge=1, le=100)
    subsampling: str = parameter("4:2:0", choices=("4:2:0", "4:4:4"))

    def transmit(self, images, generator=None, indices=None):
        """Return what comes out of the decoder and the bytes of each file, (B,)."""
        return Coded(load_codec("jpeg" if self.subsampling == "4:2:0" else "jpeg-444"), self.quality).transmit(images)

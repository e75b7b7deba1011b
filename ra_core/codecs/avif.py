"""AVIF by libavif through Pillow."""

from dataclasses import dataclass

from PIL import AvifImagePlugin

from ra_core.codecs.base import Qualities, register
from ra_core.codecs.heic import check_heif
from ra_core.codecs.pillow import PillowCodec

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Pillow takes no other word; many pictures are decoded at once


@register("AVIF", milliseconds=35.0)
@dataclass(frozen=True)
class AvifCodec(PillowCodec):
    """AVIF; `speed` is its effort, from 0, the slowest, to 10."""

    speed: int = 6
    subsampling: str = "4:2:0"  # or 4:4:4
    name, suffix, form, feature, library = "avif", ".avif", "AVIF", "avif", "libavif"
    plugin = AvifImagePlugin.AvifImageFile
    check = staticmethod(check_heif)
    qualities = Qualities("AVIF quality", 0, 100, better="up")

    def _settings(self, quality):
        return {"quality": quality, "speed": self.speed, "subsampling": self.subsampling, "max_threads": 1}

    def _versions(self):
        return super()._versions() | {"coders": AvifImagePlugin._avif.codec_versions()}

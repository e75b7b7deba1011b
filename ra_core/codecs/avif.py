"""AVIF by libavif through Pillow."""

from dataclasses import dataclass

from PIL import AvifImagePlugin

from ra_core.codecs.base import Qualities, register, setting
from ra_core.codecs.headers import check_heif
from ra_core.codecs.pillow import SUBSAMPLINGS, PillowCodec


@register("AVIF", milliseconds=35.0)
@dataclass(frozen=True)
class AvifCodec(PillowCodec):
    """AVIF; `speed` is its effort, 0 being the slowest."""

    speed: int = setting(6, range(11))
    subsampling: str = setting("4:2:0", *SUBSAMPLINGS)
    name, suffix, form, feature, library = "avif", ".avif", "AVIF", "avif", "libavif"
    plugin = AvifImagePlugin.AvifImageFile
    check = staticmethod(check_heif)
    qualities = Qualities("AVIF quality", 0, 100, better="up")

    def _settings(self, quality):
        return {"quality": quality, "speed": self.speed, "subsampling": self.subsampling, "max_threads": 1}

    def _versions(self):
        coders = AvifImagePlugin._avif.codec_versions() if self.available() else "none"
        return super()._versions() | {"coders": coders}

    def _open(self, file):
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Pillow takes no other word; many pictures are decoded at once
        return super()._open(file)

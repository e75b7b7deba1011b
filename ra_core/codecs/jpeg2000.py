"""JPEG 2000 by OpenJPEG through Pillow."""

from dataclasses import dataclass

from PIL import Jpeg2KImagePlugin

from ra_core.codecs.base import MAX_PIXELS, Qualities, register
from ra_core.codecs.headers import check_jpeg2000
from ra_core.codecs.pillow import PillowCodec


@register("JPEG 2000", milliseconds=20.0)
@dataclass(frozen=True)
class Jpeg2000Codec(PillowCodec):
    """JPEG 2000: a bare codestream, irreversible wavelet; quality is the compression ratio."""

    name, suffix, form, feature, library = "jpeg2000", ".j2k", "JPEG2000", "jpg_2000", "OpenJPEG"
    plugin = Jpeg2KImagePlugin.Jpeg2KImageFile
    check = staticmethod(check_jpeg2000)
    qualities = Qualities("JPEG 2000 compression ratio", 1, 1000, better="down", integer=False)
    takes_profile = False  # a bare codestream has no place for one
    serial_below = MAX_PIXELS + 1  # Pillow lets no other thread run

    def _settings(self, quality):
        return {"quality_mode": "rates", "quality_layers": [quality], "irreversible": True, "mct": 1, "no_jp2": True}

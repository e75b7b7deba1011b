"""Lossy JPEG XL by libjxl through imagecodecs."""

from dataclasses import dataclass

import numpy as np

from ra_core.codecs.base import Codec, Qualities, register
from ra_core.codecs.headers import jpegxl_size


@register("JPEG XL", milliseconds=30.0)
@dataclass(frozen=True)
class JpegXlCodec(Codec):
    """Lossy JPEG XL, a bare codestream; quality is the Butteraugli distance, 1 being hard to see."""

    effort: int = 7  # 1 to 9
    name, suffix, module, needs = "jpegxl", ".jxl", "imagecodecs", "the Python package imagecodecs"
    qualities = Qualities("JPEG XL distance", 0.05, 25, better="down", integer=False)

    def _settings(self, quality):
        return {"distance": quality, "effort": self.effort, "numthreads": 1, "usecontainer": False}

    def _versions(self):
        return {"imagecodecs": self._library().__version__, "libjxl": self._library().jpegxl_version()}

    def _encode(self, picture, quality):
        return bytes(self._library().jpegxl_encode(picture, **self._settings(quality)))

    def _decode(self, file):
        width, height = jpegxl_size(file)
        picture = np.zeros((height, width, 3), np.uint8)
        return self._library().jpegxl_decode(file, index=0, numthreads=1, out=picture)

"""Lossy JPEG XL by libjxl through imagecodecs."""

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ra_core.codecs.base import Codec, Qualities, register, setting
from ra_core.codecs.headers import jpegxl_size


@register("JPEG XL", milliseconds=30.0)
@dataclass(frozen=True)
class JpegXlCodec(Codec):
    """Lossy JPEG XL; quality is the Butteraugli distance, 1 being hard to see."""

    effort: int = setting(7, range(1, 10))
    name, suffix, needs = "jpegxl", ".jxl", "the Python package imagecodecs"
    qualities = Qualities("JPEG XL distance", 0.05, 25, better="down", integer=False)

    def available(self):
        if find_spec("imagecodecs") is None:
            return False
        import imagecodecs

        return bool(imagecodecs.JPEGXL.available)

    def _settings(self, quality):
        return {"distance": quality, "effort": self.effort, "numthreads": 1, "usecontainer": False}

    def _versions(self):
        if not self.available():
            return {}
        import imagecodecs

        return {"imagecodecs": imagecodecs.__version__, "libjxl": imagecodecs.jpegxl_version()}

    def _encode(self, picture, quality):
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(picture, **self._settings(quality)))

    def _decode(self, file):
        import imagecodecs

        width, height = jpegxl_size(file)
        picture = np.zeros((height, width, 3), np.uint8)
        return imagecodecs.jpegxl_decode(file, index=0, numthreads=1, out=picture)

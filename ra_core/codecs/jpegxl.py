"""Lossy JPEG XL by libjxl through imagecodecs."""

from dataclasses import dataclass

import numpy as np

from ra_core.codecs.base import Codec, Qualities, check_size, register


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


def jpegxl_size(file: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG XL codestream, and refuse one that is not plain 8-bit RGB.

    Source: ISO/IEC 18181-1, size and metadata headers; bits run from the least significant on.
    """
    if file[:2] != b"\xff\x0a":
        raise ValueError("it does not begin as a JPEG XL codestream does")
    bits = int.from_bytes(file[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        bits, value = bits >> count, bits & ((1 << count) - 1)
        return value

    def side() -> int:
        return 8 * (take(5) + 1) if eights else take((9, 13, 18, 30)[take(2)]) + 1

    eights = take(1)
    height, ratio = side(), take(3)
    up, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    width = height * up // down if ratio else side()
    check_size(width, height)
    if not take(1):  # everything as by default
        raise ValueError("it is no plain 8-bit RGB picture")
    return width, height

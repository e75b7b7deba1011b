"""Lossy WebP by libwebp through Pillow."""

import struct
from dataclasses import dataclass

from PIL import WebPImagePlugin

from ra_core.codecs.base import Qualities, check_size, register
from ra_core.codecs.pillow import PillowCodec


@register("WebP", milliseconds=6.0)
@dataclass(frozen=True)
class WebpCodec(PillowCodec):
    """Lossy WebP; `method`, 0 to 6, is its effort; colour is always 4:2:0."""

    method: int = 4
    name, suffix, form, feature, library = "webp", ".webp", "WEBP", "webp", "libwebp"
    plugin = WebPImagePlugin.WebPImageFile
    qualities = Qualities("WebP quality", 0, 100, better="up")

    def _settings(self, quality):
        return {"quality": quality, "method": self.method}

    @staticmethod
    def check(file: bytes) -> None:
        """Refuse a WebP file that is not one whole lossy picture without alpha."""
        riff, length, kind, chunk, code, width, height = struct.unpack_from("<4sI8sI3x3sHH", file)
        if (riff, kind, code) != (b"RIFF", b"WEBPVP8 ", b"\x9d\x01\x2a"):
            raise ValueError("it does not begin as a lossy WebP file does")
        if length != len(file) - 8 or chunk > len(file) - 20:
            raise ValueError("it is not as long as it declares")
        check_size(width & 0x3FFF, height & 0x3FFF)

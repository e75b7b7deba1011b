"""Lossy WebP by libwebp through Pillow."""

from dataclasses import dataclass

from PIL import WebPImagePlugin

from ra_core.codecs.base import Qualities, register
from ra_core.codecs.headers import check_webp
from ra_core.codecs.pillow import PillowCodec


@register("WebP", milliseconds=6.0)
@dataclass(frozen=True)
class WebpCodec(PillowCodec):
    """Lossy WebP; `method`, 0 to 6, is its effort; colour is always 4:2:0."""

    method: int = 4
    name, suffix, form, feature, library = "webp", ".webp", "WEBP", "webp", "libwebp"
    plugin = WebPImagePlugin.WebPImageFile
    check = staticmethod(check_webp)
    qualities = Qualities("WebP quality", 0, 100, better="up")

    def _settings(self, quality):
        return {"quality": quality, "method": self.method}

"""A codec: PNG files of few colours; their number is the quality."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ra_core.codecs import Codec, Qualities, register


@register("PNG of few colours", milliseconds=5.0)
@dataclass(frozen=True)
class FewColours(Codec):
    """Pictures (H, W, 3) uint8 to the bytes of files and back, one at a time."""

    name, suffix = "few-colours", ".png"
    qualities = Qualities("colours", 2, 256, better="up")

    def _encode(self, picture: np.ndarray, quality: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).quantize(quality).save(file, "PNG", optimize=True)
        return file.getvalue()

    def _decode(self, file: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))

"""Real codecs by name: JPEG, WebP, HEVC intra (HEIC), AVIF, JPEG 2000, JPEG XL, BPG.

Each picture is coded by one thread, so that its bytes do not depend on how many there are; many pictures are
coded at once. The files are those that would be stored: their length is the rate, headers included. All but BPG
work in memory. One's own codec is a file like `webp.py`, which registers itself in `CODECS`.
"""

# They register themselves in the order of the book.
# isort: off
from ra_core.codecs.base import CODECS, Codec, Qualities, load_codec, register, setting
from ra_core.codecs.headers import jpeg_parts
from ra_core.codecs.jpeg import JpegCodec
from ra_core.codecs.webp import WebpCodec
from ra_core.codecs.heic import HeicCodec
from ra_core.codecs.avif import AvifCodec
from ra_core.codecs.jpeg2000 import Jpeg2000Codec
from ra_core.codecs.jpegxl import JpegXlCodec
from ra_core.codecs.bpg import BpgCodec

__all__ = [
    "CODECS", "AvifCodec", "BpgCodec", "Codec", "HeicCodec", "Jpeg2000Codec", "JpegCodec", "JpegXlCodec", "Qualities",
    "WebpCodec", "jpeg_parts", "load_codec", "register", "setting",
]  # fmt: skip

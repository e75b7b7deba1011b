"""Real codecs by name: JPEG, WebP, HEVC intra (HEIC), AVIF, JPEG 2000, JPEG XL, BPG.

Each picture is coded by one thread, so that its bytes do not depend on how many there are; many pictures are
coded at once. The files are those that would be stored: their length is the rate, headers included. All but BPG
work in memory. A decoder trusts its file and allocates what that declares, so each file is looked at first; one that
declares too much, or uses what our coders never do, is refused. One's own codec is a file like `webp.py`, which
registers itself in `CODECS`.
"""

# In the order of the book.
from ra_core.codecs import jpeg, webp, heic, avif, jpeg2000, jpegxl, bpg  # noqa: F401  isort: skip
from ra_core.codecs.base import CODECS, Codec, Qualities, load_codec, register
from ra_core.codecs.jpeg_files import jpeg_parts

__all__ = ["CODECS", "Codec", "Qualities", "jpeg_parts", "load_codec", "register"]

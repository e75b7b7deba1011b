"""HEVC intra in a HEIF file, by x265 through pillow-heif."""

import io
import struct
from dataclasses import dataclass

from ra_core.codecs.base import Codec, Qualities, pixels, register


@register("HEIC", milliseconds=60.0, stand_in="heic")
@dataclass(frozen=True)
class HeicCodec(Codec):
    """HEVC intra at a fixed QP, 4:2:0.

    `ipratio` 1 lets the picture have that QP; without pools and wavefronts its bytes are the same everywhere.
    """

    preset: str = "medium"  # of x265, from ultrafast to placebo
    name, suffix, module, needs = "heic", ".heic", "pillow_heif", "the Python package pillow-heif"
    qualities = Qualities("HEIC QP", 0, 51, better="down")
    takes_profile = True

    def _settings(self, quality):
        parameters = {"qp": str(quality), "ipratio": "1.0", "wpp": "0", "pools": "none", "frame-threads": "1"}
        x265 = {f"x265:{name}": value for name, value in parameters.items()}
        return {"chroma": 420, "enc_params": x265 | {"preset": self.preset}}

    def _versions(self):
        info = self._library().libheif_info()
        decoders = ", ".join(f"{key}: {name}" for key, name in sorted(info["decoders"].items()))
        versions = {"pillow-heif": self._library().__version__, "libheif": info["libheif"]}
        return versions | {"encoder": info["HEIF"], "decoders": decoders}

    def _encode(self, picture, quality, **profile):
        buffer, size = io.BytesIO(), picture.shape[1::-1]
        settings = self._settings(quality) | profile | {"icc_profile_type": "prof"}
        self._library().encode("RGB", size, picture.tobytes(), buffer, **settings)
        return buffer.getvalue()

    def _decode(self, file):
        check_heif(file)
        self._library().options.DECODE_THREADS = 1  # many pictures are decoded at once
        return pixels(self._library().open_heif(file))


def check_heif(file: bytes) -> None:
    """Refuse a HEIF or AVIF file that is not the three boxes of our coders, to the last byte.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    position = 0
    for expected in (b"ftyp", b"meta", b"mdat"):
        length, kind = struct.unpack_from(">I4s", file, position)
        if kind != expected:
            raise ValueError("it does not consist of the boxes that a file of one picture has")
        position += length
    if position != len(file):
        raise ValueError("it is not as long as it declares")

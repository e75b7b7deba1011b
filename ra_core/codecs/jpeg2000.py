"""JPEG 2000 by OpenJPEG through Pillow."""

import struct
from dataclasses import dataclass

from PIL import Jpeg2KImagePlugin

from ra_core.codecs.base import MAX_PIXELS, Qualities, check_size, register
from ra_core.codecs.pillow import PillowCodec


@register("JPEG 2000", milliseconds=20.0)
@dataclass(frozen=True)
class Jpeg2000Codec(PillowCodec):
    """JPEG 2000: a bare codestream, irreversible wavelet; quality is the compression ratio."""

    name, suffix, form, feature, library = "jpeg2000", ".j2k", "JPEG2000", "jpg_2000", "OpenJPEG"
    plugin = Jpeg2KImagePlugin.Jpeg2KImageFile
    qualities = Qualities("JPEG 2000 compression ratio", 1, 1000, better="down", integer=False)
    takes_profile = False  # a bare codestream has no place for one
    serial_below = MAX_PIXELS + 1  # Pillow lets no other thread run

    def _settings(self, quality):
        return {"quality_mode": "rates", "quality_layers": [quality], "irreversible": True, "mct": 1, "no_jp2": True}

    @staticmethod
    def check(file: bytes) -> None:
        """Refuse a JPEG 2000 codestream that is not one whole tile of 8-bit RGB in the usual blocks.

        Tiny blocks, precincts and tiles would make a decoder allocate thousands of times the picture.
        Source: ISO/IEC 15444-1, annex A.
        """
        start, width, height = struct.unpack_from(">8sII", file)
        if start != bytes.fromhex("ff4fff51002f0000"):
            raise ValueError("it does not begin as a JPEG 2000 codestream does")
        check_size(width, height)
        size = start + struct.pack(">8I", width, height, 0, 0, width, height, 0, 0) + b"\0\3" + b"\7\1\1" * 3
        coding = bytes.fromhex("ff52000c00000001 01") + file[60:61] + bytes.fromhex("04040000")  # 64 x 64, irreversible
        if not file.startswith(size + coding) or file[60] > 5:  # levels of the wavelet
            raise ValueError("it is coded in an unusual way")
        position, markers = len(size + coding), []
        while (marker := struct.unpack_from(">H", file, position)[0]) != 0xFF90:
            markers.append(marker)
            position += 2 + struct.unpack_from(">H", file, position + 2)[0]
        if markers[:1] != [0xFF5C] or not set(markers[1:]) <= {0xFF64}:  # quantisation, then comments
            raise ValueError("its header holds more than it should")
        tile = struct.pack(">HHHIBBH", 0xFF90, 10, 0, len(file) - position - 2, 0, 1, 0xFF93)
        if not (file.startswith(tile, position) and file.endswith(b"\xff\xd9")):
            raise ValueError("it is not as long as it declares")

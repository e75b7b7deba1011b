"""What the first bytes of a coded file say, read without a library.

A decoder trusts its file: it allocates what the file declares. So each file is looked at first, and one that
declares too much, or uses what our coders never do, is refused: each check raises `ValueError`, or `struct.error` where
a header is cut off. Those of JPEG lie in `jpeg_files.py`.
"""

import re
import struct
from functools import reduce

from ra_core.codecs.base import check_size


def check_webp(file: bytes) -> None:
    """Refuse a WebP file that is not one whole lossy picture without alpha."""
    riff, length, kind, chunk, code, width, height = struct.unpack_from("<4sI8sI3x3sHH", file)
    if (riff, kind, code) != (b"RIFF", b"WEBPVP8 ", b"\x9d\x01\x2a"):
        raise ValueError("it does not begin as a lossy WebP file does")
    if length != len(file) - 8 or chunk > len(file) - 20:
        raise ValueError("it is not as long as it declares")
    check_size(width & 0x3FFF, height & 0x3FFF)


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


def check_jpeg2000(file: bytes) -> None:
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


def bpg_size(file: bytes) -> tuple[int, int]:
    """Return the width and height that a BPG file declares. Raises `ValueError` where it is cut off.

    Source: the BPG specification by F. Bellard, section 3; numbers are of 7 bits a byte, the first ones first.
    """
    found = re.match(rb"BPG\xfb.." + 3 * rb"([\x80-\xff]{0,4}[\0-\x7f])", file, re.DOTALL)
    if not found:
        raise ValueError("it does not begin as a BPG file does")
    width, height, length = (reduce(lambda value, byte: value << 7 | byte & 127, n, 0) for n in found.groups())
    check_size(width, height)
    if length > len(file) - found.end():
        raise ValueError("it is not as long as it declares")
    return width, height

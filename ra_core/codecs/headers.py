"""What the first bytes of a coded file say, read without a library.

A decoder trusts its file: it allocates what the file declares. So each file is looked at first, and one that
declares too much, or uses what our coders never do, is refused: each check raises `ValueError`, or `struct.error` where
a header is cut off.
"""

import struct

from ra_core.codecs.base import check_size
from ra_core.errors import CodecError

MAX_SCANNED_PIXELS = 2**30  # scans of a JPEG times its pixels: a small file of many scans takes hours otherwise


def jpeg_parts(file: bytes) -> tuple[int, int]:
    """Return the bytes of a JPEG file up to its first scan's data, and from there to the end.

    Raises `CodecError` where there is no scan.
    """
    position = 2
    try:
        while file[:2] == b"\xff\xd8":
            mark, kind, length = struct.unpack_from(">BBH", file, position)
            if mark != 0xFF or length < 2:
                break
            position += 2 + length
            if kind == 0xDA:
                return position, len(file) - position
    except struct.error:
        pass
    raise CodecError("these bytes are no JPEG file with a scan; make it again.")


def check_jpeg(file: bytes) -> None:
    """Refuse a JPEG file that does not end."""
    if not (file.startswith(b"\xff\xd8") and file.endswith(b"\xff\xd9")):
        raise ValueError("it does not begin and end as a JPEG file does")


def check_jpeg_work(file: bytes, width: int, height: int) -> None:
    """Refuse a JPEG file with more scans than pictures of its size have."""
    scans = file.count(b"\xff\xda")  # within a scan's data, 0 follows 255
    if scans * width * height > MAX_SCANNED_PIXELS:
        raise ValueError(f"it has {scans} scans of {width} x {height} pixels")


def check_webp(file: bytes) -> None:
    """Refuse a WebP file that is not one whole lossy picture without alpha."""
    if len(file) < 30 or file[:4] != b"RIFF" or file[8:16] != b"WEBPVP8 " or file[23:26] != b"\x9d\x01\x2a":
        raise ValueError("it does not begin as a lossy WebP file does")
    riff, chunk = (int.from_bytes(file[at : at + 4], "little") for at in (4, 16))
    if riff != len(file) - 8 or chunk > len(file) - 20:
        raise ValueError("it is not as long as it declares")
    width, height = struct.unpack_from("<HH", file, 26)
    check_size(width & 0x3FFF, height & 0x3FFF)


def check_heif(file: bytes) -> None:
    """Refuse a HEIF or AVIF file that is not the three boxes of our coders, to the last byte.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    position = 0
    for kind in (b"ftyp", b"meta", b"mdat"):
        if file[position + 4 : position + 8] != kind:
            raise ValueError("it does not consist of the boxes that a file of one picture has")
        position += int.from_bytes(file[position : position + 4], "big")
    if position != len(file):
        raise ValueError("it is not as long as it declares")


def check_jpeg2000(file: bytes) -> None:
    """Refuse a JPEG 2000 codestream that is not one whole tile of 8-bit RGB in the usual blocks.

    Tiny blocks, precincts and tiles would make a decoder allocate thousands of times the picture.
    Source: ISO/IEC 15444-1, annex A.
    """
    magic, length, _, *sizes = struct.unpack_from(">IHH8IH9B", file)
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, components, *samples = sizes
    if magic != 0xFF4FFF51 or length != 47 or components != 3 or samples != [7, 1, 1] * 3:
        raise ValueError("it is no JPEG 2000 codestream of 8-bit RGB")
    check_size(width, height)
    if left or top or tile_left or tile_top or tile_width < width or tile_height < height:
        raise ValueError("it is cut into tiles")
    marker, length, style, order, layers, *coding = struct.unpack_from(">HHBBH6B", file, 51)
    mixed, levels, *blocks = coding
    if (marker, length, style, order, layers) != (0xFF52, 12, 0, 0, 1) or mixed > 1 or levels > 5:
        raise ValueError("it is coded in an unusual way")
    if blocks != [4, 4, 0, 0]:  # 64 x 64, default style, irreversible wavelet
        raise ValueError("it is coded in unusual blocks")
    position, markers = 65, []
    while (marker := struct.unpack_from(">H", file, position)[0]) != 0xFF90:
        markers.append(marker)
        position += 2 + struct.unpack_from(">H", file, position + 2)[0]
    if markers[:1] != [0xFF5C] or not set(markers[1:]) <= {0xFF64}:  # quantisation, then comments
        raise ValueError("its header holds more than it should")
    start = struct.unpack_from(">HHHIBBH", file, position)
    if start != (0xFF90, 10, 0, len(file) - position - 2, 0, 1, 0xFF93) or not file.endswith(b"\xff\xd9"):
        raise ValueError("it is not as long as it declares")


def jpegxl_size(file: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG XL codestream, and refuse one that is not plain 8-bit RGB.

    Source: ISO/IEC 18181-1, size and metadata headers; bits run from the least significant on.
    """
    if file[:2] != b"\xff\x0a":
        raise ValueError("it does not begin as a JPEG XL codestream does")
    bits, position = int.from_bytes(file[2:16], "little"), 0

    def take(count: int) -> int:
        nonlocal position
        position += count
        return (bits >> (position - count)) & ((1 << count) - 1)

    def side(eights: int) -> int:
        return 8 * (take(5) + 1) if eights else take((9, 13, 18, 30)[take(2)]) + 1

    eights = take(1)
    height = side(eights)
    ratio = take(3)
    up, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    width = height * up // down if ratio else side(eights)
    check_size(width, height)
    if not take(1):  # everything as by default
        raise ValueError("it is no plain 8-bit RGB picture")
    return width, height


def bpg_size(file: bytes) -> tuple[int, int]:
    """Return the width and height that a BPG file declares. Raises `ValueError` where it is cut off.

    Source: the BPG specification by F. Bellard, section 3; numbers are of 7 bits a byte, the first ones first.
    """
    if file[:4] != b"BPG\xfb" or len(file) < 9:
        raise ValueError("it does not begin as a BPG file does")
    numbers, value, used = [], 0, 0
    for position, byte in enumerate(file[6:21], 6):
        value, used = value << 7 | byte & 127, used + 1
        if used > 5:
            break
        if byte < 128:
            numbers.append(value)
            value = used = 0
        if len(numbers) == 3:
            width, height, length = numbers
            check_size(width, height)
            if length > len(file) - position - 1:
                raise ValueError("it is not as long as it declares")
            return width, height
    raise ValueError("its header is cut off")

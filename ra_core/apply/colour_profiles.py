"""Colour profiles (ICC) put into coded files: the coded pixels stay the same to the byte."""

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

JPEG_PART = 65519  # bytes of a profile that one segment holds
WEBP_HAS_PROFILE = 0x20


def embed(file: bytes, suffix: str, profile: bytes) -> bytes | None:
    """Return a coded file of one of our codecs with an ICC profile of RGB colours in it.

    None where the format has no place for one (a bare codestream: JPEG 2000, JPEG XL; BPG), or its pixels are grey.
    """
    put = {".jpg": _into_jpeg, ".webp": _into_webp, ".heic": _into_heif, ".avif": _into_heif}.get(suffix)
    try:
        return put(file, profile) if put else None
    except (ValueError, IndexError, OSError, OverflowError, struct.error):  # not laid out as our coders do it
        return None


def _into_jpeg(file: bytes, profile: bytes) -> bytes:
    """Source: ICC.1:2010, annex B.4: APP2 segments, numbered from 1."""
    if Image.open(io.BytesIO(file)).mode == "L":
        raise ValueError("its one channel is grey, and the profile is of three")
    parts = [profile[at : at + JPEG_PART] for at in range(0, len(profile), JPEG_PART)]
    segments = b"".join(
        struct.pack(">HH12sBB", 0xFFE2, 16 + len(part), b"ICC_PROFILE\0", number, len(parts)) + part
        for number, part in enumerate(parts, 1)
    )
    place = 2
    if file[2:4] == b"\xff\xe0":  # the JFIF segment comes first
        place += 2 + struct.unpack_from(">H", file, 4)[0]
    return file[:place] + segments + file[place:]


def _into_webp(file: bytes, profile: bytes) -> bytes:
    """Source: RFC 9649, sections 2.6 and 2.7: a file with extras says so in a chunk of its own."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    if file[12:16] != b"VP8 ":
        raise ValueError("it is no lossy WebP file without extras")
    sides = [(side & 0x3FFF) - 1 for side in struct.unpack_from("<HH", file, 26)]
    canvas = b"".join(side.to_bytes(3, "little") for side in sides)
    extras = chunk(b"VP8X", bytes([WEBP_HAS_PROFILE, 0, 0, 0]) + canvas)
    content = extras + chunk(b"ICCP", profile) + file[12:]
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


class _Box(NamedTuple):
    kind: bytes
    start: int
    content: int
    end: int


def _into_heif(file: bytes, profile: bytes) -> bytes:
    """Source: ISO/IEC 23008-12, section 9.3, and ISO/IEC 14496-12, sections 8.11 and 12.1.5.

    The profile becomes one more property (`colr`) of the primary item; what comes after moves, and so do the
    places of the coded data.
    """
    data = bytearray(file)
    meta = _box(data, 0, len(data), b"meta")
    if _box(data, 0, len(data), b"mdat").start < meta.end:
        raise ValueError("its pixels come before what is said about them")
    pitm, iloc, iprp = (_box(data, meta.content + 4, meta.end, kind) for kind in (b"pitm", b"iloc", b"iprp"))
    ipco, ipma = (_box(data, iprp.content, iprp.end, kind) for kind in (b"ipco", b"ipma"))
    item = _number(data, pitm.content + 4, 4 if data[pitm.content] else 2)
    property_number = 1 + len(list(_boxes(data, ipco.content, ipco.end)))
    count_at, end_at, entry_size = _properties_of(data, ipma, item)
    entry = property_number.to_bytes(entry_size, "big")
    if entry[0] & 0x80:  # the bit of properties that a reader must know
        raise ValueError("it has too many properties")
    colr = struct.pack(">I4s4s", 12 + len(profile), b"colr", b"prof") + profile
    shift = len(colr) + len(entry)
    data[count_at] += 1
    _move_locations(data, iloc, shift)
    for box, more in ((meta, shift), (iprp, shift), (ipco, len(colr)), (ipma, len(entry))):
        _add(data, box.start, 4, more)
    for place, piece in sorted([(ipco.end, colr), (end_at, entry)], reverse=True):
        data[place:place] = piece
    return bytes(data)


def _boxes(data: bytearray, start: int, end: int) -> Iterator[_Box]:
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        size = size or end - start
        if size < head or start + size > end:
            raise ValueError("a box is larger than what holds it")
        yield _Box(kind, start, start + head, start + size)
        start += size


def _box(data: bytearray, start: int, end: int, kind: bytes) -> _Box:
    for box in _boxes(data, start, end):
        if box.kind == kind:
            return box
    raise ValueError(f"it has no box {kind!r}")


def _number(data: bytearray, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _add(data: bytearray, at: int, size: int, more: int) -> None:
    data[at : at + size] = (_number(data, at, size) + more).to_bytes(size, "big")


def _properties_of(data: bytearray, ipma: _Box, item: int) -> tuple[int, int, int]:
    """Return where an item's number of properties stands, where their list ends, and the bytes of an entry."""
    id_size, entry_size = 4 if data[ipma.content] else 2, 1 + (data[ipma.content + 3] & 1)
    at = ipma.content + 8
    for _ in range(_number(data, ipma.content + 4, 4)):
        found, count_at = _number(data, at, id_size), at + id_size
        at = count_at + 1 + data[count_at] * entry_size
        if found == item:
            return count_at, at, entry_size
    raise ValueError("its primary item has no properties")


def _move_locations(data: bytearray, iloc: _Box, shift: int) -> None:
    """Add `shift` to the place in the file of every item's data."""
    version, at = data[iloc.content], iloc.content + 4
    offset_size, length_size = data[at] >> 4, data[at] & 15
    base_size, index_size = data[at + 1] >> 4, data[at + 1] & 15 if version else 0
    id_size = 4 if version == 2 else 2
    count, at = _number(data, at + 2, id_size), at + 2 + id_size
    for _ in range(count):
        in_file = not (version and data[at + id_size + 1] & 15)  # and not within another box
        base_at = at + id_size + (4 if version else 2)
        extents, at = _number(data, base_at + base_size, 2), base_at + base_size + 2
        if in_file and base_size:
            _add(data, base_at, base_size, shift)
        for _ in range(extents):
            if in_file and not base_size:
                _add(data, at + index_size, offset_size, shift)
            at += index_size + offset_size + length_size

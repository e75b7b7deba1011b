"""What the bytes of a JPEG file are for: the bits of each block.

Source: ITU-T T.81, annexes B (markers), C (Huffman tables) and F (the baseline's code).
"""

import struct
from typing import NamedTuple

import numpy as np

from ra_core.codecs.headers import jpeg_parts
from ra_core.errors import CodecError

COEFFICIENTS = 64  # of a block of 8 x 8


class _Component(NamedTuple):
    """A plane of colour: its blocks in each unit of coding, and which Huffman tables it takes."""

    across: int
    down: int
    first: int
    rest: int


def block_bits(file: bytes) -> np.ndarray:
    """Return how many bits of a JPEG file code each block of 8 x 8 pixels, (rows, columns), floats.

    Those of a block of chroma are shared out evenly among the blocks of luma that it lies under. Blocks beyond the
    picture's edge, which only fill it up, are left out.
    Raises `CodecError` for anything but a whole baseline file of one scan, as our coders write them.
    """
    try:
        height, width, components, tables, data = _read(file)
        planes = _walk(height, width, components, tables, data)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise CodecError("these bytes are no whole baseline JPEG file of one scan; make it again.") from error
    rows, columns = planes[0].shape  # the first plane, luma, is the finest
    total = sum(_spread(plane, rows, columns) for plane in planes)
    return total[: -(-height // 8), : -(-width // 8)]


def _spread(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Share the bits of coarser blocks out evenly."""
    down, across = rows // plane.shape[0], columns // plane.shape[1]
    return plane.repeat(down, 0).repeat(across, 1) / (down * across)


def _read(file: bytes):
    """Return height, width, components, Huffman tables by their number, and the coded bytes of a file."""
    start, _ = jpeg_parts(file)
    tables, position = {}, 2
    while True:
        _, kind, length = struct.unpack_from(">BBH", file, position)
        body = file[position + 4 : position + 2 + length]
        if kind == 0xC4:
            tables |= _tables(body)
        elif kind == 0xC0:
            height, width, count = struct.unpack_from(">HHB", body, 1)
            sizes = {body[6 + 3 * i]: divmod(body[7 + 3 * i], 16) for i in range(count)}
        elif kind == 0xDA:
            chosen = {body[1 + 2 * i]: divmod(body[2 + 2 * i], 16) for i in range(body[0])}
            break
        elif kind == 0xDD or 0xC0 < kind < 0xD0:
            raise ValueError("it is progressive, arithmetic or restarts")
        position += 2 + length
    single = len(sizes) == 1  # whose blocks are coded one by one, whatever its sampling
    components = [
        _Component(*((1, 1) if single else sizes[name]), first, 16 + rest) for name, (first, rest) in chosen.items()
    ]
    if len(components) < len(sizes) or not file.endswith(b"\xff\xd9"):
        raise ValueError("it has several scans or no end")
    return height, width, components, tables, file[start:-2].replace(b"\xff\x00", b"\xff")


def _tables(body: bytes) -> dict[int, list[int]]:
    """Return Huffman tables by number: for each 16 bits that may follow, 256 times a code's length plus its value."""
    found, position = {}, 0
    while position < len(body):
        number, counts = body[position], body[position + 1 : position + 17]
        table, code, position = [0] * 2**16, 0, position + 17
        for length, count in enumerate(counts, 1):
            for value in body[position : position + count]:
                span = 2 ** (16 - length)
                table[code * span : (code + 1) * span] = [256 * length + value] * span
                code += 1
            code, position = 2 * code, position + count
        found[number] = table
    return found


def _walk(height: int, width: int, components, tables, data: bytes) -> list[np.ndarray]:
    """Return the bits of each block of each plane, whole units of coding."""
    across, down = (max(getattr(c, side) for c in components) for side in ("across", "down"))
    rows, columns = -(-height // (8 * down)), -(-width // (8 * across))
    planes = [np.zeros((rows * c.down, columns * c.across)) for c in components]
    padded, position = data + bytes(4), 0

    def symbol(table: list[int]) -> tuple[int, int]:
        nonlocal position
        byte, bit = divmod(position, 8)
        ahead = int.from_bytes(padded[byte : byte + 3], "big") >> (8 - bit) & 0xFFFF
        length, value = divmod(table[ahead], 256)
        if not length or position > 8 * len(data):
            raise ValueError("its code ends too early")
        position += length + value % 16
        return divmod(value, 16)

    for row in range(rows):
        for column in range(columns):
            for plane, (h, v, first, rest) in zip(planes, components, strict=True):
                for block in range(h * v):
                    begin, done = position, 1
                    symbol(tables[first])
                    while done < COEFFICIENTS:
                        run, size = symbol(tables[rest])
                        done = COEFFICIENTS if not size and run < 15 else done + run + 1
                    plane[row * v + block // h, column * h + block % h] = position - begin
    return planes

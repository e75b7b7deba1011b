"""What the bytes of a JPEG file are for: its header, its scans, the bits of each block.

Source: ITU-T T.81, annexes B (markers), C (Huffman tables) and F (the baseline's code).
"""

import struct
from collections.abc import Iterator

import numpy as np

from ra_core.errors import CodecError

FRAME, TABLES, SCAN, RESTART = 0xC0, 0xC4, 0xDA, 0xDD  # kinds of segments
MAX_SCANNED_PIXELS = 2**30  # scans of a JPEG times its pixels: a small file of many scans takes hours otherwise


def _segments(file: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield kind, content and end of each segment up to the first scan's. Raises `ValueError` or `struct.error`."""
    kind, end = 0, 2
    while kind != SCAN:
        mark, kind, length = struct.unpack_from(">BBH", file, end)
        if file[:2] != b"\xff\xd8" or mark != 0xFF or length < 2:
            raise ValueError("it does not begin as a JPEG file does")
        end += 2 + length
        yield kind, file[end - length + 2 : end], end


def jpeg_parts(file: bytes) -> tuple[int, int]:
    """Return the bytes of a JPEG file up to its first scan's data, and from there to the end.

    Raises `CodecError` where there is no scan.
    """
    try:
        *_, (_, _, end) = _segments(file)
    except (ValueError, struct.error) as error:
        raise CodecError("these bytes are no JPEG file with a scan; make it again.") from error
    return end, len(file) - end


def check_jpeg(file: bytes) -> None:
    """Refuse a JPEG file that does not end, or has more scans than pictures of its size have."""
    if not file.endswith(b"\xff\xd9"):
        raise ValueError("it does not end as a JPEG file does")
    frame = next(content for kind, content, _ in _segments(file) if FRAME <= kind < 0xD0 and kind != TABLES)
    height, width = struct.unpack_from(">HH", frame, 1)
    scans = file.count(bytes([0xFF, SCAN]))  # within a scan's data, 0 follows 255
    if scans * width * height > MAX_SCANNED_PIXELS:
        raise ValueError(f"it has {scans} scans of {width} x {height} pixels")


def block_bits(file: bytes) -> np.ndarray:
    """Return how many bits of a JPEG file code each block of 8 x 8 pixels, (rows, columns), floats.

    Those of a block of chroma are shared out evenly among the blocks of luma that it lies under. Blocks beyond the
    picture's edge, which only fill it up, are left out.
    Raises `CodecError` for anything but a whole baseline file of one scan, as our coders write them.
    """
    try:
        (height, width), planes = _bits_by_plane(file)
    except (IndexError, KeyError, StopIteration, ValueError, struct.error) as error:
        raise CodecError("these bytes are no whole baseline JPEG file of one scan; make it again.") from error
    total = np.zeros(planes[0].shape)  # luma is the finest
    for plane in planes:
        share = np.ones(np.floor_divide(total.shape, plane.shape))
        total += np.kron(plane, share / share.size)
    return total[: -(-height // 8), : -(-width // 8)]


def _bits_by_plane(file: bytes) -> tuple[tuple[int, int], list[np.ndarray]]:
    """Return a file's height and width, and the bits of each block of each plane, whole units of coding."""
    kinds, contents, ends = zip(*_segments(file), strict=True)
    frame, scan = contents[kinds.index(FRAME)], contents[-1]
    codes = {number: code for kind, table in zip(kinds, contents, strict=True) if kind == TABLES
             for number, code in _huffman_codes(table).items()}  # fmt: skip
    sampling = {frame[i]: divmod(frame[i + 1], 16) for i in range(6, len(frame), 3)}
    chosen = {scan[i]: divmod(scan[i + 1], 16) for i in range(1, 2 * scan[0], 2)}
    if chosen.keys() != sampling.keys() or RESTART in kinds or not file.endswith(b"\xff\xd9"):
        raise ValueError("it has several scans, restarts or no end")
    if len(sampling) == 1:  # whose blocks are coded one by one, whatever its sampling
        sampling = dict.fromkeys(sampling, (1, 1))
    size, (across, down) = struct.unpack_from(">HH", frame, 1), np.max(list(sampling.values()), axis=0)
    rows, columns = -(-size[0] // (8 * down)), -(-size[1] // (8 * across))
    planes = {name: np.zeros((rows * v, columns * h)) for name, (h, v) in sampling.items()}
    bits, position = "".join(f"{byte:08b}" for byte in file[ends[-1] : -2].replace(b"\xff\x00", b"\xff")), 0
    for row, column in np.ndindex(rows, columns):
        for name, (h, v) in sampling.items():
            first, rest = chosen[name]
            for y, x in np.ndindex(v, h):
                start, position = position, _end_of_block(bits, position, codes[first], codes[16 + rest])
                planes[name][row * v + y, column * h + x] = position - start
    return size, list(planes.values())


def _huffman_codes(content: bytes) -> dict[int, dict[str, int]]:
    """Return the values of Huffman tables by their codes, and these by the tables' numbers."""
    found, position = {}, 0
    while position < len(content):
        number, counts = content[position], content[position + 1 : position + 17]
        table, code, position = {}, 0, position + 17
        for length, count in enumerate(counts, 1):
            for value in content[position : position + count]:
                table[f"{code:0{length}b}"], code = value, code + 1
            code, position = 2 * code, position + count
        found[number] = table
    return found


def _end_of_block(bits: str, position: int, first: dict[str, int], rest: dict[str, int]) -> int:
    """Return where the block ends that begins at `position`: up to 64 values, each a code and the bits it asks for."""
    done, codes = 0, first
    while done < 64:
        end = next(end for end in range(position + 1, position + 17) if bits[position:end] in codes)
        run, size = divmod(codes[bits[position:end]], 16)
        position = end + size
        if position > len(bits):
            raise ValueError("its code ends too early")
        ended = codes is rest and not size and run < 15
        done, codes = 64 if ended else done + run + 1, rest
    return position

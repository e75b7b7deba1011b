"""Gives a codec thousands of damaged files and prints what came of them as JSON.

`python fuzz_codec.py NAME CASES TRACE`. TRACE is a file that holds the number of the case at work, should the
process die of it; a case depends on the codec's name and its number alone.
"""

import json
import os
import random
import sys
import time

import numpy as np

from ra_core.codecs import Codec, load_codec
from ra_core.errors import CodecError

HANG_SECONDS = 1200  # of work for all cases; a busy machine is no hang
SIDES = ((1, 1), (8, 8), (41, 67), (200, 150))  # height, width
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
DECLARED = (0, 1, 3, 16383, 32768, 65500, 65535, 2**20, 2**31 - 1, 2**31, 2**32 - 1)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a picture with slopes, an edge and a little noise."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 24, (height, width, 3))
    slopes = np.stack([3 * rows, 2 * columns, rows + columns], -1) % 200
    return (slopes + noise + 30 * (columns > rows)[..., None]).astype(np.uint8)


def whole_files(codec: Codec) -> list[tuple[bytes, int, int]]:
    """Return small files of several sizes and qualities, with the height and width of each."""
    unit = codec.qualities
    files = []
    for share in (0.3, 0.7):
        quality = unit.low + share * (unit.high - unit.low)
        quality = int(quality) if unit.integer else quality
        coded = codec.encode([picture(*sides) for sides in SIDES], quality)
        files += [(file, *sides) for file, sides in zip(coded, SIDES, strict=True)]
    return files


def damaged(codec: Codec, files: list[tuple[bytes, int, int]], number: int) -> bytes:
    """Return case `number`: a file cut off, random, with bits flipped, or with a hostile header."""
    chance = random.Random(f"{codec.name} {number}")
    file, *sides = chance.choice(files)
    kind = chance.choice((cut, noise, flip, flip, forge, forge, declare, splice))
    return bytes(kind(chance, bytearray(file), sides, chance.choice(files)[0]))


def cut(chance, file, sides, other):
    return file[: chance.randrange(len(file))]


def noise(chance, file, sides, other):
    return file[: chance.choice((0, 4, 12, 40, 100))] + chance.randbytes(chance.randrange(3000))


def flip(chance, file, sides, other):
    for _ in range(chance.choice((1, 2, 4, 32))):
        file[chance.randrange(len(file))] ^= 1 << chance.randrange(8)
    return file


def forge(chance, file, sides, other):
    """Write extremes into the header."""
    reach = min(len(file), chance.choice((16, 64, 250, 700)))
    for _ in range(chance.randrange(1, 9)):
        file[chance.randrange(reach)] = chance.choice(EXTREMES)
    return file


def declare(chance, file, sides, other):
    """Replace the declared sides, wherever they may stand, by impossible ones."""
    for side in sides:
        width, order = chance.choice((2, 4)), chance.choice(("big", "little"))
        value = (chance.choice(DECLARED) % 256**width).to_bytes(width, order)
        file = file.replace(side.to_bytes(width, order), value, chance.choice((1, 2, -1)))
    return file


def splice(chance, file, sides, other):
    """Take a piece out, put a piece of another file in, or append one."""
    start, end = sorted(chance.choices(range(len(file) + 1), k=2))
    first, last = sorted(chance.choices(range(len(other) + 1), k=2))
    return chance.choice((file[:start] + file[end:], file[:start] + other[first:last] + file[end:], file + other))


def memory() -> dict[str, float]:
    """Return the most memory this process has used and has reserved, in MB, as far as the system tells."""
    try:
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status)
    except OSError:
        return {}
    return {key: int(lines[key].split()[0]) / 1024 for key in ("VmHWM", "VmPeak")}


def run(codec: Codec, cases: int, trace: int | None = None) -> dict:
    """Decode `cases` damaged files; anything else than a picture or a `CodecError` is raised."""
    files = whole_files(codec)
    codec.decode([file for file, *_ in files])
    before, counts, slowest = memory(), {"decoded": 0, "refused": 0}, (0.0, -1)
    for number in range(cases):
        file = damaged(codec, files, number)
        if trace is not None:
            os.pwrite(trace, f"{number:8d}".encode(), 0)
        start = time.process_time()
        try:
            (decoded,) = codec.decode([file])
            assert decoded.dtype == np.uint8 and decoded.ndim == 3 and decoded.shape[2] == 3, number
            counts["decoded"] += 1
        except CodecError as error:
            message = str(error)
            assert "\n" not in message and message.endswith(".") and ". " not in message, message
            counts["refused"] += 1
        slowest = max(slowest, (time.process_time() - start, number))
    grown = {key: value - before[key] for key, value in memory().items()}
    return {"cases": cases, **counts, "slowest_s": slowest[0], "slowest": slowest[1], "grown_mb": grown}


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))  # spares the machine should a check fail
    resource.setrlimit(resource.RLIMIT_CPU, (HANG_SECONDS, HANG_SECONDS))
    with open(sys.argv[3], "wb", buffering=0) as trace:
        print(json.dumps(run(load_codec(sys.argv[1]), int(sys.argv[2]), trace.fileno())))

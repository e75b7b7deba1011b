"""Pictures of a folder kept decoded, in memory or in a file, so that a GPU does not wait for JPEG (`data.cache`)."""

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL

from ra_core.cores import cores
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError, OutputError, ParameterError, is_out_of_memory
from ra_core.files import atomic, remove
from ra_core.locks import file_lock
from ra_core.pool import in_threads

AT_ONCE = 64  # pictures in memory while a file is written
ROW = 3 * 8  # bytes behind all pixels, of each picture's height, width and CRC-32
SEAL = 32  # bytes at the end, of the SHA-256 of these rows and of what was decoded

Read = Callable[[str], np.ndarray]  # a file's name to its pixels (H, W, 3) uint8, which nobody may change


def decode(folder: Path, resize: int, file: str) -> np.ndarray:
    """Return the pixels (H, W, 3) uint8 of a picture. Raises as `open_picture`."""
    return np.asarray(open_picture(folder / file, resize))


class InMemory:
    """Pictures that stay in the memory of this process once they are decoded.

    Raises `ParameterError` where they cannot fit, or no longer do.
    """

    def __init__(self, pictures):
        self.name, self.found, self.decode = pictures.name, {}, partial(decode, pictures.folder, pictures.resize)
        machine, least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), least_bytes(pictures)
        if least > machine:
            raise ParameterError(self._too_much(f"{machine / 1e9:.1f} GB of this machine"))

    def ready(self) -> Read:
        """Return what reads a picture."""
        return self._read

    def _read(self, file: str) -> np.ndarray:
        try:
            if file not in self.found:
                self.found[file] = self.decode(file)
            return self.found[file]
        except (MemoryError, DataError) as error:
            if is_out_of_memory(error.__cause__ or error):
                raise ParameterError(self._too_much("memory that is left")) from error
            raise

    def _too_much(self, what: str) -> str:
        return (
            f"data.cache = 'memory': the decoded pictures {self.name} do not fit into the {what}; state disk or none."
        )


class Stored(NamedTuple):
    """An open file: all pixels, of each picture the height, width and CRC-32, its place, and whether that was seen."""

    pixels: np.ndarray
    index: np.ndarray
    starts: np.ndarray
    seen: np.ndarray


class OnDisk:
    """Pictures in one memory-mapped file `path`, which all processes and later runs share.

    The first that needs it decodes all and writes it, while others wait; so does one that finds it damaged or of other
    pictures. Raises `OutputError` where there is no room, and as `open_picture`.
    """

    def __init__(self, pictures, path: Path):
        self.pictures, self.path, self.stored = pictures, path, None
        self.places = {file: place for place, file in enumerate(pictures.files)}
        self.decode = partial(decode, pictures.folder, pictures.resize)

    def ready(self) -> Read:
        """Return what reads a picture, once the file is there."""
        if self.stored is None:
            about = f"resize {self.pictures.resize}, Pillow {PIL.__version__}"  # others may round otherwise
            key = b"".join(self.pictures.digests()) + about.encode()
            self.stored = self._open(key) or self._made(key)
        return partial(self._read, self.stored)

    def _read(self, stored: Stored, file: str) -> np.ndarray:
        place = self.places[file]
        (height, width, check), start = stored.index[place], stored.starts[place]
        picture = stored.pixels[start : start + height * width * 3].reshape(height, width, 3)
        if not stored.seen[place]:
            if zlib.crc32(picture) != check:
                remove(self.path)
                self.stored = None  # so that the next batch makes it anew
                return self.decode(file)
            stored.seen[place] = True
        return picture

    def _open(self, key: bytes) -> Stored | None:
        """Return the file where it is whole and of these pictures."""
        with suppress(OSError, ValueError):  # there is none, or an empty one
            found = np.asarray(np.memmap(self.path, np.uint8, "r"))
            pixels, rows, seal = np.split(found, [len(found) - SEAL - ROW * len(self.places), len(found) - SEAL])
            index = np.frombuffer(rows.tobytes(), np.int64).reshape(-1, 3)
            ends = np.cumsum(3 * index[:, 0] * index[:, 1])
            if hashlib.sha256(key + rows.tobytes()).digest() == seal.tobytes() and ends[-1] == len(pixels):
                return Stored(pixels, index, np.append(0, ends), np.zeros(len(index), bool))
        return None

    def _made(self, key: bytes) -> Stored | None:
        """Return the file that this or another process has written meanwhile."""
        with file_lock(self.path.with_name(f".{self.path.name}.lock"), f"decoding into {self.path}", wait=True):
            if found := self._open(key):
                return found
            remove(self.path)  # of other pictures, or damaged; its room is needed
            free, least = shutil.disk_usage(self.path.parent).free, least_bytes(self.pictures)
            if least > free:
                raise OutputError(
                    f"{self.path} would take at least {least / 1e9:.1f} GB and the disk has {free / 1e9:.1f} left: "
                    "free some, or state data.cache: none."
                )
            print(f"The pictures {self.pictures.name} are decoded once, into {self.path}.", flush=True)
            with atomic(self.path) as temporary:
                self._write(key, temporary)
            return self._open(key)

    def _write(self, key: bytes, path: Path) -> None:
        def picture(name: str) -> tuple[np.ndarray, list[int]]:
            pixels = self.decode(name)
            return pixels, [*pixels.shape[:2], zlib.crc32(pixels)]

        files, rows = self.pictures.files, []
        with open(path, "wb") as file:
            for first in range(0, len(files), AT_ONCE):
                for pixels, row in in_threads(picture, files[first : first + AT_ONCE], threads=cores()):
                    file.write(pixels)
                    rows.append(row)
            index = np.array(rows, np.int64).tobytes()
            file.write(index + hashlib.sha256(key + index).digest())


def least_bytes(pictures) -> int:
    """Return what the decoded pictures of a folder take at least: all square."""
    return 3 * len(pictures) * pictures.resize**2


def cached(pictures, kind: str, path: Path):
    """Return pictures of a folder that are kept decoded: `kind` is `memory`, or `disk`, in the file `path`."""
    return replace(pictures, cache=InMemory(pictures) if kind == "memory" else OnDisk(pictures, path))

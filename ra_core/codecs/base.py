"""What every codec shares: its range of qualities, its checks, and many pictures at once on threads.

A coder holds no state, so a codec is a frozen dataclass of its settings: it can be hashed, compared and pickled.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from ra_core.cores import own_cores
from ra_core.errors import CodecError, DataError, ParameterError, RAError

MAX_PIXELS = 2**26  # of one picture: 8,000 x 6,000 with room to spare, 200 MB decoded


@dataclass(frozen=True)
class Qualities:
    """What a codec calls quality: its unit, its range, and the direction in which pictures get better."""

    unit: str
    low: float
    high: float
    better: str  # "up" or "down"
    whole: bool = True

    def checked(self, quality: float) -> int | float:
        """Return `quality` as a plain number. Raises `ParameterError` where it is none or out of range."""
        if isinstance(quality, float) and quality.is_integer() and self.whole:
            quality = int(quality)
        kind = Integral if self.whole else Real
        if isinstance(quality, kind) and not isinstance(quality, bool) and self.low <= quality <= self.high:
            return int(quality) if self.whole else float(quality)
        best = self.high if self.better == "up" else self.low
        raise ParameterError(
            f"{self.unit} {quality!r} is not allowed; give a {'whole ' if self.whole else ''}number "
            f"from {self.low:g} to {self.high:g} ({best:g} is best)."
        )


class Codec:
    """A real coder: pictures to the bytes of the file that would be stored, and back.

    A subclass states `name`, `suffix`, `qualities` and `needs` (what to install where it is missing), and
    codes one picture at a time: `_encode`, `_decode`, which may raise anything.
    """

    name: str
    suffix: ClassVar[str]
    qualities: ClassVar[Qualities]
    needs: ClassVar[str] = "Pillow with this format"
    alone_below: ClassVar[int] = 0  # pixels; smaller pictures are coded faster than a thread is woken

    def encode(self, pictures: Sequence[np.ndarray], quality: float, threads: int | None = None) -> list[bytes]:
        """Return the file of each picture, uint8 (H, W, 3) RGB of any sizes, on `threads` (all cores).

        Raises `ParameterError` for a quality out of range, `DataError` for a picture of another kind and
        `CodecError` where the coder fails.
        """
        self.require()
        quality, pictures = self.qualities.checked(quality), _listed(pictures)
        for number, picture in enumerate(pictures):
            check_picture(picture, number)

        def code(number: int) -> bytes:
            try:
                return self._encode(pictures[number], quality)
            except RAError:
                raise
            except Exception as error:  # every library has its own kinds
                height, width, _ = pictures[number].shape
                raise CodecError(
                    f"picture {number} of {height} x {width} pixels could not be coded as {self.name} "
                    f"({reason(error)}); choose another codec or size."
                ) from error

        alone = not pictures or max(picture.size for picture in pictures) < 3 * self.alone_below
        return in_threads(code, range(len(pictures)), threads, alone)

    def decode(self, files: Sequence[bytes], threads: int | None = None) -> list[np.ndarray]:
        """Return the picture of each file that this codec wrote, uint8 (H, W, 3) RGB, on `threads` (all cores).

        Raises `CodecError` for bytes that are not a whole file of this codec, or of more than `MAX_PIXELS`, and
        `DataError` for what is no bytes. Bytes behind a whole file are refused too, except behind JPEG XL, which does
        not declare its length, and BPG, which is left to its program; and a second JPEG behind a JPEG.
        """
        self.require()
        files = _listed(files)
        for number, file in enumerate(files):
            if not isinstance(file, bytes | bytearray | memoryview):
                raise DataError(
                    f"file {number} is of type {type(file).__name__}, and a codec takes bytes; read the file first."
                )

        def code(number: int) -> np.ndarray:
            try:
                return self._decode(bytes(files[number]))
            except RAError:
                raise
            except Exception as error:  # damaged bytes make the libraries raise whatever comes first
                raise CodecError(
                    f"file {number} cannot be decoded as {self.name} ({reason(error)}); make it again."
                ) from error

        alone = not files or max(map(len, files)) < self.alone_below // 32  # a quarter of a bit a pixel
        return in_threads(code, range(len(files)), threads, alone)

    def available(self) -> bool:
        """Say whether the coder's library or programs are there."""
        raise NotImplementedError

    def require(self) -> None:
        """Raise `ParameterError` where the coder is missing."""
        if not self.available():
            raise ParameterError(f"codec {self.name} is not available here; install {self.needs} first.")

    def describe(self) -> dict:
        """Return name, versions, exact settings ("quality" where it goes) and qualities, ready for JSON."""
        unit = self.qualities
        return {
            "name": self.name,
            "suffix": self.suffix,
            "quality": {"unit": unit.unit, "low": unit.low, "high": unit.high, "better": unit.better},
            "settings": self._settings("quality"),
            "versions": self._versions(),
        }

    def _settings(self, quality) -> dict:
        raise NotImplementedError

    def _versions(self) -> dict[str, str]:
        raise NotImplementedError

    def _encode(self, picture: np.ndarray, quality: float) -> bytes:
        raise NotImplementedError

    def _decode(self, file: bytes) -> np.ndarray:
        raise NotImplementedError


def check_whole(what: str, value: object, low: int, high: int) -> None:
    """Raise `ParameterError` unless a setting is a whole number from `low` to `high`."""
    if isinstance(value, bool) or not (isinstance(value, int) and low <= value <= high):
        raise ParameterError(f"{what} {value!r} is not allowed; give a whole number from {low} to {high}.")


def check_choice(what: str, value: object, choices: Sequence[str]) -> None:
    """Raise `ParameterError` unless a setting is one of `choices`."""
    if value not in choices:
        raise ParameterError(f"{what} {value!r} is unknown; choose one of {', '.join(choices)}.")


def _listed(given: object) -> list:
    """Return pictures or files as a list. Raises `DataError` where they are no sequence."""
    try:
        return list(given)
    except TypeError as error:
        raise DataError(
            f"a codec was given {type(given).__name__} where it takes a list; put even a single one into a list."
        ) from error


def check_picture(picture: object, number: int) -> None:
    """Raise `DataError` unless `picture` is an RGB picture of 8 bits and at most `MAX_PIXELS`."""
    if not isinstance(picture, np.ndarray):
        given = f"a {type(picture).__name__}"
    elif picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        given = f"{picture.dtype} of shape {picture.shape}"
    elif picture.shape[0] * picture.shape[1] > MAX_PIXELS:
        raise DataError(
            f"picture {number} has {picture.shape[0]} x {picture.shape[1]} pixels, more than the {MAX_PIXELS} "
            "a codec takes; make it smaller."
        )
    else:
        return
    raise DataError(
        f"picture {number} is {given}, and a codec takes uint8 of shape (height, width, 3); "
        "turn a grey or transparent picture into RGB first."
    )


def is_grey(picture: np.ndarray) -> bool:
    """Say whether the three channels of (H, W, 3) are equal everywhere."""
    return all(np.array_equal(picture[..., 0], picture[..., channel]) for channel in (1, 2))


def check_size(width: int, height: int) -> None:
    """Raise `ValueError` where a file declares no pixels or too many, before they are allocated."""
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise ValueError(f"it declares {width} x {height} pixels where 1 to {MAX_PIXELS} are allowed")


def reason(error: Exception) -> str:
    """Return the first line of a library's message as part of a sentence."""
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    return said.strip().rstrip(".").replace(". ", ", ")[:200]


def in_threads(work: Callable, items: Sequence, threads: int | None = None, alone: bool = False) -> list:
    """Return `work` of each item, in their order, done by a pool of `threads` (`own_cores` unless told), or `alone`."""
    threads = own_cores() if threads is None else threads
    if not (isinstance(threads, int) and threads >= 1):
        raise ParameterError(f"{threads!r} threads are not possible; give a whole number from 1 on.")
    if alone or threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="codec")


if hasattr(os, "register_at_fork"):  # a forked loader has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)

"""What every codec shares: its place in `CODECS`, its qualities and checks, and many pictures at once on threads.

A coder holds no state, so a codec is a frozen dataclass of its settings: it can be hashed, compared and pickled.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Real
from typing import ClassVar, NamedTuple

import numpy as np

from ra_core.cores import own_cores
from ra_core.errors import CodecError, DataError, ParameterError, RAError
from ra_core.registry import Registry

MAX_PIXELS = 2**26  # of one picture: 8,000 x 6,000 with room to spare, 200 MB decoded
TIMED_SIDE = 256  # pixels a side of the picture that `Entry.milliseconds` belongs to

CODECS = Registry("codec")


class Entry(NamedTuple):
    """What is known of a codec before it is loaded.

    Its name stands for the `usual` settings; one core codes and decodes a picture of `TIMED_SIDE` pixels a side in
    `milliseconds`; `stand_in` is the codec of the proxy `BlockDCT` that is like it, None where there is none.
    """

    kind: type["Codec"]
    usual: dict
    title: str
    milliseconds: float
    stand_in: str | None


def register(title: str, milliseconds: float, stand_in: str | None = None, **usual) -> Callable:
    """Return a decorator that registers a class of codecs under the name it has with its `usual` settings."""

    def add(kind: type["Codec"]) -> type["Codec"]:
        CODECS.add(kind(**usual).name, Entry(kind, usual, title, milliseconds, stand_in))
        return kind

    return add


def setting(default, *choices):
    """Return a field of a codec that takes one of `choices`, or the whole numbers of a range."""
    return field(default=default, metadata={"allowed": choices[0] if isinstance(choices[0], range) else choices})


def load_codec(name: str, **settings) -> "Codec":
    """Return a codec by its name in `CODECS`, with settings other than the usual ones where given.

    Raises `ParameterError` for an unknown name or setting, and where its library or programs are missing.
    """
    entry = CODECS.find(name)
    allowed = [item.name for item in fields(entry.kind) if item.name not in entry.usual]
    if unknown := sorted(set(settings) - set(allowed)):
        raise ParameterError(f"codec {name} has no setting {unknown[0]!r}; it has {', '.join(allowed) or 'none'}.")
    codec = entry.kind(**entry.usual, **settings)
    codec.require()
    return codec


@dataclass(frozen=True)
class Qualities:
    """What a codec calls quality: its unit, its range, and the direction in which pictures get better."""

    unit: str
    low: float
    high: float
    better: str  # "up" or "down"
    integer: bool = True

    def checked(self, quality: float) -> int | float:
        """Return `quality` as a plain number, an int where the codec takes nothing else, so that 10.0 is 10.

        Raises `ParameterError` where it is no number or not in the range.
        """
        if isinstance(quality, Real) and not isinstance(quality, bool) and self.low <= quality <= self.high:
            if not self.integer:
                return float(quality)
            if quality == int(quality):
                return int(quality)
        best = self.high if self.better == "up" else self.low
        raise ParameterError(
            f"{self.unit} {quality!r} is not allowed; give a {'whole ' if self.integer else ''}number "
            f"from {self.low:g} to {self.high:g} ({best:g} is best)."
        )


class Codec:
    """A real coder: pictures to the bytes of the file that would be stored, and back.

    A subclass is a frozen dataclass whose fields are its settings (`setting`). It states `name`, `suffix`, `qualities`
    and `needs` (what to install where it is missing), and codes one picture at a time: `_encode` and `_decode` may
    raise anything.
    """

    name: str
    suffix: ClassVar[str]
    qualities: ClassVar[Qualities]
    needs: ClassVar[str] = "Pillow with this format"
    serial_below: ClassVar[int] = 0  # pixels; smaller pictures are coded faster than a thread is woken

    def __post_init__(self):
        for item in fields(self):
            value, allowed = getattr(self, item.name), item.metadata.get("allowed")
            if allowed is not None and not (type(value) is type(item.default) and value in allowed):
                told = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
                raise ParameterError(f"{type(self).__name__} takes no {item.name} {value!r}; choose from {told}.")

    def encode(self, pictures: Sequence[np.ndarray], quality: float, threads: int | None = None) -> list[bytes]:
        """Return the file of each picture, uint8 (H, W, 3) RGB of any sizes, on `threads` (all cores).

        Raises `ParameterError` for a quality out of range, `DataError` for a picture of another kind and
        `CodecError` where the coder fails.
        """
        self.require()
        quality, pictures = self.qualities.checked(quality), list(pictures)
        for number, picture in enumerate(pictures):
            check_picture(picture, number)

        def code(number: int) -> bytes:
            height, width, _ = pictures[number].shape
            about = f"picture {number} of {height} x {width} pixels could not be coded as {self.name}"
            return _attempt(about, "choose another codec or size", self._encode, pictures[number], quality)

        largest = max((picture.size for picture in pictures), default=0)
        return in_threads(code, range(len(pictures)), threads, serial=largest < 3 * self.serial_below)

    def decode(self, files: Sequence[bytes], threads: int | None = None) -> list[np.ndarray]:
        """Return the picture of each file that this codec wrote, uint8 (H, W, 3) RGB, on `threads` (all cores).

        Raises `CodecError` for what is not a whole file of this codec, or one of more than `MAX_PIXELS`. Bytes behind
        a whole file are refused too, except behind JPEG XL, which does not declare its length, and BPG, which is left
        to its program; and a second JPEG behind a JPEG.
        """
        self.require()
        files = list(files)

        def code(number: int) -> np.ndarray:
            about = f"file {number} cannot be decoded as {self.name}"
            return _attempt(about, "make it again", self._decode, bytes(files[number]))

        largest = max(map(len, files), default=0)  # at about a quarter of a bit a pixel
        return in_threads(code, range(len(files)), threads, serial=largest < self.serial_below // 32)

    def available(self) -> bool:
        """Say whether the coder's library or programs are there."""
        return True

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
        return {"quality": quality}

    def _versions(self) -> dict[str, str]:
        return {}

    def _encode(self, picture: np.ndarray, quality: float) -> bytes:
        raise NotImplementedError

    def _decode(self, file: bytes) -> np.ndarray:
        raise NotImplementedError


def _attempt(about: str, advice: str, work: Callable, *args):
    """Return what `work` makes; anything it raises is a `CodecError`, as each library has kinds of its own."""
    try:
        return work(*args)
    except RAError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].strip().rstrip(".").replace(". ", ", ")[:200]
        raise CodecError(f"{about} ({reason}); {advice}.") from error


def check_picture(picture: object, number: int) -> None:
    """Raise `DataError` unless `picture` is an RGB picture of 8 bits and at most `MAX_PIXELS`."""
    array = isinstance(picture, np.ndarray)
    if not (array and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size):
        given = f"{picture.dtype} of shape {picture.shape}" if array else f"a {type(picture).__name__}"
        raise DataError(
            f"picture {number} is {given}, and a codec takes uint8 of shape (height, width, 3); "
            "turn a grey or transparent picture into RGB first."
        )
    height, width, _ = picture.shape
    if height * width > MAX_PIXELS:
        raise DataError(
            f"picture {number} has {height} x {width} pixels, more than the {MAX_PIXELS} of a codec; make it smaller."
        )


def check_size(width: int, height: int) -> None:
    """Raise `ValueError` where a file declares no pixels or too many, before they are allocated."""
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise ValueError(f"it declares {width} x {height} pixels where 1 to {MAX_PIXELS} are allowed")


def is_grey(picture: np.ndarray) -> bool:
    """Say whether the three channels of (H, W, 3) are equal everywhere."""
    return all(np.array_equal(picture[..., 0], picture[..., channel]) for channel in (1, 2))


def in_threads(work: Callable, items: Sequence, threads: int | None = None, serial: bool = False) -> list:
    """Return `work` of each item, in their order, by a pool of `threads` (`own_cores` unless told), or `serial`."""
    threads = own_cores() if threads is None else threads
    if not (isinstance(threads, int) and threads >= 1):
        raise ParameterError(f"{threads!r} threads are not possible; give a whole number from 1 on.")
    if serial or threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="codec")


if hasattr(os, "register_at_fork"):  # a forked loader has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)

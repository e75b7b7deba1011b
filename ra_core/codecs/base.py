"""What every codec shares: its place in `CODECS`, its qualities and checks, and many pictures at once on threads.

A coder holds no state, so a codec is a frozen dataclass of its settings: it can be hashed, compared and pickled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from numbers import Real
from typing import ClassVar, NamedTuple

import numpy as np

from ra_core.errors import CodecError, DataError, ParameterError
from ra_core.pool import in_threads
from ra_core.registry import Registry

MAX_PIXELS = 2**26  # of one picture: 8,000 x 6,000 with room to spare, 200 MB decoded

CODECS = Registry("codec")


class Entry(NamedTuple):
    """A codec and what is known of it.

    One core codes and decodes a picture of 256 pixels a side in `milliseconds`; `stand_in` is the codec of the proxy
    `BlockDCT` that is like it, None where there is none.
    """

    codec: "Codec"
    title: str
    milliseconds: float
    stand_in: str | None


def register(title: str, milliseconds: float, stand_in: str | None = None, **settings) -> Callable:
    """Return a decorator that registers a class of codecs with these settings, by the name that it then has."""

    def add(kind: type["Codec"]) -> type["Codec"]:
        codec = kind(**settings)
        CODECS.add(codec.name, Entry(codec, title, milliseconds, stand_in))
        return kind

    return add


def load_codec(name: str) -> "Codec":
    """Return a codec by its name in `CODECS`. Raises `ParameterError` where its library or programs are missing."""
    codec = CODECS.find(name).codec
    if not codec.available():
        raise ParameterError(f"codec {name} is not available here; install {codec.needs} first.")
    return codec


@dataclass(frozen=True)
class Qualities:
    """What a codec calls quality: its unit, its range, and the direction in which pictures get better."""

    unit: str
    low: float
    high: float
    better: str  # "up" or "down"
    integer: bool = True

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        best = self.high if self.better == "up" else self.low
        return f"a {'whole ' * self.integer}number from {self.low:g} to {self.high:g} ({best:g} is best)"

    def checked(self, quality: float) -> int | float:
        """Return `quality` as a plain number, an int where the codec takes nothing else, so that 10.0 is 10.

        Raises `ParameterError` where it is no number or not in the range.
        """
        known = isinstance(quality, Real) and not isinstance(quality, bool) and self.low <= quality <= self.high
        if known and (not self.integer or quality == int(quality)):
            return int(quality) if self.integer else float(quality)
        raise ParameterError(f"{self.unit} {quality!r} is not allowed; give {self.allowed}.")


class Codec:
    """A real coder: pictures to the bytes of the file that would be stored, and back.

    A subclass is a frozen dataclass whose fields are its settings. It states `name`, `suffix` and `qualities`, and
    codes one picture at a time: `_encode(picture, quality)` returns bytes, `_decode(file)` an array, and both may raise
    anything. Where its files have a place for a colour profile, `_encode` takes one as `icc_profile`.
    """

    name: str
    suffix: ClassVar[str]
    qualities: ClassVar[Qualities]
    module: ClassVar[str] = ""  # of an optional Python package that it imports
    needs: ClassVar[str] = "Pillow with this format"  # what to install where it is missing
    takes_profile: ClassVar[bool] = False
    serial_below: ClassVar[int] = 0  # pixels; smaller pictures are coded faster than a thread is woken

    def encode(
        self, pictures: Sequence[np.ndarray], quality: float, threads: int | None = None, icc_profile: bytes = b""
    ) -> list[bytes]:
        """Return the file of each picture, uint8 (H, W, 3) RGB of any sizes, on `threads` (all cores).

        A colour profile goes into files that have a place for it, and changes no pixel. Raises `ParameterError` for a
        quality out of range, `DataError` for a picture of another kind and `CodecError` where the coder fails.
        """
        quality, pictures = self.qualities.checked(quality), list(pictures)
        for number, picture in enumerate(pictures):
            check_picture(picture, number)
        profile = {"icc_profile": icc_profile} if icc_profile and self.takes_profile else {}
        serial = max((picture.size for picture in pictures), default=0) < 3 * self.serial_below
        work = partial(self._encode, quality=quality, **profile)
        return self._each(work, pictures, "picture {} could not be coded", 1 if serial else threads)

    def decode(self, files: Sequence[bytes], threads: int | None = None) -> list[np.ndarray]:
        """Return the picture of each file that this codec wrote, uint8 (H, W, 3) RGB, on `threads` (all cores).

        Raises `CodecError` for what is not a whole file of this codec, or one of more than `MAX_PIXELS`. Bytes behind
        a whole file are refused too, except behind JPEG XL, which does not declare its length, and BPG, which is left
        to its program; and a second JPEG behind a JPEG.
        """
        files = list(map(bytes, files))
        serial = max(map(len, files), default=0) < self.serial_below // 32  # at about a quarter of a bit a pixel
        return self._each(self._decode, files, "file {} cannot be decoded", 1 if serial else threads)

    def _each(self, work: Callable, items: list, failed: str, threads: int | None) -> list:
        """Return `work` of each item; anything it raises is a `CodecError`, as each library has kinds of its own."""

        def attempt(number: int, item):
            try:
                return work(item)
            except Exception as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                reason = lines[0].strip().rstrip(".").replace(". ", ", ")[:200]
                raise CodecError(
                    f"{failed.format(number)} as {self.name} ({reason}); make it again, or choose another codec."
                ) from error

        if threads == 1 or len(items) < 2:
            return list(map(attempt, range(len(items)), items))
        return in_threads(attempt, range(len(items)), items, threads=threads)

    def available(self) -> bool:
        """Say whether the coder's library or programs are there."""
        return not self.module or find_spec(self.module) is not None

    def describe(self) -> dict:
        """Return name, versions, exact settings ("quality" where it goes) and qualities, ready for JSON."""
        unit = {key: getattr(self.qualities, key) for key in ("unit", "low", "high", "better")}
        about = {"name": self.name, "suffix": self.suffix, "quality": unit}
        return about | {"settings": self._settings("quality"), "versions": self._versions()}

    def _library(self):
        return import_module(self.module)  # only where it is used

    def _settings(self, quality) -> dict:
        return {"quality": quality}

    def _versions(self) -> dict[str, str]:
        return {}


def check_picture(picture: object, number: int) -> None:
    """Raise `DataError` unless `picture` is an RGB picture of 8 bits and at most `MAX_PIXELS`."""
    shape, kind = getattr(picture, "shape", ()), getattr(picture, "dtype", type(picture).__name__)
    if not isinstance(picture, np.ndarray) or kind != np.uint8 or shape[2:] != (3,) or not picture.size:
        raise DataError(f"picture {number} is {kind} of shape {tuple(shape)}; give uint8 (height, width, 3), as RGB.")
    if shape[0] * shape[1] > MAX_PIXELS:
        raise DataError(f"picture {number} has {shape[0]} x {shape[1]} pixels; give at most {MAX_PIXELS}.")


def check_size(width: int, height: int) -> None:
    """Raise `ValueError` where a file declares no pixels or too many, before they are allocated."""
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise ValueError(f"it declares {width} x {height} pixels where 1 to {MAX_PIXELS} are allowed")


def pixels(image, modes: tuple[str, ...] = ("RGB",)) -> np.ndarray:
    """Return the pixels of a picture that a library has opened; `ValueError` for too many, or of other `modes`."""
    check_size(*image.size)
    if image.mode not in modes:
        raise ValueError(f"its pixels are {image.mode} and not {' or '.join(modes)}")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def is_grey(picture: np.ndarray) -> bool:
    """Say whether the three channels of (H, W, 3) are equal everywhere; a few pixels tell of most that they are not."""
    (red, *others), few = np.moveaxis(picture, -1, 0), np.s_[::16, ::16]
    return all(np.array_equal(red[part], other[part]) for part in (few, ...) for other in others)

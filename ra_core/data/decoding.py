"""The one way to open a picture: any common file as 8-bit RGB, upright."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ra_core.errors import DataError, is_out_of_memory

MAX_MEGAPIXELS = 80  # below the size at which Pillow starts to warn (89)
SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, BITS, PHOTOMETRIC = 254, 255, 256, 258, 262  # tags of TIFF
PLANES, SUB_DIRECTORIES, DNG_VERSION = 284, 330, 50706
TOO_LARGE = f"at most {MAX_MEGAPIXELS} megapixels are read: make it smaller first"
NO_MEMORY = "does not fit into the memory that is left; free some, then run again"
FAULTS = {
    Image.DecompressionBombError: f"has a size far beyond what is allowed; {TOO_LARGE}",
    Image.DecompressionBombWarning: f"has a size far beyond what is allowed; {TOO_LARGE}",
    Image.UnidentifiedImageError: "is not a picture of a known kind; give a JPEG, PNG, WebP, TIFF, BMP or PPM file",
}


def open_picture(path: str | Path, shorter: int = 0) -> Image.Image:
    """Return the picture at `path` as 8-bit RGB, upright, its shorter side brought to `shorter` pixels (0: as stored).

    Grey becomes RGB, deep grey is scaled and rounded to 8 bits, transparent pixels lie on white, CMYK and palettes are
    converted, the camera's orientation tag is applied, and an animation gives its first frame. Resizing is bilinear
    with antialias. Raises `DataError` when `path` is not a whole picture or has, or gets, more than `MAX_MEGAPIXELS`.
    """
    with stored_picture(path) as picture:
        picture.load()
        tags = getattr(picture, "tag_v2", {})  # an upright copy has none
        picture = _to_rgb(upright(picture), tags)
        return picture.resize(resized(path, picture.size, shorter), Image.Resampling.BILINEAR) if shorter else picture


def resized(path: str | Path, size: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Return the width and height that `open_picture` gives a picture. Raises `DataError` where they are too large."""
    width, height = size = tuple(shorter * side // min(size) for side in size) if shorter else size
    if width * height > MAX_MEGAPIXELS * 1_000_000:  # a strip one pixel wide would grow without bounds
        raise DataError(f"{path} has {width} x {height} pixels; {TOO_LARGE}.")
    return size


def why_broken(read: Callable, *arguments) -> str:
    """Return the sentence with which `read` refuses a picture, or nothing where it is read."""
    try:
        read(*arguments)
    except DataError as error:
        return str(error)
    return ""


def reason(error: Exception) -> str:
    """Return the first line of what a library says went wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def hint_to_check(folder: Path) -> Iterator[None]:
    """Add to what a `DataError` says of one picture how all like it are found."""
    try:
        yield
    except DataError as error:
        advice = f"python -m ra_core.data.check {folder} lists all such files."
        raise DataError(f"{str(error).removesuffix('.')}; {advice}") from error


@contextmanager
def stored_picture(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture as it is stored, its pixels not yet decoded.

    Raises `DataError` for what is no picture, too large, or a camera's raw file; also for what goes wrong inside.
    """
    path = Path(path)
    try:
        if not path.is_file() or not path.stat().st_size:  # a pipe would be waited for
            what = "is a folder" if path.is_dir() else "is no plain file" if path.exists() else "does not exist"
            raise DataError(f"{path} {'is an empty file' if path.is_file() else what}; give the path of one picture.")
        # By its name, Pillow would map an uncompressed TIFF into memory, and scramble one that its tag turns.
        with open(path, "rb") as file, Image.open(file) as picture:
            resized(path, picture.size, 0)
            if why := _why_unreadable(picture, file):
                raise DataError(f"{path} {why}.")
            yield picture
    except DataError:
        raise
    except Exception as error:  # each of Pillow's decoders fails in its own way on damaged data
        damaged = f"cannot be read as a picture ({reason(error)}); it may be damaged: give a whole copy"
        said = next((text for kind, text in FAULTS.items() if isinstance(error, kind)), damaged)
        said = NO_MEMORY if is_out_of_memory(error) else said
        raise DataError(f"{path} {said}.") from error


def _why_unreadable(picture: Image.Image, file: BinaryIO) -> str:
    """Return why Pillow would give another picture than a TIFF file holds, or nothing."""
    tags = getattr(picture, "tag_v2", {})
    is_canon, bits = tags and os.pread(file.fileno(), 2, 8) == b"CR", tags.get(BITS, (8,))
    if is_canon or DNG_VERSION in tags or tags.get(SUBFILE_TYPE, 0) & 1 or tags.get(OLD_SUBFILE_TYPE) == 2:
        return "is a camera's raw file, of which only a thumbnail can be read; develop it first"
    for place in tags.get(SUB_DIRECTORIES, ()):
        with suppress(Exception):  # what cannot be read there is not asked for
            below = ImageFileDirectory_v2(os.pread(file.fileno(), 8, 0))
            file.seek(place)
            below.load(file)
            if below[WIDTH] > tags[WIDTH]:
                return "holds a larger picture, of which only a thumbnail can be read; develop or save it anew"
    apart = tags.get(PLANES) == 2
    if apart and (len(bits) == 2 or (max(bits) > 8 and picture.tile[0].codec_name == "raw")):
        return "has planes that lie apart, of a kind that is not read; save it with its channels side by side"
    return ""


def upright(picture: Image.Image) -> Image.Image:
    """Return a picture turned as its orientation tag says; a garbled tag counts as none."""
    with suppress(Exception):
        return ImageOps.exif_transpose(picture)
    return picture


def _to_rgb(picture: Image.Image, tags) -> Image.Image:
    """Convert to RGB, transparent pixels on white."""
    picture = to_8_bits(picture, tags)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def to_8_bits(picture: Image.Image, tags) -> Image.Image:
    """Return grey of 9 to 16 bits (white is all ones) or of floats (white is 1) rounded half up, others as they are.

    `tags` are those of TIFF. Raises `ValueError` where values are beyond white.
    """
    if picture.mode[0] not in "IF":
        return picture
    bits = int(tags.get(BITS, (16,))[0]) if picture.mode.startswith("I;16") else 16
    white, stored = 1 if picture.mode == "F" else 2**bits - 1, np.asarray(picture)
    values = stored.astype(np.float32)
    if not (values.min() >= 0 and values.max() <= white):  # said so that a NaN fails too
        raise ValueError(f"its grey values are not between 0 and {white}")
    if tags.get(PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds for 8 bits only
        values = white - values
    grey = Image.fromarray(np.floor(values * (255 / white) + 0.5).astype(np.uint8))
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray(255 * (stored != picture.info["transparency"]).astype(np.uint8)))
    return grey

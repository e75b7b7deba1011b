"""The user's pictures with all that belongs to them: colours, transparency and colour profile."""

import io
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps

from ra_core.channels import to_arrays
from ra_core.codecs.base import is_grey
from ra_core.data.decoding import open_picture
from ra_core.files import atomic
from ra_core.metrics import IDENTICAL_DB

ROWS = 256  # compared at a time, so that large pictures need no large copies
COMPRESSION = 3  # of PNG, 0 to 9: a third of the time of the usual 6


@dataclass(frozen=True)
class Picture:
    """An upright picture: `colours` (H, W, 3) uint8, `alpha` (H, W) uint8, `profile` of its RGB colours (ICC).

    `alpha` is None where all pixels are opaque, `profile` is empty where there is none; `notes` say what was lost.
    """

    colours: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes = b""
    notes: tuple[str, ...] = ()


def read_picture(path: Path) -> Picture:
    """Return the picture at `path` as 8-bit RGB, upright, with what lies beneath transparent pixels as it is.

    Grey and CMYK pictures with a profile of their own come as sRGB by that profile; of several frames one is used.
    Raises `DataError` as `ra_core.data.decoding.open_picture` does, with which all else is alike.
    """
    picture = open_picture(path)  # from here on the file is known to be whole
    with Image.open(path) as stored:
        profile, notes, alpha = stored.info.get("icc_profile") or b"", (), None
        space = profile[16:20].decode("ascii", "replace").strip()
        if profile and profile[36:40] != b"acsp":
            profile, notes = b"", ("its colour profile is damaged",)
        elif profile and space != "RGB":
            if (converted := _in_srgb(_upright(stored), profile)) is not None:
                picture, notes = converted, (f"converted from its {space} profile to sRGB",)
            else:
                notes = (f"its {space} profile does not fit RGB and is left out",)
            profile = b""
        if stored.has_transparency_data:
            layers = np.array(_upright(stored).convert("RGBA"))
            picture, alpha = layers[..., :3], layers[..., 3]
        if _has_more(stored):
            notes += ("it has several frames, of which one is used",)
    colours = np.ascontiguousarray(picture)
    return Picture(colours, None if alpha is None or alpha.min() == 255 else alpha, profile, notes)


def to_grey(colours: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 with the brightness (ITU-R BT.601) of each pixel in all three channels."""
    return np.array(Image.fromarray(colours).convert("L").convert("RGB"))


def resize(layer: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an 8-bit layer (H, W) at another size, by bicubic interpolation."""
    if layer.shape == (height, width):
        return layer
    return np.array(Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC))


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture as PNG, atomically, with its transparency and profile; in grey where it is grey."""
    image = Image.fromarray(picture.colours)
    if not picture.profile and is_grey(picture.colours):  # a profile of RGB colours asks for RGB
        image = image.convert("L")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    with atomic(path) as temporary:
        image.save(temporary, "PNG", icc_profile=picture.profile or None, compress_level=COMPRESSION)


def write_pictures(folder: Path, images: torch.Tensor) -> None:
    """Write pictures (B, 3, H, W) in [0, 1] as `000.png`, `001.png` and so on."""
    for number, colours in enumerate(to_arrays(images)):
        write_png(Path(folder) / f"{number:03}.png", Picture(colours))


def picture_psnr(picture: np.ndarray, target: np.ndarray) -> float:
    """Return the PSNR in dB of two 8-bit pictures of one shape: `ra_core.metrics.psnr` for large arrays."""
    total = 0
    for row in range(0, len(picture), ROWS):
        error = picture[row : row + ROWS].astype(np.int32) - target[row : row + ROWS]
        total += int(np.square(error).sum(dtype=np.int64))
    return min(IDENTICAL_DB, -10 * math.log10(total / picture.size / 255**2)) if total else IDENTICAL_DB


def _upright(picture: Image.Image) -> Image.Image:
    with suppress(Exception):  # a garbled tag counts as none
        return ImageOps.exif_transpose(picture)
    return picture


def _has_more(picture: Image.Image) -> bool:
    """Say whether a file holds more than one frame, page or picture."""
    try:
        return getattr(picture, "is_animated", False)  # not known to formats that have one only
    except Exception:  # there are more, and damaged
        return True


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """Return a grey or CMYK picture in sRGB by its profile; None where that does not work."""
    if picture.mode not in ("L", "CMYK"):
        return None
    try:
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        exact = ImageCms.Flags.NOOPTIMIZE  # else dark greys are wrong by several levels
        converted = ImageCms.profileToProfile(picture, known, srgb, outputMode="RGB", flags=exact)
    except Exception:  # a profile can be wrong in many ways
        return None
    return converted.convert("L").convert("RGB") if picture.mode == "L" else converted

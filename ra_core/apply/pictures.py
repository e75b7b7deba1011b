"""The user's pictures with all that belongs to them: colours, transparency and colour profile."""

import io
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops, ImageCms

from ra_core.channels import to_arrays
from ra_core.codecs.base import is_grey
from ra_core.data.decoding import open_picture, stored_picture, to_8_bits, upright
from ra_core.files import atomic
from ra_core.metrics import IDENTICAL_DB

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
    with stored_picture(path) as stored:
        profile, notes, alpha = stored.info.get("icc_profile") or b"", (), None
        deep = stored.mode[0] in "IF" or any(f";16{order}" in str(stored.tile) for order in "BLN")  # as in `RGB;16B`
        space = profile[16:20].decode("ascii", "replace").strip()
        if profile and (profile[36:40] != b"acsp" or len(profile) < int.from_bytes(profile[:4])):
            profile, notes = b"", ("its colour profile is damaged",)
        elif profile and space != "RGB":
            converted, notes = picture, (f"its {space} profile does not fit RGB and is left out",)
            with suppress(Exception):  # a profile can be wrong in many ways
                converted, notes = _in_srgb(upright(stored), profile), (f"converted from its {space} profile to sRGB",)
            picture, profile = converted, b""
        if stored.has_transparency_data:
            layers = np.array(to_8_bits(upright(stored), {}).convert("RGBA"))
            picture, alpha = layers[..., :3], layers[..., 3]
        several = True  # where they cannot be counted because one is damaged
        with suppress(Exception):
            several = getattr(stored, "is_animated", False)
        notes += ("it has several frames, of which one is used",) * several
        notes += ("it has more than 8 bits a channel, which became 8",) * deep
    return Picture(np.array(picture), None if alpha is None or alpha.min() == 255 else alpha, profile, notes)


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Return a grey or CMYK picture in sRGB by its profile. Raises whatever its parts do where that does not work."""
    if picture.mode not in ("L", "CMYK"):
        raise ValueError("a profile is of 8-bit grey or CMYK")
    known, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    exact = ImageCms.Flags.NOOPTIMIZE  # else dark greys are wrong by several levels
    converted = ImageCms.profileToProfile(picture, known, srgb, outputMode="RGB", flags=exact)
    return converted.convert("L").convert("RGB") if picture.mode == "L" else converted


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


def enlarged(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture (H, W, 3) that was sent smaller as its receiver sees it, to the bit as `Coded` does it."""
    return np.asarray(Image.fromarray(picture).resize(shape[1::-1], Image.Resampling.BICUBIC))


def picture_psnr(picture: np.ndarray, target: np.ndarray) -> float:
    """Return the PSNR in dB, of three decimals, of two 8-bit pictures of one shape, without large copies."""
    difference = ImageChops.difference(Image.fromarray(picture), Image.fromarray(target))
    counts = np.reshape(difference.histogram(), (3, 256)).sum(0)  # of each absolute difference
    mse = (counts * np.arange(256) ** 2).sum() / picture.size / 255**2
    return round(min(IDENTICAL_DB, -10 * math.log10(mse)), 3) if mse else IDENTICAL_DB

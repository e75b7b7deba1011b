"""A contact sheet: pictures before and after, side by side, with a line beneath each pair."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import make_grid

from ra_core.data.decoding import open_picture
from ra_core.errors import DataError
from ra_core.files import atomic

SHOWN, ACROSS = 12, 3  # pairs on a sheet, and in a row
SIDE, GAP, LINE = 220, 12, 20  # pixels of a picture's box, between pairs, of a line of text
LETTERS = 44  # of a file's name


def write_sheet(path: Path, pictures: list[tuple[Path, Path, dict]]) -> None:
    """Write a sheet of some pictures, taken evenly from all; each has a file before, one after, and a row."""
    count, tiles = min(SHOWN, len(pictures)), []
    for before, after, row in (pictures[place * len(pictures) // count] for place in range(count)):
        text = f"{row['file'][-LETTERS:]}  {row['bpp']:.2f} bpp" + (f"  {row['psnr']:.1f} dB" if row["psnr"] else "")
        with suppress(DataError):  # gone or changed by now
            tile = np.array(_pair(open_picture(before), open_picture(after), text))
            tiles.append(torch.from_numpy(tile).permute(2, 0, 1))
    if tiles:
        with atomic(path) as temporary:
            sheet = make_grid(tiles, ACROSS, GAP, pad_value=255).permute(1, 2, 0)
            Image.fromarray(sheet.numpy()).save(temporary, "PNG")


def _pair(before: Image.Image, after: Image.Image, text: str) -> Image.Image:
    tile = Image.new("RGB", (2 * SIDE, SIDE + LINE), "white")
    for picture, left in ((before, 0), (after, SIDE)):
        way = Image.Resampling.NEAREST if max(picture.size) < SIDE else Image.Resampling.LANCZOS  # small: its pixels
        width, height = size = [max(1, round(SIDE * side / max(picture.size))) for side in picture.size]
        tile.paste(picture.resize(size, way), (left + (SIDE - width) // 2, (SIDE - height) // 2))
    text = text.encode("latin-1", "replace").decode("latin-1")  # all that the font has
    ImageDraw.Draw(tile).text((0, SIDE + 3), text, "black", ImageFont.load_default(12))
    return tile

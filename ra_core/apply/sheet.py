"""A contact sheet: pictures before and after, side by side, with a line beneath each pair."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import make_grid

SIDE, GAP, LINE = 220, 12, 20  # pixels of a picture's box, between pairs, of a line of text
ACROSS = 3  # pairs in a row
LETTERS = 44  # of a file's name


def contact_sheet(pairs: list[tuple[Image.Image, Image.Image, str, str]]) -> Image.Image:
    """Return a sheet of (before, after, name, what was measured), at least one of them."""
    tiles = torch.stack([torch.from_numpy(np.array(_tile(*pair))).permute(2, 0, 1) for pair in pairs])
    return Image.fromarray(make_grid(tiles, ACROSS, GAP, pad_value=255).permute(1, 2, 0).numpy())


def _tile(before: Image.Image, after: Image.Image, name: str, measured: str) -> Image.Image:
    tile = Image.new("RGB", (2 * SIDE, SIDE + LINE), "white")
    for picture, left in ((before, 0), (after, SIDE)):
        way = Image.Resampling.NEAREST if max(picture.size) < SIDE else Image.Resampling.LANCZOS  # small: its pixels
        width, height = size = [max(1, round(SIDE * side / max(picture.size))) for side in picture.size]
        tile.paste(picture.resize(size, way), (left + (SIDE - width) // 2, (SIDE - height) // 2))
    name = name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"
    line = (name + measured).encode("latin-1", "replace").decode("latin-1")  # all that the font has
    ImageDraw.Draw(tile).text((0, SIDE + 3), line, "black", ImageFont.load_default(12))
    return tile

"""A contact sheet: pictures before and after, side by side, with a line beneath each pair."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LINE = 220, 12, 20  # pixels of a picture's box, between pairs, of a line of text
ACROSS = 3  # pairs in a row
LETTERS = 44  # of a file's name


def fitted(picture: Image.Image) -> Image.Image:
    """Return a picture that fills its box; the pixels of small ones are left to be seen."""
    longer = max(picture.size)
    way = Image.Resampling.NEAREST if longer < SIDE else Image.Resampling.LANCZOS
    return picture.resize([max(1, round(SIDE * side / longer)) for side in picture.size], way)


def contact_sheet(pairs: Sequence[tuple[Image.Image, Image.Image, str, str]]) -> Image.Image:
    """Return a sheet of (before, after, name, what was measured), at least one, pictures as `fitted` makes them."""
    columns, rows = min(ACROSS, len(pairs)), -(-len(pairs) // ACROSS)
    width, height = 2 * SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (before, after, name, measured) in enumerate(pairs):
        x, y = GAP + place % ACROSS * width, GAP + place // ACROSS * height
        for picture, left in ((before, x), (after, x + SIDE)):
            sheet.paste(picture, (left + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        name = name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"
        line = (name + measured).encode("latin-1", "replace").decode("latin-1")  # all that the font has
        draw.text((x, y + SIDE + 3), line, "black", font)
    return sheet

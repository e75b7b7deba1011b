"""Whole folders, and the same with damaged files among the whole ones; a case depends on its number alone."""

import json
import random
from pathlib import Path

import noise
import numpy as np
from PIL import Image

FORMATS = ("png", "jpg", "webp", "bmp", "tif", "ppm")
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
WORDS = (
    "nan",
    "-1",
    "1e999",
    "../x",
    "/etc/passwd",
    "\x00",
    "ü",
    "",
    "999999999999",
    "null",
    "[",
    "{",
    "'",
    "&",
    "true",
)
BOX = "<object><name>{}</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object>"


def mutated(content: bytes, chance: random.Random, text: bool) -> bytes:
    """Return a file cut off, with bits flipped, extremes in its head, a piece moved, or other words in its text."""
    file = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        kind, place = chance.randrange(6 if text else 5), chance.randrange(len(file) + 1)
        if kind == 0:
            del file[place:]
        elif kind == 1 and file:
            file[place - 1] ^= 1 << chance.randrange(8)
        elif kind == 2 and file:
            file[chance.randrange(min(len(file), 200))] = chance.choice(EXTREMES)
        elif kind == 3:
            file[place:place] = file[: chance.randrange(1, 40)]
        elif kind == 4:
            del file[place : place + chance.randrange(1, 40)]
        elif kind == 5:
            words = file.decode("utf-8", "replace").split()
            if words:
                words[chance.randrange(len(words))] = chance.choice(WORDS)
            file = bytearray("\n".join(words).encode("utf-8", "replace"))
    return bytes(file)


def picture(path: Path, number: int) -> Path:
    """Write a small whole picture."""
    return noise.save(path, noise.array(24 + number % 5, 30, number))


def damaged_picture(folder: Path, number: int) -> Path:
    """Write a damaged picture of some format, and return its path."""
    chance = random.Random(f"picture {number}")
    path = picture(folder / f"bad{number}.{chance.choice(FORMATS)}", number)
    path.write_bytes(mutated(path.read_bytes(), chance, text=False))
    return path


def voc(root: Path, numbers: range) -> Path:
    """Write a VOC folder of four whole pictures, and of damaged annotations of whole pictures."""
    for number in [*range(-4, 0), *numbers]:
        picture(root / "JPEGImages" / f"{number}.png", abs(number))
        path = root / "Annotations" / f"{number}.xml"
        path.parent.mkdir(exist_ok=True)
        text = (
            f"<annotation><filename>{number}.png</filename>{BOX.format('cat')}{BOX.format('dog')}</annotation>".encode()
        )
        path.write_bytes(text if number < 0 else mutated(text, random.Random(f"voc {number}"), text=True))
    return root


def coco(root: Path, number: int) -> Path:
    """Write a COCO folder of four whole pictures with a damaged JSON file."""
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 30, "height": 24 + i} for i in range(4)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": i, "category_id": 1 + i % 2, "bbox": [2, 2, 9, 9]} for i in range(4)],
    }
    for i in range(4):
        if not (root / "images" / f"{i}.png").exists():
            picture(root / "images" / f"{i}.png", i)
    file = root / "annotations" / "instances.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(mutated(json.dumps(content, indent=1).encode(), random.Random(f"coco {number}"), text=True))
    return root


def table(root: Path, number: int) -> Path:
    """Write a flat folder of twelve pictures with a damaged table of labels."""
    if not root.exists():
        for i in range(12):
            picture(root / f"{i}.png", i)
    rows = "\n".join(["file,index,name", *(f"{i}.png,{i % 3},{'abc'[i % 3]}" for i in range(12))])
    chance = random.Random(f"table {number}")
    (root / "labels.csv").write_bytes(mutated(rows.encode(), chance, text=True))
    return root


def pixels(path: Path) -> np.ndarray:
    """Return what a whole picture shows."""
    return np.asarray(Image.open(path).convert("RGB"))

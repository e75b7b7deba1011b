"""Solar cells in electroluminescence pictures: is a cell defective?

2,624 grey pictures of 300 x 300 pixels, cut from 44 modules, each with the probability of a defect that experts gave.
They come with the package `elpv-dataset` (CC BY-NC-SA 4.0) and are read where it is installed.
Source: Deitsch et al., "Automatic classification of defective photovoltaic module cells in electroluminescence
images", Solar Energy 185, 2019.
"""

from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ra_core.data.datasets import dataset
from ra_core.data.pictures import Pictures, check_fingerprint
from ra_core.errors import DataError

CLASSES = ("functional", "defective")
SIDE, CROP = 300, 296  # 296 is a multiple of 8, so that no coder has to invent a border
# Of every eight cells of the same type and label, in the order of their numbers.
PARTS = {"train": (0, 1, 2, 4, 5), "validation": (6,), "test": (3, 7)}
FINGERPRINTS = {
    "train": "2c003cd1dc60e016f743f522cbfc57e9bd7394c466ac0567a9fca7dff54691cb",
    "validation": "c9fe67b52bc291c9e93a8e90638d4a2e117f8a90c8c6128034f3af4db985beb6",
    "test": "287d3078d5adf377bbee9cc53c8fa1e6500eb889c929108341022b5907be154f",
}


@dataset("cells", kind="classification", title="solar cells")
def load(part: str) -> Pictures:
    """Return the `train`, `validation` or `test` cells, grey as RGB, the centre 296 x 296 pixels.

    A cell counts as defective where the experts' probability is above one half; all parts have the same share of every
    type of cell (mono, poly) and of the four probabilities.
    Raises `DataError` where the pictures are absent or not the known ones.
    """
    return _load(_folder(), part)


@cache
def _load(folder: Path, part: str) -> Pictures:
    border = (SIDE - CROP) // 2
    try:
        rows = _members(_labels(folder), part)
        grey = np.stack([np.asarray(Image.open(folder / name).convert("L")) for name, _, _ in rows])
        labels = torch.tensor([int(float(probability) > 0.5) for _, probability, _ in rows])
    except (OSError, ValueError, SyntaxError) as error:  # Pillow calls some broken PNG files a syntax error
        raise DataError(f"{folder} holds a broken copy of elpv-dataset ({error}); install it again.") from error
    images = torch.from_numpy(grey[:, border : border + CROP, border : border + CROP].copy())
    pictures = Pictures(images[:, None].expand(-1, 3, -1, -1), labels, CLASSES, f"elpv/{part}")
    check_fingerprint(pictures, FINGERPRINTS[part], f"{folder} of elpv-dataset")
    return pictures


def _folder() -> Path:
    spec = find_spec("elpv_dataset")
    if spec is None:
        raise DataError("the solar cells are not here; install the package elpv-dataset.")
    return Path(spec.submodule_search_locations[0]) / "data"


def _labels(folder: Path) -> list[tuple[str, str, str]]:
    """Return file, probability of a defect, and type of every cell."""
    lines = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split()) for line in lines if line]


def _members(rows: list[tuple[str, str, str]], part: str) -> list[tuple[str, str, str]]:
    """Return the rows of a part: fixed places among the cells of the same type and probability."""
    seen, chosen = Counter(), []
    for row in rows:
        if seen[row[1:]] % 8 in PARTS[part]:
            chosen.append(row)
        seen[row[1:]] += 1
    return chosen

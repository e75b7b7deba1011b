"""Pictures of noise as files."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((40, 30), (33, 51), (64, 64), (30, 70), (50, 41))


def array(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, picture=0, **options) -> Path:
    """Write an array, a picture, or the noise of a seed, in one of `SIZES`, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = array(*SIZES[picture % len(SIZES)], picture) if isinstance(picture, int) else picture
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
    return path

"""Train, validation and test of a user's folder of boxed pictures.

Where the folder does not say which picture is which, it follows from the name of its file alone (`place`), so it stays
when files are added.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import torch

from ra_core.data.box_folders import load
from ra_core.data.boxes import BoxedPictures
from ra_core.data.folders import place_of
from ra_core.errors import DataError

PARTS = ("train", "validation", "test")


@lru_cache(maxsize=2)  # every picture's header is read
def load_parts(
    path: Path,
    resize: int,
    names: tuple[tuple[str, str | None], ...],
    parts: tuple[tuple[str, str], ...],
    test_share: float,
    validation_share: float,
) -> dict[str, BoxedPictures]:
    """Return `train`, `validation` and `test` of a folder; see `load`, and `ra_core.params.coding.BoxFolder`.

    `parts` are pairs of these names with those of the folder. Without any, a picture whose `place` is below
    `test_share` tests, below `test_share + validation_share` it validates, and the others are trained on. With train
    and test alone, those of train below `validation_share` validate. All have the same classes.
    Raises `DataError` for a folder that cannot be used or a part without a box, otherwise as `load`.
    """
    folder_parts, options = dict(parts), {"resize": resize or None, "names": dict(names)}
    whole = load(path, folder_parts.get("train"), **options)
    found, places = {}, torch.tensor([place(key[0]) for key in whole.keys], dtype=torch.float64)
    first = 0.0 if folder_parts else test_share
    limits = {"test": (0.0, first), "validation": (first, first + validation_share)}
    if "validation" in folder_parts:
        limits["validation"] = (0.0, 0.0)
    limits["train"] = (limits["validation"][1], 1.0)
    for name in PARTS:
        if name != "train" and name in folder_parts:
            found[name] = load(path, folder_parts[name], classes=whole.classes, **options)
            continue
        low, high = limits[name]
        chosen = torch.nonzero((places >= low) & (places < high)).flatten()
        found[name] = whole.subset(chosen, f"{path.resolve().stem}/{name}")
    for name, pictures in found.items():
        if not sum(len(target["boxes"]) for target in pictures.all_targets()):
            raise DataError(
                f"{path} has {len(pictures)} pictures in its part {name} and no box that counts in them; put in more, "
                "or change its share or what parts names."
            )
    return found


def place(file: str) -> float:
    """Return a number from 0 to 1 that follows from a file's name: the first eight bytes of its SHA-256."""
    return place_of(hashlib.sha256(Path(file).name.encode()).hexdigest())

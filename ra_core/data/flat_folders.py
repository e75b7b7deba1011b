"""Pictures in one folder without class folders: with a table of their labels, or with none at all.

Which part a picture belongs to follows from its bytes alone: the first eight of their SHA-256, read as a number from 0
to 1. Below `test_share` it is only reported on, below `test_share + validation_share` it validates, and the others are
trained on. So the parts stay what they are when files are renamed, moved or added, and copies never part.
"""

import csv
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch

from ra_core.data.folders import ENDINGS, FolderPictures, picture_files
from ra_core.errors import DataError

TABLE, IMAGENET = "labels.csv", "imagenet_index"
PARTS = ("train", "validation", "test")
UNKNOWN = ("unlabelled",)  # the one class of pictures of which nothing is known


def is_flat(root: Path) -> bool:
    """Say whether a folder holds pictures without a tree of class folders."""
    return root.is_dir() and not any((root / name).is_dir() for name in ("train", "val"))


def load(
    root: Path, test_share: float, validation_share: float, resize: int = 256, crop: int = 224
) -> dict[str, FolderPictures]:
    """Return the parts `train`, `validation` and `test` of a folder, with labels where it holds `labels.csv`.

    That table has a column `file`, of names below the folder or its folder `pictures`, and a column `index` of class
    numbers from 0, or `imagenet_index` of the place among ImageNet's 1,000 classes; `name` may name the classes.
    Without it, all pictures in and below the folder are taken; those that are not whole are left out and stand in
    `skipped`. Raises `DataError` for a table or a folder that cannot be used.
    """
    pictures = (_labelled if (root / TABLE).exists() else _plain)(root, resize, crop)
    places = torch.tensor([_place(pictures.folder / file) for file in pictures.files], dtype=torch.float64)
    number = {"test": 0, "validation": 1, "train": 2}
    part = (places >= test_share).long() + (places >= test_share + validation_share)
    parts = {
        name: pictures.subset(torch.nonzero(part == number[name]).flatten(), f"{root.resolve().name}/{name}")
        for name in PARTS
    }
    empty = next((name for name, found in parts.items() if not len(found)), None)
    if empty:
        raise DataError(
            f"{root} holds {len(pictures)} whole pictures and none of them falls into the part {empty}; "
            "put in more, or change test_share and validation_share."
        )
    return parts


def _place(path: Path) -> float:
    """Return a number from 0 to 1 that follows from the bytes of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _plain(root: Path, resize: int, crop: int) -> FolderPictures:
    """Return all whole pictures in and below a folder, of one class, and what was left out."""
    files = picture_files(root)
    if not files:
        raise DataError(
            f"{root} holds no pictures; put in files that end in {', '.join(ENDINGS)}, or name another folder."
        )
    found = FolderPictures(root, tuple(files), torch.zeros(len(files), dtype=torch.int64), UNKNOWN, root.name)
    stats = [(root / file).stat() for file in files]
    reasons = _reasons(root, tuple(files), tuple((s.st_size, s.st_mtime_ns) for s in stats), resize, crop)
    whole = torch.tensor([i for i, reason in enumerate(reasons) if reason is None], dtype=torch.int64)
    skipped = tuple((file, reason) for file, reason in zip(files, reasons, strict=True) if reason)
    kept = found.subset(whole, found.name)
    return FolderPictures(root, kept.files, kept.labels, UNKNOWN, root.name, resize, crop, skipped)


@lru_cache(maxsize=1)  # every file is decoded once a process, unless one has changed
def _reasons(root: Path, files: tuple, stats: tuple, resize: int, crop: int) -> list[str | None]:
    pictures = FolderPictures(root, files, torch.zeros(len(files)), UNKNOWN, root.name, resize, crop)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(pictures.check, files))


def _labelled(root: Path, resize: int, crop: int) -> FolderPictures:
    """Return the pictures that a table names, in its order, with their labels."""
    table = root / TABLE
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); write it as CSV in UTF-8.") from error
    columns = list(rows[0]) if rows else []
    column = next((name for name in (IMAGENET, "index") if name in columns), None)
    if column is None or "file" not in columns:
        raise DataError(
            f"{table} has the columns {', '.join(map(str, columns)) or 'none'}; "
            f"it needs file, and index or {IMAGENET}."
        )
    labels = [_class_number(table, column, row) for row in rows]
    folder = root / "pictures" if (root / "pictures").is_dir() else root
    files = tuple(row["file"] for row in rows)
    missing = next((file for file in files if not (folder / file).is_file()), None)
    if missing is not None:
        raise DataError(f"{table} names {missing!r}, which is not in {folder}; put it there or take it out.")
    if len(set(files)) < len(files):
        twice = next(file for i, file in enumerate(files) if file in files[:i])
        raise DataError(f"{table} names {twice!r} twice; name every file once.")
    classes = _classes(column, labels, rows)
    return FolderPictures(folder, files, torch.tensor(labels), classes, root.name, resize, crop)


def _class_number(table: Path, column: str, row: dict) -> int:
    text = str(row[column]).strip()
    if not text.isdecimal() or (column == IMAGENET and int(text) > 999):
        allowed = "0 to 999" if column == IMAGENET else "0 on"
        raise DataError(
            f"{table} has {column} = {text!r} for {row['file']!r}; give a whole number from {allowed}."
        )
    return int(text)


def _classes(column: str, labels: list[int], rows: list[dict]) -> tuple[str, ...]:
    """Return the names of all classes, also of those without a picture."""
    if column == IMAGENET:
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    names = {label: row.get("name") or f"class {label}" for label, row in zip(labels, rows, strict=True)}
    return tuple(names.get(label, f"class {label}") for label in range(max(2, max(labels) + 1)))

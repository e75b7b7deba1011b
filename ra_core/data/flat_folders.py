"""Pictures in one folder without class folders: with a table of their labels, or with none at all.

Which part a picture belongs to follows from its bytes alone: the first eight of their SHA-256, read as a number from 0
to 1. Below `test_share` it is only reported on, below `test_share + validation_share` it validates, and the others are
trained on. So the parts stay what they are when files are renamed, moved or added, and copies never part.
"""

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from ra_core.cores import own_cores
from ra_core.data.folders import ENDINGS, FolderPictures, content_of, picture_files, place_of
from ra_core.errors import DataError, OutputError
from ra_core.files import write_text

TABLE, IMAGENET = "labels.csv", "imagenet_index"
LAST_CLASS = 999_999  # what is more is a slip, such as an identifier in place of a class
PARTS = ("train", "validation", "test")
UNKNOWN = ("unlabelled",)  # the one class of pictures of which nothing is known


def is_flat(root: Path) -> bool:
    """Say whether a folder holds pictures without a tree of class folders."""
    return root.is_dir() and not any((root / name).is_dir() for name in ("train", "val"))


def load(
    root: Path,
    test_share: float,
    validation_share: float,
    resize: int = 256,
    crop: int = 224,
    memory: Path | None = None,
    remember: bool = True,
) -> dict[str, FolderPictures]:
    """Return the parts `train`, `validation` and `test` of what is `listed`; files that are not whole are `skipped`.

    The SHA-256 of every whole file is kept in the JSON file `memory`, and the file is read again only when its size or
    one of its times differs; with `remember` off, nothing is written. Raises `DataError` where a part has no pictures.
    """
    pictures = _whole(listed(root, resize, crop), memory, remember)
    places = torch.tensor([place_of(content) for content in pictures.contents], dtype=torch.float64)
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


def listed(root: Path, resize: int = 256, crop: int = 224) -> FolderPictures:
    """Return all pictures of a folder, sorted by name, with labels where it holds `labels.csv`; none is opened.

    That table has a column `file`, of names below the folder or its folder `pictures`, and a column `index` of class
    numbers from 0, or `imagenet_index` of the place among ImageNet's 1,000 classes; `name` may name the classes.
    Without it, all pictures in and below the folder are taken. Raises `DataError` for a table or a folder that cannot
    be used.
    """
    return (_labelled if (root / TABLE).exists() else _plain)(root, resize, crop)


def _whole(pictures: FolderPictures, memory: Path | None, remember: bool) -> FolderPictures:
    """Return the pictures whose files are whole, with their contents, and what was left out."""
    about = {"folder": str(pictures.folder.resolve()), "resize": pictures.resize, "crop": pictures.crop}
    known = _remembered(memory, about)

    def look(file: str) -> list | str:
        """Return a whole file's state and content, or why it cannot be used."""
        path = pictures.folder / file
        if file in known and known[file][0] == _state(path):
            return known[file]
        return pictures.check(file) or [_state(path), content_of(path)]

    with ThreadPoolExecutor(own_cores()) as pool:
        looked = dict(zip(pictures.files, pool.map(look, pictures.files), strict=True))
    found = {file: said for file, said in looked.items() if isinstance(said, list)}
    if memory and remember and found != known:
        with suppress(OutputError):  # then it is all read again
            write_text(memory, json.dumps(about | {"files": found}))
    whole = torch.tensor([i for i, file in enumerate(pictures.files) if file in found], dtype=torch.int64)
    skipped = tuple((file, said) for file, said in looked.items() if file not in found)
    contents = tuple(content for _, content in found.values())
    return replace(pictures.subset(whole, pictures.name), skipped=skipped, contents=contents)


def _remembered(memory: Path | None, about: dict) -> dict[str, list]:
    """Return what is known of the files that were whole: the state of each, and its SHA-256."""
    try:
        kept = json.loads(memory.read_text(encoding="utf-8")) if memory else {}
    except (OSError, ValueError):
        return {}
    return kept["files"] if kept and about.items() <= kept.items() else {}


def _state(path: Path) -> list[int]:
    """Return what changes with a file's bytes: its size and times, or nothing where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _plain(root: Path, resize: int, crop: int) -> FolderPictures:
    """Return all pictures in and below a folder, of one class."""
    if not os.access(root, os.R_OK | os.X_OK):
        raise DataError(f"{root} cannot be read; mend its permissions.")
    files = picture_files(root)
    if not files:
        raise DataError(
            f"{root} holds no pictures; put in files that end in {', '.join(ENDINGS)}, or name another folder."
        )
    labels = torch.zeros(len(files), dtype=torch.int64)
    return FolderPictures(root, tuple(files), labels, UNKNOWN, root.name, resize, crop)


def _labelled(root: Path, resize: int, crop: int) -> FolderPictures:
    """Return the pictures that a table names, with their labels; the order of its rows means nothing."""
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
            f"{table} has the columns {', '.join(map(str, columns)) or 'none'}; it needs file, and index or {IMAGENET}."
        )
    rows.sort(key=lambda row: row["file"] or "")
    labels = [_class_number(table, column, row) for row in rows]
    folder = root / "pictures" if (root / "pictures").is_dir() else root
    files = tuple(row["file"] or "" for row in rows)
    missing = next((file for file in files if not (folder / file).is_file()), None)
    if missing is not None:
        raise DataError(f"{table} names {missing!r}, which is not in {folder}; put it there or take it out.")
    if len(set(files)) < len(files):
        twice = next(file for file, following in pairwise(files) if file == following)
        raise DataError(f"{table} names {twice!r} twice; name every file once.")
    classes = _classes(column, labels, rows)
    return FolderPictures(folder, files, torch.tensor(labels), classes, root.name, resize, crop)


def _class_number(table: Path, column: str, row: dict) -> int:
    text = str(row[column]).strip()
    last = 999 if column == IMAGENET else LAST_CLASS
    if not text.isdecimal() or int(text) > last:
        raise DataError(f"{table} has {column} = {text!r} for {row['file']!r}; give a whole number from 0 to {last}.")
    return int(text)


def _classes(column: str, labels: list[int], rows: list[dict]) -> tuple[str, ...]:
    """Return the names of all classes, also of those without a picture."""
    if column == IMAGENET:
        from torchvision.models import ResNet18_Weights

        return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    names = {label: row.get("name") or f"class {label}" for label, row in zip(labels, rows, strict=True)}
    return tuple(names.get(label, f"class {label}") for label in range(max(2, max(labels) + 1)))

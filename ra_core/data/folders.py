"""Pictures from the user's own files: a tree `root/{train,val}/<class>/<picture>` (torchvision's ImageFolder), or a
folder without such a tree, which holds a table `labels.csv`, or pictures alone. They are decoded batch by batch.
"""

import csv
import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ra_core.data.cache import InMemory, OnDisk, Read, decode
from ra_core.data.decoding import hint_to_check, why_broken
from ra_core.data.draws import draw
from ra_core.data.listing import (
    ENDINGS,
    TABLE,
    LeftOut,
    is_inside,
    list_beside,
    list_pictures,
    spelt,
    split_by_hash,
    whole_files,
)  # fmt: skip
from ra_core.errors import DataError
from ra_core.files import content_of, read_text
from ra_core.pool import in_threads

PARTS = {"train": "train", "test": "val", "val": "val"}  # ImageNet is reported on its labelled `val` folder
READ = 1000  # files whose bytes a fingerprint is taken of: all of a small set, and seconds of a large one
IMAGENET = "imagenet_index"
LAST_CLASS = 999_999  # what is more is a slip, such as an identifier in place of a class
UNKNOWN = ("unlabelled",)  # the one class of pictures of which nothing is known


@dataclass(frozen=True)
class FolderPictures:
    """A set of picture files, decoded batch by batch; the same interface as `ra_core.data.Pictures`.

    `files` are relative to `folder`; `labels` (N,) int64 index `classes`, of which there is one where nothing is
    known. The shorter side is resized to `resize` pixels, then `crop` x `crop` are cropped, as published. `skipped` is
    what was left out, `contents`, where it is known, the SHA-256 of each file's bytes, and `cache` what keeps pictures
    decoded.
    """

    folder: Path
    files: tuple[str, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    name: str
    resize: int = 256
    crop: int = 224
    skipped: tuple[LeftOut, ...] = ()
    contents: tuple[str, ...] = ()
    cache: InMemory | OnDisk | None = None
    boxed: ClassVar[bool] = False
    prefetch = 2  # batches that are read while another is trained on

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: torch.Tensor, name: str) -> "FolderPictures":
        """Return the pictures at `indices` as a set of its own."""
        chosen = indices.tolist()
        files = tuple(self.files[i] for i in chosen)
        contents = tuple(self.contents[i] for i in chosen) if self.contents else ()
        return replace(self, files=files, labels=self.labels[indices], name=name, contents=contents)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return centre crops (B, 3, crop, crop), float in [0, 1], and labels (B,)."""
        images, labels = self._decode(indices, [None] * len(indices))
        return images.float().div_(255), labels

    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random crops (B, 3, crop, crop) uint8, each mirrored with probability one half, and labels.

        Bytes are a quarter of what floats are to send to a device.
        """
        return self._decode(indices, draw(torch.rand, (len(indices), 3), generator).tolist())

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each picture's class, file name and bytes.

        Where `contents` is empty, the file's size stands for its bytes, except of `READ` files, chosen by their name,
        which are read. Times have no part in it, so that every true copy of a folder goes on with a training; among
        more than `READ` files one that changes and keeps its size may go unseen.
        """
        try:
            facts = self.contents or [(self.folder / file).stat().st_size for file in self.files]
            found = [
                hashlib.sha256(f"{self.classes[label]}\n{file}\n{fact}".encode()).digest()
                for file, label, fact in zip(self.files, self.labels.tolist(), facts, strict=True)
            ]
            for i in () if self.contents else nsmallest(READ, range(len(found)), key=found.__getitem__):
                content = content_of(self.folder / self.files[i])
                found[i] = hashlib.sha256(found[i] + content.encode()).digest()
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror}); mend it or take it out.") from error
        yield from found

    def check(self, file: str) -> str:
        """Return why a file cannot be used, in one sentence, or nothing where it is whole."""
        return why_broken(decode, self.folder, self.resize, file)

    def _decode(self, indices: torch.Tensor, draws: list[list[float] | None]) -> tuple[torch.Tensor, torch.Tensor]:
        files = [self.files[i] for i in indices.tolist()]
        crops = np.empty((len(files), self.crop, self.crop, 3), np.uint8)
        with hint_to_check(self.folder):
            read = self.cache.ready() if self.cache else partial(decode, self.folder, self.resize)
            in_threads(partial(self._cut, read), files, crops, draws)
        return torch.from_numpy(crops).permute(0, 3, 1, 2), self.labels[indices]

    def _cut(self, read: Read, file: str, crop: np.ndarray, numbers: list[float] | None) -> None:
        """Fill one crop (crop, crop, 3) uint8: the centre, or as three random `numbers` say."""
        picture = read(file)
        room = [side - self.crop for side in picture.shape[1::-1]]
        if numbers is None:
            left, top, mirrored = round(room[0] / 2), round(room[1] / 2), False
        else:
            left, top, mirrored = int(numbers[0] * (room[0] + 1)), int(numbers[1] * (room[1] + 1)), numbers[2] < 0.5
        part = picture[top : top + self.crop, left : left + self.crop]
        if not mirrored:
            crop[:] = part
            return
        part = part.copy()  # which then is near: rows are read faster forwards
        for channel in range(3):  # all three at once take numpy five times as long
            crop[..., channel] = part[:, ::-1, channel]


def load_tree(root: str | Path, part: str = "train", resize: int = 256, crop: int = 224) -> FolderPictures:
    """Return the `train` or `test` part of the tree `root/{train,val}/<class>/<picture>`; `test` reads `val`.

    Classes and files come in alphabetical order, so that labels agree with recognizers trained on such trees. Raises
    `DataError` when a folder is missing, there are fewer than two classes, one is empty, or the two parts have
    different classes.
    """
    root = Path(root).expanduser()
    folder, other = root / PARTS[part], root / ("val" if part == "train" else "train")
    classes = _class_folders(folder)
    if other.is_dir() and (different := set(classes) ^ set(_class_folders(other))):
        raise DataError(
            f"{folder} and {other} differ in class {min(different)!r} ({len(different)} such); "
            "both must have the same class folders."
        )
    listed = [list_pictures(folder, name) for name in classes]
    empty = [name for name, (files, _) in zip(classes, listed, strict=True) if not files]
    if len(classes) < 2 or empty:
        what = f"holds no pictures in its folder {empty[0]!r}" if empty else f"has {len(classes)} class folders"
        raise DataError(
            f"{folder} {what}; make at least two folders, named as their classes, with files in each that end in "
            f"{', '.join(ENDINGS)}."
        )
    files, labels = zip(*((file, label) for label, (found, _) in enumerate(listed) for file in found), strict=True)
    left_out = (*list_beside(folder), *(one for _, found in listed for one in found))
    skipped = tuple((f"{folder.name}/{file}", reason) for file, reason in left_out)
    name = f"{spelt(root.resolve().name)}/{part}"
    return FolderPictures(folder, files, torch.tensor(labels), classes, name, resize, crop, skipped)


def _class_folders(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read as a folder ({error.strerror}); pictures are expected in "
            f"{folder.parent}/train/<class>/ and {folder.parent}/val/<class>/, or with a table {TABLE}, or alone."
        ) from error


def load_flat(
    root: Path, test_share: float, validation_share: float, resize: int = 256, crop: int = 224,
    memory: Path | None = None,
) -> dict[str, FolderPictures]:  # fmt: skip
    """Return the parts `train`, `validation` and `test` of a folder (`list_flat`), as their bytes divide them.

    So the parts stay what they are when files are renamed, moved or added, and copies never part (`split_by_hash`).
    What is no whole picture is left out. The first process keeps the SHA-256 of every whole file in the JSON file
    `memory`; it is read again only when its size or one of its times differs.
    Raises `DataError` where a part has no pictures.
    """
    pictures = whole(list_flat(root, resize, crop), memory)
    parts = split_by_hash(pictures.contents, test_share, validation_share)
    if empty := [name for name, found in parts.items() if not len(found)]:
        raise DataError(
            f"{root} holds {len(pictures)} whole pictures and none of them falls into the part {empty[0]}; "
            "put in more, or change test_share and validation_share."
        )
    return {name: pictures.subset(found, f"{spelt(root.resolve().name)}/{name}") for name, found in parts.items()}


def list_flat(root: Path, resize: int = 256, crop: int = 224) -> FolderPictures:
    """Return all pictures of a folder, sorted by name, with labels where it holds `labels.csv`; none is opened.

    That table has a column `file`, of names below the folder or its folder `pictures`, and a column `index` of class
    numbers from 0, or `imagenet_index` of the place among ImageNet's 1,000 classes; `name` may name the classes.
    Raises `DataError` for a table or a folder that cannot be used.
    """
    if not os.path.lexists(root / TABLE):
        return list_unlabelled(root, resize, crop)
    folder = root / "pictures" if (root / "pictures").is_dir() else root
    found, left_out = list_pictures(folder)
    files, labels, classes = _read_table(root / TABLE, folder)
    left_out += [(file, f"{TABLE} does not name it") for file in found]
    skipped = tuple(one for one in left_out if one[0] not in set(files))
    return FolderPictures(folder, files, torch.tensor(labels), classes, spelt(root.name), resize, crop, skipped)


def list_unlabelled(folder: Path, resize: int = 256, crop: int = 224, classes: tuple[str] = UNKNOWN) -> FolderPictures:
    """Return all pictures in and below a folder, of one class. Raises `DataError` where there are none."""
    folder = folder.expanduser()
    files, skipped = list_pictures(folder)
    if not files:
        raise DataError(
            f"{folder} holds no pictures; put in some, as files that end in {', '.join(ENDINGS)}, or name another "
            "folder."
        )
    labels, name = torch.zeros(len(files), dtype=torch.int64), spelt(folder.resolve().name)
    return FolderPictures(folder, tuple(files), labels, classes, name, resize, crop, tuple(skipped))


def _read_table(table: Path, folder: Path) -> tuple[tuple[str, ...], list[int], tuple[str, ...]]:
    """Return the files that a table names, their labels, and the classes; the order of its rows means nothing."""
    try:
        reader = csv.DictReader(io.StringIO(read_text(table), newline=""))
        rows = sorted(reader, key=lambda row: row.get("file") or "")
        if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
            raise ValueError("a column stands twice")
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); write it as CSV in UTF-8.") from error
    columns = list(rows[0]) if rows else []
    column = next((name for name in (IMAGENET, "index") if name in columns), None)
    if column is None or "file" not in columns:
        raise DataError(
            f"{table} has the columns {', '.join(map(str, columns)) or 'none'}; it needs file, and index or {IMAGENET}."
        )
    last, found, names = 999 if column == IMAGENET else LAST_CLASS, {}, {}
    for row in rows:
        file, text = row["file"] or "", str(row[column]).strip()
        if not text.isdecimal() or int(text) > last:
            raise DataError(f"{table} has {column} = {text!r} for {file!r}; give a whole number from 0 to {last}.")
        if not is_inside(folder, file):
            raise DataError(f"{table} names {file!r}, which is not in {folder}; put it there or take it out.")
        file, label = os.path.normpath(file), int(text)
        if file in found:
            raise DataError(f"{table} names {file!r} twice; name every file once.")
        name = row.get("name") or names.get(label, "")
        if column != IMAGENET and names.get(label, "") not in ("", name):
            raise DataError(f"{table} calls {column} {label} both {names[label]!r} and {name!r}; name it in one way.")
        found[file], names[label] = label, name
    named = tuple(names.get(label) or f"class {label}" for label in range(max(2, max(names) + 1)))
    return tuple(found), list(found.values()), imagenet_classes() if column == IMAGENET else named


def imagenet_classes() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes in their usual order."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def whole(pictures: FolderPictures, memory: Path | None, below: str = "") -> FolderPictures:
    """Return the pictures whose files are whole, with their contents, and what was left out, named as `below` it."""
    about = {"resize": pictures.resize, "crop": pictures.crop}
    found, broken = whole_files(pictures.folder, pictures.files, pictures.check, memory, about)
    chosen = torch.tensor([i for i, file in enumerate(pictures.files) if file in found], dtype=torch.int64)
    skipped = tuple(sorted([*pictures.skipped, *((below + file, said) for file, said in broken)]))
    return replace(pictures.subset(chosen, pictures.name), skipped=skipped, contents=tuple(found.values()))

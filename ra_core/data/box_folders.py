"""Boxed pictures from the user's own folders, in the format of Pascal VOC or of COCO.

What cannot be used (a picture that is missing or no picture, a box outside of its picture) is left out and listed in
`BoxedPictures.skipped`; boxes are cut off at the edges. Boxes count in the pixels of the picture as stored.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch

from ra_core.data.annotations import Annotated, Box, read_coco, read_voc
from ra_core.data.boxes import BoxedPictures, Objects, clip, common_name
from ra_core.data.decoding import hint_to_check, open_picture, resized, stored_picture, why_broken
from ra_core.data.listing import is_inside, kind_of, spelt, split_by_hash, whole_files
from ra_core.errors import DataError

ORIENTATION = 0x0112  # EXIF's tag


@dataclass(frozen=True)
class Reader:
    """Reads pictures of `folder`, the shorter side brought to `resize` pixels (0: as they are stored)."""

    folder: Path
    resize: int

    def __call__(self, key: tuple[str, int]) -> np.ndarray:
        """Return the picture of a key (file, its bytes), (H, W, 3) uint8. Raises `DataError` where it is broken."""
        with hint_to_check(self.folder):
            return np.asarray(open_picture(self.folder / key[0], self.resize))


@lru_cache(maxsize=2)  # every picture is read
def load_parts(
    path: Path, resize: int, names: tuple[tuple[str, str | None], ...], parts: tuple[tuple[str, str], ...],
    test_share: float, validation_share: float, memory: Path | None = None,
) -> dict[str, BoxedPictures]:  # fmt: skip
    """Return `train`, `validation` and `test` of a folder; see `load`, and `ra_core.params.coding.BoxFolder`.

    Pictures that cannot be read to their end are left out too; `memory / "checked-<part>.json"` has which are whole.

    `parts` are pairs of these names with those of the folder. Without any, the names of the files alone divide them
    (`split_by_hash`), so that they stay where they are when files are added. With train and test alone, those of train
    are divided into train and validation. All have the same classes.
    Raises `DataError` for a folder that cannot be used or a part without a box, otherwise as `load`.
    """
    folder_parts, options = dict(parts), {"resize": resize, "names": dict(names)}

    def loaded(part: str, **more) -> BoxedPictures:
        found = load(path, folder_parts.get(part), **options, **more)
        return whole_pictures(found, memory and memory / f"checked-{part}.json")

    whole = loaded("train")
    digests = [hashlib.sha256(Path(key[0]).name.encode()).hexdigest() for key in whole.keys]
    shares = (0.0 if parts else test_share, 0.0 if "validation" in folder_parts else validation_share)
    found = {}
    for name, chosen in split_by_hash(digests, *shares).items():
        if name != "train" and name in folder_parts:
            found[name] = loaded(name, classes=whole.classes)
        else:
            found[name] = whole.subset(chosen, f"{spelt(path.resolve().stem)}/{name}")
        if not any(len(target["boxes"]) for target in found[name].all_targets()):
            raise DataError(
                f"{path} has {len(found[name])} pictures in its part {name} and no box that counts in them; put in "
                "more, or change its share or what parts names."
            )
    return found


def load(
    path: Path, part: str | None = None, *, classes: tuple[str, ...] = (), resize: int = 0,
    names: Mapping[str, str | None] | None = None,
) -> BoxedPictures:  # fmt: skip
    """Return the boxed pictures at `path`: a folder like Pascal VOC's, a folder like COCO's, or a COCO JSON file.

    VOC: `Annotations/*.xml` and the pictures in `JPEGImages/` or `images/`; `part` names a list in
    `ImageSets/Main/`. COCO: one JSON file in the folder or its `annotations/`, whose name ends in `part` where there
    are several; pictures in a folder called as the part, in `images/`, or beside the file. Upper and lower case are
    the same. `classes` (those of a detector, in its order) fixes the labels; boxes of other classes are left out.
    Without it, VOC's are in alphabetical order and COCO's by their number. `names` gives classes of the folder another
    name, or, with None, leaves them out; classes that differ in their spelling alone are one. `resize` is of the
    shorter side (0: as stored). Raises `DataError` when nothing usable is found.
    """
    path = path.expanduser()
    try:
        found = (read_voc if kind_of(path) == "voc" else read_coco)(path, part)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); give a folder in the format of Pascal VOC or COCO."
        ) from error
    kept, spelling = {}, {common_name(name): name for name in classes}
    for name in found.classes:
        other = (names or {}).get(name, name)
        if other is not None:
            kept[name] = spelling.setdefault(common_name(other), other)
    classes = classes or tuple(dict.fromkeys(kept.values()))
    keys, objects, sizes, problems = [], [], [], list(found.problems)
    for one in found.pictures:
        file = found.folder / one.file
        boxes = [box._replace(name=kept[box.name]) for box in one.boxes if box.name in kept]
        try:
            stored = _stored_size(found.folder, one)
            size = resized(file, stored, resize)
        except DataError as error:
            problems.append(str(error))
            continue
        usable, said = _usable(boxes, classes, stored, size)
        problems += [f"{one.file}: {line}" for line in said]
        keys.append((one.file, file.stat().st_size))
        objects.append(usable)
        sizes.append(size[::-1])
    name = spelt(path.resolve().stem) + (f"/{part}" if part else "")
    if not any(len(usable.labels) for usable in objects):
        first = f", for instance: {problems[0].removesuffix('.')}" if problems else ""
        raise DataError(
            f"{name} has no usable box in {len(keys)} pictures ({len(problems)} problems{first}); "
            "give annotations that fit their pictures and the classes asked for."
        )
    mixed, reader = tuple(sizes) if len(set(sizes)) > 1 else (), Reader(found.folder, resize)
    return BoxedPictures(tuple(keys), reader, tuple(objects), classes, name, tuple(problems), mixed)


def whole_pictures(pictures: BoxedPictures, memory: Path | None) -> BoxedPictures:
    """Return the pictures whose files are whole; the others are listed as well. `memory` has which these are."""
    read, files = pictures.read, [key[0] for key in pictures.keys]
    check = partial(why_broken, lambda file: open_picture(read.folder / file, read.resize))
    found, broken = whole_files(read.folder, files, check, memory, {"resize": read.resize})
    chosen = torch.tensor([i for i, file in enumerate(files) if file in found], dtype=torch.int64)
    skipped = (*pictures.skipped, *(said for _, said in broken))
    return replace(pictures.subset(chosen, pictures.name), skipped=skipped)


def _stored_size(folder: Path, one: Annotated) -> tuple[int, int]:
    """Return width and height out of a picture's header; raise `DataError` when the picture cannot be used."""
    if not is_inside(folder, one.file):
        raise DataError(f"{spelt(one.file)} is not a file in {folder}")
    with stored_picture(folder / one.file) as picture:
        size, turned = picture.size, picture.getexif().get(ORIENTATION, 1) not in (0, 1)
    if turned:
        raise DataError(f"{one.file} carries a tag that turns it, so that its boxes may not fit")
    if all(one.size) and one.size != size:
        raise DataError("{}: its boxes are of {} x {} pixels, and it has {} x {}".format(one.file, *one.size, *size))
    return size


def _usable(
    boxes: list[Box], classes: tuple[str, ...], stored: tuple[int, int], size: tuple[int, int]
) -> tuple[Objects, list[str]]:
    """Return the boxes that can be used, cut off and scaled to `size`, and what is to be said of the others."""
    known = [box for box in boxes if box.name in classes]
    finite = [box for box in known if all(map(math.isfinite, box.corners))]
    corners = clip(torch.tensor([box.corners for box in finite], dtype=torch.float64).reshape(-1, 4), *stored)
    inside = (corners[:, 2:] > corners[:, :2]).all(1)
    scale = torch.tensor([after / before for before, after in zip(stored, size, strict=True)] * 2, dtype=torch.float64)
    labels = torch.tensor([classes.index(box.name) + 1 for box in finite], dtype=torch.int64)
    ignored = torch.tensor([box.ignored for box in finite], dtype=torch.bool)
    said = []
    if len(boxes) > len(known):
        said.append(f"{len(boxes) - len(known)} of {len(boxes)} boxes are of other classes")
    if lost := len(known) - int(inside.sum()):
        said.append(f"{lost} of {len(boxes)} boxes have no area inside the picture")
    return Objects((corners * scale).float()[inside], labels[inside], ignored[inside]), said

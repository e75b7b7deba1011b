"""Boxed pictures from the user's own folders, in the format of Pascal VOC or of COCO.

What cannot be used (a picture that is missing or broken, a box outside of its picture) is left out and listed in
`BoxedPictures.skipped`; boxes are cut off at the edges. Boxes count in the pixels of the picture as stored.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image

from ra_core.data.boxes import BoxedPictures, Objects, clip, common_name
from ra_core.data.folders import ENDINGS, MAX_MEGAPIXELS, open_picture
from ra_core.errors import DataError, ParameterError

GREY = (128, 128, 128)
ORIENTATION = 0x0112  # EXIF's tag
MEGAPIXEL = 1_000_000


class Box(NamedTuple):
    """One annotation: the name of its class, left, top, right, bottom, and whether it does not count."""

    name: str
    corners: tuple[float, float, float, float]
    ignored: bool


Annotated = tuple[str, list[Box]]  # a picture's file, relative to the folder of pictures, and its boxes


@dataclass(frozen=True)
class Reader:
    """Reads pictures of `folder` and brings them to size.

    With `resize` the shorter side gets that many pixels; with `frame` the longer side does, and the rest of a square
    of that size is grey. With neither, a picture stays as it is.
    """

    folder: Path
    resize: int | None = None
    frame: int | None = None

    def __call__(self, key: tuple[str, int]) -> np.ndarray:
        """Return the picture of a key (file, its bytes), (H, W, 3) uint8."""
        picture = open_picture(self.folder / key[0])
        picture = picture.resize(self.size(*picture.size), Image.Resampling.BILINEAR)
        if self.frame is not None:
            framed = Image.new("RGB", (self.frame, self.frame), GREY)
            framed.paste(picture, (0, 0))
            picture = framed
        return np.asarray(picture)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that a picture gets, without the grey of a frame."""
        if self.frame is not None:
            wanted, side = self.frame, max(width, height)
        elif self.resize is not None:
            wanted, side = self.resize, min(width, height)
        else:
            return width, height
        return max(1, wanted * width // side), max(1, wanted * height // side)


def load(
    path: str | Path,
    part: str | None = None,
    *,
    classes: tuple[str, ...] | None = None,
    resize: int | None = None,
    frame: int | None = None,
    names: Mapping[str, str | None] | None = None,
) -> BoxedPictures:
    """Return the boxed pictures at `path`: a folder like Pascal VOC's, a folder like COCO's, or a COCO JSON file.

    VOC: `Annotations/*.xml` and the pictures in `JPEGImages/` or `images/`; `part` names a list in
    `ImageSets/Main/`. COCO: one JSON file in the folder or its `annotations/`, whose name ends in `part` where there
    are several; pictures in a folder called as the part, in `images/`, or beside the file. Upper and lower case are
    the same. `classes` (those of a detector, in its order) fixes the labels; boxes of other classes are left out.
    Without it, VOC's are in alphabetical order and COCO's by their number. `names` gives classes of the folder another
    name, or, with None, leaves them out; with it, classes that differ in their spelling alone are one. `resize` and
    `frame`: see `Reader`.
    Raises `ParameterError` for a size below 1 or both sizes at once, and `DataError` when nothing usable is found.
    """
    for name, value in (("resize", resize), ("frame", frame)):
        if value is not None and value < 1:
            raise ParameterError(f"{name} is {value}; give a number of pixels of at least 1.")
    if resize is not None and frame is not None:
        raise ParameterError("both resize and frame were given; choose one of them.")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; give a folder in the format of Pascal VOC or COCO.")
    try:
        annotations = None if path.is_file() else _below(path, "annotations")
        if annotations and any(annotations.glob("*.xml")):
            folder, own_classes, annotated, problems = _read_voc(path, annotations, part)
        else:
            folder, own_classes, annotated, problems = _read_coco(_coco_file(path, part))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); mend its permissions.") from error
    name = f"{path.resolve().stem}/{part}" if part else path.resolve().stem
    if names is not None:
        own_classes, annotated = _renamed(own_classes, annotated, names, classes or ())
    return _collect(Reader(folder, resize, frame), annotated, tuple(classes or own_classes), name, problems)


def _renamed(
    classes: list[str], annotated: list[Annotated], names: Mapping[str, str | None], spelled: tuple[str, ...]
) -> tuple[list[str], list[Annotated]]:
    """Return the classes and the annotations with other names for some classes, spelled as in `spelled` or as first."""
    kept, spelling = {}, {common_name(name): name for name in spelled}
    for name in classes:
        other = names.get(name, name)
        kept[name] = other if other is None else spelling.setdefault(common_name(other), other)
    renamed = [
        (file, [box._replace(name=kept[box.name]) for box in boxes if kept[box.name] is not None])
        for file, boxes in annotated
    ]
    return list(dict.fromkeys(name for name in kept.values() if name is not None)), renamed


def _below(folder: Path, *names: str) -> Path | None:
    """Return the first folder in `folder` that has one of the names, whatever the case."""
    folders = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


# Pascal VOC


def _read_voc(root: Path, annotations: Path, part: str | None) -> tuple[Path, list[str], list[Annotated], list[str]]:
    pictures = _below(root, "jpegimages", "images")
    if pictures is None:
        raise DataError(f"{root} has no folder JPEGImages or images; put the pictures into one.")
    present = {entry.name for entry in os.scandir(pictures) if entry.is_file()}
    files, annotated, problems = sorted(annotations.glob("*.xml")), [], []
    if part is not None:
        wanted = _voc_part(root, part)
        files = [file for file in files if file.stem in wanted]
    for file in files:
        try:
            annotated.append(_read_xml(file, present))
        except (ElementTree.ParseError, ValueError, UnicodeError, LookupError) as error:
            problems.append(f"{file.name} is no annotation of Pascal VOC ({error})")
    names = sorted({box.name for _, boxes in annotated for box in boxes})
    return pictures, names, annotated, problems


def _voc_part(root: Path, part: str) -> set[str]:
    listing = root / "ImageSets" / "Main" / f"{part}.txt"
    if not listing.is_file():
        raise DataError(f"{listing} does not exist; name a part that has a list there, or none.")
    return {line.split()[0] for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()}


def _read_xml(file: Path, present: set[str]) -> Annotated:
    root = ElementTree.parse(file).getroot()
    boxes = []
    for thing in root.iter("object"):
        left, top, right, bottom = (
            float(thing.findtext(f"bndbox/{key}", "nan")) for key in ("xmin", "ymin", "xmax", "ymax")
        )
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise ValueError("an object has no name")
        # The first pixel is 1 and the last one belongs to the box.
        corners = (left - 1, top - 1, right, bottom)
        boxes.append(Box(name, corners, (thing.findtext("difficult") or "0").strip() == "1"))
    stated = (root.findtext("filename") or "").strip()
    # The picture is the one named as the annotation; what stands inside is often out of date.
    names = [f"{file.stem}{ending}" for ending in (*ENDINGS, *map(str.upper, ENDINGS))]
    return next((name for name in names if name in present), stated or names[0]), boxes


# COCO


def _coco_file(path: Path, part: str | None) -> Path:
    if path.is_file():
        return path
    folders = [path, _below(path, "annotations")]
    files = [file for folder in folders if folder for file in sorted(folder.glob("*.json"))]
    if part is not None:
        files = [file for file in files if file.stem.endswith(part)]
        # Beside the boxes, COCO has captions and key points of the same pictures.
        files = [file for file in files if file.stem.startswith("instances")] or files
    if len(files) == 1:
        return files[0]
    found = f"{len(files)} fitting JSON files" if files else "neither Annotations/*.xml nor a fitting JSON file"
    raise DataError(f"{path} has {found}; give one JSON file, or the part its name ends in.")


def _read_coco(file: Path) -> tuple[Path, list[str], list[Annotated], list[str]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        pictures = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        names = {entry["id"]: str(entry["name"]) for entry in sorted(content["categories"], key=lambda e: e["id"])}
        boxes: dict[object, list[Box]] = {number: [] for number in pictures}
        for entry in content["annotations"]:
            left, top, width, height = map(float, entry["bbox"])
            corners = (left, top, left + width, top + height)
            box = Box(names[entry["category_id"]], corners, bool(entry.get("iscrowd", 0)))
            boxes[entry["image_id"]].append(box)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise DataError(
            f"{file} is not a whole JSON file of COCO's boxes ({what}); it needs images, categories and annotations "
            "that name each other."
        ) from error
    annotated = [(name, boxes[number]) for number, name in pictures.items()]
    return _coco_pictures(file, list(pictures.values())), list(dict.fromkeys(names.values())), annotated, []


def _coco_pictures(file: Path, names: list[str]) -> Path:
    """Return the folder that the file names of a COCO JSON file count from."""
    root = file.parent.parent if file.parent.name.lower() == "annotations" else file.parent
    part = file.stem.rpartition("_")[2]
    places = [root / part, root / "images" / part, root / "images", root, file.parent]
    for place in places:
        if any((place / name).is_file() for name in names[:20]):  # some may be missing
            return place
    raise DataError(
        f"the pictures that {file} names are in none of {', '.join(str(p) for p in dict.fromkeys(places))}; "
        "put them into one of these folders."
    )


# Both


def _collect(
    reader: Reader, annotated: Iterable[Annotated], classes: tuple[str, ...], name: str, problems: list[str]
) -> BoxedPictures:
    """Check each picture, bring its boxes to its size, and leave out what cannot be used."""
    keys, objects, sizes, counts = [], [], [], 0
    for file, boxes in annotated:
        try:
            width, height = _stored_size(reader.folder, file)
        except DataError as error:
            problems.append(str(error))
            continue
        size = reader.size(width, height)
        usable, said = _usable(boxes, classes, width, height, size)
        problems += [f"{file}: {line}" for line in said]
        keys.append((file, (reader.folder / file).stat().st_size))
        objects.append(usable)
        sizes.append((size[1], size[0]) if reader.frame is None else (reader.frame, reader.frame))
        counts += len(usable.labels)
    if not counts:
        first = f", for instance: {problems[0]}" if problems else ""
        raise DataError(
            f"{name} has no usable box in {len(keys)} pictures ({len(problems)} problems{first}); "
            "give annotations that fit their pictures and the classes asked for."
        )
    mixed = tuple(sizes) if len(set(sizes)) > 1 else ()
    return BoxedPictures(tuple(keys), reader, tuple(objects), classes, name, tuple(problems), mixed)


def _stored_size(folder: Path, file: str) -> tuple[int, int]:
    """Return width and height out of a picture's header; raise `DataError` when the picture cannot be used."""
    if Path(file).is_absolute() or ".." in Path(file).parts or not (folder / file).is_file():
        raise DataError(f"{file} is not a file in {folder}")
    try:
        with Image.open(folder / file) as picture:
            (width, height), turned = picture.size, picture.getexif().get(ORIENTATION, 1) not in (0, 1)
    except Exception as error:  # each of Pillow's decoders fails in its own way on damaged data
        raise DataError(f"{file} cannot be read as a picture") from error
    if width * height > MAX_MEGAPIXELS * MEGAPIXEL:
        raise DataError(f"{file} has more than {MAX_MEGAPIXELS} megapixels")
    if turned:
        raise DataError(f"{file} carries a tag that turns it, so that its boxes may not fit")
    return width, height


def _usable(
    boxes: list[Box], classes: tuple[str, ...], width: int, height: int, size: tuple[int, int]
) -> tuple[Objects, list[str]]:
    """Return the boxes that can be used, cut off and scaled to `size`, and what is to be said of the others."""
    known = [box for box in boxes if box.name in classes]
    finite = [box for box in known if all(map(math.isfinite, box.corners))]
    corners = torch.tensor([box.corners for box in finite], dtype=torch.float64).reshape(-1, 4)
    corners = clip(corners, width, height)
    inside = (corners[:, 2:] > corners[:, :2]).all(1)
    scale = torch.tensor([size[0] / width, size[1] / height] * 2, dtype=torch.float64)
    labels = torch.tensor([classes.index(box.name) + 1 for box in finite], dtype=torch.int64)
    ignored = torch.tensor([box.ignored for box in finite], dtype=torch.bool)
    said = []
    if len(boxes) > len(known):
        said.append(f"{len(boxes) - len(known)} of {len(boxes)} boxes are of other classes")
    if lost := len(known) - int(inside.sum()):
        said.append(f"{lost} of {len(boxes)} boxes have no area inside the picture")
    return Objects((corners * scale).float()[inside], labels[inside], ignored[inside]), said

"""Annotations of boxes as Pascal VOC and COCO write them."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ra_core.data.listing import ENDINGS, find_folder, is_inside, list_pictures, spelt
from ra_core.errors import DataError
from ra_core.files import read_json, read_text


class Box(NamedTuple):
    """One annotation: the name of its class, left, top, right, bottom, and whether it does not count."""

    name: str
    corners: tuple[float, float, float, float]
    ignored: bool


class Annotated(NamedTuple):
    """A picture's file, relative to the folder of pictures, its boxes, and the size they were made for (0: unknown)."""

    file: str
    boxes: list[Box]
    size: tuple[int, int]


class Annotations(NamedTuple):
    """What a folder or file holds: where its pictures lie, its classes, its pictures, and what cannot be used."""

    folder: Path
    classes: list[str]
    pictures: list[Annotated]
    problems: list[str]


def read_voc(root: Path, part: str | None = None) -> Annotations:
    """Return what `Annotations/*.xml` say of the pictures of a VOC folder, or of those in a list of it.

    Raises `DataError` where the folder of pictures or the list is missing.
    """
    folder = find_folder(root, "jpegimages", "images")
    if folder is None:
        raise DataError(f"{root} has no folder JPEGImages or images; put the pictures into one.")
    listed, left_out = list_pictures(folder)
    found = sorted(find_folder(root, "annotations").glob("[!.]*.xml"))
    files = {file.stem: file for file in found if file.is_file()}
    wanted = set(files) if part is None else _voc_part(root, part, files)
    annotated, present = [], set(listed)
    problems = [f"{spelt(file.name)} is no plain file" for file in found if not file.is_file()]
    problems += [f"{stem} has no annotation" for stem in sorted(wanted - files.keys())]
    for stem in sorted(wanted & files.keys()):
        try:
            annotated.append(_read_xml(files[stem], present))
        except (ElementTree.ParseError, OSError, ValueError, ArithmeticError, LookupError) as error:
            problems.append(f"{spelt(files[stem].name)} is no annotation of Pascal VOC ({error})")
    counts = Counter(one.file for one in annotated)  # as an annotation may state the picture of another
    problems += [f"{spelt(file)} has {count} annotations" for file, count in counts.items() if count > 1]
    annotated = [one for one in annotated if counts[one.file] == 1]
    if part is None:
        used, stems = set(counts), {Path(file).stem for file in counts}
        unread = [file for file in listed if file not in used and Path(file).stem not in files.keys() - stems]
        problems += [f"{file} has no annotation of its own" for file in unread]
        problems += [f"{file}: {reason}" for file, reason in left_out if file not in used]
    return Annotations(folder, sorted({box.name for one in annotated for box in one.boxes}), annotated, problems)


def _voc_part(root: Path, part: str, known: dict[str, Path]) -> set[str]:
    """Return the names in a list; behind each may stand a 1 or -1, as in the lists of one class."""
    listing = root / "ImageSets" / "Main" / f"{part}.txt"
    try:
        lines = map(str.strip, read_text(listing).splitlines())
    except (OSError, UnicodeError) as error:
        raise DataError(f"{listing} cannot be read ({error}); name a part that has a list there, in UTF-8.") from error
    return {line if line in known else line.rsplit(None, 1)[0] for line in lines if line}


def _read_xml(file: Path, present: set[str]) -> Annotated:
    root, boxes = ElementTree.parse(file).getroot(), []
    for thing in root.iter("object"):
        edges = (thing.findtext(f"bndbox/{key}", "nan") for key in ("xmin", "ymin", "xmax", "ymax"))
        left, top, right, bottom = map(float, edges)
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise ValueError("an object has no name")
        corners = (left - 1, top - 1, right, bottom)  # the first pixel is 1 and the last one belongs to the box
        boxes.append(Box(name, corners, (thing.findtext("difficult") or "0").strip() == "1"))
    stated = (root.findtext("filename") or "").strip()
    size = tuple(int(float(root.findtext(f"size/{key}") or 0)) for key in ("width", "height"))
    # The picture is the one named as the annotation; what stands inside is often out of date.
    names = [f"{file.stem}{ending}" for ending in (*ENDINGS, *map(str.upper, ENDINGS))]
    return Annotated(next((name for name in names if name in present), stated or names[0]), boxes, size)


def coco_files(path: Path, part: str | None = None) -> list[Path]:
    """Return the JSON file at `path`, or those of boxes in a COCO folder whose names end in `part`."""
    if path.is_file():
        return [path]
    folders = [path, find_folder(path, "annotations")]
    files = [file for folder in folders if folder for file in sorted(folder.glob("[!.]*.json"))]
    files = [file for file in files if file.stem.endswith(part or "")]
    # Beside the boxes, COCO has captions and key points of the same pictures.
    return [file for file in files if file.stem.startswith("instances")] or files


def read_coco(path: Path, part: str | None = None) -> Annotations:
    """Return what a COCO JSON file holds, or that of a folder whose name ends in `part`.

    Raises `DataError` unless there is one, whose parts name each other.
    """
    files = coco_files(path, part)
    if len(files) != 1:
        found = f"{len(files)} fitting JSON files" if files else "neither Annotations/*.xml nor a fitting JSON file"
        raise DataError(f"{path} has {found}; give one JSON file, or the part its name ends in.")
    file = files[0]
    try:
        content = read_json(file)
        images, categories = ({entry["id"]: entry for entry in content[key]} for key in ("images", "categories"))
        for key, known in (("images", images), ("categories", categories)):
            if len(known) < len(content[key]):
                raise ValueError(f"two {key} have the same id")
        listed = {os.path.normpath(str(entry["file_name"])) for entry in content["images"]}
        if len(listed) < len(images):
            raise ValueError("two images have the same file_name")
        names = {number: str(entry["name"]) for number, entry in sorted(categories.items())}
        boxes: dict[object, list[Box]] = {number: [] for number in images}
        for entry in content["annotations"]:
            left, top, width, height = map(float, entry["bbox"])
            corners = (left, top, left + width, top + height)
            ignored = bool(int(entry.get("iscrowd") or 0))
            boxes[entry["image_id"]].append(Box(names[entry["category_id"]], corners, ignored))
        annotated = [
            Annotated(str(e["file_name"]), boxes[n], (int(e.get("width") or 0), int(e.get("height") or 0)))
            for n, e in images.items()
        ]
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise DataError(
            f"{file} is not a whole JSON file of COCO's boxes ({what}); it needs images, categories and annotations "
            "that name each other."
        ) from error
    folder, problems = _coco_pictures(file, [one.file for one in annotated]), []
    if part is None and path.is_dir():  # else the others may be those of another file
        found, left_out = list_pictures(folder)
        problems = [f"{name} has no entry in {file.name}" for name in found if name not in listed]
        problems += [f"{name}: {reason}" for name, reason in left_out if name not in listed]
    return Annotations(folder, list(dict.fromkeys(names.values())), annotated, problems)


def _coco_pictures(file: Path, names: list[str]) -> Path:
    """Return the folder that the file names of a COCO JSON file count from."""
    root = file.parent.parent if file.parent.name.lower() == "annotations" else file.parent
    part = file.stem.rpartition("_")[2]
    places = [root / part, root / "images" / part, root / "images", root, file.parent]
    for place in places:
        if any(is_inside(place, name) for name in names[:20]):  # some may be missing
            return place
    raise DataError(
        f"the pictures that {file} names are in none of {', '.join(str(p) for p in dict.fromkeys(places))}; "
        "put them into one of these folders."
    )

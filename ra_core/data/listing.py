"""What a folder holds: its kind, its picture files, and all that is left out, each with its reason."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

from ra_core.cores import is_rank_zero
from ra_core.errors import DataError, OutputError
from ra_core.files import content_of, inside, read_json, write_text
from ra_core.pool import in_threads

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
BESIDE = (".txt", ".csv", ".md", ".json", ".xml", ".yaml", ".yml", ".html", ".ini", ".db", ".py")  # and left out unsaid
TABLE = "labels.csv"
LeftOut = tuple[str, str]  # a file or folder, relative to the folder asked about, and the reason


def kind_of(root: Path) -> str:
    """Return what a folder holds: `voc` or `coco` boxes, a `tree` of class folders, or else `flat` pictures."""
    annotations = (find_folder(root, "annotations") if root.is_dir() else None) or root / "annotations"
    if any(annotations.glob("[!.]*.xml")):
        return "voc"
    if root.suffix == ".json" or any(annotations.glob("[!.]*.json")) or any(root.glob("instances*.json")):
        return "coco"
    return "tree" if is_tree(root) else "flat"


def is_tree(root: Path) -> bool:
    """Say whether pictures lie in class folders below `train` or `val`."""
    return any((root / name).is_dir() for name in ("train", "val"))


def find_folder(folder: Path, *names: str) -> Path | None:
    """Return the first folder in `folder` that has one of the names, whatever the case."""
    try:
        folders = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}
    except OSError as error:
        raise _unreadable(folder, error) from error
    return next((folders[name] for name in names if name in folders), None)


def list_pictures(folder: Path, below: str = "") -> tuple[list[str], list[LeftOut]]:
    """Return the picture files in and below `folder / below`, sorted, relative to `folder`, and what is left out.

    Hidden folders are not entered. Links to folders are followed, but no folder is entered twice, nor one that
    `folder / below` lies in. Raises `DataError` where `folder / below` cannot be read.
    """
    top = Path(os.path.realpath(folder / below))
    try:
        found = sorted(_walk(folder / below, below, {top, *top.parents}))
    except OSError as error:
        raise _unreadable(folder / below, error) from error
    return [name for name, reason in found if not reason], [(spelt(name), reason) for name, reason in found if reason]


def list_beside(folder: Path) -> list[LeftOut]:
    """Return what lies in a folder of class folders and in none of them; as `list_pictures`, which it raises like."""
    try:
        found = {entry.name: _reason(entry, entry.name) for entry in os.scandir(folder) if not _is_entered(entry)}
    except OSError as error:
        raise _unreadable(folder, error) from error
    return [
        (spelt(name), why or "it lies in no class folder") for name, why in sorted(found.items()) if why is not None
    ]


def _is_entered(entry: os.DirEntry) -> bool:
    return os.path.isdir(entry) and entry.name[0] != "."


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(f"{folder} cannot be read ({error.strerror or error}); mend its permissions, or name another.")


def _walk(folder: Path, name: str, seen: set[Path]) -> Iterator[tuple[str, str]]:
    """Yield each file in and below a folder that goes by `name`, with the reason it is left out, or none."""
    inside = []
    for entry in sorted(os.scandir(folder), key=lambda entry: (entry.is_symlink(), entry.name)):
        path, real = f"{name}/{entry.name}".lstrip("/"), Path(os.path.realpath(entry.path))
        if not _is_entered(entry):
            reason = _reason(entry, path)
            if reason is not None:
                yield path, reason
        elif real not in seen:
            seen.add(real)
            inside.append((Path(entry.path), path))
    for below, path in inside:
        try:
            yield from _walk(below, path, seen)
        except OSError as error:
            yield path, f"it cannot be read ({error.strerror or error})"


def _reason(entry: os.DirEntry, path: str) -> str | None:
    """Return why a file is left out, nothing for a picture, or None where nobody would take it for one."""
    name = entry.name.lower()
    picture = name.endswith(ENDINGS)
    if name[0] == ".":
        return "it is hidden" if picture or os.path.isdir(entry) else None
    if not picture:
        return None if name.endswith(BESIDE) else f"its name ends in none of {', '.join(ENDINGS)}"
    if spelt(path) != path:
        return "its name is not UTF-8"
    return "" if os.path.isfile(entry) else "it is a link to nothing" if entry.is_symlink() else "it is no plain file"


def spelt(name: str) -> str:
    """Return a file's name with all bytes spelt out that are no UTF-8; any other name as it is."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_inside(folder: Path, name: str) -> bool:
    """Say whether a name that stands in a table is that of a file in or below `folder`."""
    with suppress(ValueError):
        return spelt(name) == name and os.path.isfile(inside(folder, name))
    return False


def split_by_hash(digests: Iterable[str], test_share: float, validation_share: float) -> dict[str, torch.Tensor]:
    """Return the indices of the parts `train`, `validation` and `test` of pictures with these SHA-256.

    The first eight bytes of each, read as a number from 0 to 1, say its part, which stays when pictures are added:
    below `test_share` it tests, below `test_share + validation_share` it validates, and the others are trained on.
    """
    places = torch.tensor([int(digest[:16], 16) / 2**64 for digest in digests], dtype=torch.float64)
    part = (places >= test_share).long() + (places >= test_share + validation_share)
    return {name: torch.nonzero(part == 2 - i).flatten() for i, name in enumerate(("train", "validation", "test"))}


def whole_files(
    folder: Path, files: Iterable[str], check: Callable[[str], str], memory: Path | None, about: dict
) -> tuple[dict[str, str], list[LeftOut]]:
    """Return the SHA-256 of each file of a folder that is whole, and the others, each with what `check` says of it.

    Where `about` is the same, a file is read again only when its size or one of its times is not what the JSON file
    `memory` has, which the first process writes.
    """
    known, about = {}, about | {"folder": str(folder.resolve())}
    with suppress(OSError, ValueError, TypeError, AttributeError):  # a damaged memory counts as none
        kept = read_json(memory) if memory else {}
        files_then = kept.pop("files", {}) if about.items() <= kept.items() else {}
        known = {file: [state, content] for file, (state, content) in files_then.items() if int(content, 16) >= 0}

    def look(file: str) -> list | str:
        """Return a whole file's state and content, or why it cannot be used."""
        try:
            now = (folder / file).stat()
            state = [now.st_size, now.st_mtime_ns, now.st_ctime_ns]
            if file in known and known[file][0] == state:
                return known[file]
            return check(file) or [state, content_of(folder / file)]
        except OSError as error:
            return f"{folder / file} cannot be read ({error.strerror or error})."

    files = list(files)
    looked = dict(zip(files, in_threads(look, files), strict=True))
    found = {file: said for file, said in looked.items() if isinstance(said, list)}
    if memory and found != known and is_rank_zero():
        with suppress(OutputError):  # then it is all read again
            write_text(memory, json.dumps(about | {"files": found}))
    return {file: said[1] for file, said in found.items()}, [(f, said) for f, said in looked.items() if f not in found]

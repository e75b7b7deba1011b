"""What a profile trains, validates and reports on, whether it comes from a registered data set or from a folder."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from ra_core.cores import is_rank_zero
from ra_core.data.box_folders import load as load_boxes
from ra_core.data.box_folders import load_parts, whole_pictures
from ra_core.data.cache import cached
from ra_core.data.datasets import DATASETS, split_parts
from ra_core.data.folders import list_flat, load_flat, load_tree, whole
from ra_core.data.listing import is_tree
from ra_core.data.pictures import PictureSet, evenly_spaced, first_per_class
from ra_core.errors import DataError, ParameterError
from ra_core.files import remove, write_text


def load_splits(data, parts: tuple[str, ...], home: Path, folder: Path, step: int = 1) -> dict[str, PictureSet]:
    """Return the splits asked for, of `train`, `validation` and `test`, in that order.

    `data` is what a profile says (`ra_core.params.Data`): its `kind` is `folder`, `boxes` or the name of a data set
    that is registered. Pictures with boxes only test; they are cut to sides of multiples of `step`. Relative paths
    begin at `home`. The first process writes what a folder holds and cannot be used into `folder / "skipped.csv"`
    (boxes: `skipped.txt`), and what it knows of its files into `folder / "checked.json"`. Where `data.cache` is `disk`,
    a part is decoded into `folder / "decoded-<part>.bin"` when it is first read.
    Raises `DataError` for pictures that cannot be used, and `ParameterError` for an unknown data set or part.
    """
    known = None if data.kind in ("folder", "boxes") else DATASETS.find(data.kind)
    boxed = data.kind == "boxes" or (known and known.kind == "detection")
    if boxed and parts != ("test",):
        raise ParameterError(f"{data.kind!r} has boxes and no labels to learn from; name data of a classification.")
    if data.kind == "boxes":
        found = whole_pictures(load_boxes(_existing(home, data.source), resize=data.resize), folder / "checked.json")
        _write_skipped(folder, found.skipped)
        return {"test": found.cut_to_multiples(step)}
    if known:
        splits = known.splits(parts, data.validation_per_class, source=data.source, home=home)
    else:
        root = _existing(home, data.source)
        apart = {"test": _test_folder(data, home, folder)} if data.test and "test" in parts else {}
        inside = tuple(part for part in parts if part not in apart)
        load = _tree_splits if is_tree(root) else _flat_splits
        splits = (load(data, root, inside, folder) if inside else {}) | apart
        splits = {part: splits[part] for part in parts}
    for part, count in (("train", data.train_per_class), ("test", data.test_per_class)):
        if part in splits and count:
            splits[part] = first_per_class(splits[part], count)
    if not known and data.cache != "none":
        splits = {part: cached(found, data.cache, folder / f"decoded-{part}.bin") for part, found in splits.items()}
    return splits


def load_part(name: str, part: str, count: int, data, home: Path, folder: Path) -> PictureSet:
    """Return a part of a data set whose pictures go through codecs, or `count` of them (0: all).

    Without `data`, it is the registered data set of that name (see `DataSet.part`). With it, a folder: as `load_splits`
    takes it, or of boxed pictures (`ra_core.params.BoxFolder`). Of a folder they are taken at even distances; what of
    boxed pictures cannot be used is listed in `folder / "skipped.txt"`, and which of their files are whole is kept
    beside it.
    """
    if data is None:
        return DATASETS.find(name).part(part, count, home=home)
    if hasattr(data, "kind"):
        return evenly_spaced(load_splits(data, (part,), home, folder)[part], count)
    names, parts = tuple(data.names.items()), tuple(data.parts.items())
    root = home / Path(data.folder).expanduser()
    found = load_parts(root, data.resize, names, parts, data.test_share, data.validation_share, folder)
    _write_skipped(folder, dict.fromkeys(line for pictures in found.values() for line in pictures.skipped))
    return evenly_spaced(found[part], count)


def _write_skipped(folder: Path, lines: Iterable[str]) -> None:
    """Write what of a folder of boxes cannot be used, a line each."""
    if is_rank_zero():
        write_text(folder / "skipped.txt", "".join(f"{line}\n" for line in lines))


def _tree_splits(data, root: Path, parts: tuple[str, ...], folder: Path) -> dict[str, PictureSet]:
    """Return splits of class folders; what is left out is listed when they are trained on."""

    @cache
    def load(part: str) -> PictureSet:
        found = load_tree(root, part, data.resize, data.crop)
        found = whole(found, folder / f"checked-{part}.json", f"{found.folder.name}/")
        return replace(found, contents=())  # as fingerprints of trees always were

    splits = split_parts(load, parts, ("train", "test"), data.validation_per_class, data.source)
    if {"train", "validation"} & set(parts):
        rest = load("test").skipped if (root / "val").is_dir() else ()
        list_skipped(folder, data.source, (*load("train").skipped, *rest))
    return splits


def _flat_splits(data, root: Path, parts: tuple[str, ...], folder: Path) -> dict[str, PictureSet]:
    """Return splits of a folder without class folders."""
    if data.train_per_class or data.test_per_class:
        raise DataError(
            f"{data.source} has no class folders, so train_per_class and test_per_class mean nothing there; "
            "leave them out and state test_share and validation_share."
        )
    memory = folder / "checked.json"
    splits = load_flat(root, data.test_share, data.validation_share, data.resize, data.crop, memory)
    list_skipped(folder, data.source, splits["train"].skipped)
    return {part: splits[part] for part in parts}


def _test_folder(data, home: Path, folder: Path) -> PictureSet:
    """Return all whole pictures of the folder that is only reported on; what is left out is listed apart."""
    apart = folder / "test"
    found = whole(list_flat(_existing(home, data.test), data.resize, data.crop), apart / "checked.json")
    list_skipped(apart, data.test, found.skipped)
    return found


def _existing(home: Path, source: str) -> Path:
    root = home / Path(source).expanduser()
    if not os.path.isdir(root) or not os.access(root, os.R_OK | os.X_OK):
        raise DataError(
            f"the folder {root} is missing or may not be read; put pictures there, as book/your_own_data.md shows, or "
            "name another one."
        )
    return root


def list_skipped(folder: Path, source: str, skipped: tuple[tuple[str, str], ...]) -> None:
    """Write which files are left out, and why, as `skipped.csv`."""
    if not is_rank_zero():
        return
    path = folder / "skipped.csv"
    remove(path)
    if skipped:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows([("file", "reason"), *skipped])
        write_text(path, table.getvalue())
        print(f"{len(skipped)} files of {source} cannot be used and are skipped; {path} lists them.")

"""`python -m ra_core.data.check FOLDER` lists all that a training would leave out of a folder, or end at."""

import argparse
import sys
from functools import partial
from pathlib import Path

from ra_core.data import box_folders
from ra_core.data.annotations import coco_files
from ra_core.data.decoding import open_picture, why_broken
from ra_core.data.folders import list_flat, load_tree
from ra_core.data.listing import kind_of
from ra_core.errors import DataError, exit_status
from ra_core.pool import in_threads


def left_out(folder: Path) -> list[str]:
    """Return a line for each file, in and below `folder`, that is left out or no whole picture, with the reason.

    Raises `DataError` where nothing in it can be used.
    """
    kind = kind_of(folder)
    if kind in ("voc", "coco"):
        sets = [box_folders.load(file) for file in (coco_files(folder) if kind == "coco" else [folder])]
        found = dict.fromkeys(line for pictures in sets for line in pictures.skipped)
        paths = dict.fromkeys(pictures.read.folder / key[0] for pictures in sets for key in pictures.keys)
        return [*found, *filter(None, in_threads(partial(why_broken, open_picture), paths))]
    parts = [part for part in ("train", "val") if (folder / part).is_dir()]
    sets = [load_tree(folder, part) for part in parts] or [list_flat(folder)]
    found = [f"{file}: {reason}" for pictures in sets for file, reason in pictures.skipped]
    return [*found, *(said for pictures in sets for said in in_threads(pictures.check, pictures.files) if said)]


def main(arguments: list[str] | None = None) -> int:
    """Print what cannot be used. Return 0 where all can be, else 1."""
    parser = argparse.ArgumentParser(prog="python -m ra_core.data.check", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder

    def check() -> None:
        if found := left_out(folder):
            raise DataError("\n".join([*found, f"{len(found)} files of {folder} are to be mended or removed."]))
        print(f"all picture files of {folder} are whole.")

    return exit_status(check)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m ra_core.data.check FOLDER` lists the picture files in and below a folder that are no whole pictures.

A training on class folders opens each file when its turn comes, which on a large set is hours after the start, and
ends at the first one that is broken. (Folders without classes are checked when they are read.)
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ra_core.cores import own_cores
from ra_core.data.folders import open_picture, picture_files, why_not
from ra_core.errors import DataError, exit_status


def broken(folder: Path) -> list[str]:
    """Return for each picture file in and below `folder` that is no whole picture the sentence that says why.

    Raises `DataError` where there is no such file at all.
    """
    files = picture_files(folder)
    if not files:
        raise DataError(f"{folder} holds no pictures; name the folder they are in.")
    with ThreadPoolExecutor(own_cores()) as pool:
        return [said for said in pool.map(lambda file: why_not(open_picture, folder / file), files) if said]


def main(arguments: list[str] | None = None) -> int:
    """Print what is broken. Return 0 where nothing is, else 1."""
    parser = argparse.ArgumentParser(prog="python -m ra_core.data.check", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder

    def check() -> None:
        found = broken(folder)
        if found:
            listed = "\n".join(found)
            raise DataError(f"{listed}\n{len(found)} files of {folder} are to be mended or removed.")
        print(f"all picture files of {folder} are whole.")

    return exit_status(check)


if __name__ == "__main__":
    sys.exit(main())

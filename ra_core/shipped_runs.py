"""Let a finished run ship with the package: `python -m ra_core.shipped_runs RUN_FOLDER`."""

import argparse
import shutil
import sys
from pathlib import Path

from ra_core.errors import exit_status
from ra_core.files import atomic
from ra_core.runs import find_run
from ra_core.runs.shipped import SHIPPED


def ship(folder: Path, target: Path | None = None) -> Path:
    """Copy a finished run folder to where shipped runs lie and return its place there.

    Raises `ParameterError` for a folder that holds no finished run.
    """
    run = find_run(folder)
    place = (target or SHIPPED) / run.parameters["profile"] / run.name
    kept = [*run.folder.glob("*.safetensors"), *(run.folder / n for n in ("log.jsonl", "params.yaml", "run.json"))]
    for source in sorted(kept):
        with atomic(place / source.name) as temporary:
            shutil.copyfile(source, temporary)
    return place


def main(arguments: list[str] | None = None) -> int:
    """Ship a finished run and print its new place. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m ra_core.shipped_runs", description="Let a finished run ship with the package."
    )
    parser.add_argument("folder", type=Path, help="runs/PROFILE/.../seedN")
    given = parser.parse_args(arguments)
    return exit_status(lambda: print(ship(given.folder)))


if __name__ == "__main__":
    sys.exit(main())

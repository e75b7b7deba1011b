"""Where the project lies, what its runs are called, and whether results can be kept there."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ra_core.errors import OutputError, ParameterError

SKEW_SECONDS = 60  # two machines of a cluster may differ by that much

ASSETS = Path(__file__).parent / "assets"  # small data and pretrained networks that ship with the package


def project_root() -> Path:
    """Return the folder that holds `params/` and `notebooks/`, at or above the present one or beside the package."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise ParameterError(f"no project is found at or above {here}; go into the cloned folder and run again.")


def profile_folder(profile: str) -> Path:
    """Return `runs/<profile>`."""
    return project_root() / "runs" / profile


def run_folder(profile: str, task: str, mode: str, seed: int) -> Path:
    """Return `runs/<profile>/<task>/<mode>/seed<seed>`."""
    return profile_folder(profile) / task / mode / f"seed{seed}"


def check_place(folder: Path, inputs: Iterable[Path]) -> None:
    """Check before hours of work that its results can be kept.

    Raises `OutputError` where `folder` cannot be written, or a file of `inputs`, folders included, is dated in the
    future: Snakemake refuses results that look older than what they were made from.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder.resolve()} cannot be written: choose a folder you may write to, then run again.")
    newest, ahead = max((date for path in inputs for date in _dates(path)), default=(0.0, folder))
    if newest > time.time() + SKEW_SECONDS:
        date = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
        raise OutputError(
            f"{ahead} is dated in the future ({date}), so that results would look older than it: set this machine's "
            f"clock right, or the date of what is ahead by `touch`, then run again."
        )


def _dates(path: Path) -> Iterator[tuple[float, Path]]:
    """Yield when each file at or below a path was changed last."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(OSError):  # another process may have moved it by now
            if file.is_file():
                yield file.stat().st_mtime, file

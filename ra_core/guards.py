"""What the workflow makes sure of: nobody else does the same work, the project can be written, clocks agree."""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ra_core.errors import OutputError

SKEW_SECONDS = 60  # two machines of a cluster may differ by that much


@contextmanager
def alone(path: Path, work: str) -> Iterator[None]:
    """Do `work` under the lock `path`, which is the operating system's: it ends with its process, also by SIGKILL.

    NFS shares it between machines, Lustre where it is mounted with `flock`. Where a file system knows no locks,
    one sentence on stderr says so. Raises `OutputError` where another process holds it, naming that process.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    except BlockingIOError as error:
        holder = ""
        with suppress(OSError):  # it may end just now
            holder = path.read_text(encoding="utf-8")
        raise OutputError(
            f"{work} is under way already ({holder or 'another process'}): wait until it ends, or end it, "
            f"or, where its machine is lost, delete {path}, then run again."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}): choose a folder you may write to, "
            "then run again."
        ) from error
    with file:
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, end="", flush=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # still locked: see _locked


def _locked(path: Path) -> TextIO:
    """Open and lock a file. Raises `BlockingIOError` where another process has locked it."""
    while True:
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise
        except OSError as error:
            print(
                f"{path.parent} lies where files cannot be locked ({error.strerror}): nothing keeps a second process "
                "away from the same work, so start one only.",
                file=sys.stderr,
            )
            return file
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            return file
        file.close()  # who held it has removed it in between: it guards nothing any more


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

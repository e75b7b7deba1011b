"""One training a run folder: a lock that ends with its process."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ra_core.errors import OutputError, TrainingError

NAME = ".training.lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder, made if need be, for this process alone.

    The system gives the lock up with the process, however it ends, so none is left behind by a kill; only a file server
    may keep that of a machine it lost. Where the disk knows no locks, nothing is held. Raises `TrainingError` while
    another process holds it and `OutputError` where the folder cannot be written.
    """
    path = Path(folder) / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise OutputError(
            f"{path.parent} cannot be written ({error.strerror or error}); mend its permissions, or run the project "
            "from a folder you may write to."
        ) from error
    with open(path, "a+", encoding="utf-8") as file:
        if not _locked(file, path):
            file.seek(0)
            raise TrainingError(
                f"{path.parent} is being trained by {file.read().strip() or 'another process'}; wait until that has "
                f"ended, or, if it no longer exists, delete {path} and run again."
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(file, path: Path) -> bool:
    """Lock a file and say whether that is ours now: not if another holds it, or has just deleted it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return True
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())

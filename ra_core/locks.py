"""One process at a time: a lock of the operating system's on a file."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ra_core.errors import OutputError


@contextmanager
def file_lock(path: Path, work: str, wait: bool = False) -> Iterator[None]:
    """Do `work` under the lock `path`, which ends with its process, also by SIGKILL.

    Raises `OutputError` where another process holds it, unless this one is to `wait`, or the file cannot be written.
    """
    path = Path(path)
    lock = FileLock(path, timeout=-1 if wait else 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"{work} is under way already in another process: wait until it ends, or end it, or, where its machine is "
            f"lost, delete {path}, then run again."
        ) from error
    except (OSError, NotImplementedError) as error:  # the latter of a disk without locks
        raise OutputError(
            f"{path} could not be locked ({getattr(error, 'strerror', None) or error}): free some space, or choose a "
            "folder you may write to, then run again."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: a process that opened it before takes no lock without a name
            path.unlink(missing_ok=True)
        lock.release()

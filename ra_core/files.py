"""Files that are whole or absent: everything this package writes goes through `atomic`."""

import errno
import glob
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ra_core.errors import OutputError

STALE_SECONDS = 3600
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # which every other file would meet too


def content_of(path: Path) -> str:
    """Return the SHA-256 of the bytes of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path) -> bytes:
    """Return what a file holds. Raises `OSError`, also for a pipe or device, which would be waited for."""
    _check_plain(path)
    return path.read_bytes()


def _check_plain(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise OSError("it is no plain file")


def read_text(path: Path) -> str:
    """Return a text in UTF-8, with or without a byte-order mark. Raises as `read_bytes`, or `ValueError`."""
    return read_bytes(path).decode("utf-8-sig")


def read_json(path: Path) -> object:
    """Return what a JSON file says. Raises as `read_text`, and `ValueError` where it is none or a key stands twice."""

    def unique(pairs: list[tuple[str, object]]) -> dict:
        if len(found := dict(pairs)) < len(pairs):
            raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
        return found

    try:
        return json.loads(read_text(path), object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def inside(folder: Path, name: str, links: bool = True) -> Path:
    """Return the path of a name that stands in a file. Raises `ValueError` unless it is one in or below `folder`.

    Links there, which the folder's owner has made, may lead out of it, unless `links` is false.
    """
    path = folder / name
    out = not links and not path.resolve().is_relative_to(folder.resolve())
    if out or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{name!r} lies outside of {folder}")
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and move it into place once it is written and flushed to disk.

    Raises `OutputError` when the disk is full, the folder cannot be written, or a folder, pipe or device lies there;
    `path` then keeps its old content.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}{path.suffix}")
    try:
        if not path.is_dir():  # which is refused at the end
            _check_plain(path)  # a device would be replaced
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        now = temporary.stat().st_mtime  # by the clock of the disk, which this machine's may be far from
        for stale in path.parent.glob(f".{glob.escape(path.name)}.????????{glob.escape(path.suffix)}"):
            with suppress(OSError):  # another process may be done with it by now
                if now - stale.stat().st_mtime > STALE_SECONDS:  # left by a killed process
                    stale.unlink()
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        advice = "free some space" if error.errno in NO_SPACE else "give it a place that can be written"
        raise OutputError(
            f"{path} could not be written ({error.strerror or error}); what was there before is untouched: {advice}, "
            "then run again."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file unless it is gone. Raises `OutputError` where that is not allowed."""
    if not os.path.lexists(path):  # on a disk that is read-only, to delete nothing is an error as well
        return
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} could not be deleted ({error.strerror or error}); mend the permissions of its folder, then run "
            "again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically; bytes of a file's name that are no UTF-8 are spelt out, as JSON reads them."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: object) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

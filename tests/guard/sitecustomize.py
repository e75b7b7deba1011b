"""Keeps a test run off the network and out of the repository.

tests/conftest.py runs this file in the test process and puts its folder on PYTHONPATH, so that Python imports
it in every process a test starts: notebook kernels, workflow jobs, book builds.
"""

import errno
import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "", None)
LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
CHANGES = {"os.rename": 2, "os.remove": 1, "os.rmdir": 1}  # how many paths; folder descriptors follow, or -1
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class RepositoryWritten(Exception):
    """A test tried to change the repository; it is no OSError, lest the code under test handle it."""


def _is_ours(path: object) -> bool:
    """Say whether `path` lies in the repository, caches and hidden folders such as .git aside."""
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    full = os.path.realpath(os.fsdecode(path))
    if not full.startswith(f"{ROOT}{os.sep}"):
        return False
    parts = Path(full).relative_to(ROOT).parts
    return not (parts[0].startswith(".") or "__pycache__" in parts)


def _guard(event: str, args: tuple) -> None:
    if event == "open":
        path, _, flags = args
        if isinstance(flags, int) and flags & WRITING and _is_ours(path):
            raise RepositoryWritten(f"{path} would be written; tests write below tmp_path only.")
    elif event in CHANGES:
        paths, descriptors = args[: CHANGES[event]], args[CHANGES[event] :]
        if max(descriptors) < 0 and any(map(_is_ours, paths)):
            raise RepositoryWritten(f"{event} of {paths}: tests write below tmp_path only.")
    elif event == "socket.connect":
        connection, address = args
        if connection.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            raise OSError(errno.ENETUNREACH, f"Network is unreachable (tests run offline): {address}")
    elif event in LOOKUPS and args[0] not in LOCAL and args[0] != socket.gethostname():
        raise socket.gaierror(socket.EAI_AGAIN, f"Name resolution failed (tests run offline): {args[0]}")


sys.addaudithook(_guard)

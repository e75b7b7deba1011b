"""One pool of threads for all that decodes and codes pictures, as large as this process's part of the cores."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import current_thread

from ra_core.cores import own_cores

NAME = "ra_core"


def pool(threads: int | None = None) -> ThreadPoolExecutor:
    """Return the shared pool of `threads`, without which it has one a core of this process (`own_cores`).

    It is made at its first use and lives as long as the process. A task must not wait for another one of its pool.
    """
    return _pool(threads or own_cores(), os.getpid())


def in_threads(work: Callable, *items: Iterable, threads: int | None = None) -> list:
    """Return `work` of each item, or of each group of items at one place, in their order; raise what it raises.

    The libraries that decode and code let go of the interpreter's lock, so threads are enough. Called from within the
    pool, the caller does all of it, as nobody may be left to do it.
    """
    inside = current_thread().name.startswith(NAME)
    return list(map(work, *items) if inside else pool(threads).map(work, *items))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # a forked process has none of its parent's threads
    return ThreadPoolExecutor(threads, thread_name_prefix=NAME)

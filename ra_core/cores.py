"""How many cores there are to work on, for this process and for each of those that train together; and its memory."""

import ctypes
import os
from contextlib import suppress

from ra_core.errors import ParameterError

# Before torch is imported, which reads it once: threads that wait leave their core to others. Beside one busy process
# two threads are several times as fast so. Alone, published networks lose nothing; narrow ones on small pictures lose
# up to a third with two threads, and the profiles that have these state one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep what it frees, where its C library is glibc, as every step needs the same again.

    Otherwise large blocks go back to the system, which clears them page by page when they are wanted the next time: a
    quarter of a step of published networks at 224 pixels. The peak of its memory rises by up to a half.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never


def cores() -> int:
    """Return how many cores this process may use: on a cluster those of its job, not all of the node."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """Return this process's part of `cores`, which it shares with the others of its training on this node."""
    return max(1, cores() // processes_here())


def processes_here() -> int:
    """Return how many processes of this training run on this node and divide its cores."""
    return launched("LOCAL_WORLD_SIZE", 1)


def is_rank_zero() -> bool:
    """Say whether this process is the first of its training, which writes for all."""
    return launched("RANK", 0) == 0


def launched(name: str, least: int) -> int:
    """Return a number that a launcher gave its processes; a process started alone has none and takes the least.

    Raises `ParameterError` for what is no such number.
    """
    text = os.environ.get(name, str(least))
    if not text.isdecimal() or int(text) < least:
        raise ParameterError(
            f"the environment variable {name} is {text!r}; it must be a whole number from {least}: "
            "start processes by accelerate launch or torchrun, or unset it."
        )
    return int(text)

"""Errors a user can mend: each message is one sentence that says what was given, what is allowed, what to do."""

import io
import sys
from collections.abc import Callable


class RAError(Exception):
    """Base of every error this package raises on purpose."""


class ParameterError(RAError):
    """A profile, a notebook or a call was given a parameter that is unknown or out of range."""


class DataError(RAError):
    """A picture or a data set cannot be used as it is."""


class WeightsError(RAError):
    """A weights file does not fit the network it was meant for."""


class TrainingError(RAError):
    """A training run cannot go on."""


class OutputError(RAError):
    """A result cannot be written."""


class CodecError(RAError):
    """A picture cannot be coded, or bytes cannot be decoded."""


MEMORY = (  # words of torch, oneDNN, Pillow, C++ and the operating system
    "allocate memory", "out of memory", "could not create a primitive", "memory allocation", "bad_alloc",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that of a device, or of the machine, without memory left; libraries differ in words."""
    said = not isinstance(error, RAError) and any(words in str(error).lower() for words in MEMORY)
    return said or isinstance(error, MemoryError)


def exit_status(work: Callable[[], object]) -> int:
    """Do the work of a command. Return 0, or 1 after one sentence: of an `RAError`, a file, or short memory."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no Unicode
    try:
        work()
    except RAError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        if is_out_of_memory(error):
            said = "The memory of this machine is too short for that; free some, or ask for less at once."
        elif isinstance(error, OSError) and error.filename:  # too long a name, no rights
            said = f"{error.filename} cannot be used ({error.strerror or error}); mend that, or name another."
        else:
            raise
        print(said, file=sys.stderr)
        return 1
    return 0

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


def exit_status(work: Callable[[], object]) -> int:
    """Do the work of a command. Return 0, or 1 after the one sentence of an `RAError`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no Unicode
    try:
        work()
    except RAError as error:
        print(error, file=sys.stderr)
        return 1
    return 0

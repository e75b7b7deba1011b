"""Networks by name, with their sizes checked before they are made."""

import inspect
from collections.abc import Callable

from torch import nn

from ra_core.errors import ParameterError


def make_by_name(kinds: dict[str, Callable], what: str, size: str, name: str, sizes: dict) -> nn.Module:
    """Return a fresh network of `kinds`; sizes that are None keep their default.

    `what` and `size` are how an error calls such a network and its sizes. Raises `ParameterError` for an unknown name
    or size.
    """
    if name not in kinds:
        raise ParameterError(f"{what} {name!r} is unknown; choose one of {', '.join(kinds)}.")
    given = {key: value for key, value in sizes.items() if value is not None}
    allowed = list(inspect.signature(kinds[name]).parameters)
    for key in given:
        if key not in allowed:
            raise ParameterError(f"{what} {name} has no {size}{key!r}; choose from {', '.join(allowed)}.")
    return kinds[name](**given)

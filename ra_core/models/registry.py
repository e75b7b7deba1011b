"""Networks by name, with their sizes checked before they are made; each registers itself where it is written."""

import inspect

from torch import nn

from ra_core.errors import ParameterError
from ra_core.registry import Registry

PROCESSORS = Registry("processor")  # classes made with `scale`; see `processors`
PREPROCESSORS = Registry("preprocessor")
PROXIES = Registry("proxy")


def make(registry: Registry, name: str, **sizes) -> nn.Module:
    """Return a fresh network; sizes that are None keep their default. Raises `ParameterError` for an unknown one."""
    kind = registry.find(name)
    given = {key: value for key, value in sizes.items() if value is not None}
    allowed = list(inspect.signature(kind).parameters)
    if unknown := [key for key in given if key not in allowed]:
        raise ParameterError(f"{registry.kind} {name} has no {unknown[0]!r}; choose from {', '.join(allowed)}.")
    return kind(**given)

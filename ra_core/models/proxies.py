"""Differentiable stand-ins for codecs: what a real codec does to a picture and what it costs, with gradients."""

import inspect
from collections.abc import Callable

from torch import nn

from ra_core.errors import ParameterError
from ra_core.models.proxy_dct import BlockDCT
from ra_core.models.proxy_learned import Hyperprior, Minnen2018

PROXIES: dict[str, Callable[..., nn.Module]] = {
    "Minnen2018": Minnen2018,
    "Hyperprior": Hyperprior,
    "BlockDCT": BlockDCT,
}


def make_proxy(name: str, **sizes) -> nn.Module:
    """Return a fresh proxy: `Minnen2018` and `Hyperprior` (sizes `n`, `m`), `BlockDCT` (`codec`, `quality`).

    Every proxy is called as `proxy(images, quality=None)` with pictures (B, 3, H, W) in [0, 1] of any size and
    returns `pictures` (B, 3, H, W) clamped to [0, 1], `raw` (not clamped), and the bits of each picture, (B,):
    `bits`, the sum of `bits_y` (content) and `bits_z` (side information).
    Sizes that are None keep their default. Raises `ParameterError` for an unknown name, size or value.
    """
    if name not in PROXIES:
        raise ParameterError(f"proxy {name!r} is unknown; choose one of {', '.join(PROXIES)}.")
    given = {key: value for key, value in sizes.items() if value is not None}
    allowed = list(inspect.signature(PROXIES[name]).parameters)
    for key in given:
        if key not in allowed:
            raise ParameterError(f"proxy {name} has no size {key!r}; choose from {', '.join(allowed)}.")
    return PROXIES[name](**given)

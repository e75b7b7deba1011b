"""What every channel shares: its parameters and their limits, its scale, and how pictures become arrays and back."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields

import numpy as np
import torch

from ra_core.errors import ParameterError
from ra_core.metrics import in_parts, to_levels, to_unit
from ra_core.registry import Registry

TASKS = Registry("task")  # a channel by the name of its task


class Channel:
    """What happens to a picture before a processor or a judge sees it; this one keeps the size.

    A subclass is a frozen dataclass whose fields are made by `parameter`, with `__call__` or, where there are files,
    `transmit`. Called with pictures (B, 3, H, W) in [0, 1] it returns degraded ones on the same device. Randomness
    comes from `generator` in training; in evaluation it is fixed by `indices`, the pictures' numbers in their data set.
    """

    title: str = ""  # of its task
    scale = 1  # how much larger a processor's output is than its input

    def __post_init__(self):
        for each in fields(self):
            value, wanted, limits = getattr(self, each.name), type(each.default), each.metadata
            if limits and not _is_allowed(value, wanted, limits):
                allowed = ", ".join(f"{key} {limit}" for key, limit in limits.items() if key != "description")
                given = f"{type(self).__name__} {each.name} = {value!r}"
                raise ParameterError(f"{given} is not allowed; give {wanted.__name__}: {allowed}.")

    def __call__(self, images, generator=None, indices=None) -> torch.Tensor:
        return self.transmit(images, generator, indices)[0]

    def transmit(self, images, generator=None, indices=None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the degraded pictures and the bytes of each one's file, (B,), or None where there is no file."""
        return self(images, generator, indices), None

    def enlarge(self, degraded):
        """Bring a degraded picture back to the size of the clean one, without a network."""
        return degraded


def task(name: str, title: str) -> Callable[[type], type]:
    """Return a decorator that registers a channel as the task `name`, which readers know as `title`."""

    def register(channel: type) -> type:
        channel.title = title
        return TASKS.add(name, channel)

    return register


def parameter(default, description: str = "", **limits):
    """Return a field of a channel: `description` makes it a key of a profile's `channels`.

    `limits` are `ge`, `gt`, `le`, `lt` of a number, or `choices`.
    """
    return field(default=default, metadata={"description": description, **limits})


def make_channel(name: str, **values) -> Channel:
    """Return the channel of a task with those of `values` that it takes. Raises `ParameterError` for an unknown one."""
    kind = TASKS.find(name)
    return kind(**{each.name: values[each.name] for each in fields(kind) if each.name in values})


def _is_allowed(value, wanted: type, limits: Mapping) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float) if wanted is float else wanted):
        return False
    within = (getattr(operator, key)(value, limits[key]) for key in ("ge", "gt", "le", "lt") if key in limits)
    return all(within) and value in limits.get("choices", [value])


def to_arrays(images: torch.Tensor) -> list[np.ndarray]:
    """Return pictures (B, 3, H, W) in [0, 1] as 8-bit arrays (H, W, 3), as they would be stored."""
    levels = torch.empty_like(images, dtype=torch.uint8, memory_format=torch.channels_last)
    for part, out in in_parts(images, levels):
        out.copy_(to_levels(part).short())  # at once bytes are made slowly
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


def from_arrays(arrays: Sequence[np.ndarray], device: str | torch.device = "cpu") -> torch.Tensor:
    """Return 8-bit arrays (H, W, 3) of one size as pictures (B, 3, H, W) in [0, 1]; they travel as bytes."""
    levels = torch.from_numpy(np.stack(arrays)).to(device).permute(0, 3, 1, 2)
    images = torch.empty_like(levels, dtype=torch.float32)
    for part, out in in_parts(levels, images):
        to_unit(part, out=out)
    return images

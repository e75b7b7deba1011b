"""Random numbers of a training step, which follow from a picture's place in the batch and from no process."""

from collections.abc import Callable

import torch


class StepGenerator(torch.Generator):
    """The random numbers of a whole batch, of whose `count` pictures the caller has those of the slice `part`."""

    def __new__(cls, seed: int, count: int, part: slice):
        return super().__new__(cls)

    def __init__(self, seed: int, count: int, part: slice):
        self.manual_seed(seed)
        self.count, self.part = count, part


def draw(
    function: Callable, shape: tuple[int, ...], generator: torch.Generator, near: torch.device | None = None
) -> torch.Tensor:
    """Return random numbers of `shape`, its first axis the pictures at hand: `function` is `torch.rand` or alike.

    With a `StepGenerator` they are drawn for the whole batch and cut, so that a picture gets the same ones however
    the batch is divided. For pictures that are `near` a GPU its own generator draws, seeded by the one given.
    """
    count, part = shape[0], slice(None)
    if isinstance(generator, StepGenerator):
        count, part = generator.count, generator.part
    if near is not None and near.type == "cuda" and generator.device.type != "cuda":
        generator = torch.Generator(near).manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
    return function((count, *shape[1:]), generator=generator, device=generator.device)[part]

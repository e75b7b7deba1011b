"""The batches of a training: what a step sees follows from the seed, the step and the picture's place in its batch.

So a run that goes on from a checkpoint, or is divided among processes, sees what it would have seen.
"""

from functools import lru_cache
from typing import NamedTuple

import torch

from ra_core.data.draws import StepGenerator
from ra_core.training.prefetch import pin
from ra_core.training.processes import Team

# More than a run has steps, and than a test set has pictures, whose numbers are the seeds of their noise.
SEED_STRIDE = 1_000_003


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a step, or of an epoch's order."""
    return SEED_STRIDE * (seed + 1) + number


@lru_cache(maxsize=1)  # that of a million pictures costs as much as a step
def _order(epoch: int, count: int, seed: int) -> torch.Tensor:
    """Return the order of an epoch: every picture once."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_of(seed, epoch)))


class Batch(NamedTuple):
    """This process's part of a step: its pictures, and their `share` of the `count` pictures of all processes."""

    images: torch.Tensor
    labels: object
    generator: torch.Generator
    count: int
    share: float


class Batches:
    """The batches of `size` pictures, the last, short one of an epoch included unless `drop_last`."""

    def __init__(self, pictures, size: int, seed: int, team: Team, drop_last: bool = False):
        self.pictures, self.size, self.seed, self.team = pictures, size, seed, team
        self.per_epoch = len(pictures) // size if drop_last else -(-len(pictures) // size)

    def read(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, position = divmod(step, self.per_epoch)
        order = _order(epoch, len(self.pictures), self.seed)
        indices = order[position * self.size : (position + 1) * self.size]
        part, share = self.team.share(len(indices))
        generator = StepGenerator(seed_of(self.seed, step), len(indices), part)
        images, labels = self.pictures.training_batch(indices[part], generator)
        return Batch(pin(images, self.team.device), labels, generator, len(indices), share)

    def pictures_in(self, steps: int) -> int:
        """Return how many pictures are seen in so many steps."""
        epochs, rest = divmod(steps, self.per_epoch)
        return epochs * min(len(self.pictures), self.per_epoch * self.size) + rest * self.size

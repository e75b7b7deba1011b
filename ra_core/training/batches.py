"""The batches of a training: what a step sees follows from the seed, the step and the picture's place in its batch.

So a run that goes on from a checkpoint, or is divided among processes, sees what it would have seen.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch

from ra_core.data.draws import StepGenerator
from ra_core.metrics import to_unit
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


class Batches:
    """The batches of `size` pictures, the last, short one of an epoch included unless `drop_last`."""

    def __init__(self, pictures, size: int, seed: int, team: Team, drop_last: bool = False):
        self.pictures, self.size, self.seed, self.team = pictures, size, seed, team
        self.per_epoch = len(pictures) // size if drop_last else -(-len(pictures) // size)

    def read(self, step: int) -> tuple:
        """Return this process's images, labels and generator of a step, the count of all images and its share."""
        epoch, place = divmod(step, self.per_epoch)
        indices = _order(epoch, len(self.pictures), self.seed)[place * self.size : (place + 1) * self.size]
        part, share = self.team.share(len(indices))
        generator = StepGenerator(seed_of(self.seed, step), len(indices), part)
        images, labels = self.pictures.training_batch(indices[part], generator)
        if self.team.device.type == "cuda":
            images = images.pin_memory()  # where a GPU fetches them by itself
        return images, labels, generator, len(indices), share

    def pictures_in(self, steps: int) -> int:
        """Return how many pictures are seen in so many steps."""
        epochs, rest = divmod(steps, self.per_epoch)
        return epochs * min(len(self.pictures), self.per_epoch * self.size) + rest * self.size


def to_device(images: torch.Tensor, device: torch.device, memory: torch.memory_format) -> torch.Tensor:
    """Return pictures (B, 3, H, W) on a device as floats in [0, 1]; bytes travel as bytes."""
    images = images.to(device, memory_format=memory, non_blocking=True)
    return images if images.is_floating_point() else to_unit(images)


def prefetch(make: Callable, numbers: Iterable, depth: int) -> Iterator:
    """Yield `make(n)` for each of `numbers` in their order, up to `depth` of them made ahead by another thread."""
    if not depth:
        yield from map(make, numbers)
        return
    pool, waiting = ThreadPoolExecutor(1), deque()  # one thread, so that `make` is never called twice at a time
    try:
        for number in numbers:
            waiting.append(pool.submit(make, number))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

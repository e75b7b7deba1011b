"""What comes next is read while the device is busy with what came before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

N, T = TypeVar("N"), TypeVar("T")


def prefetch(make: Callable[[N], T], numbers: Iterable[N], depth: int) -> Iterator[T]:
    """Yield `make(n)` for each of `numbers` in their order, up to `depth` of them made ahead by another thread.

    With a depth of 0 each is made when it is asked for. What `make` raises is raised in its turn.
    """
    if not depth:
        yield from map(make, numbers)
        return
    numbers = iter(numbers)
    pool = ThreadPoolExecutor(1)  # one, so that `make` is never called twice at the same time
    try:
        waiting = deque(pool.submit(make, number) for number in islice(numbers, depth))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(make, number) for number in islice(numbers, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def pin(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return pictures where a CUDA device can fetch them by itself; for any other device as they are."""
    return images.pin_memory() if device.type == "cuda" else images


def to_device(images: torch.Tensor, device: torch.device, memory: torch.memory_format) -> torch.Tensor:
    """Return pictures (B, 3, H, W) on a device as floats in [0, 1]; bytes travel as bytes."""
    images = images.to(device, memory_format=memory, non_blocking=True)
    return images if images.is_floating_point() else images.float().div_(255)

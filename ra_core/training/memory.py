"""Out of memory: known by one predicate, told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ra_core.errors import TrainingError

ON_CPU = ("can't allocate memory", "could not create a primitive")  # of torch's allocator, and of oneDNN


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that of a device, or of the machine, without memory left."""
    on_cpu = isinstance(error, RuntimeError) and any(words in str(error) for words in ON_CPU)
    return on_cpu or isinstance(error, torch.OutOfMemoryError | MemoryError)


@contextmanager
def out_of_memory_hint(device: torch.device | str, what: str, advice: str) -> Iterator[None]:
    """Turn want of memory into a `TrainingError` that says what does not fit and what to do."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{what} do not fit into the memory of {device}; what was saved last is kept: {advice}."
        ) from error


def evaluation_memory_hint(device: torch.device | str):
    """Return `out_of_memory_hint` for an evaluation, which names what to lower."""
    advice = "give a smaller evaluation_batch and run again"
    return out_of_memory_hint(device, "the pictures of a step of evaluation", advice)

"""Out of memory, told in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ra_core.errors import TrainingError, is_out_of_memory


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

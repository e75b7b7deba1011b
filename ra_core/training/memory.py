"""Out of memory: what would fit, found by trying, or which number to lower."""

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from ra_core.errors import TrainingError


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that of a device, or of the machine, without memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on the CPU


def largest_that_fits(trial: Callable[[int], object], count: int) -> int:
    """Return the first of count / 2, count / 4, ... 1 for which `trial` finds memory, or 0."""
    while count > 1:
        count //= 2
        torch.cuda.empty_cache()
        try:
            trial(count)
            return count
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            traceback.clear_frames(error.__traceback__)
    return 0


@contextmanager
def _when_short(say: Callable[[], str]) -> Iterator[None]:
    """Turn want of memory into a `TrainingError` of what `say()` returns once the memory is free again."""
    try:
        yield
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # else what was computed so far stays
    raise TrainingError(say()) from None


def told_what_fits(
    trial: Callable[[int], object], count: int, batch: int, device: torch.device, kept: Callable[[], str]
) -> AbstractContextManager[None]:
    """Turn want of memory in a training step with `count` pictures into a `TrainingError` that says how many fit.

    `trial(n)` tries the step with n of them; `batch` are those of the step in all processes; `kept` says
    what is left of the run.
    """

    def say() -> str:
        gc.collect()
        fits = largest_that_fits(trial, count)
        if not fits:
            what = "a trial with one picture does not fit either: give smaller networks or pictures"
        else:
            what = (
                f"a trial of the step fits with {fits}: give batch {fits * max(1, round(batch / count))} to start "
                f"anew, or keep the batch and start at least {-(-batch // fits)} processes"
            )
        return f"{count} pictures a step do not fit into the memory of {device}; {kept()}; {what}."

    return _when_short(say)


def told_to_evaluate_less(device: torch.device | str) -> AbstractContextManager[None]:
    """Turn want of memory in an evaluation into a `TrainingError` that names what to lower."""
    return _when_short(
        lambda: (
            f"the pictures of a step of evaluation do not fit into the memory of {device}; what was trained is "
            "kept: give a smaller evaluation_batch and run again."
        )
    )

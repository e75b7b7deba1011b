"""Progress of a training: a live bar where somebody watches, a line every few seconds where nobody does."""

import os
import sys
import time

BATCH_VARIABLE = "RA_BATCH"  # set by the workflow, whose notebooks nobody watches


def _watched() -> bool:
    if os.environ.get(BATCH_VARIABLE):
        return False
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Progress:
    """Shows step, every loss term, images/s and time left."""

    def __init__(self, name: str, steps: int, first: int, every: float = 5.0):
        self.name, self.steps, self.every, self.shown = name, steps, every, time.monotonic()
        self.bar = None
        if _watched():
            from tqdm.auto import tqdm

            self.bar = tqdm(total=steps, initial=first, desc=name, unit="step")

    def step(self) -> None:
        """Count one step."""
        if self.bar is not None:
            self.bar.update()

    def show(self, line: dict, last: bool = False) -> None:
        """Show a line of the log, at most every few seconds in batch."""
        numbers = {k: f"{v:.4g}" for k, v in line.items() if isinstance(v, float) and k != "seconds_left"}
        if self.bar is not None:
            self.bar.set_postfix(numbers)
        elif last or time.monotonic() - self.shown >= self.every:
            self.shown = time.monotonic()
            terms = "  ".join(f"{k} {v}" for k, v in numbers.items())
            print(f"{self.name}  step {line['step']}/{self.steps}  {terms}  {line['seconds_left']:.0f} s left", flush=True)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()

"""Progress of a training: a live bar where somebody watches, a line every few seconds where nobody does."""

import os
import sys
import time

from tqdm.auto import tqdm

BATCH_VARIABLE = "RA_BATCH"  # set by the workflow, whose notebooks nobody watches
PACE = ("images_per_s", "seconds_left")


def is_watched() -> bool:
    """Say whether there is a terminal or an open notebook to show a bar in."""
    return not os.environ.get(BATCH_VARIABLE) and (sys.stderr.isatty() or "ipykernel" in sys.modules)


class Progress:
    """Shows step, every loss term, images/s and time left; with `shown` false it has no bar."""

    def __init__(self, name: str, steps: int, first: int, every: float = 5.0, shown: bool = True):
        self.name, self.steps, self.every, self.shown = name, steps, every, time.monotonic()
        self.has_bar = shown and is_watched()
        self.bar = tqdm(total=steps, initial=first, desc=name, unit="step", disable=not self.has_bar)

    def step(self) -> None:
        """Count one step."""
        self.bar.update()

    def due(self) -> bool:
        """Say whether it is time for another line."""
        return time.monotonic() - self.shown >= self.every

    def show(self, line: dict, last: bool = False) -> None:
        """Show a line of the log: at once in the bar, in batch at most every few seconds and at the end."""
        if not (self.has_bar or last or self.due()):
            return
        self.shown = time.monotonic()
        terms = {k: f"{v:.4g}" for k, v in line.items() if isinstance(v, float) and k not in PACE}
        if self.has_bar:  # it counts steps, time left and speed itself
            self.bar.set_postfix(terms | {"images/s": f"{line['images_per_s']:.0f}"})
            return
        parts = "  ".join(f"{k} {v}" for k, v in terms.items())
        pace = f"{line['images_per_s']:.0f} images/s  {line['seconds_left']:.0f} s left"
        print(f"{self.name}  step {line['step']}/{self.steps}  {parts}  {pace}", flush=True)

    def close(self) -> None:
        """End the bar."""
        self.bar.close()

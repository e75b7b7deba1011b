"""Learning rates of a training, step by step."""

import math

from ra_core.errors import ParameterError

SCHEDULES = ("drops", "cosine", "linear")


def learning_rate(step: int, steps: int, peak: float, schedule: str = "drops", drops: tuple[float, ...] = ()) -> float:
    """Return the learning rate of a step, counted from 0. Raises `ParameterError` for an unknown schedule.

    `drops` divides it by ten at each of the given fractions of the run (published: 4/6 and 5/6); `cosine` rises over
    the first 5 % of the steps and then falls to zero, `linear` over the first 20 % and then in a straight line.
    """
    if schedule not in SCHEDULES:
        raise ParameterError(f"schedule {schedule!r} is unknown; choose one of {', '.join(SCHEDULES)}.")
    if schedule == "drops":
        return peak * 0.1 ** sum(step >= round(drop * steps) for drop in drops)
    rising = max(1, round((0.05 if schedule == "cosine" else 0.2) * steps))
    if step < rising:
        return peak * (step + 1) / rising
    if schedule == "linear":
        return peak * (steps - step) / (steps - rising)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

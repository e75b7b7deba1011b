"""One training loop for all objectives, in one process or in several: `accelerate launch -m ra_core.training`."""

from ra_core.training.loop import PRECISIONS, fit
from ra_core.training.processes import pick_device
from ra_core.training.schedules import SCHEDULES, learning_rate

__all__ = ["PRECISIONS", "SCHEDULES", "fit", "learning_rate", "pick_device"]

"""Tasks as channels: what happens to a picture before a processor sees it, one file a task."""

from ra_core.channels.base import TASKS, Channel, from_arrays, make_channel, parameter, task, to_arrays
from ra_core.channels.coded import Coded
from ra_core.channels.downsample import Downsample, resize
from ra_core.channels.noise import Noise

from ra_core.channels.jpeg import Jpeg  # isort: skip  # tasks are known in the order of the book

__all__ = [
    "TASKS", "Channel", "Coded", "Downsample", "Jpeg", "Noise",
    "from_arrays", "make_channel", "parameter", "resize", "task", "to_arrays",
]  # fmt: skip

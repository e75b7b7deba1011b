"""The small detectors by name, and what each is built on; their nets need torchvision, which is slow to import."""

from typing import NamedTuple

from ra_core.registry import Registry


class Trunk(NamedTuple):
    """Which recognizer gives the features: after how many layers strides 8 (and 16) are reached, and how wide."""

    recognizer: str
    cuts: tuple[int, ...]
    widths: tuple[int, ...]


TRUNKS = Registry("small detector")
TRUNKS.add("fcos", Trunk("resnet20", (11,), (64,)))
TRUNKS.add("faster_rcnn", Trunk("resnet26", (14,), (64,)))
TRUNKS.add("retinanet", Trunk("vgg8", (14, 17), (128, 192)))

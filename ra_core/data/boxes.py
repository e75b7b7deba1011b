"""Pictures with boxed objects: one type for scenes and for folders in the formats of Pascal VOC and COCO.

A box is left, top, right, bottom in pixels, where the picture's own edges are 0 and its width or height. Labels
count from 1, as detectors keep 0 for the background. Pictures are read when they are asked for.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from ra_core.data.draws import draw
from ra_core.errors import DataError

Target = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Objects:
    """What is boxed in one picture: `boxes` (n, 4) float, `labels` (n,) int64 from 1, `ignored` (n,) bool.

    Ignored are crowds and objects marked as difficult: no detector is trained on them, and to find or to miss them
    counts neither for nor against it.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    ignored: torch.Tensor

    def target(self) -> Target:
        """Return `boxes` and `labels` of what counts, and of the rest `ignored_boxes` and `ignored_labels`."""
        counts = ~self.ignored
        return {
            "boxes": self.boxes[counts], "labels": self.labels[counts],
            "ignored_boxes": self.boxes[self.ignored], "ignored_labels": self.labels[self.ignored],
        }  # fmt: skip


@dataclass(frozen=True)
class BoxedPictures:
    """A set of pictures with boxed objects; what `ra_core.data.Pictures` is to labelled ones.

    `read(keys[i])` gives picture `i`, (H, W, 3) uint8; a key says all that tells it from other pictures. `classes`
    names the labels 1, 2 and so on. `skipped` says, a line each, what could not be used.
    """

    keys: tuple
    read: Callable[[object], np.ndarray]
    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    name: str
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def picture(self, index: int) -> np.ndarray:
        """Return one picture, (H, W, 3) uint8."""
        return self.read(self.keys[index])

    def boxes(self, index: int) -> torch.Tensor:
        """Return the boxes of one picture that count, (n, 4) float."""
        return self.objects[index].target()["boxes"]

    def labels(self, index: int) -> torch.Tensor:
        """Return the labels of these boxes, (n,) int64 from 1."""
        return self.objects[index].target()["labels"]

    def targets(self, indices: torch.Tensor) -> list[Target]:
        """Return what detectors are trained on and judged by, one dict a picture (see `Objects.target`)."""
        return [self.objects[i].target() for i in indices.tolist()]

    def all_targets(self) -> list[Target]:
        """Return the targets of all pictures in order, without reading any."""
        return self.targets(torch.arange(len(self)))

    def subset(self, indices: torch.Tensor, name: str) -> "BoxedPictures":
        """Return the pictures at `indices` as a set of its own."""
        chosen = indices.tolist()
        keys, objects = tuple(self.keys[i] for i in chosen), tuple(self.objects[i] for i in chosen)
        return replace(self, keys=keys, objects=objects, name=name)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, list[Target]]:
        """Return pictures (B, 3, H, W), float in [0, 1], and their targets.

        Raises `DataError` when the pictures differ in size.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow mostly works without the interpreter lock
            pictures = list(pool.map(self.picture, indices.tolist()))
        sizes = sorted({picture.shape[:2] for picture in pictures})
        if len(sizes) > 1:
            (height, width), (other_height, other_width) = sizes[:2]
            raise DataError(
                f"{self.name} has pictures of {width} x {height} and of {other_width} x {other_height} pixels, which "
                "do not go into one batch; take one at a time, or load them with `frame`."
            )
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
        return images, self.targets(indices)

    def training_batch(
        self, indices: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, list[Target]]:
        """Return `batch(indices)` with each picture and its boxes mirrored left to right, or not, at random."""
        images, targets = self.batch(indices)
        mirrored = draw(torch.rand, (len(images),), generator) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        for index in torch.nonzero(mirrored).flatten().tolist():
            for key in ("boxes", "ignored_boxes"):
                targets[index][key] = mirror(targets[index][key], images.shape[-1])
        return images, targets

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each picture's key and objects (its pixels are not read)."""
        for key, objects in zip(self.keys, self.objects, strict=True):
            digest = hashlib.sha256(repr(key).encode())
            for tensor in (objects.boxes, objects.labels, objects.ignored):
                digest.update(repr(tensor.tolist()).encode())
            yield digest.digest()


def mirror(boxes: torch.Tensor, width: int) -> torch.Tensor:
    """Return boxes (n, 4) as they lie in the picture mirrored left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], dim=1)


def clip(boxes: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return boxes (n, 4) cut off at the edges of a picture; one outside of it is left with no area."""
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)

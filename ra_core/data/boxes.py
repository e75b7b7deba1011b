"""Pictures with boxed objects: one type for scenes and for folders in the formats of Pascal VOC and COCO.

A box is left, top, right, bottom in pixels, where the picture's own edges are 0 and its width or height. Labels
count from 1, as detectors keep 0 for the background. Pictures are read when they are asked for.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import mode
from typing import ClassVar

import numpy as np
import torch

from ra_core.data.draws import draw
from ra_core.pool import in_threads

Target = dict[str, torch.Tensor]
SAME = {"aeroplane": "airplane", "motorbike": "motorcycle", "sofa": "couch", "tvmonitor": "tv"}  # VOC's, COCO's


def common_name(name: str) -> str:
    """Return the name of a class as it is compared: small letters and digits only, and VOC's words as COCO's."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return SAME.get(plain, plain)


@dataclass(frozen=True)
class Objects:
    """What is boxed in one picture: `boxes` (n, 4) float, `labels` (n,) int64 from 1, `ignored` (n,) bool.

    Ignored are crowds and objects marked as difficult, which count neither for nor against a detector.
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

    def inside(self, top: int, left: int, height: int, width: int) -> "Objects":
        """Return the objects of a part of the picture, cut off at its edges."""
        boxes = clip(self.boxes - self.boxes.new_tensor([left, top, left, top]), width, height)
        seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
        return Objects(boxes[seen], self.labels[seen], self.ignored[seen])


@dataclass(frozen=True)
class Cut:
    """Reads pictures as `read` does, and cuts them to sides of multiples of `step` pixels."""

    read: Callable[[object], np.ndarray]
    step: int

    def __call__(self, key) -> np.ndarray:
        """Return the picture of a key, (H, W, 3) uint8, without what is left over at the right and at the bottom."""
        picture = self.read(key)
        height, width = (side - side % self.step for side in picture.shape[:2])
        return picture[:height, :width]


@dataclass(frozen=True)
class BoxedPictures:
    """A set of pictures with boxed objects; what `ra_core.data.Pictures` is to labelled ones.

    `read(keys[i])` gives picture `i`, (H, W, 3) uint8; a key says all that tells it from other pictures. `skipped`
    says, a line each, what could not be used. `sizes` are height and width of each picture, empty where all are equal.
    """

    keys: tuple
    read: Callable[[object], np.ndarray]
    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    name: str
    skipped: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    boxed: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.keys)

    def picture(self, index: int) -> np.ndarray:
        """Return one picture, (H, W, 3) uint8."""
        return self.read(self.keys[index])

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
        sizes = tuple(self.sizes[i] for i in chosen) if self.sizes else ()
        return replace(self, keys=keys, objects=objects, name=name, sizes=sizes)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, list[Target]]:
        """Return pictures of one size (B, 3, H, W), float in [0, 1], and their targets."""
        return _as_floats(in_threads(self.picture, indices.tolist())), self.targets(indices)

    def cropped_to_common_size(self, indices: torch.Tensor) -> tuple[torch.Tensor, list[Target]]:
        """Return `batch(indices)` of pictures of several sizes, cut around their middle to the size that all have."""
        pictures = in_threads(self.picture, indices.tolist())
        height, width = (min(sides) for sides in zip(*(picture.shape[:2] for picture in pictures), strict=True))
        cut, targets = [], []
        for index, picture in zip(indices.tolist(), pictures, strict=True):
            top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
            cut.append(picture[top : top + height, left : left + width])
            targets.append(self.objects[index].inside(top, left, height, width).target())
        return _as_floats(cut), targets

    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, list[Target]]:
        """Return `batch(indices)` with each picture and its boxes mirrored left to right, or not, at random.

        Smaller pictures among larger ones lie at the top left, and every target says in `size` what is picture (see
        `by_size`).
        """
        pictures, targets = in_threads(self.picture, indices.tolist()), self.targets(indices)
        mirrored = (draw(torch.rand, (len(pictures),), generator) < 0.5).tolist()
        sizes = [picture.shape[:2] for picture in pictures]
        images = np.zeros((len(sizes), *(max(sides) for sides in zip(*sizes, strict=True)), 3), np.uint8)
        for image, picture, target, size, turned in zip(images, pictures, targets, sizes, mirrored, strict=True):
            image[: size[0], : size[1]] = picture[:, ::-1] if turned else picture
            for key in ("boxes", "ignored_boxes") if turned else ():
                target[key] = mirror(target[key], size[1])
            if len(set(sizes)) > 1:
                target["size"] = torch.tensor(size)
        return _as_floats(images), targets

    def of_one_size(self) -> torch.Tensor:
        """Return the numbers of the pictures that have the size of most."""
        sizes = self.sizes or ((),) * len(self)
        common = mode(sizes)
        return torch.tensor([number for number, size in enumerate(sizes) if size == common])

    def cut_to_multiples(self, step: int) -> "BoxedPictures":
        """Return the pictures, and their boxes, cut at the right and at the bottom to sides of multiples of `step`."""
        sizes = self.sizes or (self.picture(0).shape[:2],) * len(self)
        sizes = tuple(tuple(side - side % step for side in size) for size in sizes)
        objects = tuple(one.inside(0, 0, *size) for one, size in zip(self.objects, sizes, strict=True))
        return replace(self, read=Cut(self.read, step), objects=objects, sizes=sizes)

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each picture's key and objects (its pixels are not read)."""
        for key, objects in zip(self.keys, self.objects, strict=True):
            digest = hashlib.sha256(repr(key).encode())
            for tensor in (objects.boxes, objects.labels, objects.ignored):
                digest.update(repr(tensor.tolist()).encode())
            yield digest.digest()


def _as_floats(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)


def in_batches(pictures, count: int) -> list[torch.Tensor]:
    """Return the numbers of all pictures in their order, at most `count` at a time and never of two sizes."""
    batches, sizes = torch.arange(len(pictures)).split(count), getattr(pictures, "sizes", ())
    if not sizes:
        return list(batches)
    runs = [[list(run) for _, run in groupby(batch.tolist(), sizes.__getitem__)] for batch in batches]
    return [torch.tensor(run) for batch in runs for run in batch]


def by_size(targets) -> dict[tuple[int, int], list[int]]:
    """Return which pictures of a training batch have which height and width; empty where all fill it."""
    found: dict[tuple[int, int], list[int]] = {}
    for index, target in enumerate(targets if isinstance(targets, list) else []):
        if "size" in target:
            found.setdefault(tuple(target["size"].tolist()), []).append(index)
    return found


def mirror(boxes: torch.Tensor, width: int) -> torch.Tensor:
    """Return boxes (n, 4) as they lie in the picture mirrored left to right."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], dim=1)


def clip(boxes: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return boxes (n, 4) cut off at the edges of a picture; one outside of it is left with no area."""
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)

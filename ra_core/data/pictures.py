"""Labelled pictures in memory, and what can be done with a set of pictures of any kind.

Everything is uint8 until a batch is made; a batch is float in [0, 1], `(B, 3, H, W)`, RGB.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from ra_core.data.draws import draw
from ra_core.errors import DataError

VALIDATION_PER_CLASS = 50  # of the 500 shipped training pictures a class


class PictureSet(Protocol):
    """What every set of pictures has; the second of a batch are labels (B,) int64, or a dict of boxes a picture."""

    name: str
    classes: tuple[str, ...]
    boxed: ClassVar[bool]

    def __len__(self) -> int: ...
    def subset(self, indices: torch.Tensor, name: str) -> "PictureSet": ...
    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | list]: ...
    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple: ...
    def digests(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class Pictures:
    """Equally large pictures in memory: `images` (N, 3, H, W) uint8, `labels` (N,) int64 indexing `classes`."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    name: str
    boxed: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: torch.Tensor, name: str) -> "Pictures":
        """Return the pictures at `indices` as a set of its own."""
        return Pictures(self.images[indices], self.labels[indices], self.classes, name)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pictures (B, 3, H, W), float in [0, 1], and labels (B,), exactly as stored."""
        return self.images[indices].float().div_(255), self.labels[indices]

    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `batch(indices)` with each picture mirrored left to right with probability one half."""
        images, labels = self.batch(indices)
        mirrored = draw(torch.rand, (len(images),), generator) < 0.5
        images[mirrored] = images[mirrored].flip(-1)
        return images, labels

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each picture's label and pixels."""
        for image, label in zip(self.images.numpy(), self.labels.tolist(), strict=True):
            label_bytes = label.to_bytes(max(1, (label.bit_length() + 7) // 8), "little")
            yield hashlib.sha256(label_bytes + image.tobytes()).digest()


def fingerprint(pictures: PictureSet) -> str:
    """Return the SHA-256 that identifies a set of pictures with their labels, in any order."""
    return hashlib.sha256(b"".join(sorted(pictures.digests()))).hexdigest()


def check_fingerprint(pictures: PictureSet, known: str, place: str) -> None:
    """Raise `DataError` where pictures that come from a `place` are not those with the known fingerprint."""
    if (actual := fingerprint(pictures)) != known:
        raise DataError(
            f"{place} does not hold the known pictures {pictures.name}: fingerprint {actual[:12]}, expected "
            f"{known[:12]}; fetch or install it again."
        )


def is_labelled(pictures: PictureSet) -> bool:
    """Say whether pictures have labels; those of an unlabelled folder have one class, others have boxes."""
    return len(pictures.classes) > 1 and not pictures.boxed


def evenly_spaced(pictures: PictureSet, count: int) -> PictureSet:
    """Return `count` pictures at even distances, or all where `count` is 0 or more than there are."""
    if not 0 < count < len(pictures):
        return pictures
    return pictures.subset(torch.arange(count) * len(pictures) // count, pictures.name)


def as_batch(pictures: PictureSet, count: int = 0) -> tuple[torch.Tensor, torch.Tensor | list]:
    """Return the first `count` pictures (0: all) as one batch; those of several sizes are cut to one."""
    chosen = torch.arange(min(count or len(pictures), len(pictures)))
    return (pictures.cropped_to_common_size if getattr(pictures, "sizes", ()) else pictures.batch)(chosen)


def first_per_class(pictures: PictureSet, count: int) -> PictureSet:
    """Return the first `count` pictures of every class, in their order. Raises `DataError` when a class has fewer."""
    return pictures.subset(_per_class(pictures, count, slice(count)), pictures.name)


def split_train(pictures: PictureSet, validation_per_class: int = VALIDATION_PER_CLASS) -> dict[str, PictureSet]:
    """Split a training set into `train` and `validation`: the last pictures of each class validate.

    Raises `DataError` when a class would keep no picture to train on.
    """
    parts = {"train": slice(None, -validation_per_class), "validation": slice(-validation_per_class, None)}
    return {
        part: pictures.subset(_per_class(pictures, validation_per_class, which, rest=1), f"{pictures.name}/{part}")
        for part, which in parts.items()
    }


def _per_class(pictures: PictureSet, count: int, which: slice, rest: int = 0) -> torch.Tensor:
    """Return, in order, the indices at `which` places within their class, which has `count` pictures and `rest`."""
    labels = pictures.labels
    smallest = int(torch.bincount(labels, minlength=len(pictures.classes)).min())
    if not 1 <= count <= smallest - rest:
        raise DataError(
            f"{count} pictures of each class of {pictures.name} were asked for; its smallest class has {smallest}, so "
            f"choose at least 1 and at most {smallest - rest}."
        )
    return torch.cat([torch.nonzero(labels == c).flatten()[which] for c in labels.unique()]).sort().values

"""Labelled pictures and their fixed splits: train, validation (out of train), test.

Everything is uint8 until a batch is made; a batch is float in [0, 1], `(B, 3, H, W)`, RGB.
`Pictures` holds small pictures in memory; `ra_core.data.folders.FolderPictures` reads large ones as they are
needed. Both have the same methods, and every function here takes either.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ra_core.data.draws import draw
from ra_core.errors import DataError

if TYPE_CHECKING:
    from ra_core.data.folders import FolderPictures

VALIDATION_PER_CLASS = 50  # of the 500 shipped training pictures a class


@dataclass(frozen=True)
class Pictures:
    """A labelled set of equally large pictures in memory.

    Shapes: `images` (N, 3, H, W) uint8, `labels` (N,) int64 indexing `classes`.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    name: str

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


def fingerprint(pictures: "Pictures | FolderPictures") -> str:
    """Return the SHA-256 that identifies a set of pictures with their labels, in any order."""
    return hashlib.sha256(b"".join(sorted(pictures.digests()))).hexdigest()


def is_labelled(pictures: "Pictures | FolderPictures") -> bool:
    """Say whether it is known what is on the pictures; those of an unlabelled folder have one class."""
    return len(pictures.classes) > 1


def _per_class(labels: torch.Tensor, which: slice) -> torch.Tensor:
    """Return, in order, the indices of the pictures at `which` places within their class."""
    chosen = [torch.nonzero(labels == c).flatten()[which] for c in labels.unique()]
    return torch.cat(chosen).sort().values


def _smallest_class(pictures: "Pictures | FolderPictures") -> int:
    return int(torch.bincount(pictures.labels, minlength=len(pictures.classes)).min())


def first_per_class(pictures: "Pictures | FolderPictures", count: int) -> "Pictures | FolderPictures":
    """Return the first `count` pictures of every class, in their order: a balanced subset.

    Raises `DataError` when a class has fewer.
    """
    smallest = _smallest_class(pictures)
    if not 1 <= count <= smallest:
        raise DataError(
            f"{count} pictures of each class of {pictures.name} were asked for; "
            f"its smallest class has {smallest}: ask for 1 to {smallest}."
        )
    return pictures.subset(_per_class(pictures.labels, slice(count)), pictures.name)


def split_train(
    pictures: "Pictures | FolderPictures", validation_per_class: int = VALIDATION_PER_CLASS
) -> dict[str, "Pictures | FolderPictures"]:
    """Split a training set into `train` and `validation`: the last pictures of each class validate.

    Raises `DataError` when a class would keep no picture to train on.
    """
    smallest = _smallest_class(pictures)
    if not 1 <= validation_per_class < smallest:
        raise DataError(
            f"{validation_per_class} pictures of each class of {pictures.name} cannot be set aside for "
            f"validation: its smallest class has {smallest}; choose at least 1 and fewer than that."
        )
    validation = _per_class(pictures.labels, slice(-validation_per_class, None))
    rest = torch.ones(len(pictures), dtype=torch.bool)
    rest[validation] = False
    return {
        "train": pictures.subset(torch.nonzero(rest).flatten(), f"{pictures.name}/train"),
        "validation": pictures.subset(validation, f"{pictures.name}/validation"),
    }

"""Random crops out of sets of pictures, without labels: what a learned codec is trained on."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ra_core.data.draws import draw
from ra_core.errors import DataError

SIDES = (64, 128)  # of the crops; multiples of 64, so that a learned codec pads nothing


@dataclass(frozen=True)
class Crops:
    """Crops of the pictures of several sets; all crops of a batch have the same side, one of `sides`."""

    sets: tuple
    sides: tuple[int, ...] = SIDES

    @property
    def name(self) -> str:
        """The names of the sets."""
        return " + ".join(one.name for one in self.sets)

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, None]:
        """Return crops (B, 3, side, side), float in [0, 1], each mirrored with probability one half, and no labels.

        Raises `DataError` for a picture smaller than the crops.
        """
        side = self.sides[int(torch.randint(len(self.sides), (), generator=generator))]
        places = draw(torch.rand, (len(indices), 3), generator).tolist()
        crops = [self._crop(index, side, place) for index, place in zip(indices.tolist(), places, strict=True)]
        return torch.stack(crops), None

    def _crop(self, index: int, side: int, numbers: list[float]) -> torch.Tensor:
        for pictures in self.sets:
            if index < len(pictures):
                break
            index -= len(pictures)
        picture = pictures.batch(torch.tensor([index]))[0][0]
        height, width = picture.shape[-2:]
        if min(height, width) < side:
            raise DataError(
                f"{pictures.name} has a picture of {width} x {height} pixels, smaller than the crops of {side}; "
                "leave it out, or ask for smaller crops."
            )
        top, left = int(numbers[0] * (height - side + 1)), int(numbers[1] * (width - side + 1))
        crop = picture[:, top : top + side, left : left + side]
        return crop.flip(-1) if numbers[2] < 0.5 else crop

    def digests(self) -> Iterator[bytes]:
        """Yield the digests of the pictures of every set."""
        for pictures in self.sets:
            yield from pictures.digests()

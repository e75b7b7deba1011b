"""Small boxed pictures: a bright square of one of three colours on a dark ground."""

import numpy as np
import torch
from torch import nn

from ra_core.data.boxes import BoxedPictures, Objects

CLASSES = ("red", "green", "blue")


def paint(key: tuple) -> np.ndarray:
    """Paint the picture of a key (side of the picture, left, top, side of the square, class from 0)."""
    side, left, top, square, kind = key
    picture = np.full((side, side, 3), 40, np.uint8)
    picture[top : top + square, left : left + square] = 60
    picture[top : top + square, left : left + square, kind] = 230
    return picture


def pictures(count: int = 12, seed: int = 0, side: int = 64, name: str = "squares") -> BoxedPictures:
    """Squares of 24 to 40 pixels in pictures of `side` pixels, classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    keys, objects = [], []
    for number in range(count):
        square = int(torch.randint(24, 41, (), generator=generator))
        left, top = torch.randint(0, side - square + 1, (2,), generator=generator).tolist()
        keys.append((side, left, top, square, number % 3))
        box = torch.tensor([[left, top, left + square, top + square]]).float()
        objects.append(Objects(box, torch.tensor([number % 3 + 1]), torch.tensor([False])))
    return BoxedPictures(tuple(keys), paint, tuple(objects), CLASSES, name)


class Bright(nn.Module):
    """A detector that finds one box of what is bright, and says how bright, as it comes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        found = []
        for image in images:
            rows, columns = torch.nonzero(image.amax(0) > 0.6, as_tuple=True)
            corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            found.append({"boxes": torch.stack(corners)[None].float(), "scores": image.max()[None],
                          "labels": image.mean((1, 2)).argmax()[None] + 1})  # fmt: skip
        return found

    def losses(self, images, targets):
        return {}

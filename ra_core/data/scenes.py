"""Scenes: pictures of 224 x 224 with one to five objects out of CIFAR-10 on a textured ground, in known boxes.

A scene follows from its part and its number alone: whole numbers from a counted generator, Pillow's bicubic
resizing (which works in whole numbers), no trigonometry. So the scenes are the same on every machine, and nothing
but CIFAR-10 need ship.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

import ra_core.data.cifar10 as cifar10
from ra_core.data.boxes import BoxedPictures, Objects
from ra_core.data.datasets import dataset
from ra_core.data.pictures import split_train
from ra_core.errors import DataError

SIDE = 224
MOST_OBJECTS = 5
SIDES = (32, 36, 40, 45, 51, 57, 64, 72, 81, 91, 102, 112)  # of an object, in steps of an eighth of an octave
STRETCHES = ((8, 7), (1, 1), (7, 8))  # its width is side * a // b, its height side * b // a
OVERLAP = 5  # two boxes share at most a fifth of the smaller one
TRIES = 20  # for a place, before an object is left out
OCTAVES = (7, 14, 28, 56, 112)  # cells a side of the layers of the ground's texture
TEXTURE = 48  # largest weight of a layer, out of 256; so the sum of all fits into 16 bits
GRAIN = 6  # largest amplitude of the noise on the whole scene, in grey levels

COUNTS = {"train": 10_000, "validation": 200, "test": 400}
SEEDS = {"train": 1, "validation": 2, "test": 3}
CHECKED = 8  # scenes whose pixels are compared with the fingerprint
FINGERPRINTS = {
    "train": "ea075cc07487256dda42ba1a5e7a555a7b88e195ebb5629cfc4a6186869edbfd",
    "validation": "31ba4debc402d103ddcdfba7f8583d85207dbf466d660c93a809a11f7b800366",
    "test": "f31d6e92405d355b940cd90f19f2d73721e8cf7c24a704bff7e7164211ec3376",
}


@dataset("scenes", kind="detection", title="scenes")
def load(part: str = "train", count: int = 0) -> BoxedPictures:
    """Return the first `count` scenes of the part `train`, `validation` or `test` (0: 10,000, 200 or 400).

    Objects of `test` come from the shipped test pictures of CIFAR-10, those of `validation` from the shipped
    training pictures set aside by `split_train`, those of `train` from the rest. The recognizers whose features the
    shipped detectors begin with have seen all training pictures: validation flatters them, test does not. Raises
    `DataError` when the scenes come out differently here.
    """
    painter, actual = _painter(part), _fingerprint(part)
    if actual != FINGERPRINTS[part]:
        raise DataError(
            f"the {part} scenes come out differently here: fingerprint {actual[:12]}, expected "
            f"{FINGERPRINTS[part][:12]}; install the versions of Pillow and NumPy in requirements.lock."
        )
    numbers = tuple(range(count or COUNTS[part]))
    return BoxedPictures(numbers, painter, tuple(map(painter.objects, numbers)), cifar10.CLASSES, f"scenes/{part}")


@cache
def _painter(part: str) -> "Painter":
    shipped = cifar10.load("shipped", "test" if part == "test" else "train")
    pool = shipped if part == "test" else split_train(shipped)[part]
    return Painter(pool.images.permute(0, 2, 3, 1).contiguous().numpy(), pool.labels.numpy(), SEEDS[part])


@cache
def _fingerprint(part: str) -> str:
    """Return the SHA-256 of the pixels and boxes of the first scenes."""
    painter, digest = _painter(part), hashlib.sha256()
    for number in range(CHECKED):
        digest.update(painter(number).tobytes())
        digest.update(repr((painter.objects(number).boxes.tolist(), painter.objects(number).labels.tolist())).encode())
    return digest.hexdigest()


class _Draws(np.random.PCG64):
    """Whole numbers at random, out of the raw bits of a generator whose stream is fixed for good."""

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        return int(self.random_raw() % limit)

    def bytes(self, *shape: int) -> np.ndarray:
        """Return an array of numbers from 0 to 255."""
        count = int(np.prod(shape))
        raw = self.random_raw((count + 7) // 8).astype("<u8")
        return raw.view(np.uint8)[:count].reshape(shape)


class Placed(NamedTuple):
    """One object of a scene: which picture of the pool, mirrored or not, and its box."""

    picture: int
    mirrored: bool
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, eq=False)
class Painter:
    """Paints scenes by number from a pool of objects: `images` (N, 32, 32, 3) uint8 and `labels` (N,) from 0."""

    images: np.ndarray
    labels: np.ndarray
    seed: int

    def objects(self, number: int) -> Objects:
        """Return the boxes and labels of one scene."""
        placed = self._place(_Draws((self.seed, number)))
        boxes = torch.tensor([p[2:] for p in placed], dtype=torch.float32)
        labels = torch.tensor([int(self.labels[p.picture]) + 1 for p in placed])
        return Objects(boxes, labels, torch.zeros(len(placed), dtype=torch.bool))

    def __call__(self, number: int) -> np.ndarray:
        """Return the pixels of one scene, (224, 224, 3) uint8."""
        draws = _Draws((self.seed, number))
        placed = self._place(draws)
        scene = Image.fromarray(self._ground(draws))
        for p in placed:
            width, height = p.right - p.left, p.bottom - p.top
            thing = Image.fromarray(self.images[p.picture]).resize((width, height), Image.Resampling.BICUBIC)
            scene.paste(ImageOps.mirror(thing) if p.mirrored else thing, (p.left, p.top), _mask(width, height))
        grain = (draws.bytes(SIDE, SIDE, 3).astype(np.int16) - 128) * draws.below(GRAIN + 1) >> 7
        return (np.asarray(scene, np.int16) + grain).clip(0, 255).astype(np.uint8)

    def _place(self, draws: _Draws) -> list[Placed]:
        """Draw one to five objects; one for which no place is found is left out, but never the first."""
        placed: list[Placed] = []
        for _ in range(1 + draws.below(MOST_OBJECTS)):
            picture, mirrored = draws.below(len(self.images)), draws.below(2) == 1
            side = SIDES[draws.below(len(SIDES))]
            a, b = STRETCHES[draws.below(len(STRETCHES))]
            width, height = side * a // b, side * b // a
            for _ in range(TRIES):
                left, top = draws.below(SIDE - width + 1), draws.below(SIDE - height + 1)
                one = Placed(picture, mirrored, left, top, left + width, top + height)
                if not any(_crowded(one, other) for other in placed):
                    placed.append(one)
                    break
        return placed

    def _ground(self, draws: _Draws) -> np.ndarray:
        """Paint a ground: the colours of a picture of the pool, too coarse to be recognised, and a texture."""
        cells = 2 + draws.below(5)
        colours = Image.fromarray(self.images[draws.below(len(self.images))])
        colours = colours.resize((cells, cells), Image.Resampling.BOX)
        ground = np.asarray(colours.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
        texture = np.zeros((SIDE, SIDE, 1), np.int16)
        for cells in OCTAVES:
            layer = Image.fromarray(draws.bytes(cells, cells)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            texture += (np.asarray(layer, np.int16)[:, :, None] - 128) * draws.below(TEXTURE + 1)
        return (ground + (texture >> 8)).clip(0, 255).astype(np.uint8)


def _crowded(one: Placed, other: Placed) -> bool:
    """Say whether two boxes share more than is allowed of the smaller one."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    areas = ((p.right - p.left) * (p.bottom - p.top) for p in (one, other))
    return width > 0 and height > 0 and width * height * OVERLAP > min(areas)


@cache
def _mask(width: int, height: int) -> Image.Image:
    """Return the opacity of an object: full, but fading over a sixteenth of its side at the edges."""
    fade = min(width, height) // 16 + 1
    across, down = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in (width, height))
    return Image.fromarray((np.minimum.outer(down, across) * 255 // fade).clip(0, 255).astype(np.uint8))

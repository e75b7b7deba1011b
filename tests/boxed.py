"""Small boxed pictures: a bright square of one of three colours on a dark ground."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ra_core.data.boxes import BoxedPictures, Objects
from ra_core.judges import Detector

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


def mixed(count: int = 12) -> BoxedPictures:
    """Squares in pictures of two sizes, never more than two of a size after each other."""
    parts = [pictures(count, seed, side) for seed, side in ((0, 64), (1, 50))]
    chosen = [parts[number % 3 == 1] for number in range(count)]
    return BoxedPictures(
        tuple(part.keys[i] for i, part in enumerate(chosen)), paint,
        tuple(part.objects[i] for i, part in enumerate(chosen)), CLASSES, "mixed",
        sizes=tuple((part.keys[0][0],) * 2 for part in chosen),
    )  # fmt: skip


def folder(root: Path, kind: str, count: int = 12) -> Path:
    """Write `mixed` pictures, cut a little at the bottom, into a folder as Pascal VOC or as COCO has them."""
    squares, content = mixed(count), {"images": [], "annotations": []}
    content["categories"] = [{"id": 10 * label, "name": name} for label, name in enumerate(CLASSES, 1)]
    places = ("Annotations", "JPEGImages") if kind == "voc" else ("annotations", "images")
    for place in places:
        (root / place).mkdir(parents=True)
    for number in range(count):
        picture, box = squares.picture(number)[: -1 - number % 2], squares.objects[number].boxes[0].int().tolist()
        name, (left, top, right, bottom) = CLASSES[number % 3], box
        Image.fromarray(picture).save(root / places[1] / f"square{number}.png")
        if kind == "voc":
            corners = zip(("xmin", "ymin", "xmax", "ymax"), (left + 1, top + 1, right, bottom), strict=True)
            inside = "".join(f"<{key}>{value}</{key}>" for key, value in corners)
            text = f"<annotation><object><name>{name}</name><bndbox>{inside}</bndbox></object></annotation>"
            (root / places[0] / f"square{number}.xml").write_text(text)
        content["images"].append({"id": number, "file_name": f"square{number}.png"})
        content["annotations"].append({
            "image_id": number, "category_id": 10 * (number % 3 + 1), "bbox": [left, top, right - left, bottom - top],
        })  # fmt: skip
    if kind == "coco":
        (root / places[0] / "instances_all.json").write_text(json.dumps(content))
    return root


class Bright(Detector):
    """A detector that finds one box of what is bright, and says how bright, as it comes."""

    def __init__(self):
        nn.Module.__init__(self)
        self.seen, self.name = [], "bright"

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


class Brightest(Detector):
    """Finds one box of what is nearly as bright as the brightest; the duller one finds it two pixels too low."""

    def __init__(self, name: str):
        super().__init__(nn.Identity(), name, CLASSES)

    def forward(self, images):
        found = []
        for image in images:
            rows, columns = torch.nonzero(image.amax(0) > 0.7 * image.max(), as_tuple=True)
            corners = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            box = corners[None].float() + 2 * (self.name == "duller")
            found.append({"boxes": box, "scores": image.max()[None], "labels": image.mean((1, 2)).argmax()[None] + 1})
        return found

"""How boxes are read from what detectors in files give.

A decoder maps the outputs, the number of classes and the input's height and width to boxes (B, places, 4), left, top,
right, bottom in pixels of the input, and to scores (B, places, classes) in [0, 1].
Sources: Ge et al. 2021 (YOLOX); Li et al. 2020 (generalized focal loss), whose head NanoDet has.
"""

import torch

from ra_core.data.boxes import Target
from ra_core.detection import MOST_DETECTIONS

STRIDES = (8, 16, 32)
LEAST_SCORE, MOST_OVERLAP = 0.05, 0.5  # torchvision's


def cells(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return column and row of every cell of the three levels, row by row, (places, 2), and its stride, (places, 1)."""
    places, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(
            torch.arange(-(-height // stride)), torch.arange(-(-width // stride)), indexing="ij"
        )
        places.append(torch.stack([columns, rows], -1).view(-1, 2).float())
        strides.append(torch.full((len(places[-1]), 1), float(stride)))
    return torch.cat(places), torch.cat(strides)


def yolox(outputs: list[torch.Tensor], classes: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read centre, logarithm of the size, objectness and scores of each place: (B, places, 5 + classes)."""
    places, strides = cells(height, width)
    [found] = outputs
    centre, half = (found[..., :2] + places) * strides, found[..., 2:4].exp() * strides / 2
    return torch.cat([centre - half, centre + half], -1), _expected(found[..., 4:5] * found[..., 5:], places, classes)


def nanodet(outputs: list[torch.Tensor], classes: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read scores and, for each side of a box, how likely each whole number of strides is as its distance.

    One output (B, places, classes + 4 bins) has both; else those of each level come one after the other.
    """
    places, strides = cells(height, width)
    if len(outputs) > 1:
        scores, sides = (
            torch.cat([o for o in outputs if (o.shape[-1] == classes) == wanted], 1) for wanted in (True, False)
        )
    else:
        scores, sides = outputs[0][..., :classes], outputs[0][..., classes:]
    likely = sides.unflatten(-1, (4, -1)).softmax(-1)
    distance = (likely @ torch.arange(likely.shape[-1]).float()) * strides
    centre = (places + 0.5) * strides
    boxes = torch.cat([centre - distance[..., :2], centre + distance[..., 2:]], -1)
    return boxes, _expected(scores, places, classes)


DECODERS = {"yolox": yolox, "nanodet": nanodet}


def _expected(scores: torch.Tensor, places: torch.Tensor, classes: int) -> torch.Tensor:
    if scores.shape[1:] != (len(places), classes):
        given = " x ".join(map(str, scores.shape[1:]))
        raise ValueError(f"it gives {given} scores and {len(places)} x {classes} are expected")
    return scores


def best(boxes: torch.Tensor, scores: torch.Tensor) -> Target:
    """Return the boxes (places, 4) that are left of one picture when none overlaps a better one of its class."""
    from torchvision.ops import batched_nms  # slow to import

    places, labels = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    boxes, scores = boxes[places], scores[places, labels]
    kept = batched_nms(boxes, scores, labels, MOST_OVERLAP)[:MOST_DETECTIONS]
    return {"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept] + 1}

"""Mean average precision of detections, by pycocotools, with an interval over pictures.

A prediction is a dict of `boxes` (n, 4), `scores` (n,) and `labels` (n,); a target one of `boxes` and `labels`, and
perhaps `ignored_boxes` and `ignored_labels`, which are treated as COCO treats crowds.
Source of the measure: Lin et al., "Microsoft COCO: Common Objects in Context", 2014.
"""

import io
from contextlib import redirect_stdout

import numpy as np
import torch
from torch import nn

from ra_core.bd_rate import counts
from ra_core.data.boxes import BoxedPictures, Target, in_batches
from ra_core.errors import DataError
from ra_core.metrics import Interval

METRICS = {"map": slice(None), "map50": slice(0, 1), "map75": slice(5, 6)}  # of the ten overlaps 0.50 to 0.95
MOST_DETECTIONS = 100  # of a picture; the least sure of more are not looked at


@torch.inference_mode()
def detect(detector: nn.Module, pictures: BoxedPictures, batch: int = 16) -> list[Target]:
    """Return what a detector finds in each picture, on the CPU, `batch` pictures at a time."""
    detector.eval()
    place, found = next(detector.parameters(), torch.empty(0)).device, []  # a black box has no parameters
    for indices in in_batches(pictures, batch):
        with torch.autocast(place.type, enabled=False):  # the ends of a box need more than eight bits
            answers = detector(pictures.batch(indices)[0].to(place))
        found += [{key: value.cpu() for key, value in answer.items()} for answer in answers]
    return found


def mean_ap(predictions: list[Target], targets: list[Target]) -> dict[str, float]:
    """Return `map` (mean over the overlaps 0.50 to 0.95), `map50` and `map75`, in percent.

    Raises `DataError` when no target has a box.
    """
    return _scores(_matched(predictions, targets))


def _scores(evaluator) -> dict[str, float]:
    with redirect_stdout(io.StringIO()):  # it reports its progress
        evaluator.accumulate()
    precision = evaluator.eval["precision"]  # (overlaps, recalls, classes, 1, 1), -1 for classes without a box
    values = {name: precision[overlaps] for name, overlaps in METRICS.items()}
    return {name: 100 * float(value[value > -1].mean()) for name, value in values.items()}


def drawn_mean_ap(
    predictions: list[Target], targets: list[Target], draws: int = 1000, seed: int = 0
) -> tuple[float, np.ndarray]:
    """Return `map50` in percent, and what it is on sets of pictures drawn with replacement, (draws,).

    The same seed draws the same pictures out of equally many, so two detectors can be compared draw by draw. The draws
    lie somewhat above the score: with fewer different pictures, the best precision at a recall or beyond it is more
    often a lucky one. NaN where no box was drawn.
    """
    evaluator, pictures = _matched(predictions, targets), len(targets)
    times = counts(pictures, draws, seed)
    matches = np.array(evaluator.evalImgs, dtype=object).reshape(-1, pictures)
    values = np.stack([_average_precision(row, times, evaluator.params.recThrs) for row in matches])
    known = ~np.isnan(values)  # (classes, draws), NaN where a class was not drawn
    with np.errstate(invalid="ignore"):
        means = 100 * np.where(known, values, 0).sum(0) / known.sum(0)
    return _scores(evaluator)["map50"], means


def interval_of(value: float, drawn: np.ndarray, lowest: float = 0.0) -> Interval:
    """Return a score, or the difference of two, in percent with its 95 % interval: (percent, low, high).

    `drawn` is what `drawn_mean_ap` gave (for a difference, draw by draw with one seed). The ends are percentiles of
    the draws (Efron, "Bootstrap Methods", 1979), moved so that their mean is the score.
    """
    low, high = np.nanpercentile(drawn + (value - np.nanmean(drawn)), [2.5, 97.5])
    return value, max(lowest, float(low)), min(100.0, float(high))


def _matched(predictions: list[Target], targets: list[Target]):
    """Return pycocotools' evaluator after it has matched predictions with targets, picture by picture."""
    if not sum(len(target["boxes"]) for target in targets):
        raise DataError(f"the {len(targets)} pictures to score have no box; give pictures with objects.")
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for picture, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        truth += _annotations(picture, target["boxes"], target["labels"], iscrowd=0)
        if "ignored_boxes" in target:
            truth += _annotations(picture, target["ignored_boxes"], target["ignored_labels"], iscrowd=1)
        boxes = _annotations(picture, prediction["boxes"], prediction["labels"], iscrowd=0)
        found += [box | {"score": score} for box, score in zip(boxes, prediction["scores"].tolist(), strict=True)]
    categories = sorted({box["category_id"] for box in truth + found})
    with redirect_stdout(io.StringIO()):
        sides = [_index(len(targets), categories, annotations) for annotations in (truth, found)]
        evaluator = COCOeval(*sides, iouType="bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = evaluator.params.areaRng[:1], ["all"]
        evaluator.params.maxDets = [MOST_DETECTIONS]
        evaluator.evaluate()
    return evaluator


def _annotations(picture: int, boxes: torch.Tensor, labels: torch.Tensor, iscrowd: int) -> list[dict]:
    """Return the boxes of one picture as COCO writes them: left, top, width, height."""
    corners = boxes.detach().double()
    rows = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    return [
        {"image_id": picture, "category_id": label, "bbox": row, "area": row[2] * row[3], "iscrowd": iscrowd}
        for row, label in zip(rows, labels.tolist(), strict=True)
    ]


def _index(pictures: int, categories: list[int], annotations: list[dict]):
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(pictures)],
        "categories": [{"id": number} for number in categories],
        # Numbers begin with 1: pycocotools takes a match with number 0 for none.
        "annotations": [annotation | {"id": number} for number, annotation in enumerate(annotations, 1)],
    }
    coco.createIndex()
    return coco


def _average_precision(matches: np.ndarray, times: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Return the average precision of one class when each picture counts so many `times` (draws, pictures).

    `matches` holds what pycocotools found in each picture, None where neither side has the class. A detection in a
    picture that counts c times stands for c equal ones: the precision in between is never looked at.
    """
    rows = [(picture, match) for picture, match in enumerate(matches) if match is not None]
    objects = np.array([(np.asarray(match["gtIgnore"]) == 0).sum() for _, match in rows])
    boxes = times[:, [picture for picture, _ in rows]] @ objects
    order = np.argsort(-np.concatenate([match["dtScores"] for _, match in rows]), kind="mergesort")  # as pycocotools
    owner = np.repeat([picture for picture, _ in rows], [len(match["dtScores"]) for _, match in rows])[order]
    right, ignored = (  # at the lowest overlap
        np.concatenate([np.asarray(match[key])[0] for _, match in rows])[order] > 0 for key in ("dtMatches", "dtIgnore")
    )
    weights = times[:, owner]
    hits, misses = (weights * (right & ~ignored)).cumsum(1), (weights * (~right & ~ignored)).cumsum(1)
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = np.full(len(times), np.nan)
    for draw in np.flatnonzero(boxes):
        reached = np.searchsorted(hits[draw] / boxes[draw], recalls)
        values[draw] = best[draw, reached[reached < len(owner)]].sum() / len(recalls)
    return values

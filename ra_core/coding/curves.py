"""Curves of bytes against accuracy: from what judges answered to tidy rows, BD-rates, and gains at the same bytes."""

from dataclasses import dataclass

import numpy as np

from ra_core.bd_rate import Resampled, bd_rate_interval, counts, gains_at, overlap, resample
from ra_core.coding.scores import bits_per_pixel, metric_of, score
from ra_core.evaluation import Answers
from ra_core.metrics import proportion_interval
from ra_core.params.coding import task_of

RATE_COLUMNS = [
    "profile", "dataset", "task", "method", "codec", "quality", "seed", "recognizer", "role", "n",
    "bpp", "bytes_mean", "metric", "value", "value_low", "value_high", "psnr",
]  # fmt: skip
BD_COLUMNS = [
    "profile", "dataset", "codec", "method", "seed", "recognizer", "role", "metric",
    "bd", "low", "high", "no_overlap", "value_low", "value_high",
]  # fmt: skip
SAME_BYTES_COLUMNS = [
    "profile", "dataset", "codec", "method", "seed", "recognizer", "role", "metric",
    "quality", "bytes_mean", "alone", "value", "gain", "low", "high", "no_overlap",
]  # fmt: skip


@dataclass
class Curve:
    """One method over its qualities: `answers` by quality, in the order measured."""

    method: str
    codec: str
    seed: int
    answers: dict[float, Answers]


def line_of(curve: Curve, pictures, judge: str) -> tuple[list[float], list[float]]:
    """Return bits a pixel and scores of a curve."""
    return (
        [bits_per_pixel(a, pictures) for a in curve.answers.values()],
        [score(a, pictures, judge) for a in curve.answers.values()],
    )


def rate_rows(curve: Curve, pictures, source: str, dataset: str) -> list[dict]:
    """Return one row a quality and judge, in the columns of `rate_accuracy.csv`."""
    rows = []
    for quality, answers in curve.answers.items():
        for judge in judges_of(answers):
            value, low, high = interval(answers, pictures, judge)
            rows.append({
                "task": task_of(dataset), "method": curve.method, "codec": curve.codec, "quality": quality,
                "seed": curve.seed, "recognizer": judge, "role": "source" if judge == source else "unseen",
                "n": len(answers.psnr), "bpp": bits_per_pixel(answers, pictures),
                "bytes_mean": answers.bytes.double().mean().item(), "metric": metric_of(answers, judge),
                "value": value, "value_low": low, "value_high": high, "psnr": answers.psnr.mean().item(),
            })  # fmt: skip
    return rows


def judges_of(answers: Answers) -> list[str]:
    """Return the names of all that judged."""
    return [*answers.by_recognizer, *answers.detections]


def interval(answers: Answers, pictures, judge: str) -> tuple[float, float, float]:
    """Return a judge's score with its 95 % interval, percent."""
    if judge in answers.by_recognizer:
        return proportion_interval(answers.by_recognizer[judge]["top1"])
    from ra_core.detection import interval_of

    return interval_of(*precision(answers, pictures, judge))


def precision(answers: Answers, pictures, judge: str) -> tuple[float, np.ndarray]:
    """Return a detector's score and what it would be on other draws of the pictures; boxes are matched once."""
    if judge not in answers.precision:
        from ra_core.detection import drawn_mean_ap

        answers.precision[judge] = drawn_mean_ap(answers.detections[judge], pictures.all_targets())
    return answers.precision[judge]


def bd_rows(curve: Curve, alone: Curve, pictures, source: str) -> list[dict]:
    """Return one row a judge: the bytes a method needs beside the codec alone at equal score, with interval."""
    if len(curve.answers) < 2:
        return []
    rows = []
    for judge in judges_of(next(iter(curve.answers.values()))):
        both = [resampled(c, pictures, judge) for c in (alone, curve)]
        low, high = overlap(*((c.rates, c.values) for c in both))
        rows.append({
            "codec": curve.codec, "method": curve.method, "seed": curve.seed, "recognizer": judge,
            "role": "source" if judge == source else "unseen",
            "metric": metric_of(next(iter(curve.answers.values())), judge), **bd_rate_interval(*both),
            "value_low": low, "value_high": high,
        })  # fmt: skip
    return rows


def same_bytes_rows(curve: Curve, alone: Curve, pictures, source: str) -> list[dict]:
    """Return one row a judge and quality of the codec alone: what a method scores at the bytes of that quality."""
    if len(curve.answers) < 2:
        return []
    rows = []
    for judge in judges_of(next(iter(curve.answers.values()))):
        reference = resampled(alone, pictures, judge)
        gains = gains_at(reference, resampled(curve, pictures, judge))
        for place, (quality, answers) in enumerate(alone.answers.items()):
            rows.append({
                "codec": curve.codec, "method": curve.method, "seed": curve.seed, "recognizer": judge,
                "role": "source" if judge == source else "unseen", "metric": metric_of(answers, judge),
                "quality": quality, "bytes_mean": reference.rates[place], "alone": reference.values[place],
                **gains[place],
            })  # fmt: skip
    return rows


def resampled(curve: Curve, pictures, judge: str) -> Resampled:
    """Return a judge's curve and what it would be on other draws of the pictures."""
    found = list(curve.answers.values())
    sizes, times = np.stack([a.bytes.double().numpy() for a in found]), counts(len(pictures))
    if judge in found[0].by_recognizer:
        right = np.stack([a.by_recognizer[judge]["top1"].double().numpy() for a in found])
        return resample(sizes, right, times)
    values, drawn = zip(*[precision(a, pictures, judge) for a in found], strict=True)
    return Resampled(sizes.mean(1), np.array(values), times @ sizes.T / len(pictures), np.stack(drawn, axis=1))

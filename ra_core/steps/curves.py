"""Curves of bytes against accuracy: a method over its qualities, BD-rates, and gains at the same bytes."""

from dataclasses import dataclass

import numpy as np

from ra_core.bd_rate import Resampled, bd_rate_interval, counts, gains_at, overlap
from ra_core.evaluation import Answers, who

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

    @property
    def first(self) -> Answers:
        """The answers at the quality that was measured first."""
        return next(iter(self.answers.values()))

    def line(self, judge: str) -> tuple[list[float], list[float]]:
        """Return its bits a pixel and a judge's scores."""
        found = self.answers.values()
        return [answers.bpp for answers in found], [answers.verdicts[judge].value() for answers in found]

    def resampled(self, judge: str) -> Resampled:
        """Return a judge's curve and what it would be on other draws of the pictures."""
        found, pictures = list(self.answers.values()), len(self.first.psnr)
        sizes, times = np.stack([answers.bytes.double().numpy() for answers in found]), counts(pictures)
        verdicts = [answers.verdicts[judge] for answers in found]
        values, drawn = np.array([v.value() for v in verdicts]), np.stack([v.drawn() for v in verdicts], axis=1)
        return Resampled(sizes.mean(1), values, times @ sizes.T / pictures, drawn)

    def keys(self, judge: str, source: str) -> dict:
        """Return what a row of this curve and a judge begins with."""
        said = {"codec": self.codec, "method": self.method, "seed": self.seed}
        return said | who(judge, source, self.first) | {"metric": self.first.verdicts[judge].metric}


def bd_rows(curve: Curve, alone: Curve, source: str) -> list[dict]:
    """Return one row a judge: the bytes a method needs beside the codec alone at equal score, with interval."""
    if len(curve.answers) < 2:
        return []
    rows = []
    for judge in curve.first.verdicts:
        both = [each.resampled(judge) for each in (alone, curve)]
        low, high = overlap(*((each.rates, each.values) for each in both))
        rows.append(curve.keys(judge, source) | bd_rate_interval(*both) | {"value_low": low, "value_high": high})
    return rows


def same_bytes_rows(curve: Curve, alone: Curve, source: str) -> list[dict]:
    """Return one row a judge and quality of the codec alone: what a method scores at the bytes of that quality."""
    if len(curve.answers) < 2:
        return []
    rows = []
    for judge in curve.first.verdicts:
        reference = alone.resampled(judge)
        gains = gains_at(reference, curve.resampled(judge))
        for place, quality in enumerate(alone.answers):
            measured = {"bytes_mean": reference.rates[place], "alone": reference.values[place], **gains[place]}
            rows.append(curve.keys(judge, source) | {"quality": quality} | measured)
    return rows

"""Curves of bytes against accuracy: a method over its qualities, BD-rates, and gains at the same bytes."""

from dataclasses import dataclass, field

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
    _resampled: dict[str, Resampled] = field(default_factory=dict, init=False, repr=False)

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
        if judge not in self._resampled:
            found, pictures = list(self.answers.values()), len(self.first.psnr)
            sizes, verdicts = np.stack([a.bytes.double().numpy() for a in found]), [a.verdicts[judge] for a in found]
            values, drawn = np.array([v.value() for v in verdicts]), np.stack([v.drawn() for v in verdicts], axis=1)
            drawn_sizes = counts(pictures) @ sizes.T / pictures
            self._resampled[judge] = Resampled(sizes.mean(1), values, drawn_sizes, drawn)
        return self._resampled[judge]

    def keys(self, judge: str, source: str) -> dict:
        """Return what a row of this curve and a judge begins with."""
        said = {"codec": self.codec, "method": self.method, "seed": self.seed}
        return said | who(judge, source, self.first) | {"metric": self.first.verdicts[judge].metric}


def _compared(curve: Curve, alone: Curve, source: str) -> list[tuple[dict, Resampled, Resampled]]:
    """Return, for each judge, what a row begins with, the codec alone and the method; one quality is no curve."""
    judges = curve.first.verdicts if len(curve.answers) > 1 else ()
    return [(curve.keys(judge, source), alone.resampled(judge), curve.resampled(judge)) for judge in judges]


def bd_rows(curve: Curve, alone: Curve, source: str) -> list[dict]:
    """Return one row a judge: the bytes a method needs beside the codec alone at equal score, with interval."""
    rows = []
    for keys, *both in _compared(curve, alone, source):
        low, high = overlap(*((each.rates, each.values) for each in both))
        rows.append(keys | bd_rate_interval(*both) | {"value_low": low, "value_high": high})
    return rows


def same_bytes_rows(curve: Curve, alone: Curve, source: str) -> list[dict]:
    """Return one row a judge and quality of the codec alone: what a method scores at the bytes of that quality."""
    return [
        keys | {"quality": quality, "bytes_mean": size, "alone": value} | gain
        for keys, reference, other in _compared(curve, alone, source)
        for quality, size, value, gain in zip(
            alone.answers, reference.rates, reference.values, gains_at(reference, other), strict=True
        )
    ]

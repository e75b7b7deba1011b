"""Rows of curves, from made answers and from detectors."""

import math

import boxed
import numpy as np
import pytest
import torch

from ra_core import detection
from ra_core.bd_rate import counts, resample
from ra_core.evaluation import Answers, tidy
from ra_core.judges import Classified
from ra_core.models.filters import Gaussian
from ra_core.steps.curves import BD_COLUMNS, SAME_BYTES_COLUMNS, Curve, bd_rows, same_bytes_rows
from ra_core.steps.rates import Measurement, at_unseen_qualities


def made_curve(method: str, factor: float, flips: int = 0) -> Curve:
    """Return a curve over 40 pictures with two judges; `flips` answers are lost at each quality."""
    generator = np.random.default_rng(0)
    hard, size = generator.uniform(size=40), generator.uniform(0.5, 2, 40)
    answers = {}
    for quality, rate, share in ((10, 100, 0.5), (30, 200, 0.7), (90, 500, 0.9)):
        right = torch.from_numpy(hard < share)
        right[:flips] = False
        verdicts = {
            name: Classified(right.roll(shift), right, right.long(), right.float())
            for name, shift in (("a", 0), ("b", 1))
        }
        sizes = torch.from_numpy(np.round(factor * rate * size)).long()
        answers[quality] = Answers(torch.full((40,), 30.0), torch.ones(40), sizes, torch.full((40,), 256), verdicts)
    return Curve(method, "jpeg", 0, answers)


def test_a_saving_of_a_fifth_is_found_with_its_interval():
    alone, method = made_curve("codec", 1.0), made_curve("npp", 0.8)
    rows = bd_rows(method, alone, "a")
    assert [row["recognizer"] for row in rows] == ["a", "b"] and rows[0]["role"] == "source"
    for row in rows:
        assert row["bd"] == pytest.approx(-20, abs=0.5) and row["low"] == pytest.approx(-20, abs=0.5)
        assert row["high"] == pytest.approx(-20, abs=0.5) and row["no_overlap"] == 0
        top1 = [a.verdicts[row["recognizer"]].value() for a in alone.answers.values()]
        assert (row["value_low"], row["value_high"]) == pytest.approx((top1[0], top1[-1]))
        assert {"profile", "dataset"} | set(row) >= set(BD_COLUMNS)
    worse = bd_rows(made_curve("npp", 0.8, flips=12), alone, "a")[0]
    assert worse["bd"] > -20 and worse["low"] < worse["bd"] < worse["high"]


def test_at_the_same_bytes_a_cheaper_method_gains_and_has_no_dearest_point():
    alone, method = made_curve("codec", 1.0), made_curve("npp", 0.8)
    rows = same_bytes_rows(method, alone, "a")
    assert [(row["recognizer"], row["quality"]) for row in rows] == [(j, q) for j in "ab" for q in (10, 30, 90)]
    top1 = [a.verdicts["a"].value() for a in alone.answers.values()]
    for row, value in zip(rows, top1, strict=False):
        assert {"profile", "dataset"} | set(row) >= set(SAME_BYTES_COLUMNS) and row["alone"] == value
    sizes = [a.bytes.double().mean().item() for a in alone.answers.values()]
    for row, expected in zip(rows[:2], np.interp(np.log(sizes[:2]), np.log(0.8) + np.log(sizes), top1), strict=True):
        assert row["value"] == pytest.approx(expected, abs=0.1) and 0 < row["low"] < row["gain"] < row["high"]
    assert math.isnan(rows[2]["gain"]) and rows[2]["no_overlap"] == 1
    one = made_curve("npp", 1.0)
    del one.answers[10], one.answers[90]  # a single quality is no curve
    assert same_bytes_rows(one, alone, "a") == bd_rows(one, alone, "a") == []


def test_curves_are_compared_on_the_same_drawn_pictures():
    alone, method = made_curve("codec", 1.0), made_curve("npp", 0.8, 3)
    drawn = method.resampled("b")
    sizes = np.stack([a.bytes.numpy() for a in method.answers.values()])
    right = np.stack([a.verdicts["b"].top1.numpy() for a in method.answers.values()])
    expected = resample(sizes, right, counts(40))
    assert drawn.drawn_rates == pytest.approx(expected.drawn_rates)
    assert drawn.drawn_values == pytest.approx(expected.drawn_values) and drawn.drawn_values.shape == (1000, 3)
    same = bd_rows(alone, alone, "b")[1]
    assert [same[key] for key in ("bd", "low", "high", "no_overlap")] == [0, 0, 0, 0]


def test_qualities_between_the_rungs_are_curves_of_their_own():
    curves = [made_curve("codec", 1.0), made_curve("npp", 0.9), made_curve("npp_qa", 0.8)]
    ((part, alone),) = at_unseen_qualities(curves, {30})
    assert part.method == "npp_qa at unseen qualities" and alone.method == "codec"
    assert list(part.answers) == [10, 90] == list(alone.answers) and len(curves[0].answers) == 3
    row = bd_rows(part, alone, "a")[0]
    assert row["bd"] == pytest.approx(-20, abs=0.5) and row["method"] == part.method
    assert at_unseen_qualities(curves, {10, 30}) == []
    assert at_unseen_qualities(curves[:2], set()) == []


def test_detectors_go_through_the_same_rows(monkeypatch):
    times, match = [], detection._matched
    monkeypatch.setattr(detection, "_matched", lambda *sides: times.append(1) or match(*sides))
    pictures = boxed.pictures(12)
    measure = Measurement("jpeg", {"bright": boxed.Bright()}, pictures, 5, torch.device("cpu"))
    alone, blurred = (measure.curve("", 0, measure.sent(pre), [2, 20, 90]) for pre in (None, Gaussian(1.5)))
    times.clear()
    rows = [row for answers in alone.answers.values() for row in tidy(answers, "bright")]
    assert len(times) == 3 and [row["metric"] for row in rows] == ["map50"] * 3
    assert rows[2]["value"] > 99 and rows[2]["value_low"] <= rows[2]["value"]
    drawn = alone.resampled("bright")
    assert drawn.drawn_values.shape == drawn.drawn_rates.shape == (1000, 3)
    assert drawn.values.tolist() == pytest.approx([row["value"] for row in rows])
    sizes = np.stack([a.bytes.numpy() for a in alone.answers.values()])
    assert drawn.drawn_rates == pytest.approx(counts(12) @ sizes.T / 12)
    times.clear()
    assert [row["metric"] for row in bd_rows(blurred, alone, "bright")] == ["map50"]
    assert len(times) <= 6  # boxes of the first curve were matched before

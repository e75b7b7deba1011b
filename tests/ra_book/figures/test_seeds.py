"""Intervals of a mean of seeds cover both pictures and seeds; one seed keeps its own."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from ra_book.figures.seeds import over_seeds

NUMBERS = ["value", "low", "high", "least", "most"]


def mean(values, below=2.0, above=2.0, limits=(0, 100)) -> pd.Series:
    values = np.asarray(values, float)
    rows = pd.DataFrame({"method": "ra", "value": values, "low": values - below, "high": values + above})
    return over_seeds(rows.assign(least=limits[0], most=limits[1]), ["method"], NUMBERS).iloc[0]


def test_one_seed_keeps_its_interval_to_the_last_bit():
    found = mean([0.1 + 0.2], 0.3, 0.7)
    assert (found["value"], found["low"], found["high"]) == (0.1 + 0.2, 0.1 + 0.2 - 0.3, 0.1 + 0.2 + 0.7)


def test_variances_of_pictures_and_seeds_add_on_either_side():
    found = mean([50, 52, 57], below=3, above=1)
    seeds = student.ppf(0.975, 2) * np.std([50, 52, 57], ddof=1) / np.sqrt(3)
    assert found["value"] == 53
    assert found["value"] - found["low"] == pytest.approx(np.hypot(3, seeds))
    assert found["high"] - found["value"] == pytest.approx(np.hypot(1, seeds))
    same = mean([50, 50, 50], 3, 1)  # seeds that agree leave the pictures' part alone: it does not shrink
    assert (same["low"], same["high"]) == (47, 51)


def test_ends_stay_possible_and_a_missing_seed_is_not_hidden():
    assert tuple(mean([1, 9, 99])[["low", "high"]]) == (0, 100)
    assert np.isnan(mean([50, np.nan, 52])["value"])
    rows = pd.DataFrame({"method": "x", "value": [1.0, 2.0], "low": [0.0, np.nan], "high": 3.0, "least": 0, "most": 9})
    assert np.isnan(over_seeds(rows, ["method"], NUMBERS)["low"].item())


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("between", [0.0, 1.0, 4.0])  # spread of trainings; that of the choice of pictures is 1
@pytest.mark.parametrize("shared", [0.5, 1.0])  # share of the pictures' variance that all trainings have in common
def test_nineteen_of_twenty_intervals_hold_the_true_mean(seeds, between, shared):
    """Trainings and pictures drawn again 4,000 times; the intervals of one training are right for its pictures."""
    rng, trials = np.random.default_rng(seeds), 4000
    common = rng.normal(0, np.sqrt(shared), (trials, 1))
    own = rng.normal(0, np.sqrt(1 - shared), (trials, seeds))
    values = (50 + rng.normal(0, between, (trials, seeds)) + common + own).ravel()
    rows = pd.DataFrame({"trial": np.repeat(np.arange(trials), seeds), "value": values})
    rows = rows.assign(low=values - 1.96, high=values + 1.96, least=-1e3, most=1e3)
    found = over_seeds(rows, ["trial"], NUMBERS)
    covered = found["low"].le(50) & found["high"].ge(50)
    assert covered.mean() > 0.94
    if not between and shared == 1:
        assert covered.mean() < 0.96  # and no wider than they must be

"""BD-rate: how many bytes one method needs beside another at equal accuracy.

Rates are bytes or bits in any unit, one a quality; values are accuracies (or mAP, or dB), higher is better.
Source: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; with the monotone
interpolation of Fritsch and Carlson, SIAM J. Numer. Anal. 17(2), 1980, and isotonic regression against noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from ra_core.errors import ParameterError

GRID = 1000
ROUNDING = 1e-9  # values nearer than this are the same
MOST_MISSING = 0.05  # of the draws; an interval over fewer than the others is not known


def curve(rates: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return log-rates and values of a rate-accuracy curve; the values rise, the log-rates never fall.

    Where more bytes came with no more accuracy, the points are averaged (log-rate and value): that is noise. At an end
    the curve is flat instead: the cheapest point reaches the ceiling, the dearest is the last at the floor.
    Raises `ParameterError` for fewer than two points, a number that is not finite, or a rate that is not above zero.
    """
    rates, values = np.asarray(rates, float), np.asarray(values, float)
    points = rates.shape == values.shape and rates.ndim == 1 and len(rates) >= 2
    if not points or not (np.isfinite([rates, values]).all() and (rates > 0).all()):
        raise ParameterError(
            f"rates {rates.tolist()} and values {values.tolist()} are no curve; give at least two points, all numbers "
            "finite and the rates above zero."
        )
    order = np.lexsort((values, rates))
    log_rates, values = np.log(rates[order]), values[order]
    rising = isotonic_regression(values).x  # constant over each group of points to be averaged
    starts = np.flatnonzero(np.diff(rising, prepend=-np.inf) > ROUNDING)
    sizes = np.diff(starts, append=len(values))
    levels, averages = np.add.reduceat(log_rates, starts) / sizes, np.add.reduceat(values, starts) / sizes
    levels[0], levels[-1] = log_rates[sizes[0] - 1], log_rates[starts[-1]]
    return levels, averages


def overlap(reference: tuple, other: tuple) -> tuple[float, float]:
    """Return the lowest and the highest value that both curves reach; the first is larger where there is none."""
    (_, a), (_, b) = curve(*reference), curve(*other)
    return max(a[0], b[0]), min(a[-1], b[-1])


def bd_rate(reference: tuple, other: tuple) -> float:
    """Return by how many percent the bytes of `other` differ from those of `reference` at equal value.

    Both are pairs (rates, values). The mean difference of log-rates is taken over the values that both reach;
    NaN where there are none: nothing is extrapolated.
    """
    (ref_rates, ref_values), (rates, values) = curve(*reference), curve(*other)
    low, high = max(ref_values[0], values[0]), min(ref_values[-1], values[-1])
    if not low < high:
        return float("nan")
    at = np.linspace(low, high, GRID + 1)
    difference = PchipInterpolator(values, rates)(at) - PchipInterpolator(ref_values, ref_rates)(at)
    return 100 * float(np.expm1(np.trapezoid(difference, at) / (high - low)))


@dataclass(frozen=True)
class Resampled:
    """A curve, (qualities,), and what it would be on other draws of the same pictures, (draws, qualities).

    Drawn with the same `counts`, two curves can be compared draw by draw, so that what pictures have in common cancels.
    """

    rates: np.ndarray
    values: np.ndarray
    drawn_rates: np.ndarray
    drawn_values: np.ndarray


def counts(pictures: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Return how often each picture is in each draw with replacement, (draws, pictures)."""
    return np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=draws)


def resample(sizes: np.ndarray, scores: np.ndarray, times: np.ndarray) -> Resampled:
    """Return the curve, in percent, of pictures with these bytes and scores (0 or 1), both (qualities, pictures)."""
    n = sizes.shape[1]
    return Resampled(sizes.mean(1), 100 * scores.mean(1), times @ sizes.T / n, 100 * (times @ scores.T) / n)


def _ends(drawn: np.ndarray) -> dict[str, float]:
    """Return `low` and `high`, the 95 % interval of draws, and `no_overlap`, the share of them that are NaN."""
    missing = float(np.isnan(drawn).mean())
    low, high = np.nanpercentile(drawn, [2.5, 97.5]) if missing <= MOST_MISSING else (np.nan, np.nan)
    return {"low": float(low), "high": float(high), "no_overlap": missing}


def bd_rate_interval(reference: Resampled, other: Resampled) -> dict[str, float]:
    """Return the BD-rate in percent with its 95 % bootstrap interval over pictures: `bd`, `low`, `high`.

    `no_overlap` is the share of draws without common values, or without any (NaN: a draw may hold no object); where it
    exceeds 5 %, both ends are NaN.
    """
    draws = zip(reference.drawn_rates, reference.drawn_values, other.drawn_rates, other.drawn_values, strict=True)
    found = np.array([np.nan if np.isnan([*b, *d]).any() else bd_rate((a, b), (c, d)) for a, b, c, d in draws])
    return {"bd": bd_rate((reference.rates, reference.values), (other.rates, other.values))} | _ends(found)


def value_at(rates: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the values of a curve at other rates, on straight lines over the log-rate; NaN beyond its ends."""
    order = np.argsort(rates)
    return np.interp(np.log(at), np.log(rates[order]), values[order], left=np.nan, right=np.nan)


def gains_at(reference: Resampled, other: Resampled) -> list[dict[str, float]]:
    """Return, for each quality of `reference`, what `other` reaches at the very same rate, interpolated.

    Each has `value`, its `gain`, and of that `low`, `high` and `no_overlap` as in `bd_rate_interval`; NaN beyond the
    ends of `other`.
    """
    value = value_at(other.rates, other.values, reference.rates)
    draws = zip(other.drawn_rates, other.drawn_values, reference.drawn_rates, strict=True)
    drawn = np.stack([value_at(*draw) for draw in draws]) - reference.drawn_values
    found = []
    for mine, at, each in zip(value, reference.values, drawn.T, strict=True):
        ends = _ends(each) | ({"low": np.nan, "high": np.nan} if np.isnan(mine) else {})
        found.append({"value": float(mine), "gain": float(mine - at)} | ends)
    return found

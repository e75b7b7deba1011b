"""BD-rate: how many bytes one method needs beside another at equal accuracy.

Rates are bytes or bits in any unit, one a quality; values are accuracies (or mAP, or dB), higher is better.
Source: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001; with the monotone
interpolation of Fritsch and Carlson, SIAM J. Numer. Anal. 17(2), 1980, and isotonic regression against noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ra_core.errors import ParameterError

GRID = 1000
ROUNDING = 1e-9  # values nearer than this are the same


def isotonic(values: Sequence[float]) -> list[list[int]]:
    """Return the blocks of neighbours that must be averaged so that the averages never fall."""
    blocks: list[tuple[float, list[int]]] = []
    for place, value in enumerate(values):
        blocks.append((float(value), [place]))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0] - ROUNDING:
            (a, left), (b, right) = blocks[-2:]
            mean = (a * len(left) + b * len(right)) / (len(left) + len(right))
            blocks[-2:] = [(mean, left + right)]
    return [members for _, members in blocks]


def curve(rates: Sequence[float], values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return log-rates and values of a rate-accuracy curve; the values rise, the log-rates never fall.

    Where more bytes came with less accuracy, which noise does, the points are averaged (log-rate and value).
    Raises `ParameterError` for fewer than two points, or for a rate that is not above zero or not finite.
    """
    rates, values = np.asarray(rates, float), np.asarray(values, float)
    if rates.shape != values.shape or rates.ndim != 1 or len(rates) < 2:
        raise ParameterError(
            f"a curve of {rates.shape} rates and {values.shape} values is none; give as many of both, at least two."
        )
    if not (np.isfinite(rates).all() and np.isfinite(values).all() and (rates > 0).all()):
        raise ParameterError("a curve holds a rate that is not above zero, or a number that is not finite.")
    order = np.lexsort((values, rates))
    log_rates, values = np.log(rates[order]), values[order]
    blocks = isotonic(values)
    return np.array([log_rates[b].mean() for b in blocks]), np.array([values[b].mean() for b in blocks])


def pchip(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate rising points by cubic pieces that do not overshoot (Fritsch and Carlson)."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    tangent = np.empty_like(y)
    tangent[0], tangent[-1] = slope[0], slope[-1]
    if len(x) > 2:
        before, after = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = (before + after) / (before / slope[:-1] + after / slope[1:])
        tangent[1:-1] = np.where(slope[:-1] * slope[1:] > 0, inner, 0)
        tangent[0], tangent[-1] = (_end(h[0], h[1], slope[0], slope[1]), _end(h[-1], h[-2], slope[-1], slope[-2]))
    piece = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(h) - 1)
    t = (at - x[piece]) / h[piece]
    return (
        y[piece] * (1 + 2 * t) * (1 - t) ** 2
        + y[piece + 1] * t**2 * (3 - 2 * t)
        + h[piece] * t * (1 - t) * (tangent[piece] * (1 - t) - tangent[piece + 1] * t)
    )


def _end(h0: float, h1: float, s0: float, s1: float) -> float:
    """Return the slope at an end: that of the parabola through three points, held within what stays monotone."""
    found = ((2 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    if found * s0 <= 0:
        return 0.0
    return 3 * s0 if s0 * s1 <= 0 and abs(found) > 3 * abs(s0) else found


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
    difference = pchip(values, rates, at) - pchip(ref_values, ref_rates, at)
    return 100 * float(np.expm1(np.trapezoid(difference, at) / (high - low)))


@dataclass(frozen=True)
class Resampled:
    """A curve and what it would be on other draws of the same pictures.

    `rates` and `values` are (qualities,), `drawn_rates` and `drawn_values` (draws, qualities). Two curves can be
    compared draw by draw where both were drawn with the same `counts`, so that what pictures have in common cancels.
    """

    rates: np.ndarray
    values: np.ndarray
    drawn_rates: np.ndarray
    drawn_values: np.ndarray


def counts(pictures: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Return how often each picture is in each draw with replacement, (draws, pictures)."""
    return np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=draws)


def resample(sizes: np.ndarray, scores: np.ndarray, times: np.ndarray) -> Resampled:
    """Return the curve of pictures of the given bytes and scores, both (qualities, pictures).

    A score is 0 or 1 (right or not), values are percent; `times` comes from `counts`.
    """
    n = sizes.shape[1]
    return Resampled(sizes.mean(1), 100 * scores.mean(1), times @ sizes.T / n, 100 * (times @ scores.T) / n)


def bd_rate_interval(reference: Resampled, other: Resampled) -> dict[str, float]:
    """Return the BD-rate in percent with its 95 % bootstrap interval over pictures.

    Returns `bd`, `low`, `high`, and `no_overlap`, the share of draws without common values, or with none at all (NaN:
    of few pictures a draw may hold no object); where it exceeds 5 %, the interval is not known and both ends are NaN.
    """
    draws = zip(reference.drawn_rates, reference.drawn_values, other.drawn_rates, other.drawn_values, strict=True)
    found = np.array([np.nan if np.isnan([*b, *d]).any() else bd_rate((a, b), (c, d)) for a, b, c, d in draws])
    missing = float(np.isnan(found).mean())
    low, high = np.nanpercentile(found, [2.5, 97.5]) if missing <= 0.05 else (np.nan, np.nan)
    bd = bd_rate((reference.rates, reference.values), (other.rates, other.values))
    return {"bd": bd, "low": float(low), "high": float(high), "no_overlap": missing}


def value_at(rates: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the values of a curve at other rates, on straight lines over the log-rate; NaN beyond its ends."""
    order = np.argsort(rates)
    return np.interp(np.log(at), np.log(rates[order]), values[order], left=np.nan, right=np.nan)


def gains_at(reference: Resampled, other: Resampled) -> list[dict[str, float]]:
    """Return, for each quality of `reference`, what `other` reaches at the very same rate, interpolated.

    Each has `value`, `gain` over the reference with the ends `low` and `high` of its 95 % bootstrap interval over
    pictures, and `no_overlap`, the share of draws in which `other` has no such rate. Nothing is extrapolated: all are
    NaN beyond the ends of `other`, and the interval also where `no_overlap` exceeds 5 %.
    """
    value = value_at(other.rates, other.values, reference.rates)
    draws = zip(other.drawn_rates, other.drawn_values, reference.drawn_rates, strict=True)
    drawn = np.stack([value_at(*draw) for draw in draws]) - reference.drawn_values
    found = []
    for mine, at, each in zip(value, reference.values, drawn.T, strict=True):
        missing = float(np.isnan(each).mean())
        known = missing <= 0.05 and not np.isnan(mine)
        low, high = np.nanpercentile(each, [2.5, 97.5]) if known else (np.nan, np.nan)
        found.append({"value": float(mine), "gain": float(mine - at), "low": float(low), "high": float(high),
                      "no_overlap": missing})  # fmt: skip
    return found

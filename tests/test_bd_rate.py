import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from scipy.interpolate import PchipInterpolator

from ra_core.bd_rate import Resampled, bd_rate, bd_rate_interval, counts, curve, gains_at, overlap, resample, value_at
from ra_core.errors import ParameterError

# What the Python package `bjontegaard` 1.3.0 (after VCEG-M33 and JCTVC-L1100) gives with its method "pchip": on the
# curves in kbit/s and dB that it shows as its example, and on two that overlap in part.
PUBLISHED = [
    (([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]),
     ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]), -4.417485350589),
    (([100, 210, 400, 900, 1700], [61.2, 64.0, 70.5, 71.3, 76.9]),
     ([80, 190, 350, 700, 1500], [60.1, 66.2, 68.8, 73.1, 75.0]), -24.519961212246),
]  # fmt: skip


@st.composite
def curves(draw, start: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return rates and values of two to six points, both rising by steps of ordinary size."""
    points = draw(st.integers(2, 6))
    up = draw(st.lists(st.floats(0.5, 5), min_size=points - 1, max_size=points - 1))
    dear = draw(st.lists(st.floats(0.05, 1), min_size=points - 1, max_size=points - 1))
    value = draw(st.floats(50, 52)) if start is None else start
    log_rate = draw(st.floats(4, 6))
    return np.exp(log_rate + np.cumsum([0, *dear])), value + np.cumsum([0, *up])


# Known values


@given(curves(), st.floats(0.1, 10))
def test_a_constant_factor_is_found_on_any_curve(line, factor):
    found = bd_rate(line, (factor * line[0], line[1]))
    assert found == pytest.approx(100 * (factor - 1), abs=1e-8)


def test_straight_lines_are_integrated_as_one_does_on_paper():
    reference, other = (np.exp([0, 1]), [0, 10]), (np.exp([0.5, 1]), [0, 10])
    assert bd_rate(reference, other) == pytest.approx(100 * np.expm1(0.25), rel=1e-9)  # 0.5 - 0.05 v
    higher = (np.exp([0, 2]), [5, 15])  # v / 5 - 1 against v / 10, over 5 to 10
    assert bd_rate(reference, higher) == pytest.approx(100 * np.expm1(-0.25), rel=1e-9)


@pytest.mark.parametrize(("reference", "other", "expected"), PUBLISHED)
def test_values_of_another_implementation(reference, other, expected):
    assert bd_rate(reference, other) == pytest.approx(expected, abs=1e-4)


@given(curves(start=50), curves(start=50.4))
def test_the_mean_difference_is_the_integral_of_the_cubics(reference, other):
    low, high = max(reference[1][0], other[1][0]), min(reference[1][-1], other[1][-1])
    areas = [PchipInterpolator(values, np.log(rates)).integrate(low, high) for rates, values in (other, reference)]
    expected = 100 * np.expm1((areas[0] - areas[1]) / (high - low))
    assert bd_rate(reference, other) == pytest.approx(expected, rel=1e-3, abs=1e-3)


# What does not matter


@given(curves(start=50), curves(start=50.4), st.randoms(use_true_random=False))
def test_units_and_order_do_not_matter_and_exchanging_the_two_inverts_the_factor(reference, other, random):
    expected = bd_rate(reference, other)
    places = list(range(len(other[0])))
    random.shuffle(places)
    assert bd_rate(reference, (other[0][places], other[1][places])) == pytest.approx(expected, abs=1e-9)
    scaled = [(8 * rates / 296**2, values / 100) for rates, values in (reference, other)]
    assert bd_rate(*scaled) == pytest.approx(expected, abs=1e-6)
    assert (1 + expected / 100) * (1 + bd_rate(other, reference) / 100) == pytest.approx(1, rel=1e-12)


# Noise: more bytes with less accuracy


@given(st.lists(st.integers(0, 40), min_size=2, max_size=9), st.sampled_from([1, 3, 7, 656]))
def test_points_that_fall_are_averaged_as_isotonic_regression_does(right, pictures):
    values, n = [100 * count / pictures for count in right], len(right)
    log_rates, rising = curve(np.exp(np.arange(n)), values)
    assert (np.diff(rising) > 0).all() and (np.diff(log_rates) > 0).all()
    # The least squares fit among all that never fall, in closed form.
    fit = [max(min(np.mean(values[j : k + 1]) for k in range(i, n)) for j in range(i + 1)) for i in range(n)]
    groups = [np.flatnonzero(np.abs(np.subtract(fit, level)) < 1e-9) for level in rising]
    assert sorted(np.concatenate(groups)) == list(range(n))
    at = [group.mean() for group in groups]
    at[0], at[-1] = groups[0][-1], groups[-1][0]  # flat ends: the last at the floor, the first at the ceiling
    assert log_rates == pytest.approx(at)


def test_values_that_differ_by_rounding_alone_are_the_same():
    log_rates, values = curve(np.exp([0, 1, 2, 4]), [40, 50, 50 + 1e-12, 60])
    assert log_rates == pytest.approx([0, 1.5, 4]) and values == pytest.approx([40, 50, 60])


@given(curves(), curves(start=50.4), st.lists(st.floats(0.1, 3), min_size=1, max_size=3), st.booleans())
def test_more_qualities_behind_a_ceiling_or_below_a_floor_change_nothing(line, other, apart, ceiling):
    (rates, values), steps = line, np.exp(np.cumsum(apart))
    more = (
        (rates[-1] * steps, np.full(len(apart), values[-1]))
        if ceiling
        else (rates[0] / steps, [values[0]] * len(apart))
    )
    longer = tuple(np.concatenate(each) for each in zip(line, more, strict=True))
    assert bd_rate(line, longer) == pytest.approx(0, abs=1e-9)
    assert bd_rate(other, longer) == pytest.approx(bd_rate(other, line), abs=1e-9, nan_ok=True)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6)), min_size=2, max_size=8))
def test_any_points_make_a_rising_curve(points):
    rates, values = ([float(n) for n in column] for column in zip(*points, strict=True))
    log_rates, rising = curve(rates, [100 * v / 7 for v in values])
    assert (np.diff(rising) > 0).all() and (np.diff(log_rates) >= 0).all()
    found = bd_rate((rates, values), (rates, values))
    assert found == 0 if len(rising) > 1 else np.isnan(found)


# Nothing is extrapolated


@pytest.mark.parametrize(
    ("values", "common"),
    [
        ([70, 80], (70, 60)),
        ([60, 70], (60, 60)),  # touching is not overlapping
        ([30, 40], (50, 40)),
        ([58, 52], (55, 55)),  # which falls, so one value is left of it
    ],
)
def test_without_common_values_there_is_no_bd_rate(values, common):
    reference, other = ([10, 20, 30], [50, 55, 60]), ([1, 2], values)
    assert np.isnan(bd_rate(reference, other)) and np.isnan(bd_rate(other, reference))
    low, high = overlap(reference, other)
    assert (low, high) == common and low >= high


def test_only_common_values_count():
    reference = ([10, 20, 40], [50, 55, 60])
    assert overlap(reference, ([1, 2], [52, 90])) == (52, 60)
    near, far = ([5, 10, 20, 40], [50, 55, 60, 65]), ([5, 10, 20, 10**9], [50, 55, 60, 65])
    assert bd_rate(reference, near) == pytest.approx(-50)
    assert -54 < bd_rate(reference, far) < -50  # only the slope at 60 knows of the next point


@pytest.mark.parametrize(
    ("rates", "values"),
    [([1], [2]), ([], []), ([1, 2], [1, 2, 3]), ([0, 1], [1, 2]), ([-1, 1], [1, 2]), ([1, np.inf], [1, 2]),
     ([1, 2], [1, np.nan])],
)  # fmt: skip
def test_what_is_no_curve_is_refused(rates, values):
    said = refusal(ParameterError, bd_rate, ([1, 2], [1, 2]), (rates, values))
    assert all(str(np.asarray(each, float).tolist()) in said for each in (rates, values))


# Intervals over pictures


def made(pictures: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return bytes and answers (4 qualities, pictures); a picture that is hard at one quality is so at all."""
    generator = np.random.default_rng(seed)
    hard, size = generator.uniform(size=pictures), generator.uniform(0.5, 2, pictures)
    sizes = np.array([1000, 1800, 3200, 6000])[:, None] * size
    return sizes, (hard < np.array([0.55, 0.65, 0.75, 0.8])[:, None]).astype(float)


def test_counts_draw_every_picture_equally_often():
    times = counts(50, draws=2000)
    assert times.shape == (2000, 50) and (times.sum(1) == 50).all() and (times >= 0).all()
    assert times.mean(0) == pytest.approx(np.ones(50), abs=5 * (0.98 / 2000) ** 0.5)
    assert times.var() == pytest.approx(0.98, abs=0.03)  # of a binomial
    assert (counts(50, 20) == counts(50, 20)).all() and (counts(50, 20) != counts(50, 20, seed=1)).any()


def test_a_drawn_curve_is_that_of_the_drawn_pictures():
    sizes, scores = made(7)
    times = counts(7, draws=5)
    found = resample(sizes, scores, times)
    assert found.rates == pytest.approx(sizes.mean(1)) and found.values == pytest.approx(100 * scores.mean(1))
    for draw, row in enumerate(times):
        chosen = np.repeat(np.arange(7), row)
        assert found.drawn_rates[draw] == pytest.approx(sizes[:, chosen].mean(1))
        assert found.drawn_values[draw] == pytest.approx(100 * scores[:, chosen].mean(1))
    assert resample(sizes, scores.astype(bool), times).drawn_values == pytest.approx(found.drawn_values)


def better(sizes: np.ndarray, scores: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return what a method does that saves about a fifth and changes a few answers either way."""
    generator = np.random.default_rng(seed)
    changed = generator.uniform(size=scores.shape) < 0.03
    return sizes * generator.uniform(0.7, 0.9, sizes.shape), np.where(changed, 1 - scores, scores)


def compared(pictures: int, draws: int = 200, seed: int = 0) -> dict[str, float]:
    codec, times = made(pictures), counts(pictures, draws)
    method = better(*codec)
    own = times if seed == 0 else counts(pictures, draws, seed)
    return bd_rate_interval(resample(*codec, times), resample(*method, own))


def test_the_interval_is_around_the_bd_rate_and_narrower_with_more_pictures():
    few, many = compared(150), compared(2400)
    for found in (few, many):
        assert found["low"] < found["bd"] < found["high"] and found["no_overlap"] == 0
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])
    assert many["low"] < -10 and many["high"] < 0


def test_what_pictures_have_in_common_cancels():
    paired, apart = compared(600), compared(600, seed=5)
    assert paired["bd"] == apart["bd"]
    assert paired["high"] - paired["low"] < 0.7 * (apart["high"] - apart["low"])


def test_the_ends_are_percentiles_of_the_draws():
    codec, times = made(100), counts(100, 60)
    a, b = resample(*codec, times), resample(*better(*codec), times)
    draws = zip(a.drawn_rates, a.drawn_values, b.drawn_rates, b.drawn_values, strict=True)
    each, found = [bd_rate(mine[:2], mine[2:]) for mine in draws], bd_rate_interval(a, b)
    assert [found["low"], found["high"]] == pytest.approx(np.percentile(each, [2.5, 97.5]))
    assert found["bd"] == bd_rate((a.rates, a.values), (b.rates, b.values)) and found["no_overlap"] == 0


def test_the_same_answers_at_a_fifth_fewer_bytes_leave_no_doubt():
    (sizes, scores), times = made(60), counts(60, 100)
    found = bd_rate_interval(resample(sizes, scores, times), resample(0.8 * sizes, scores, times))
    assert [found["bd"], found["low"], found["high"]] == pytest.approx([-20] * 3, abs=1e-9)


# At the same bytes


def test_values_lie_on_lines_over_the_log_rate_and_nowhere_beyond():
    rates, values = np.array([400.0, 100, 200]), np.array([90.0, 60, 80])
    found = value_at(rates, values, np.array([100, 100 * 2**0.5, 200, 400, 99, 401]))
    assert found[:4] == pytest.approx([60, 70, 80, 90]) and np.isnan(found[4:]).all()


def test_a_gain_at_the_same_bytes_is_that_of_the_interpolated_curve_draw_by_draw():
    sizes, scores = made(80)
    method = np.concatenate([0.5 * sizes[:1], 0.9 * sizes[1:-1], 1.5 * sizes[-1:]]), scores[:, ::-1]
    reference, other = resample(sizes, scores, counts(80, 200)), resample(*method, counts(80, 200))
    found = gains_at(reference, other)
    for place, one in enumerate(found):
        expected = np.interp(np.log(reference.rates[place]), np.log(other.rates), other.values)
        assert one["value"] == pytest.approx(expected)
        assert one["gain"] == pytest.approx(expected - reference.values[place])
        draws = zip(other.drawn_rates, other.drawn_values, reference.drawn_rates[:, place], strict=True)
        each = [np.interp(np.log(at), np.log(b), v) for b, v, at in draws] - reference.drawn_values[:, place]
        assert [one["low"], one["high"]] == pytest.approx(np.percentile(each, [2.5, 97.5]))
        assert one["no_overlap"] == 0


def test_beyond_the_ends_of_a_curve_no_gain_is_said(recwarn):
    sizes, scores = made(60)
    times = counts(60, 50)
    fewer = gains_at(resample(sizes, scores, times), resample(0.8 * sizes, scores, times))
    assert np.isnan([fewer[-1][key] for key in ("value", "gain", "low", "high")]).all()
    assert fewer[-1]["no_overlap"] == 1 and fewer[0]["no_overlap"] == 0 and fewer[0]["gain"] > 0
    assert not recwarn.list


def of_draws(overlapping: int, apart: int) -> tuple[Resampled, Resampled]:
    """Return two curves; in some draws the second reaches only what the first does not."""
    draws = overlapping + apart
    rates, values = np.array([100.0, 200]), np.array([50.0, 60])
    high = np.where(np.arange(draws)[:, None] < apart, 70, 0) + values
    reference = Resampled(rates, values, np.tile(rates, (draws, 1)), np.tile(values, (draws, 1)))
    return reference, Resampled(0.9 * rates, values, np.tile(0.9 * rates, (draws, 1)), high)


@pytest.mark.parametrize(("apart", "known"), [(0, True), (5, True), (6, False), (100, False)])
def test_where_draws_have_no_common_values_it_is_said(apart, known):
    found = bd_rate_interval(*of_draws(100 - apart, apart))
    assert found["no_overlap"] == apart / 100 and found["bd"] == pytest.approx(-10)
    ends = (found["low"], found["high"])
    assert ends == pytest.approx((-10, -10)) if known else np.isnan(ends).all()


def test_a_draw_that_holds_no_object_counts_as_one_without_common_values(recwarn):
    alone, other = of_draws(100, 0)
    other.drawn_values[:4] = np.nan
    found = bd_rate_interval(alone, other)
    assert found["no_overlap"] == 0.04 and (found["low"], found["high"]) == pytest.approx((-10, -10))
    assert not recwarn.list

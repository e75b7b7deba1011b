import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core.training import learning_rate


@given(per_epoch=st.integers(1, 70_000), epochs=st.sampled_from([6, 30]), peak=st.sampled_from([1e-4, 1e-3]))
def test_rates_drop_tenfold_at_the_published_epochs(per_epoch, epochs, peak):
    first, second = (4, 5) if epochs == 6 else (20, 25)
    for epoch in range(epochs):
        expected = peak * (1 if epoch < first else 0.1 if epoch < second else 0.01)
        for step in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):  # the first and the last of the epoch
            assert learning_rate(step, epochs * per_epoch, peak, drops=(4 / 6, 5 / 6)) == pytest.approx(expected)


@pytest.mark.parametrize(("schedule", "warm_up"), [("cosine", 0.05), ("linear", 0.2)])
@given(steps=st.integers(2, 2000))
def test_others_rise_and_fall_to_nearly_nothing(schedule, warm_up, steps):
    rates = [learning_rate(step, steps, 1e-3, schedule) for step in range(steps)]
    top = max(1, round(warm_up * steps)) - 1
    assert max(rates) == pytest.approx(1e-3) == rates[top]
    assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)
    assert rates[0] > 0 and (steps < 150 or rates[-1] < 1e-5)

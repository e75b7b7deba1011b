import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from scipy.stats import binom

from ra_core import metrics
from ra_core.data import cifar10
from ra_core.errors import ParameterError


def random_pair(seed: int, batch: int = 2, height: int = 12, width: int = 9) -> list[torch.Tensor]:
    """Return pictures and a noisy copy of them, as far apart as a degraded picture is from a clean one."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, 3, height, width, generator=generator)
    noise = torch.randn(target.shape, generator=generator)
    return [(target + 0.2 * noise).clamp(0, 1), target]


def answers(right: int, total: int) -> torch.Tensor:
    return torch.arange(total) < right


sizes = st.integers(1, 16)
pairs = st.builds(random_pair, st.integers(0, 10**6), st.integers(1, 4), sizes, sizes)
bools = st.lists(st.booleans(), min_size=1, max_size=60).map(torch.tensor)


# PSNR


@pytest.mark.parametrize(("offset", "expected"), [(1.0, 0.0), (0.1, 20.0), (0.01, 40.0), (1 / 255, 48.1308)])
def test_psnr_of_a_constant_offset(offset, expected):
    target = torch.zeros(3, 3, 8, 8)
    assert torch.allclose(metrics.psnr(target + offset, target), torch.full((3,), expected), atol=1e-4)


def test_psnr_is_capped_for_identical_pictures_only():
    target = torch.full((2, 3, 224, 224), 0.5)
    images = target.clone()
    images[1, 0, 0, 0] += 1 / 255
    identical, nearly = metrics.psnr(images, target).tolist()
    assert identical == 100 and 99.8 < nearly < 100


# SSIM


def direct_ssim(image: torch.Tensor, target: torch.Tensor) -> float:
    """SSIM of one picture (3, H, W) from its definition, pixel by pixel with the full square window."""
    image, target = image.double().numpy(), target.double().numpy()
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for x, y in zip(image, target, strict=True):
        x, y = np.pad(x, 5), np.pad(y, 5)
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                p, q = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
                mean_p, mean_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
                both = (window * (p - mean_p) * (q - mean_q)).sum()
                values.append(
                    (2 * mean_p * mean_q + 1e-4) * (2 * both + 9e-4)
                    / ((mean_p**2 + mean_q**2 + 1e-4) * (var_p + var_q + 9e-4))
                )  # fmt: skip
    return float(np.mean(values))


@pytest.mark.parametrize("size", [(16, 16), (13, 20), (5, 7), (1, 1)])
def test_ssim_equals_its_definition(size):
    images, target = random_pair(0, 2, *size)
    expected = [direct_ssim(x, y) for x, y in zip(images, target, strict=True)]
    assert torch.allclose(metrics.ssim(images, target), torch.tensor(expected), rtol=0, atol=1e-6)


def test_ssim_in_single_precision_equals_double_on_large_bright_pictures_of_little_contrast():
    drawn = torch.Generator().manual_seed(3)
    target = 0.9 + 0.002 * torch.randn(3, 3, 150, 260, generator=drawn)  # more than is worked on at once
    images = target + 0.002 * torch.randn(target.shape, generator=drawn)
    x, y = images.double(), target.double()
    taps = torch.exp(-(torch.arange(-5, 6).double() ** 2) / 4.5)
    window = torch.outer(taps, taps).expand(3, 1, 11, 11) / taps.sum() ** 2

    def blur(values):
        return torch.nn.functional.conv2d(values, window, padding=5, groups=3)

    u, v = blur(x), blur(y)
    likeness = (2 * u * v + 1e-4) / (u * u + v * v + 1e-4)
    likeness *= (2 * (blur(x * y) - u * v) + 9e-4) / (blur(x * x + y * y) - u * u - v * v + 9e-4)
    assert torch.allclose(metrics.ssim(images, target), likeness.mean((1, 2, 3)).float(), rtol=0, atol=1e-6)


def test_ssim_is_one_for_identical_and_falls_with_noise():
    target = cifar10.load("shipped", "test").images[:8].float() / 255
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    assert (metrics.ssim(target, target) == 1).all()
    little, much = (metrics.ssim((target + sigma * noise).clamp(0, 1), target) for sigma in (0.02, 0.1))
    assert (little < 1).all() and (much < little).all()


def test_ssim_and_psnr_are_as_exact_under_autocast():
    pair = random_pair(1, 4, 32, 32)
    expected = torch.stack([metrics.psnr(*pair), metrics.ssim(*pair)])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.stack([metrics.psnr(*pair), metrics.ssim(*pair)]), expected)


@pytest.mark.gpu
def test_scores_on_a_gpu_equal_those_on_a_cpu():
    pair = random_pair(2, 4, 32, 32)
    on_gpu = [batch.cuda() for batch in pair]
    with torch.autocast("cuda", torch.bfloat16):
        for score in (metrics.psnr, metrics.ssim):
            assert torch.allclose(score(*on_gpu).cpu(), score(*pair), atol=1e-6)


# Laws of both


@given(pairs, st.sampled_from([(metrics.psnr, -torch.inf, 100), (metrics.ssim, -1, 1)]))
def test_scores_are_symmetric_do_not_change_under_flips_nor_with_the_batch_and_stay_in_range(pair, kind):
    (images, target), (score, lowest, highest) = pair, kind
    value = score(images, target)
    assert value.shape == (len(images),) and value.dtype == torch.float32
    assert (value >= lowest).all() and (value <= highest).all()
    assert torch.allclose(score(target, images), value, atol=1e-5)
    for axis in (-1, -2):
        assert torch.allclose(score(images.flip(axis), target.flip(axis)), value, atol=1e-5)
    alone = torch.cat([score(x[None], y[None]) for x, y in zip(images, target, strict=True)])
    assert torch.allclose(alone, value, atol=1e-5)


@pytest.mark.parametrize("score", [metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((3, 8, 8), (3, 8, 8)), ((2, 1, 8, 8), (2, 1, 8, 8)), ((2, 3, 8, 8), (1, 3, 8, 8)),
        ((2, 3, 8, 8), (2, 3, 8, 9)), ((0, 3, 8, 8), (0, 3, 8, 8)),
    ],
)  # fmt: skip
def test_scores_refuse_other_shapes(score, shape, other):
    assert str(other) in refusal(ParameterError, score, torch.rand(shape), torch.rand(other))
    assert "uint8" in refusal(ParameterError, score, torch.rand(2, 3, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.uint8))


# 8 bits


def test_to_8bit_keeps_stored_pictures_exactly_and_rounds_others_half_up():
    images, _ = cifar10.load("shipped", "test").batch(torch.arange(50))
    levels = torch.arange(256).float().div(255)
    assert torch.equal(metrics.to_8bit(images), images) and torch.equal(metrics.to_8bit(levels), levels)
    values = torch.tensor([-3.0, 0.49 / 255, 0.5 / 255, 2.5 / 255, 3.49 / 255, 254.5 / 255, 1.2])
    assert (metrics.to_8bit(values) * 255).round().tolist() == [0, 0, 1, 3, 3, 255, 255]
    stored = metrics.to_8bit(images.bfloat16().requires_grad_())
    assert stored.dtype == torch.float32 and not stored.requires_grad


@given(st.lists(st.floats(-1, 2, width=32), min_size=1))
def test_to_8bit_is_idempotent_and_nearest(values):
    values = torch.tensor(values)
    once = metrics.to_8bit(values)
    assert torch.equal(metrics.to_8bit(once), once)
    assert torch.allclose(once * 255, (once * 255).round(), atol=1e-4)
    assert ((once - values.clamp(0, 1)).abs() <= 0.5 / 255 + 1e-6).all()


# Top-k


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(2, 12))
def test_topk_correct_counts_the_better_answers(seed, batch, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.stack([torch.randperm(classes, generator=generator) for _ in range(batch)]).float()
    labels = torch.randint(classes, (batch,), generator=generator)
    better = (logits > logits.gather(1, labels[:, None])).sum(1)
    for k in range(1, classes + 2):
        assert torch.equal(metrics.topk_correct(logits, labels, k), better < k)


# Intervals


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998.
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_proportion_interval_gives_published_numbers(right, total, low, high):
    percent, *ends = metrics.proportion_interval(answers(right, total))
    assert percent == pytest.approx(100 * right / total)
    assert ends == pytest.approx([low, high], abs=0.005)


@given(bools)
def test_proportion_interval_holds_the_share_and_mirrors(correct):
    percent, low, high = metrics.proportion_interval(correct)
    assert 0 <= low <= percent <= high <= 100
    mirrored = 100 - percent, 100 - high, 100 - low
    assert metrics.proportion_interval(~correct) == pytest.approx(mirrored, abs=1e-9)


@pytest.mark.parametrize(("share", "total", "exact"), [(0.02, 100, 0.9492), (0.85, 200, 0.9410), (0.2, 500, 0.9498)])
def test_proportion_interval_covers_the_truth_about_95_times_in_100(share, total, exact):
    ends = [metrics.proportion_interval(answers(right, total))[1:] for right in range(total + 1)]
    chances = binom.pmf(np.arange(total + 1), total, share)
    covered = sum(chance for chance, (low, high) in zip(chances, ends, strict=True) if low <= 100 * share <= high)
    assert covered == pytest.approx(exact, abs=1e-4)


def paired_answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[torch.Tensor, torch.Tensor]:
    kinds = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    return kinds.repeat_interleave(torch.tensor([both, only_a, only_b, neither]), 0).unbind(1)


def test_paired_difference_gives_published_numbers():
    # Airway hyper-responsiveness before and after transplantation, the example of Fagerland, Lydersen and
    # Laake, "Recommended tests and confidence intervals for paired binomial proportions", 2014.
    difference, low, high = metrics.paired_difference(*paired_answers(1, 1, 7, 12))
    assert difference == pytest.approx(100 * -6 / 21)
    assert (low, high) == pytest.approx((-50.8, -1.3), abs=0.05)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_paired_difference_holds_its_estimate_and_turns_with_its_arguments(rows, random):
    a, b = torch.tensor(rows).unbind(1)
    difference, low, high = metrics.paired_difference(a, b)
    assert -100 <= low <= difference <= high <= 100 and low < high
    assert difference == pytest.approx(100 * (a.double().mean() - b.double().mean()).item(), abs=1e-9)
    assert metrics.paired_difference(b, a) == pytest.approx((-difference, -high, -low), abs=1e-9)
    random.shuffle(rows)
    assert metrics.paired_difference(*torch.tensor(rows).unbind(1)) == (difference, low, high)


@pytest.mark.parametrize(
    "shares",
    [(0.20, 0.28, 0.02, 0.50), (0.60, 0.08, 0.08, 0.24), (0.75, 0.05, 0.10, 0.10)],
    ids=["large gain", "no gain", "loss"],
)
def test_paired_difference_covers_the_truth_95_times_in_100(shares):
    total, truth = 300, 100 * (shares[1] - shares[2])
    kinds = np.random.default_rng(5).multinomial(total, shares, size=2000)
    intervals = [metrics.paired_difference(*paired_answers(*counts)) for counts in kinds.tolist()]
    covered = np.mean([low <= truth <= high for _, low, high in intervals])
    assert 0.935 < covered < 0.97


@pytest.mark.parametrize(
    ("count", "point"), [(2, 12.70620), (5, 2.77645), (12, 2.20099), (61, 2.00030), (1001, 1.96234)]
)
def test_mean_interval_uses_the_tabled_points_of_t(count, point):
    values = torch.linspace(0, 1, count).double()
    mean, low, high = metrics.mean_interval(values)
    assert (high - mean) / (values.std().item() / math.sqrt(count)) == pytest.approx(point, abs=1e-5)
    assert mean == pytest.approx(0.5) and mean - low == pytest.approx(high - mean)


def test_mean_interval_covers_the_truth_95_times_in_100_even_of_five_values():
    samples = 7 + 2 * torch.randn(3000, 5, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    covered = sum(low <= 7 <= high for _, low, high in map(metrics.mean_interval, samples))
    assert 0.935 < covered / len(samples) < 0.965


def test_mean_interval_of_one_value_has_no_ends():
    mean, low, high = metrics.mean_interval([4.0])
    assert mean == 4 and math.isnan(low) and math.isnan(high)

"""Scores of pictures and of answers, with their 95 % intervals.

One value a picture: the caller takes the mean over a data set, so an uneven last batch counts rightly.
"""

import math
from collections.abc import Sequence

import torch
from scipy.special import ndtri, stdtrit
from torch.nn import functional as F

from ra_core.errors import ParameterError

IDENTICAL_DB = 100.0  # just above the PSNR of 224 x 224 pictures that differ by one grey level in one value

_BELL = [math.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)]
SSIM_TAPS = [tap / sum(_BELL) for tap in _BELL]
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

CONFIDENCE = 0.95
TAIL = (1 + CONFIDENCE) / 2
Interval = tuple[float, float, float]


def psnr(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each picture in dB, at most 100 dB, which identical ones get.

    Shapes: `images` and `target` (B, 3, H, W), float in [0, 1], to (B,). Raises `ParameterError` for others.
    """
    mse = _squared_error(images, target).mean((1, 2, 3)).clamp_min(10 ** (-IDENTICAL_DB / 10))
    return (-10 * mse.log10()).float().to(images.device)


def ssim(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each picture, 1 for identical ones.

    Gaussian window of 11 x 11 taps, sigma 1.5, zero padding, mean over channels and pixels.
    Shapes: `images` and `target` (B, 3, H, W), float in [0, 1], to (B,). Raises `ParameterError` for others.
    Source: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13.
    """
    _check_pair(images, target)
    rows, columns = (_inside(size) for size in images.shape[-2:])
    inside = torch.outer(rows, columns).to(images.device, torch.float32)
    # As much at once as stays in a core's cache.
    count = max(1, (2**16 if images.device.type == "cpu" else 2**24) // inside.numel())
    pairs = zip(images.float().split(count), target.float().split(count), strict=True)
    return torch.cat([_ssim(x, y, inside) for x, y in pairs])


def _ssim(images: torch.Tensor, target: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return `ssim` of a few pictures; `inside` (H, W) is how much of the window lies on the picture.

    Squares of the difference to one level a picture are small, so that variances do not cancel in float32. Beyond
    the border that level would be black, hence `border`, which is the same in variance and covariance.
    """
    level = target.mean((1, 2, 3), keepdim=True)
    x, y = images - level, target - level
    mean_x, mean_y, squares, product = _blur(torch.cat([x, y, x * x + y * y, x * y], 1)).chunk(4, 1)
    border = 2 * level * (1 - inside) * (level * inside + mean_x + mean_y)
    variances = squares - mean_x**2 - mean_y**2 + border
    covariance = 2 * (product - mean_x * mean_y) + border
    mean_x, mean_y = mean_x + level * inside, mean_y + level * inside
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (covariance + SSIM_C2) / (variances + SSIM_C2)
    return (luminance * structure).mean((1, 2, 3)).clamp(-1, 1)


def to_8bit(images: torch.Tensor) -> torch.Tensor:
    """Return pictures as they would be stored: clamped and rounded half up to 256 levels, still in [0, 1].

    Any shape, any float type, to float32. No gradient passes.
    """
    return (images.detach().float().clamp(0, 1) * 255 + 0.5).floor() / 255


def topk_correct(logits: torch.Tensor, labels: torch.Tensor, k: int = 1) -> torch.Tensor:
    """Return for each picture whether its label is among the `k` highest logits.

    Shapes: `logits` (B, classes), `labels` (B,), to (B,) bool. With no more than `k` classes all are right.
    Raises `ParameterError` for other shapes or `k` below 1.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or k < 1:
        raise ParameterError(
            f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)} and k = {k} do not belong together; give "
            "logits (B, classes), labels (B,) and k of 1 or more."
        )
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1)


def proportion_interval(correct: torch.Tensor) -> Interval:
    """Return the share of right answers in percent and its 95 % score interval: (percent, low, high).

    Shape: (N,) bool, N at least 1. Raises `ParameterError` otherwise.
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    from scipy.stats import binomtest  # slow to import

    _check_answers(correct)
    right, n = int(correct.sum()), len(correct)
    low, high = binomtest(right, n).proportion_ci(CONFIDENCE, "wilson")
    return 100 * right / n, 100 * float(low), 100 * float(high)


def paired_difference(a: torch.Tensor, b: torch.Tensor) -> Interval:
    """Return by how many points of a percentage `a` beats `b`, with a 95 % interval: (difference, low, high).

    Both are answers to the same pictures: only those on which the two disagree carry information, and one is
    added to either kind of disagreement, so that the interval has a width even when there is none.
    Shapes: (N,) bool each, N at least 1, in the same order. Raises `ParameterError` otherwise.
    Source: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
    Based on Paired Data", Journal of Educational and Behavioral Statistics 37(4), 2012.
    """
    _check_answers(a, b)
    n, only_a, only_b = len(a), (a & ~b).sum().item(), (b & ~a).sum().item()
    p, q = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = float(ndtri(TAIL)) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return 100 * (only_a - only_b) / n, 100 * max(-1.0, p - q - half), 100 * min(1.0, p - q + half)


def mean_interval(values: torch.Tensor | Sequence[float]) -> Interval:
    """Return the mean of independent values and its 95 % interval by Student's t: (mean, low, high).

    A single value says nothing about the spread: both ends are then NaN. Raises `ParameterError` for none.
    """
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu")
    if values.ndim != 1 or len(values) == 0:
        raise ParameterError(f"values of shape {tuple(values.shape)} have no mean; give a list of one number or more.")
    mean, n = values.mean().item(), len(values)
    if n == 1:
        return mean, math.nan, math.nan
    half = float(stdtrit(n - 1, TAIL)) * values.std().item() / math.sqrt(n)
    return mean, mean - half, mean + half


def _check_answers(*answers: torch.Tensor) -> None:
    for each in answers:
        if each.ndim != 1 or len(each) == 0 or each.dtype != torch.bool or each.shape != answers[0].shape:
            given = " and ".join(f"{one.dtype} {tuple(one.shape)}" for one in answers)
            raise ParameterError(f"answers came as {given}; give one bool for each of one or more pictures, (N,).")


def _check_pair(images: torch.Tensor, target: torch.Tensor) -> None:
    for batch in (images, target):
        right = batch.ndim == 4 and batch.shape[1] == 3 and batch.numel() and batch.is_floating_point()
        if not right or batch.shape != images.shape:
            given = " and ".join(f"{one.dtype} {tuple(one.shape)}" for one in (images, target))
            raise ParameterError(f"pictures came as {given}; give two batches (B, 3, H, W) of floats in [0, 1].")


def _squared_error(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return it in float64, which autocast and TF32 leave alone."""
    _check_pair(images, target)
    if images.device.type == "mps":  # has no float64
        images, target = images.cpu(), target.cpu()
    return (images.double() - target.double()) ** 2


def _inside(size: int) -> torch.Tensor:
    """Return how much of `ssim`'s window along one axis lies on the picture at each place, (size,) in float64."""
    taps = torch.tensor(SSIM_TAPS, dtype=torch.float64)
    return F.conv1d(taps.new_ones(1, 1, size), taps[None, None], padding=len(SSIM_TAPS) // 2)[0, 0]


def _blur(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (B, C, H, W) under `ssim`'s window, zeros beyond the border.

    Each channel alone, channels last, first along columns, then along rows: so it is many times as fast as with the
    square window. Neither autocast nor TF32, of which cuDNN makes use, may touch it.
    """
    channels, middle = maps.shape[1], len(SSIM_TAPS) // 2
    window = torch.tensor(SSIM_TAPS, device=maps.device).expand(channels, 1, 1, -1)
    maps = maps.contiguous(memory_format=torch.channels_last)
    with torch.autocast(maps.device.type, enabled=False), torch.backends.cudnn.flags(enabled=False):
        maps = F.conv2d(maps, window.mT.contiguous(), padding=(middle, 0), groups=channels)
        return F.conv2d(maps, window.contiguous(), padding=(0, middle), groups=channels).contiguous()

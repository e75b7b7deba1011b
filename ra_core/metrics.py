"""Scores of pictures and of answers, with their 95 % intervals.

One value a picture: the caller takes the mean over a data set, so an uneven last batch counts rightly.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import torch
from torch.nn import functional as F

from ra_core.errors import ParameterError

IDENTICAL_DB = 100.0  # just above the PSNR of 224 x 224 pictures that differ by one grey level in one value
PUBLISHED_EPSILON = 1e-9

_BELL = [math.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)]
SSIM_TAPS = [tap / sum(_BELL) for tap in _BELL]
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

Z = NormalDist().inv_cdf(0.975)
# Two-sided 95 % points of Student's t with 1 to 10 degrees of freedom.
T_FEW = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)

Interval = tuple[float, float, float]


def psnr(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each picture in dB, at most 100 dB, which identical ones get.

    Shapes: `images` and `target` (B, 3, H, W), float in [0, 1], to (B,). Raises `ParameterError` for others.
    """
    mse = _squared_error(images, target).mean((1, 2, 3)).clamp_min(10 ** (-IDENTICAL_DB / 10))
    return (-10 * mse.log10()).float().to(images.device)


def batch_psnr(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the PSNR of the mean squared error of a whole batch, one number in dB.

    Only for comparison with the published code: the value depends on how pictures are put into batches, and
    is never above the mean of `psnr`. Shapes as for `psnr`, to ().
    """
    mse = _squared_error(images, target).mean()
    return (-10 * (mse + PUBLISHED_EPSILON).log10()).float().to(images.device)


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
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ParameterError(
            f"Logits of shape {tuple(logits.shape)} and labels of shape {tuple(labels.shape)} do not belong "
            "together; give logits (B, classes) and one label a picture, (B,)."
        )
    if k < 1:
        raise ParameterError(f"k is {k}, but at least the best answer must count; give 1 or more.")
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1)


def proportion_interval(correct: torch.Tensor) -> Interval:
    """Return the share of right answers in percent and its 95 % score interval: (percent, low, high).

    Shape: (N,) bool, N at least 1. Raises `ParameterError` otherwise.
    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    _check_answers(correct)
    n = len(correct)
    share = correct.sum().item() / n
    middle = share + Z**2 / (2 * n)
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low, high = (middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)
    # In exact arithmetic the share lies inside and both ends in [0, 1].
    return 100 * share, 100 * max(0.0, min(low, share)), 100 * min(1.0, max(high, share))


def paired_difference(a: torch.Tensor, b: torch.Tensor) -> Interval:
    """Return by how many points of a percentage `a` beats `b`, with a 95 % interval: (difference, low, high).

    Both are answers to the same pictures: only those on which the two disagree carry information, and one is
    added to either kind of disagreement, so that the interval has a width even when there is none.
    Shapes: (N,) bool each, N at least 1, in the same order. Raises `ParameterError` otherwise.
    Source: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
    Based on Paired Data", Journal of Educational and Behavioral Statistics 37(4), 2012.
    """
    _check_answers(a)
    _check_answers(b)
    if len(a) != len(b):
        raise ParameterError(
            f"Answers to {len(a)} and {len(b)} pictures cannot be paired; score both on the same pictures."
        )
    n, only_a, only_b = len(a), (a & ~b).sum().item(), (b & ~a).sum().item()
    p, q = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return 100 * (only_a - only_b) / n, 100 * max(-1.0, p - q - half), 100 * min(1.0, p - q + half)


def mean_interval(values: torch.Tensor | Sequence[float]) -> Interval:
    """Return the mean of independent values and its 95 % interval by Student's t: (mean, low, high).

    A single value says nothing about the spread: both ends are then NaN. Raises `ParameterError` for none.
    """
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu")
    if values.ndim != 1 or len(values) == 0:
        raise ParameterError(
            f"Values of shape {tuple(values.shape)} have no mean here; give a list of at least one number."
        )
    mean, n = values.mean().item(), len(values)
    if n == 1:
        return mean, math.nan, math.nan
    half = _t_point(n - 1) * values.std().item() / math.sqrt(n)
    return mean, mean - half, mean + half


def _t_point(freedom: int) -> float:
    """Return the two-sided 95 % point of Student's t, right to 2e-4.

    Source of the expansion: Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    if freedom <= len(T_FEW):
        return T_FEW[freedom - 1]
    terms = (Z, (Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96, (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384)
    return sum(term / freedom**power for power, term in enumerate(terms))


def _check_answers(correct: torch.Tensor) -> None:
    if correct.ndim != 1 or len(correct) == 0 or correct.dtype != torch.bool:
        raise ParameterError(
            f"Answers came as {correct.dtype} of shape {tuple(correct.shape)}; "
            "give one bool a picture, shape (N,), with at least one picture."
        )


def _check_pair(images: torch.Tensor, target: torch.Tensor) -> None:
    for batch in (images, target):
        if batch.ndim != 4 or batch.shape[1] != 3 or batch.numel() == 0 or not batch.is_floating_point():
            raise ParameterError(
                f"Pictures came as {batch.dtype} of shape {tuple(batch.shape)}; "
                "give a batch (B, 3, H, W) of floats in [0, 1] that is not empty."
            )
    if images.shape != target.shape:
        raise ParameterError(
            f"Pictures of shape {tuple(images.shape)} cannot be scored against {tuple(target.shape)}; "
            "bring both to the same size and number."
        )


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

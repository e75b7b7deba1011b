"""Scores of pictures and of answers, with their 95 % intervals.

One value a picture: the caller takes the mean over a data set, so an uneven last batch counts rightly.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from scipy.special import ndtri, stdtrit
from torch.nn import functional as F

from ra_core.errors import ParameterError

IDENTICAL_DB = 100.0  # just above the PSNR of 224 x 224 pictures that differ by one grey level in one value

_BELL = [math.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)]
SSIM_TAPS = [tap / sum(_BELL) for tap in _BELL]
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

CACHED = 2**16  # pixels for each thread of a CPU, whose tensors stay in its cache

CONFIDENCE = 0.95
TAIL = (1 + CONFIDENCE) / 2
Interval = tuple[float, float, float]


def psnr(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each picture (B, 3, H, W) in dB, (B,); identical ones get 100 dB."""
    _check_pair(images, target)
    exact = [each.cpu() if each.device.type == "mps" else each for each in (images, target)]  # which has no float64
    mse = torch.cat([(x.double() - y.double()).square_().mean((1, 2, 3)) for x, y in in_parts(*exact)])
    return (-10 * mse.clamp_min(10 ** (-IDENTICAL_DB / 10)).log10()).float().to(images.device)


def ssim(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each picture (B, 3, H, W), (B,), 1 for identical ones.

    Gaussian window of 11 x 11 taps, sigma 1.5, zero padding, mean over channels and pixels.
    Source: Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE Transactions on Image Processing 13(4), 2004, equation 13.
    """
    _check_pair(images, target)
    taps = torch.tensor(SSIM_TAPS, dtype=torch.float64)[None, None]
    rows, columns = (
        F.conv1d(taps.new_ones(1, 1, n), taps, padding=len(SSIM_TAPS) // 2)[0, 0] for n in images.shape[-2:]
    )
    inside = torch.outer(rows, columns).to(images.device, torch.float32)  # how much of the window is on the picture
    return torch.cat([_ssim(x.float(), y.float(), inside) for x, y in in_parts(images, target)])


def _ssim(images: torch.Tensor, target: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return `ssim` of a few pictures.

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


def _blur(maps: torch.Tensor) -> torch.Tensor:
    """Return maps (B, C, H, W) under `ssim`'s window, zeros beyond the border, without autocast and cuDNN's TF32."""
    channels, middle = maps.shape[1], len(SSIM_TAPS) // 2
    window = torch.tensor(SSIM_TAPS, device=maps.device).expand(channels, 1, 1, -1)
    maps = maps.contiguous(memory_format=torch.channels_last)
    with torch.autocast(maps.device.type, enabled=False), torch.backends.cudnn.flags(enabled=False):
        maps = F.conv2d(maps, window.mT.contiguous(), padding=(middle, 0), groups=channels)
        return F.conv2d(maps, window.contiguous(), padding=(0, middle), groups=channels).contiguous()


def in_parts(*batches: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield a few pictures of each batch (B, C, H, W) at a time, as many as stay in the caches of the cores at work."""
    first = batches[0]
    pixels = CACHED * torch.get_num_threads() if first.device.type == "cpu" else 2**24
    count = max(1, pixels // max(1, first.shape[-2:].numel()))
    return zip(*(batch.split(count) for batch in batches), strict=True)


def _check_pair(images: torch.Tensor, target: torch.Tensor) -> None:
    pictures = images.ndim == 4 and images.shape[1] == 3 and images.numel()
    if not pictures or target.shape != images.shape or not (images.is_floating_point() and target.is_floating_point()):
        given = " and ".join(f"{one.dtype} {tuple(one.shape)}" for one in (images, target))
        raise ParameterError(f"pictures came as {given}; give two batches (B, 3, H, W) of floats in [0, 1].")


def to_8bit(images: torch.Tensor) -> torch.Tensor:
    """Return pictures as they would be stored: float32 in [0, 1], rounded half up to 256 levels, without gradient."""
    return to_unit(to_levels(images))


def to_levels(images: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return the level, from 0 to 255, of each value in [0, 1], rounded half up: whole float32, without gradient."""
    return torch.clamp(images.detach().float(), 0, 1, out=out).mul_(255).add_(0.5).floor_()


def to_unit(levels: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return levels from 0 to 255, whole or not, as floats in [0, 1], to the bit the same on every device."""
    # By a plain 255 a GPU multiplies by its reciprocal.
    return torch.div(levels, torch.tensor(255.0, device=levels.device), out=out)


def topk_correct(logits: torch.Tensor, labels: torch.Tensor, k: int = 1) -> torch.Tensor:
    """Return for each picture whether its label (B,) is among the `k` highest logits (B, classes), (B,) bool."""
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1)


def proportion_interval(correct: torch.Tensor) -> Interval:
    """Return the share of right answers (N,) bool in percent and its 95 % score interval: (percent, low, high).

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    from scipy.stats import binomtest  # slow to import

    right, n = int(correct.sum()), len(correct)
    low, high = binomtest(right, n).proportion_ci(CONFIDENCE, "wilson")
    return 100 * right / n, 100 * float(low), 100 * float(high)


def paired_difference(a: torch.Tensor, b: torch.Tensor) -> Interval:
    """Return by how many points of a percentage `a` beats `b`, with a 95 % interval: (difference, low, high).

    Both are right answers, (N,) bool, to the same pictures: only those on which the two disagree carry information,
    and one is added to either kind of disagreement, so that the interval has a width even when there is none.
    Source: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
    Based on Paired Data", Journal of Educational and Behavioral Statistics 37(4), 2012.
    """
    n, only_a, only_b = len(a), (a & ~b).sum().item(), (b & ~a).sum().item()
    p, q = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = float(ndtri(TAIL)) * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return 100 * (only_a - only_b) / n, 100 * max(-1.0, p - q - half), 100 * min(1.0, p - q + half)


def mean_interval(values: torch.Tensor | Sequence[float]) -> Interval:
    """Return the mean of independent values and its 95 % interval by Student's t; of one value its ends are NaN."""
    values = torch.as_tensor(values, dtype=torch.float64, device="cpu")
    mean, n = values.mean().item(), len(values)
    if n == 1:
        return mean, math.nan, math.nan
    half = float(stdtrit(n - 1, TAIL)) * values.std().item() / math.sqrt(n)
    return mean, mean - half, mean + half

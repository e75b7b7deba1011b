"""Super-resolution: bicubic downsampling, exactly as Pillow does it."""

from dataclasses import dataclass

import torch

from ra_core.channels.base import Channel, parameter, task
from ra_core.errors import ParameterError
from ra_core.metrics import to_levels, to_unit

UNIT = 2**22  # Pillow resizes with whole multiples of 1 / UNIT as weights


@task("sr", "super-resolution")
@dataclass(frozen=True)
class Downsample(Channel):
    """Bicubic downsampling with antialias, rounded to 8 bits, exactly as Pillow does it."""

    factor: int = parameter(4, "sr: downsampling factor", ge=2, le=16)

    @property
    def scale(self) -> int:
        """How much larger the processor's output is than its input."""
        return self.factor

    def __call__(self, images, generator=None, indices=None):
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor:
            raise ParameterError(
                f"a picture of {height} x {width} pixels cannot be downsampled by {self.factor}; "
                f"both sides must be multiples of {self.factor}: crop it first."
            )
        return resize(images, (height // self.factor, width // self.factor))

    def enlarge(self, degraded):
        """Bring a degraded picture back to size by bicubic interpolation, rounded to 8 bits."""
        height, width = degraded.shape[-2:]
        return resize(degraded, (height * self.factor, width * self.factor))


def resize(images, size):
    """Resize to (height, width) as Pillow's bicubic does, to the bit: rows, then columns, each to 8 bits.

    Pillow 13 shrinks a picture more than twice as tall as wide along columns first; a few values then differ.
    """
    exact = images.cpu() if images.device.type == "mps" else images  # which has no float64
    levels = to_levels(exact).double()
    rows, columns = (_weights(*pair, levels) for pair in zip(levels.shape[-2:], size, strict=True))
    levels = (levels @ columns.T / UNIT + 0.5).floor().clamp(0, 255)
    levels = (rows @ levels / UNIT + 0.5).floor().clamp(0, 255)
    return to_unit(levels).float().to(images.device)


def _weights(before: int, after: int, like: torch.Tensor) -> torch.Tensor:
    """Return the matrix (after, before) of whole multiples of 1 / UNIT that resizes one axis.

    Cubic convolution with a = -0.5, made wider as the picture shrinks, so that nothing is aliased.
    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE ASSP 29(6), 1981.
    """
    step = before / after
    centre, pixel = (torch.arange(n, dtype=like.dtype, device=like.device) + 0.5 for n in (after, before))
    x = ((pixel - step * centre[:, None]) / max(step, 1)).abs()
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    return (weights / weights.sum(1, keepdim=True) * UNIT).round()

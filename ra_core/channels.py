"""Tasks as channels: what happens to a picture before a processor sees it.

A channel maps pictures (B, 3, H, W) in [0, 1] to degraded ones on the same device. Randomness comes from
`generator` in training; in evaluation it is fixed by `indices`, the pictures' numbers in their data set.
"""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ra_core.codecs import Codec
from ra_core.data.draws import draw
from ra_core.errors import ParameterError
from ra_core.metrics import to_8bit
from ra_core.models.padding import pad_to_multiple

UNIT = 2**22  # Pillow resizes with whole multiples of 1 / UNIT as weights


@dataclass(frozen=True)
class Downsample:
    """Bicubic downsampling with antialias, rounded to 8 bits, exactly as Pillow does it."""

    factor: int = 4

    def __post_init__(self):
        if not (isinstance(self.factor, int) and 1 < self.factor <= 16):
            raise ParameterError(
                f"downsampling factor {self.factor!r} is not allowed; give a whole number from 2 to 16."
            )

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
        return _resize(images, (height // self.factor, width // self.factor))

    def enlarge(self, degraded):
        """Bring a degraded picture back to size by bicubic interpolation, rounded to 8 bits."""
        height, width = degraded.shape[-2:]
        return _resize(degraded, (height * self.factor, width * self.factor))


@dataclass(frozen=True)
class Noise:
    """White Gaussian noise of standard deviation `sigma` (1 is from black to white), clamped to [0, 1].

    In evaluation picture number i always gets the noise of seed i.
    """

    sigma: float = 0.1
    scale = 1

    def __post_init__(self):
        if not (isinstance(self.sigma, int | float) and 0 < self.sigma <= 1):
            raise ParameterError(f"noise sigma {self.sigma!r} is not allowed; give a number above 0 and at most 1.")

    def __call__(self, images, generator=None, indices=None):
        if indices is not None:
            if len(indices) != len(images):
                raise ParameterError(
                    f"{len(indices)} indices cannot fix the noise of {len(images)} pictures; give one each."
                )
            shape = images.shape[1:]
            noise = torch.stack([torch.randn(shape, generator=_seeded(int(i))) for i in indices])
        elif generator is not None:
            noise = draw(torch.randn, tuple(images.shape), generator, images.device)
        else:
            raise ParameterError(
                "noise needs a generator (in training) or picture indices (in evaluation); give one of them."
            )
        return (images + self.sigma * noise.to(images.device)).clamp(0, 1)

    def enlarge(self, degraded):
        """Return the picture as it is: noise keeps the size."""
        return degraded


@dataclass(frozen=True)
class Jpeg:
    """JPEG by Pillow, coded and decoded in memory; `subsampling` is 4:2:0 (Pillow's default) or 4:4:4."""

    quality: int = 10
    subsampling: str = "4:2:0"
    scale = 1

    def __post_init__(self):
        if not (isinstance(self.quality, int) and 1 <= self.quality <= 100):
            raise ParameterError(f"JPEG quality {self.quality!r} is not allowed; give a whole number from 1 to 100.")
        if self.subsampling not in ("4:2:0", "4:4:4"):
            raise ParameterError(f"JPEG subsampling {self.subsampling!r} is not allowed; give '4:2:0' or '4:4:4'.")

    def __call__(self, images, generator=None, indices=None):
        pictures = to_arrays(images)
        # Small pictures are coded faster than a thread is woken.
        if pictures[0].size < 2**16:
            decoded = [self._code(picture) for picture in pictures]
        else:
            decoded = list(_pool().map(self._code, pictures))
        return from_arrays(decoded, images.device).to(images)

    def _code(self, picture: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=self.quality, subsampling=self.subsampling)
        return np.asarray(Image.open(buffer))

    def enlarge(self, degraded):
        """Return the picture as it is: JPEG keeps the size."""
        return degraded


@dataclass(frozen=True)
class Coded:
    """A real codec at one quality; the bytes of its files are known.

    With `shrink` above 1 the picture is downsampled by that factor before it is coded and enlarged after; where it is
    no multiple of it, its last row and column are repeated before and cut off after.
    """

    codec: Codec
    quality: float
    shrink: int = 1
    scale = 1

    def __call__(self, images, generator=None, indices=None):
        return self.transmit(images)[0]

    def transmit(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what comes out of the decoder, (B, 3, H, W) in [0, 1], and the bytes of each file, (B,)."""
        height, width = images.shape[-2:]
        small = images if self.shrink == 1 else Downsample(self.shrink)(pad_to_multiple(images, self.shrink))
        files = self.codec.encode(to_arrays(small), self.quality)
        decoded = from_arrays(self.codec.decode(files), images.device).to(images)
        if self.shrink > 1:
            decoded = Downsample(self.shrink).enlarge(decoded)[..., :height, :width]
        return decoded, torch.tensor([len(file) for file in files])

    def enlarge(self, degraded):
        """Return the picture as it is: it has its size again."""
        return degraded


def to_arrays(images: torch.Tensor) -> list[np.ndarray]:
    """Return pictures (B, 3, H, W) in [0, 1] as 8-bit arrays (H, W, 3), as they would be stored."""
    levels = images.detach().float().permute(0, 2, 3, 1).clamp(0, 1).mul_(255).add_(0.5).byte()  # as `to_8bit`
    return list(levels.cpu().contiguous().numpy())


def from_arrays(arrays: Sequence[np.ndarray], device: str | torch.device = "cpu") -> torch.Tensor:
    """Return 8-bit arrays (H, W, 3) of one size as pictures (B, 3, H, W) in [0, 1]; they travel as bytes."""
    return torch.from_numpy(np.stack(arrays)).to(device).permute(0, 3, 1, 2).float() / 255


Channel = Downsample | Noise | Jpeg | Coded


TASKS = {"sr": Downsample, "dn": Noise, "jpeg": Jpeg}


def make_channel(task: str, factor: int = 4, sigma: float = 0.1, quality: int = 10) -> Channel:
    """Return the channel of a task: `sr`, `dn` or `jpeg`. Raises `ParameterError` for any other."""
    if task not in TASKS:
        raise ParameterError(f"task {task!r} is unknown; choose one of {', '.join(TASKS)}.")
    if task == "sr":
        return Downsample(factor)
    return Noise(sigma) if task == "dn" else Jpeg(quality)


def _resize(images, size):
    """Resize to (height, width) as Pillow's bicubic does, to the bit: rows, then columns, each to 8 bits.

    Pillow 13 shrinks a picture more than twice as tall as wide along columns first; a few values then differ.
    """
    exact = images.cpu() if images.device.type == "mps" else images  # which has no float64
    levels = (to_8bit(exact) * 255).round().double()
    rows, columns = (_weights(*pair, levels) for pair in zip(levels.shape[-2:], size, strict=True))
    levels = (levels @ columns.T / UNIT + 0.5).floor().clamp(0, 255)
    levels = (rows @ levels / UNIT + 0.5).floor().clamp(0, 255)
    return (levels / 255).float().to(images.device)


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


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


_executor: ThreadPoolExecutor | None = None


def _pool() -> ThreadPoolExecutor:
    global _executor
    _executor = _executor or ThreadPoolExecutor()
    return _executor

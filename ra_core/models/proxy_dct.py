"""A proxy without training for block-transform codecs: JPEG as libjpeg codes it, and HEVC intra in outline.

Sources: ITU-T T.81 (JPEG), annex A; ITU-T H.265, section 8.6 (steps and chroma QP).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dct
from torch import nn
from torch.nn import functional as F

from ra_core.codecs.jpeg_standard import TO_RGB, TO_YCC, annex_k, percent, whole_steps
from ra_core.errors import ParameterError
from ra_core.models.dct_rate import FEATURES, rate_features
from ra_core.models.registry import PROXIES
from ra_core.padding import check_pictures, pad_to_multiple

CHROMA_QP = (29, 30, 31, 32, 33, 33, 34, 34, 35, 35, 36, 36, 37, 37)  # of luma QP 30 to 43

# Of the staircase that gradients see: 0 is a straight line, 1 is flat at whole numbers. Cosine between foreseen and
# real change of decoded photographs after smooth changes, JPEG 10 and 30: 0.63 and 0.70 (straight line 0.23, 0.40).
SOFTNESS = 0.75


@dataclass(frozen=True)
class _Transform:
    """What distinguishes one codec from another."""

    qualities: tuple[int, int]
    side: int  # of a block
    together: int  # luma blocks a side that are coded before the next ones
    dead: float  # how much of a coefficient's magnitude is taken off before it is rounded
    threshold: float  # where a coefficient counts half
    runs: bool  # whether zeros before a coefficient make it dearer
    # Of rate features in bits, by `fit_weights`: 5 for luma, 5 for both chroma planes, for a luma block, for a file.
    weights: tuple[float, ...]


TRANSFORMS = {
    "jpeg": _Transform(
        qualities=(1, 100), side=8, together=2, dead=0.0, threshold=0.6, runs=True,
        weights=(2.381, 2.255, 2.296, 2.367, 1.478, 3.26, 2.115, 2.024, 0.234, 2.64, 8.135, 5005.0),
    ),
    "heic": _Transform(
        qualities=(0, 51), side=16, together=1, dead=0.15, threshold=0.75, runs=False,
        weights=(4.287, 0.0, 0.412, 0.0, 0.0, 4.21, 0.0, 0.7256, 9.534, 0.1726, 0.316, 3168.0),
    ),
}  # fmt: skip


@PROXIES.register("BlockDCT")
class BlockDCT(nn.Module):
    """A block-transform codec with gradients, without parameters: `jpeg` (4:2:0 chroma) or `heic` (4:2:0).

    Call and answer as `make_proxy` says; `quality` is JPEG's (1 to 100) or HEVC's QP (0 to 51), a number or one a
    picture, (B,), and `bits_z` what every file costs. `jpeg` takes `tables` of its own too, (B, 2, 64) row by row, in
    place of those of the quality, and gives them gradients. It is the same in training and in evaluation: values are
    rounded as the codec rounds, gradients are those of a soft staircase, and the rate is smooth everywhere.

    `jpeg` quantises 8 x 8 blocks with the tables of Annex K scaled as libjpeg does, and counts bits in the way of
    its run-length code. `heic` quantises 16 x 16 blocks with HEVC's steps and a dead zone; its prediction is stood
    in for by that of a block's mean from the blocks above and to the left, and its loop filters are left out.
    The weights of the rate were fitted to the sizes of Pillow's and x265's files of CIFAR-10 training pictures set
    together 4 x 4, enlarged 2 to 7 times, and (JPEG) as they are, at qualities 5 to 90 and QP 25 to 44.
    Raises `ParameterError` for another codec, or a quality that is missing or out of range.
    """

    def __init__(self, codec: str = "jpeg", quality: float | None = None):
        super().__init__()
        if codec not in TRANSFORMS:
            raise ParameterError(f"BlockDCT has no codec {codec!r}; choose one of {', '.join(TRANSFORMS)}.")
        self.name, self.codec, self.quality = codec, TRANSFORMS[codec], quality
        order = _zigzag(self.codec.side)
        self.register_buffer("transform", _cosines(self.codec.side)[order], persistent=False)
        self.register_buffer("tables", annex_k()[:, _zigzag(8)], persistent=False)
        self.register_buffer("to_ycc", 255 * torch.tensor(TO_YCC), persistent=False)
        self.register_buffer("to_rgb", torch.tensor(TO_RGB) / 255, persistent=False)
        self.register_buffer("weights", torch.tensor(self.codec.weights), persistent=False)

    def forward(self, images, quality=None, tables=None):
        raw, features = self._code(images, quality, tables)
        bits_y = features[:, :-1] @ self.weights[:-1]
        bits_z = features[:, -1] * self.weights[-1]
        both = {"bits_y": bits_y, "bits_z": bits_z, "bits": bits_y + bits_z}
        return {"pictures": raw.clamp(0, 1), "raw": raw} | both

    def rate_features(self, images, quality=None) -> torch.Tensor:
        """Return what the bits of each picture are a weighted sum of, (B, 12)."""
        return self._code(images, quality)[1]

    @torch.no_grad()
    def bit_map(self, images, quality=None) -> torch.Tensor:
        """Return the bits of each block of luma with its quarter of the chroma block under it, (B, rows, columns).

        Over whole pairs of blocks they add up to `bits_y`; blocks beyond a picture's edge are left out.
        """
        ycc, steps = self._prepare(images, quality)
        side, (luma, chroma, block) = self.codec.side, self.weights[:-1].split([FEATURES, FEATURES, 1])
        fine = self._bits_of_blocks(ycc[:, :1] - 128, steps[0], self.codec.together, luma) + block
        coarse = self._bits_of_blocks(_halve(ycc[:, 1:]), steps[1], 1, chroma) / 4
        bits = fine + coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
        return bits[:, : -(-images.shape[-2] // side), : -(-images.shape[-1] // side)]

    def _bits_of_blocks(self, planes, steps, together, weights):
        """Return the bits of each block, summed over planes (B, C, H, W): (B, H / side, W / side)."""
        units, first = self._units(planes, steps, together)
        blocks = units.flatten(2)[..., None], first.flatten(1)[..., None]
        bits = (rate_features(*blocks, self.codec.threshold, self.codec.runs) @ weights).view(first.shape)
        rows, columns = (size // self.codec.side for size in planes.shape[2:])
        return _join(bits[None], (*planes.shape[:2], rows, columns), 1, together).sum(1)

    def _prepare(self, images, quality, tables=None):
        """Return luma and chroma of padded pictures, in whole numbers as the codec's, and the quantiser's steps."""
        check_pictures(images, "BlockDCT")
        steps = self._steps(quality, images) if tables is None else tables[..., _zigzag(8)].permute(1, 2, 0)
        ycc = _mix(self.to_ycc, pad_to_multiple(images.float(), 2 * self.codec.side))
        return ycc + (ycc.round() - ycc).detach(), steps

    def _code(self, images, quality, tables=None):
        ycc, steps = self._prepare(images, quality, tables)
        height, width = images.shape[-2:]
        luma, of_luma = self._code_planes(ycc[:, :1] - 128, steps[0], self.codec.together)
        chroma, of_chroma = self._code_planes(_halve(ycc[:, 1:]), steps[1], 1)
        others = luma.new_tensor([luma[0].numel() / self.codec.side**2, 1.0]).expand(len(images), 2)
        features = torch.cat([of_luma[:, 0], of_chroma.sum(1), others], dim=1)

        chroma = chroma[..., : (height + 1) // 2, : (width + 1) // 2]
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")[..., :height, :width]
        ycc = torch.cat([luma[..., :height, :width] + 128, chroma], dim=1)
        return _mix(self.to_rgb, ycc), features

    def _units(self, planes, steps, together):
        """Return blocks in units of the quantiser's steps (K, B, C, N), and what is coded as first of each."""
        blocks = _split(planes, self.codec.side, together)
        units = (self.transform @ blocks.flatten(1)).view(blocks.shape) / steps[:, :, None, None]
        if self.codec.runs:  # JPEG codes the difference to the block coded before
            first = units[0] - F.pad(units[0], (1, -1))
        else:
            first = _beside(units[0], planes.shape[-1] // self.codec.side)
        return units, first

    def _code_planes(self, planes, steps, together):
        """Return planes (B, C, H, W) as decoded, and their rate features; `steps` are (1 or K, B)."""
        units, first = self._units(planes, steps, together)
        features = rate_features(units, first, self.codec.threshold, self.codec.runs)
        levels = _Round.apply(units, self.codec.dead) * steps[:, :, None, None]
        decoded = (self.transform.T @ levels.flatten(1)).view(units.shape)
        return _join(decoded, planes.shape, self.codec.side, together), features

    def _steps(self, quality, images):
        """Return the quantiser's steps for luma and chroma in zigzag order: (2, 64 or 1, B)."""
        quality = self.quality if quality is None else quality
        low, high = self.codec.qualities
        given = torch.as_tensor(math.nan if quality is None else quality, dtype=torch.float32, device=images.device)
        if not bool(((given >= low) & (given <= high)).all()):
            raise ParameterError(
                f"BlockDCT of {self.name} was given quality {quality}; "
                f"give a number from {low} to {high}, or one for each picture."
            )
        quality = given.expand(len(images))
        if self.name == "jpeg":
            return whole_steps(self.tables[:, :, None] * percent(quality))
        knots = quality.new_tensor([*range(30), *CHROMA_QP, *range(38, 47)])
        below = quality.floor().long()
        chroma = torch.lerp(knots[below], knots[below + 1], quality - below)
        return 2 ** ((torch.stack([quality, chroma])[:, None] - 4) / 6)


class _Round(torch.autograd.Function):
    """Round after taking a dead zone off; the slope is 1 on average, steep where a value tips, small elsewhere.

    It is the slope of whole + (1 - s) rest + 4 s rest^3, with s the softness, which is continuous.
    """

    @staticmethod
    def forward(ctx, values, dead):
        size = (values.abs() - dead).clamp_min_(0)
        whole = size.round()
        ctx.save_for_backward(size.sub_(whole))
        return whole.copysign_(values)

    @staticmethod
    def backward(ctx, gradient):
        (rest,) = ctx.saved_tensors
        return gradient * (1 - SOFTNESS + 12 * SOFTNESS * rest.square()), None


def _mix(matrix, images):
    """Mix the channels of each pixel; many times faster on a CPU than a 1 x 1 convolution of three channels."""
    return (matrix @ images.flatten(2)).view(images.shape)


def _halve(planes):
    """Average 2 x 2 pixels and round as libjpeg does, down and up in turn at a half."""
    mean = F.avg_pool2d(planes, 2)
    bias = mean.new_tensor([0.25, 0.5]).repeat(mean.shape[-1] // 2)
    return mean + ((mean + bias).floor() - mean).detach()


def _split(planes, side, together):
    """Return the blocks of planes (B, C, H, W) as columns: (side * side, B, C, N), N in the order of coding."""
    b, c, h, w = planes.shape
    area = side * together
    tiles = planes.reshape(b, c, h // area, together, side, w // area, together, side)
    return tiles.permute(4, 7, 0, 1, 2, 5, 3, 6).reshape(side * side, b, c, -1)


def _join(blocks, shape, side, together):
    """Undo `_split`."""
    b, c, h, w = shape
    area = side * together
    tiles = blocks.view(side, side, b, c, h // area, w // area, together, together)
    return tiles.permute(2, 3, 4, 6, 0, 5, 7, 1).reshape(shape)


def _beside(first, columns):
    """Return values (B, C, N) of rows of blocks less the mean of those above and to the left, where there are any."""
    grid = first.unflatten(2, (-1, columns))
    top, left = F.pad(grid, (0, 0, 1, -1)), F.pad(grid, (1, -1))
    known = F.pad(torch.ones_like(grid[0, 0]), (0, 0, 1, -1)) + F.pad(torch.ones_like(grid[0, 0]), (1, -1))
    return (grid - (top + left) / known.clamp_min(1)).flatten(2)


def _zigzag(side):
    """Return the places of a block, row by row, in the order in which its coefficients are coded."""
    places = [(y, x) for y in range(side) for x in range(side)]
    order = sorted(places, key=lambda place: (sum(place), place[sum(place) % 2 == 0]))
    return [y * side + x for y, x in order]


def _cosines(side):
    """Return the orthonormal two-dimensional cosine transform as a matrix."""
    rows = torch.from_numpy(dct(np.eye(side), axis=0, norm="ortho"))
    return torch.kron(rows, rows).float()

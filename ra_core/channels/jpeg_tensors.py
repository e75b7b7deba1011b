"""What JPEG leaves of pictures, in tensors: decode(encode(x)) of libjpeg's accurate integer method, in every value.

No entropy is coded, as that loses nothing. All numbers are whole multiples of a power of two which float32 (colours,
chroma) or float64 (the transform) holds exactly, so neither the order of a sum nor the device matters. Products of
matrices are of float64, which neither autocast nor TF32 shortens.

Sources: ITU-T T.81, annex A (transform, quantisation); JFIF 1.02 (colours); Loeffler, Ligtenberg and Moschytz,
"Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989; the documentation of libjpeg-turbo (its
transform "islow", its edges, its "fancy" upsampling).
"""

from functools import lru_cache

import torch

from ra_core.codecs.jpeg_standard import TO_RGB, TO_YCC, annex_k, percent, whole_steps
from ra_core.metrics import in_parts, to_levels, to_unit
from ra_core.padding import pad_to_multiple

UNIT = 2**16  # colours are mixed by whole multiples of 1 / UNIT

# The transform of 8 values, times 2^13 times the root of 8; the right half of an even row mirrors the left, that of an
# odd row with its sign changed. Some numbers are a unit off their cosine, as the algorithm adds rounded constants.
LEFT_HALF = (
    (8192, 8192, 8192, 8192), (11363, 9633, 6437, 2260), (10703, 4433, -4433, -10703), (9633, -2259, -11362, -6436),
    (8192, -8192, -8192, 8192), (6437, -11362, 2261, 9633), (4433, -10704, 10704, -4433), (2260, -6436, 9633, -11363),
)  # fmt: skip

# What is added so that a floor rounds: to luma and chroma around 0, and to red, green and blue.
STARTS, HALF = torch.tensor([0.5 - 128, *[0.5 - 1 / UNIT] * 2]), torch.tensor(0.5)


@torch.no_grad()
def through_jpeg(images: torch.Tensor, quality: int, subsampling: str) -> torch.Tensor:
    """Return pictures (B, 3, H, W) in [0, 1] as Pillow's JPEG decodes them: float32 of 8 bits, on the same device.

    `quality` is from 1 to 100, `subsampling` 4:2:0 or 4:4:4. They lie in memory as those of `from_arrays` do.
    """
    near = images.cpu() if images.device.type == "mps" else images  # which has no float64
    decoded = torch.empty_like(near, dtype=torch.float32, memory_format=torch.channels_last)
    for part, out in in_parts(near, decoded):
        _through(part, quality, subsampling, out)
    return decoded.to(images.device)


def _through(images, quality, subsampling, out):
    """Write the same of a few pictures."""
    height, width = images.shape[-2:]
    luma, chroma = _split(to_levels(images, out=torch.empty(images.shape, device=images.device)))
    luma = _coder(quality, 0, width, images.device)(luma)
    if subsampling == "4:2:0":
        chroma = _halve(chroma)
    chroma = _coder(quality, 1, chroma.shape[-1], images.device)(chroma)
    _join(luma, chroma if subsampling == "4:4:4" else _enlarge(chroma, height, width), out)


@lru_cache(maxsize=64)
def _coder(quality: int, kind: int, width: int, device: torch.device) -> "_Coder":
    tables = whole_steps(annex_k() * percent(torch.tensor(quality)))
    return _Coder(tables[kind].view(8, 8).to(device, torch.float64), width, middle=0 if kind else 128)


class _Coder:
    """Transforms planes of one width, quantises by a table (8, 8) and decodes them around `middle`."""

    def __init__(self, table: torch.Tensor, width: int, middle: int):
        left = table.new_tensor(LEFT_HALF)
        matrix = torch.cat([left, left.flip(1) * table.new_tensor([1, -1] * 4)[:, None]], dim=1)
        self.rows, self.columns = matrix.T / 2**11, matrix / 2**15  # the latter for 8 times what the standard has
        self.columns_back, self.rows_back = matrix.T / 2**11, matrix / 2**18
        self.steps = table.repeat(1, -(-width // 8))
        self.shares = (1 + 2**-30) / (8 * self.steps)  # a half is rounded away from zero
        # What the coefficients of frequency 0 need so that both passes back end in a floor.
        self.halves = torch.full_like(self.steps[0], 1 / 8)
        self.halves[::8] += 8 * (middle + 0.5)
        self.limits = middle - 128, middle + 127

    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Return planes (B, C, H, W) from -128 to 127 as they are decoded, float32."""
        height, width = planes.shape[-2:]
        padded = pad_to_multiple(planes, 8)
        values = padded.double().view(-1, 8)
        values = (values @ self.rows).add_(0.5).floor_().view(-1, *self.steps.shape)
        values = (self.columns @ values).add_(0.5).floor_()
        values.mul_(self.shares).round_().mul_(self.steps)
        values[:, 0].add_(self.halves)
        values = (self.columns_back @ values).floor_().view(-1, 8)
        values = (values @ self.rows_back).floor_()
        return values.view(padded.shape).float().clamp_(*self.limits)[..., :height, :width]


def _split(levels):
    """Return luma (B, 1, H, W) and both chroma planes (B, 2, H, W), from -128 to 127, of levels (B, 3, H, W)."""
    ycc = torch.empty_like(levels)
    for plane, start, weights in zip(ycc.unbind(1), STARTS, TO_YCC, strict=True):
        _mix(start, weights, levels.unbind(1), plane)
    ycc.floor_()
    return ycc[:, :1], ycc[:, 1:]


def _join(luma, chroma, out):
    """Write the pictures (B, 3, H, W), in [0, 1], of luma (0 to 255) and chroma (-128 to 127)."""
    plane, luma = torch.empty_like(luma[:, 0]), luma[:, 0]
    for weights, colour in zip(TO_RGB, out.unbind(1), strict=True):  # one by one they stay in a cache
        _mix(HALF, weights[1:], chroma.unbind(1), plane)
        plane.add_(luma)  # last: so only sums of 256 and more are rounded, which become 255
        to_unit(plane.floor_().clamp_(0, 255), out=colour)


def _mix(start, weights, planes, out):
    """Write `start` plus planes times weights, these rounded as libjpeg does: to five digits, then to 1 / UNIT."""
    for weight, plane in zip(weights, planes, strict=True):
        if weight:
            start = torch.add(start, plane, alpha=round(round(weight, 5) * UNIT) / UNIT, out=out)


@lru_cache(maxsize=64)
def _by_turns(even, odd, width, device):
    """Return two numbers in turn, for every column of a width."""
    return torch.tensor([even, odd] * (width // 2), device=device)


def _halve(chroma):
    """Average 2 x 2 pixels, at a half down and up in turn, for whole blocks of 8 columns.

    The last column is repeated before, the last row after (by `_Coder`); of an odd height it is doubled before.
    """
    height = (chroma.shape[-2] + 1) // 2
    padded = pad_to_multiple(chroma, 16)
    rows = padded[..., ::2, :] + padded[..., 1::2, :]
    sums = rows[..., ::2] + rows[..., 1::2]
    sums.add_(_by_turns(1.0, 2.0, sums.shape[-1], sums.device))
    return sums.mul_(0.25).floor_()[..., :height, :]


def _enlarge(chroma, height, width):
    """Return decoded planes around 0 at twice the size, cut to `height` and `width`: 3/4 of the pixel, 1/4 of the next.

    Where there are at most two columns each pixel is repeated instead.
    """
    coarse = chroma[..., : (height + 1) // 2, : (width + 1) // 2]
    if coarse.shape[-1] <= 2:
        return coarse.repeat_interleave(2, -2).repeat_interleave(2, -1)[..., :height, :width]
    fine = _twice(_twice(coarse / 16, -2), -1)
    fine.add_(_by_turns(8 / 16, 7 / 16, fine.shape[-1], fine.device)).floor_()
    return fine[..., :height, :width]


def _twice(planes, axis):
    """Return three times each value plus the one before it, and plus the one behind it; beyond an end is that end."""
    shape, last = list(planes.shape), planes.shape[axis] - 1
    shape[axis] *= 2
    result = planes.new_empty(shape)
    for side in (0, 1):
        target = result.unflatten(axis, (last + 1, 2)).select(axis, side)
        here, beside = planes.narrow(axis, 1 - side, last), planes.narrow(axis, side, last)
        torch.add(beside, here, alpha=3, out=target.narrow(axis, 1 - side, last))
        torch.mul(planes.narrow(axis, side * last, 1), 4, out=target.narrow(axis, side * last, 1))
    return result

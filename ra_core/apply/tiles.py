"""Networks on pictures of any size: large ones in tiles that overlap, so that memory stays bounded.

A tile is cut with a margin of what the network can see around a pixel, on the grid of its coarsest layer. So the
result is the one of the whole picture, without seams.
"""

import math
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ra_core.channels import from_arrays, to_arrays

CORE = 768  # pixels of a tile's side, without margin, as the network's output has them


class Geometry(NamedTuple):
    """How a network looks at a picture, in pixels of its input."""

    grid: int  # the step of its coarsest layer
    reach: int  # how far from a pixel it sees
    scale: int  # how much larger its output is


def geometry(net: nn.Module) -> Geometry:
    """Return grid, reach and scale of a network whose convolutions are registered in the order they run in.

    Branches beside each other count as if one ran after the other, so `reach` may be too large, never too small.
    """
    step, reach, grid = 1.0, 0.0, 1.0
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            reach += step * layer.dilation[0] * (layer.kernel_size[0] // 2)
            step *= layer.stride[0]
        elif isinstance(layer, nn.ConvTranspose2d):
            step /= layer.stride[0]
            reach += step * max(layer.padding[0], layer.kernel_size[0] - 1 - layer.padding[0])
        elif isinstance(layer, nn.PixelShuffle):
            step /= layer.upscale_factor
            reach += step * (layer.upscale_factor - 1)
        grid = max(grid, step)
    return Geometry(round(grid), math.ceil(reach), round(1 / step))


@torch.inference_mode()
def run_net(net: nn.Module, picture: np.ndarray, device: torch.device | str = "cpu", core: int = CORE) -> np.ndarray:
    """Return what a network makes of one picture (H, W, 3) uint8: (scale * H, scale * W, 3) uint8.

    `core` is the side of a tile without margin; a picture of one tile with its margins is not cut.
    """
    grid, reach, scale = geometry(net)
    core, margin = max(1, core // scale // grid) * grid, math.ceil(reach / grid) * grid
    height, width, _ = picture.shape
    result = np.empty((height * scale, width * scale, 3), np.uint8)
    cuts = product(_cuts(height, core, margin), _cuts(width, core, margin))
    for (top, bottom, above, below), (left, right, before, after) in cuts:
        tile = _padded(from_arrays([picture[above:below, before:after]]).to(device), grid)
        rows, columns = (slice(scale * start, scale * end) for start, end in ((top, bottom), (left, right)))
        inner = net(tile)[..., (top - above) * scale :, (left - before) * scale :]
        result[rows, columns] = to_arrays(inner[..., : (bottom - top) * scale, : (right - left) * scale])[0]
    return result


def _cuts(side: int, core: int, margin: int) -> list[tuple[int, int, int, int]]:
    """Return where each tile starts and ends along a side, without its margin and with it."""
    if side <= core + 2 * margin:
        return [(0, side, 0, side)]
    cuts = ((start, min(start + core, side)) for start in range(0, side, core))
    return [(start, end, max(0, start - margin), min(side, end + margin)) for start, end in cuts]


def _padded(images: torch.Tensor, grid: int) -> torch.Tensor:
    """Repeat the last row and column up to the grid, and to two of its steps: mirrored borders need as much."""
    bottom, right = (max(2, -(-side // grid)) * grid - side for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom), mode="replicate")

"""Networks on pictures of any size: large ones in tiles that overlap, so that memory stays bounded.

A tile is cut with a margin of what the network can see around a pixel, on the grid of its coarsest layer. So the
result is the one of the whole picture, without seams.
"""

import math
from itertools import product
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

CORE = 512  # pixels of a tile's side, without margin, as the network's output has them
WHITE = {torch.uint8: 255, torch.uint16: 65535}  # of pictures in whole numbers; else it is 1
LUMA = (19595, 38470, 7471)  # of red, green and blue in a grey value, of 65536, as Pillow has them (ITU-R BT.601)


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
def run_net(
    net: nn.Module, images: torch.Tensor, device: torch.device | str = "cpu", core: int = CORE, grey=None
) -> torch.Tensor:
    """Return what a network makes of pictures (B, 3, H, W): (B, 3, scale * H, scale * W) of the same dtype.

    Their values are uint8, uint16, or floats in [0, 1]; they may lie on another device than the network. `core` is the
    side of a tile without margin; a picture of one tile with its margins is not cut. Of pictures marked in `grey`, (B,)
    bool, the result is grey.
    """
    grid, reach, scale = geometry(net)
    (count, _, height, width), white = images.shape, WHITE.get(images.dtype, 1)
    core, margin = max(1, core // scale // grid) * grid, math.ceil(reach / grid) * grid
    layout = torch.channels_last if images.stride(1) == 1 else torch.contiguous_format
    result = images.new_empty((count, 3, height * scale, width * scale)).contiguous(memory_format=layout)
    together = max(1, core * core // (height * width))  # small pictures of a batch
    cuts = product(range(0, count, together), _cuts(height, core, margin), _cuts(width, core, margin))
    for first, (top, bottom, above, below), (left, right, before, after) in cuts:
        some = slice(first, first + together)
        tile = images[some, :, above:below, before:after].float().to(device) / white
        rows, columns = (slice(scale * start, scale * end) for start, end in ((top, bottom), (left, right)))
        inner = net(padded(tile, grid))[..., (top - above) * scale :, (left - before) * scale :]
        made = _levels(inner[..., : (bottom - top) * scale, : (right - left) * scale].float(), white)
        if grey is not None and grey[some].any():
            made = torch.where(grey[some, None, None, None].to(device), _in_grey(made, white), made)
        result[some, :, rows, columns] = made.to(images.dtype).to(images.device)
    return result


def padded(images: torch.Tensor, grid: int) -> torch.Tensor:
    """Repeat the last row and column up to the grid, and to two of its steps: mirrored borders need as much.

    Unlike `ra_core.padding.pad_to_multiple` it does not branch on the sizes, which an ONNX file leaves open.
    """
    bottom, right = (max(2, (side + grid - 1) // grid) * grid - side for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom), mode="replicate")


def _levels(images: torch.Tensor, white: int) -> torch.Tensor:
    """Return pictures in [0, 1] as they are stored, in floats: clamped, and rounded where they are whole numbers."""
    images = images.clamp(0, 1)
    return images if white == 1 else _halves_up(images.mul_(white))


def _in_grey(images: torch.Tensor, white: int) -> torch.Tensor:
    value = (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True) / sum(LUMA)
    return value if white == 1 else _halves_up(value)


def _halves_up(values: torch.Tensor) -> torch.Tensor:
    return values.add_(0.5).floor_()


def _cuts(side: int, core: int, margin: int) -> list[tuple[int, int, int, int]]:
    """Return where each tile starts and ends along a side, without its margin and with it."""
    if side <= core + 2 * margin:
        return [(0, side, 0, side)]
    cuts = ((start, min(start + core, side)) for start in range(0, side, core))
    return [(start, end, max(0, start - margin), min(side, end + margin)) for start, end in cuts]

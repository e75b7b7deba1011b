"""Pictures of any size for networks that want multiples: pad before, crop after."""

import torch
from torch.nn import functional as F

from ra_core.errors import ParameterError


def check_pictures(images: torch.Tensor, what: str) -> None:
    """Raise `ParameterError` unless `images` are (B, 3, H, W) with at least one pixel each; `what` was given them."""
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[-2:]) < 1:
        raise ParameterError(f"{what} was given a tensor of shape {tuple(images.shape)}; give pictures (B, 3, H, W).")


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Return pictures (B, C, H, W) with sides of multiples; the last column and row are repeated to the far ends."""
    bottom, right = (-side % multiple for side in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if right or bottom else images

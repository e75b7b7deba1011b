"""The terms of a loss by name, and gradients that come from a stand-in."""

import torch
from torch.nn import functional as F


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, proxy):
        return value.to(proxy.dtype).expand_as(proxy).clone()

    @staticmethod
    def backward(ctx, gradient):
        return None, gradient


def straight_through(value: torch.Tensor, proxy: torch.Tensor) -> torch.Tensor:
    """Return exactly `value` whose gradient goes, unchanged, to `proxy` of the same shape.

    So a codec that has no gradient says what came out, and its differentiable stand-in says which way to go.
    """
    return _StraightThrough.apply(value, proxy)


def preprocessing_terms(
    sent: torch.Tensor,
    images: torch.Tensor,
    bits: torch.Tensor,
    task: torch.Tensor,
    weight: torch.Tensor | float,
    mse_weight: float = 0.5,
) -> dict[str, torch.Tensor]:
    """Return the terms of a preprocessor with `loss` = bpp + mse_weight * distortion + weight * recognition.

    `sent` is what enters the codec and `images` the clean pictures, both (B, 3, H, W) in [0, 1] without padding;
    `bits` (B,) are those of the files; `task` is the recognition loss, (B,) or a scalar, and `weight` its lambda,
    one or one a picture. `recognition` is reported without its lambda.
    Source: the published training code (bpp as the mean over pictures, the factor 0.5 on the squared error).
    """
    height, width = images.shape[-2:]
    bpp = (bits / (height * width)).mean()
    distortion = F.mse_loss(sent, images)
    loss = bpp + mse_weight * distortion + (weight * task).mean()
    return {"loss": loss, "bpp": bpp, "distortion": distortion, "recognition": task.mean()}


def restoration_terms(
    terms: dict[str, torch.Tensor], restored: torch.Tensor, images: torch.Tensor, weight: float
) -> dict[str, torch.Tensor]:
    """Return the terms of `preprocessing_terms` with weight * restoration added to their `loss`.

    `restored` is the postprocessor's picture and `images` the clean one, both (B, 3, H, W). With the lambda of the
    task over `weight` a postprocessor alone learns as `ra` does (Liu et al. 2019): 1000 for 1 is the published 1e-3.
    """
    restoration = F.mse_loss(restored, images)
    return terms | {"loss": terms["loss"] + weight * restoration, "restoration": restoration}

"""Modes and their losses: which term exists, and which network its gradient reaches.

Every term is a named scalar tensor; `loss` is their weighted sum.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from ra_core.errors import ParameterError


@dataclass(frozen=True)
class Mode:
    """One row of the method's table.

    `recognition` is the kind of recognition term (`None`, `labels` or `soft_labels`), `weight` its lambda,
    and `transformer` says whether that term passes through T and stops there.
    """

    name: str
    recognition: str | None
    weight: float
    transformer: bool = False


MODES = {
    mode.name: mode
    for mode in (
        Mode("plain", None, 0.0),
        Mode("ra", "labels", 1e-3),
        Mode("ra_transformer", "labels", 1e-2, transformer=True),
        # 10 on the mean over ImageNet's 1,000 classes, as published, is 0.01 on the sum.
        Mode("ra_unsupervised", "soft_labels", 1e-2),
    )
}
ALIASES = {"ra_transform": "ra_transformer"}  # the name in the published code; its README says ra_transformer


def find_mode(name: str, weight: float | None = None) -> Mode:
    """Return the mode of that name with lambda `weight` (None: its usual one); `ra` with lambda 0 is `plain`.

    A name such as `ra@0.01` is that of a mode with a lambda of its own, one point of a sweep.
    Raises `ParameterError` for an unknown name or a weight that is negative or not finite.
    """
    base, swept, number = name.partition("@")
    mode = MODES.get(ALIASES.get(base, base))
    if mode is None:
        raise ParameterError(f"mode {name!r} is unknown; choose one of {', '.join([*MODES, *ALIASES])}.")
    if swept:
        return _swept(mode, name, number)
    if weight is None:
        return mode
    if not 0 <= weight < float("inf"):
        raise ParameterError(f"lambda {weight} is not allowed for mode {name}; give a finite number of 0 or more.")
    if mode.name == "ra" and weight == 0:
        return MODES["plain"]
    return Mode(mode.name, mode.recognition, weight if mode.recognition else 0.0, mode.transformer)


def _swept(mode: Mode, name: str, number: str) -> Mode:
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not (mode.recognition and 0 < weight < float("inf")):
        raise ParameterError(
            f"mode {name!r} is not allowed; write a mode with a recognition term, @ and a lambda above 0, "
            "such as ra@0.01."
        )
    return replace(mode, name=f"{mode.name}@{weight:g}", weight=weight)


def soft_label_distance(logits: torch.Tensor, clean_logits: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Return the squared distance between two sets of class probabilities, averaged over the batch.

    Both inputs are logits (B, classes). The sum over classes keeps lambda independent of their number.
    With `reduction` "none" the distances of the pictures come back, (B,).
    """
    distances = (logits.softmax(1) - clean_logits.softmax(1)).square().sum(1)
    return distances if reduction == "none" else distances.mean()


def loss_terms(
    mode: Mode,
    networks: dict[str, nn.Module],
    recognizer: nn.Module | None,
    degraded: torch.Tensor,
    target: torch.Tensor,
    labels: torch.Tensor | None,
) -> dict[str, torch.Tensor]:
    """Return the terms of one batch by name, with `loss` = distortion + lambda * recognition.

    `networks` holds `processor` and, where the mode wants it, `transformer`. The gradient of `recognition`
    reaches the processor in `ra` and `ra_unsupervised`; in `ra_transformer` it ends at the transformer, whose
    input is cut off. `plain` does not run the recognizer, `ra_unsupervised` does not look at `labels`.
    Source: Liu et al. 2019, section 3.
    """
    processed = networks["processor"](degraded).float()
    distortion = F.mse_loss(processed, target)
    if mode.recognition is None:
        return {"loss": distortion, "distortion": distortion}
    seen = networks["transformer"](processed.detach()).float() if mode.transformer else processed
    logits = recognizer(seen).float()
    if mode.recognition == "labels":
        recognition = F.cross_entropy(logits, labels)
    else:
        with torch.no_grad():
            clean_logits = recognizer(target).float()
        recognition = soft_label_distance(logits, clean_logits)
    loss = distortion + mode.weight * recognition
    return {"loss": loss, "distortion": distortion, "recognition": recognition}


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

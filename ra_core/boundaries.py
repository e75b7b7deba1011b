"""Where recognizers change their answers around a picture: on a plane, along a line, and by their gradients.

The plane of a picture goes through what `plain` made of it; one axis leads from there to what RA made of it, the other
is a random direction at right angles. Pictures on it are neither clamped nor rounded.
"""

from typing import NamedTuple

import torch

from ra_core.judges import Judge

FURTHEST = 4  # lengths of the step from plain to RA, as far as a boundary is looked for


class Plane(NamedTuple):
    """The planes of a batch of pictures, all (B, 3, H, W): where they start, and a step along each axis.

    Both steps of a picture have the same length.
    """

    start: torch.Tensor
    along: torch.Tensor
    across: torch.Tensor

    def at(self, a: float, b: float) -> torch.Tensor:
        """Return the pictures at `a` steps along RA and `b` across."""
        return self.start + a * self.along + b * self.across


def plane_of(plain: torch.Tensor, ra: torch.Tensor, generator: torch.Generator) -> Plane:
    """Return the planes of two versions of the same pictures, (B, 3, H, W) in [0, 1]; equal ones have steps of zero."""
    along = ra - plain
    flat, random = along.flatten(1), torch.randn(along.flatten(1).shape, generator=generator).to(along)
    length = flat.norm(dim=1, keepdim=True)
    unit = flat / length.clamp_min(1e-12)
    across = random - (random * unit).sum(1, keepdim=True) * unit
    return Plane(plain, along, (length * across / across.norm(dim=1, keepdim=True)).view_as(along))


@torch.inference_mode()
def answers_on(judge: Judge, plane: Plane, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a recognizer's answers (B, len(b), len(a)) on a grid of each picture's plane."""
    rows = [[judge(plane.at(x, y)).argmax(1) for x in a.tolist()] for y in b.tolist()]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


@torch.inference_mode()
def distance_to_boundary(judge: Judge, start: torch.Tensor, step: torch.Tensor, parts: int = 4) -> torch.Tensor:
    """Return how many steps from `start` a recognizer first answers otherwise, (B,); infinite beyond `FURTHEST`.

    It looks at `parts` places a step, then halves the part in which the answer changes four times.
    """
    answer = judge(start).argmax(1)
    found = torch.full((len(start),), float("inf"), device=start.device)
    for number in range(1, FURTHEST * parts + 1):
        other = judge(start + number / parts * step).argmax(1) != answer
        found = torch.where(other & found.isinf(), number / parts, found)
    low, high = found - 1 / parts, found
    for _ in range(4):
        middle = (low + high) / 2
        at = torch.where(middle.isinf(), 0.0, middle).view(-1, 1, 1, 1)
        other = judge(start + at * step).argmax(1) != answer
        low, high = torch.where(other, low, middle), torch.where(other, middle, high)
    return torch.where(found.isinf(), found, high)


def input_gradients(judge: Judge, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradients of a recognizer's own loss in its pictures (B, 3, H, W), of length 1, as (B, 3 * H * W)."""
    images = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(judge.task_loss(images, labels).sum(), images)
    return torch.nn.functional.normalize(gradient.flatten(1), dim=1)

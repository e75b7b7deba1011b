"""Several recognizers as one source of a training."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ra_core.errors import ParameterError
from ra_core.judges.base import Judge
from ra_core.judges.recognizer import Recognizer


def members_of(name: str | None) -> list[str]:
    """Return the names of the judges in that of a source: one, those of an ensemble (`resnet20+vgg8`), or none."""
    return name.split("+") if name else []


def mean_over(judges: Sequence[Judge], term: Callable[[Judge], torch.Tensor]) -> torch.Tensor:
    """Return the mean of a term of each judge; each counts the same."""
    return sum(term(judge) for judge in judges) / len(judges)


class Ensemble(Recognizer):
    """Recognizers that are all to be pleased: a loss is the mean of theirs, an answer that of their probabilities.

    Raises `ParameterError` where one of them is no recognizer.
    Source of the idea: Liu et al., "Delving into Transferable Adversarial Examples and Black-box Attacks", ICLR 2017.
    """

    def __init__(self, recognizers: Sequence[Recognizer]):
        if others := [each.name for each in recognizers if each.metric != "top1"]:
            raise ParameterError(f"{others[0]!r} is a detector; an ensemble has recognizers, name those.")
        Judge.__init__(self, nn.ModuleList(recognizers), "+".join(each.name for each in recognizers))

    @property
    def members(self):
        return list(self.net)

    def forward(self, images):
        return mean_over(self.members, lambda each: each(images).float().softmax(1)).log()

    def task_loss(self, images, labels):
        return mean_over(self.members, lambda each: each.task_loss(images, labels))

    def distance(self, images, clean):
        return mean_over(self.members, lambda each: each.distance(images, clean))

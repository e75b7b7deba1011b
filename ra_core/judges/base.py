"""What every judge answers, whether it names what is on a picture or finds boxes in it."""

import warnings
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ra_core.metrics import Interval
from ra_core.models.blocks import for_inference, parameter_count
from ra_core.registry import Registry

FAR = 10  # points below what is stated, with the interval, from which a judge is taken for fed wrongly
JUDGES = Registry("judge")  # functions without arguments that return a judge, by its name


class Judge(nn.Module):
    """A frozen network that looks at pictures (B, 3, H, W), RGB in [0, 1].

    Normalisation happens in here and nowhere else. Its weights get no gradient, the pictures do. It stays in
    evaluation mode whatever `train()` is called on around it.
    """

    name: str
    metric: str  # what it is measured by: `top1` or `map50`
    black_box = False  # whether no gradient comes back, so that it can only be unseen
    stated: float | None = None  # what it is said to reach on clean pictures, in percent
    loss_of_batch = False  # whether `task_loss` is one for the batch as a whole, and no mean over pictures

    def __init__(self, net: nn.Module, name: str):
        super().__init__()
        self.net, self.name = net.requires_grad_(False), name
        self.family = name  # of networks, by which judges are grouped
        self.net.zero_grad()  # of gradients from before
        self.parameter_count = parameter_count(net)  # before any are folded

    @property
    def members(self) -> list["Judge"]:
        """The judges that it consists of: itself, but for an ensemble."""
        return [self]

    def train(self, mode: bool = True):
        return super().train(False)

    def made_fast(self, device: str | torch.device) -> "Judge":
        """Return it on a device, its normalisation folded into its convolutions: the same answers within rounding."""
        for_inference(self.net, device)
        return self.to(device)

    def with_classes(self, classes: Iterable[str]) -> "Judge":
        """Let labels count these classes, where a judge can tell; one that cannot stays as it is."""
        return self

    def warn_if_far(self, verdict: "Verdict") -> None:
        """Warn where what it reaches on clean pictures lies far below what is stated of it."""
        if self.stated is not None and verdict.interval()[2] < self.stated - FAR:
            warnings.warn(
                f"judge {self.name!r} reaches {verdict.value():.1f} % on clean pictures and its sidecar states "
                f"{self.stated:.1f} %; look at scaling, its channels, resize and the order of classes there.",
                stacklevel=2,
            )

    def task_loss(self, images: torch.Tensor, labels) -> torch.Tensor:
        """Return the recognition loss by labels: (B,), or a scalar where it is one for the whole batch."""
        raise NotImplementedError

    def distance(self, images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Return how far what it thinks of pictures is from what it thinks of the clean ones, (B,); no labels."""
        raise NotImplementedError

    def look(self, images: torch.Tensor, clean: torch.Tensor, labels, pictures) -> dict:
        """Return what it says of one batch of `pictures`, on the CPU, an entry a picture in every list or tensor."""
        raise NotImplementedError

    def verdict(self, looks: list[dict], pictures) -> "Verdict":
        """Return all that it said of a set of pictures, from what `look` returned batch by batch."""
        raise NotImplementedError


class Verdict(Protocol):
    """What a judge said of every picture of a set, and how right that is. All scores are percent."""

    metric: str

    def value(self) -> float:
        """Return the score."""

    def interval(self) -> Interval:
        """Return the score with its 95 % interval over pictures."""

    def difference(self, other: "Verdict") -> Interval:
        """Return by how much it beats `other` on the same pictures, with its 95 % interval."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what it said by name, an array (N, ...) each."""

    def drawn(self) -> np.ndarray:
        """Return the score on each draw of the pictures with replacement (`ra_core.bd_rate.counts`), (draws,)."""

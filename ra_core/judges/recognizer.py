"""Recognizers R: any classifier, frozen, taking pictures in [0, 1]."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ra_core.bd_rate import counts
from ra_core.data import is_labelled
from ra_core.errors import ParameterError
from ra_core.judges.base import JUDGES, Judge
from ra_core.metrics import Interval, paired_difference, proportion_interval, topk_correct
from ra_core.models import efficientnet_lite
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES, OF_HALVES
from ra_core.models.weights import fetched, load_weights, read_sidecar
from ra_core.paths import ASSETS

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OURS = FAMILIES | OF_HALVES | CELL_FAMILIES
PUBLISHED = {f"efficientnet_{size}": size for size in efficientnet_lite.SCALES}
SHIPPED = ASSETS / "recognizers"


class Recognizer(Judge):
    """A frozen classifier: pictures (B, 3, H, W), RGB in [0, 1], to logits (B, classes).

    `mean` and `std`, one number a channel, are taken out of the pictures before.
    """

    metric = "top1"

    def __init__(self, net: nn.Module, name: str, mean: Iterable[float], std: Iterable[float]):
        super().__init__(net, name)
        for what, values in (("mean", mean), ("std", std)):
            self.register_buffer(what, torch.tensor([float(v) for v in values]).view(3, 1, 1), persistent=False)
        self.eval()

    def forward(self, images):
        return self.net((images - self.mean).div_(self.std))

    def task_loss(self, images, labels):
        """Return the cross-entropy of each picture, (B,)."""
        return F.cross_entropy(self(images).float(), labels, reduction="none")

    def distance(self, images, clean):
        """Return the squared distance of each picture's class probabilities to the clean one's, (B,)."""
        with torch.no_grad():
            wanted = self(clean).float()
        return soft_label_distance(self(images).float(), wanted)

    def look(self, images, clean, labels, pictures):
        """Return whether it is right of each picture; without labels, right is what it says of the clean one."""
        if pictures.boxed:
            raise ParameterError(
                f"recognizer {self.name!r} names pictures, and {pictures.name} has boxes; name detectors for them."
            )
        logits = self(images).float()
        labels = labels.to(logits.device) if is_labelled(pictures) else self(clean).argmax(1)
        if is_labelled(pictures) and logits.shape[1] != len(pictures.classes):  # wrong answers without a word
            raise ParameterError(
                f"recognizer {self.name!r} knows {logits.shape[1]} classes and {pictures.name} has "
                f"{len(pictures.classes)}; name a recognizer that was trained on these classes."
            )
        confidence, answer = logits.softmax(1).max(1)
        found = {"top1": topk_correct(logits, labels, 1), "top5": topk_correct(logits, labels, 5)}
        return {key: value.cpu() for key, value in (found | {"answer": answer, "confidence": confidence}).items()}

    def verdict(self, looks, pictures):
        return Classified(**{key: torch.cat([look[key] for look in looks]) for key in looks[0]})


def soft_label_distance(logits: torch.Tensor, clean_logits: torch.Tensor) -> torch.Tensor:
    """Return the squared distance between two sets of class probabilities for each picture, (B,).

    Both inputs are logits (B, classes). The sum over classes keeps lambda independent of their number.
    Source: Liu et al. 2019, section 3.3, there as a mean over classes.
    """
    return (logits.softmax(1) - clean_logits.softmax(1)).square().sum(1)


@dataclass
class Classified:
    """A `Verdict` of a recognizer: `top1` and `top5` (right or not), `answer` (class), `confidence`, all (N,)."""

    top1: torch.Tensor
    top5: torch.Tensor
    answer: torch.Tensor
    confidence: torch.Tensor
    metric = "top1"

    def value(self, rank: str = "top1") -> float:
        return 100 * getattr(self, rank).double().mean().item()

    def interval(self) -> Interval:
        return proportion_interval(self.top1)

    def difference(self, other: "Classified") -> Interval:
        return paired_difference(self.top1, other.top1)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"answers": self.answer.numpy(), "confidences": self.confidence.numpy()}

    def drawn(self) -> np.ndarray:
        return 100 * (counts(len(self.top1)) @ self.top1.double().numpy()) / len(self.top1)


def load_recognizer(name: str, weights: str | Path | None = None, folder: Path = SHIPPED) -> Recognizer:
    """Return a pretrained recognizer by name.

    `name` is one of those that ship (their files lie in `folder`), any classifier of torchvision (with its ImageNet
    weights), `efficientnet_lite0` to `2` (with those of a package each), or `package.module:function`, a function
    without arguments that returns a classifier, which may carry `mean` and `std` (three numbers each) where these are
    not ImageNet's. `weights`, a safetensors file, takes the place of what they bring.
    Raises `ParameterError` for an unknown name, `WeightsError` for weights that cannot be had or do not fit.
    """
    if name in OURS:
        sidecar = sidecar_of(name, folder)
        net, mean, std = OURS[name](len(sidecar["classes"])), sidecar["mean"], sidecar["std"]
        if weights is None:
            load_weights(net, folder / f"{name}.safetensors", sidecar.get("sha256"))
    elif name in PUBLISHED:
        net, mean, std = (
            efficientnet_lite.efficientnet_lite(PUBLISHED[name]),
            efficientnet_lite.MEAN,
            efficientnet_lite.STD,
        )
        if weights is None:
            net.load_state_dict(efficientnet_lite.published(PUBLISHED[name]))
    elif ":" in name:
        net, mean, std = _custom(name)
    else:
        net, mean, std = _torchvision(name, pretrained=weights is None)
    recognizer = Recognizer(net if weights is None else load_weights(net, weights), name, mean, std)
    recognizer.family = "EfficientNet-Lite" if name in PUBLISHED else name
    return recognizer


def sidecar_of(name: str, folder: Path = SHIPPED) -> dict:
    """Return what is known of a shipped recognizer: recipe, seed, data, accuracy."""
    advice = f"train {name} with notebook 02 or install again"
    return read_sidecar(folder / f"{name}.json", {"classes", "mean", "std"}, advice)


def describe(recognizer: Recognizer) -> dict:
    """Return the sidecar of a shipped recognizer; of any other, its name and its number of parameters, if known."""
    if recognizer.name in OURS:
        return sidecar_of(recognizer.name)
    return {"name": recognizer.name, "parameters": None if recognizer.black_box else recognizer.parameter_count}


def _custom(name: str) -> tuple[nn.Module, Iterable[float], Iterable[float]]:
    module, _, function = name.partition(":")
    try:
        net = getattr(importlib.import_module(module), function)()
        mean, std = getattr(net, "mean", IMAGENET_MEAN), getattr(net, "std", IMAGENET_STD)
        Recognizer(net, name, mean, std)
    except Exception as error:  # a stranger's function may raise anything
        reason = " ".join(str(error).split()).rstrip(".")
        raise ParameterError(
            f"recognizer {name!r} cannot be made ({reason}); give package.module:function, a function without "
            "arguments that returns a classifier, whose mean and std, where it has them, are three numbers each."
        ) from error
    return net, mean, std


def torchvision_classifiers() -> list[str]:
    """Return the names of torchvision's classifiers."""
    from torchvision import models

    return models.list_models(module=models)


def _torchvision(name: str, pretrained: bool) -> tuple[nn.Module, Iterable[float], Iterable[float]]:
    """Return a classifier with the mean and std that its weights were trained with."""
    from torchvision import models

    if name not in torchvision_classifiers():
        raise ParameterError(
            f"recognizer {name!r} is unknown; choose one of {', '.join([*OURS, *PUBLISHED])}, a classifier of "
            "torchvision (for instance resnet18), or give package.module:function."
        )
    published = models.get_model_weights(name)
    # The first weights are those of the paper's tables; a few large models have only others.
    chosen = published.__members__.get("IMAGENET1K_V1", published.DEFAULT)
    with fetched(f"ImageNet weights of {name}", chosen.url):
        net = models.get_model(name, weights=chosen if pretrained else None)
    return net, chosen.transforms().mean, chosen.transforms().std


for _name in (*OURS, *PUBLISHED):
    JUDGES.add(_name, partial(load_recognizer, _name))

"""Recognizers R: any classifier, frozen, taking pictures in [0, 1]."""

import importlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from ra_core.assets import ASSETS
from ra_core.errors import ParameterError, WeightsError
from ra_core.models import efficientnet_lite
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.weights import fetched, load_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = efficientnet_lite.MEAN, efficientnet_lite.STD  # (255 x - 127) / 128
PUBLISHED = {f"efficientnet_{size}": size for size in efficientnet_lite.SCALES}
SHIPPED = ASSETS / "recognizers"


class Recognizer(nn.Module):
    """A frozen classifier: pictures (B, 3, H, W), RGB in [0, 1], to logits (B, classes).

    Normalisation happens in here and nowhere else. Its weights need no gradient, so none is computed for
    them; the gradient passes through to the picture. It stays in evaluation mode whatever `train()` is called
    on around it. Raises `ParameterError` unless `mean` and `std` are three numbers each, one a channel.
    """

    def __init__(self, net: nn.Module, name: str, mean: Iterable[float], std: Iterable[float]):
        super().__init__()
        self.net, self.name = net.requires_grad_(False), name
        self.net.zero_grad()  # of gradients from before
        for what, values in (("mean", mean), ("std", std)):
            numbers = [float(value) for value in values]
            if len(numbers) != 3:
                raise ParameterError(f"recognizer {name!r} has {what} {numbers}; give three numbers, one a channel.")
            self.register_buffer(what, torch.tensor(numbers).view(3, 1, 1), persistent=False)
        self.eval()

    def train(self, mode: bool = True):
        return super().train(False)

    def forward(self, images):
        return self.net((images - self.mean) / self.std)


def _ours() -> dict:
    return FAMILIES | CELL_FAMILIES


def load_recognizer(name: str, weights: str | Path | None = None, folder: Path = SHIPPED) -> Recognizer:
    """Return a pretrained recognizer by name.

    `name` is one of the five families that ship (their files lie in `folder`), any classifier of torchvision
    (with its ImageNet weights), `efficientnet_lite0` to `2` (with those of a package each), or
    `package.module:function`, a function without arguments that returns a classifier. `weights`, a safetensors file,
    takes the place of what they bring. A function's network may carry `mean` and `std` (three numbers each) of its own,
    otherwise ImageNet's are used.
    Raises `ParameterError` for an unknown name, `WeightsError` for weights that cannot be had or do not fit.
    """
    if name in _ours():
        sidecar = read_sidecar(name, folder)
        net = load_weights(_ours()[name](len(sidecar["classes"])), weights or folder / f"{name}.safetensors")
        return Recognizer(net, name, sidecar["mean"], sidecar["std"])
    if name in PUBLISHED:
        net, mean, std = efficientnet_lite.efficientnet_lite(PUBLISHED[name]), LITE_MEAN, LITE_STD
        if weights is None:
            net.load_state_dict(efficientnet_lite.published(PUBLISHED[name]))
    elif ":" in name:
        net = _custom(name)
        mean, std = getattr(net, "mean", IMAGENET_MEAN), getattr(net, "std", IMAGENET_STD)
    else:
        net, mean, std = _torchvision(name, pretrained=weights is None)
    if weights is not None:
        load_weights(net, weights)
    return Recognizer(net, name, mean, std)


def read_sidecar(name: str, folder: Path = SHIPPED) -> dict:
    """Return what is known of a shipped recognizer: recipe, seed, data, accuracy."""
    path = folder / f"{name}.json"
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        if not {"classes", "mean", "std"} <= set(sidecar):
            raise ValueError("classes, mean or std are missing")
        return sidecar
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{path} cannot be read ({error}); train {name} with notebook 02 or install again."
        ) from error


def _custom(name: str) -> nn.Module:
    module, _, function = name.partition(":")
    try:
        net = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(
            f"recognizer {name!r} cannot be made ({reason}); give package.module:function, "
            "a function without arguments that returns a classifier."
        ) from error
    if not isinstance(net, nn.Module):
        raise ParameterError(f"recognizer {name!r} returned a {type(net).__name__}; it must return a torch.nn.Module.")
    return net


def _torchvision(name: str, pretrained: bool) -> tuple[nn.Module, Iterable[float], Iterable[float]]:
    """Return a classifier with the mean and std that its weights were trained with."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ParameterError(
            f"recognizer {name!r} is unknown; choose one of {', '.join([*_ours(), *PUBLISHED])}, a classifier of "
            "torchvision (for instance resnet18), or give package.module:function."
        )
    published = models.get_model_weights(name)
    # The first weights are those of the paper's tables; a few large models have only others.
    chosen = published.__members__.get("IMAGENET1K_V1", published.DEFAULT)
    trained_with = chosen.transforms()
    with fetched(f"ImageNet weights of {name}", chosen.url):
        net = models.get_model(name, weights=chosen if pretrained else None)
    return net, trained_with.mean, trained_with.std


def is_detector(judge) -> bool:
    """Say whether a judge of pictures finds boxes; otherwise it names what is on the whole picture."""
    return hasattr(judge, "losses")


def describe(recognizer: Recognizer) -> dict:
    """Return the sidecar of a shipped recognizer; of any other, its name and its number of parameters."""
    if recognizer.name in _ours():
        return read_sidecar(recognizer.name)
    return {"name": recognizer.name, "parameters": sum(p.numel() for p in recognizer.parameters())}

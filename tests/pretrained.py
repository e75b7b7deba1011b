"""Small pretrainings, one of each kind: `KINDS[name].train(folder, **changes)` returns the sidecar."""

from collections.abc import Callable
from typing import NamedTuple

import boxed
import tiny
import torch
from torch import nn

from ra_core.data.crops import Crops
from ra_core.judges.detector import load_detector
from ra_core.judges.recognizer import load_recognizer
from ra_core.models.proxies import load_proxy_weights
from ra_core.objectives import RateDistortion
from ra_core.params import LearnedProxy, Training
from ra_core.pretraining import detectors, proxies, recognizers
from ra_core.pretraining.proxies import made_by


def family(classes: int) -> nn.Module:
    """A classifier of a few hundred weights, with BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, classes),
    )  # fmt: skip


def colours(count: int, seed: int = 0):
    """Pictures whose class is their brightest channel, which is easy to learn."""
    pictures = tiny.pictures(count, seed, f"colours{seed}")
    picture = torch.arange(count)
    pictures.images[picture, pictures.labels] = pictures.images[picture, pictures.labels] // 2 + 128
    return pictures


def proxy(name: str = "Hyperprior", steps: int = 3, weights: tuple[float, ...] = (256.0,), **more) -> LearnedProxy:
    training = Training(steps=steps, batch=4, lr=1e-3)
    return LearnedProxy(name=name, n=4, m=4, weights=list(weights), training=training, **more)


def train_recognizer(folder, **changes) -> dict:
    usual = {"name": "resnet20", "train": colours(44), "test": colours(12, 1), "folder": folder, "epochs": 3}
    return recognizers.train_recognizer(**usual | {"device": "cpu"} | changes)


def train_detector(folder, **changes) -> dict:
    usual = {"name": "faster_rcnn", "train": boxed.pictures(9), "validation": boxed.pictures(4, 1, name="others")}
    return detectors.train_detector(**usual | {"folder": folder, "steps": 4, "device": "cpu"} | changes)


def train_proxy(folder, made=None, **changes) -> dict:
    usual = {"train": Crops((tiny.pictures(8),), sides=(16,)), "held_out": [tiny.pictures(3, 1, "others")]}
    return proxies.train_proxy(made or made_by(proxy(), 256.0), **usual | {"folder": folder, "device": "cpu"} | changes)


class Kind(NamedTuple):
    train: Callable[..., dict]
    stem: str  # of its files
    objective: type
    load: Callable[..., nn.Module]
    others: tuple[dict, ...]  # with which no run goes on
    files: tuple[str, ...] = (".json", ".safetensors")


KINDS = {
    "recognizer": Kind(train_recognizer, "resnet20", recognizers.Recognition,
                       lambda stem, folder: load_recognizer(stem, folder=folder),
                       ({"epochs": 5}, {"seed": 1}, {"train": colours(46)})),
    # The detector that draws boxes at random.
    "detector": Kind(train_detector, "faster_rcnn", detectors.Detection,
                     lambda stem, folder: load_detector(stem, folder=folder), ({"steps": 5},)),
    "proxy": Kind(train_proxy, "hyperprior-256", RateDistortion, load_proxy_weights,
                  ({"made": made_by(proxy(steps=4), 256.0)},), (".json", ".jsonl", ".safetensors")),
}  # fmt: skip

"""The trainings that a profile asks for, each with its pictures and the multiply-accumulates of one of them.

Networks are built on torch's `meta` device, as shapes without numbers; no picture is loaded.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ra_core.channels import make_channel
from ra_core.coding import pictures_of, preprocessor_parameters
from ra_core.coding import planned as coding_runs
from ra_core.data import elpv, scenes
from ra_core.errors import ParameterError
from ra_core.experiments import load_splits, run_parameters
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.detectors import TRUNKS, Detector, make_detector
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.processors import make_processor
from ra_core.models.proxies import SHIPPED, proxy_stem
from ra_core.models.recognizers import PUBLISHED, Recognizer, load_recognizer
from ra_core.objectives import Restoration
from ra_core.params import Profile
from ra_core.params.base import Training
from ra_core.params.coding import task_of
from ra_core.paths import project_root
from ra_core.pretraining.proxies import is_made, made_by
from ra_core.shipped_runs import matching

PHOTOGRAPHS = {"imagenet": 1_281_167}  # training pictures of folders that are known by name, where they are not here
SIDES = {"cells": elpv.CROP, "scenes": scenes.SIDE}


class Planned(NamedTuple):
    """A training that a profile asks for: `pictures` pass it in all, each with `macs`; `coder` is its real codec."""

    part: str
    run: str
    seed: int
    pictures: int
    macs: float
    coder: str = ""
    files: bool = False  # that are decoded while it runs
    shipped: bool = False


def planned(profile: Profile, pictures: int = 0) -> list[Planned]:
    """Return every training of a profile; `pictures` to train on, where a folder is not here.

    Raises `ParameterError` for such a folder without that number.
    """
    found = []
    for task, settings in profile.tasks.items():
        seen = _seen(settings.training, lambda: pictures or _to_train_on(profile))
        coder, files = "jpeg" if task == "jpeg" else "", profile.data.kind == "folder"
        for mode in profile.modes:
            run, macs = profile.mode(mode, task).name, restoration_macs(profile, task, mode)
            for seed in profile.seeds:
                ships = matching(run_parameters(profile, task, mode, seed)) is not None
                found.append(Planned(task, run, seed, seen, macs, coder, files, ships))
    for dataset in profile.preprocessing:
        side = SIDES.get(dataset) or _side(profile, dataset)
        for run, (codec, method, quality) in coding_runs(profile, dataset).items():
            macs = coding_macs(profile, dataset, method, side)
            for seed in profile.seeds:
                made = preprocessor_parameters(profile, dataset, codec, method, quality, seed)
                seen = _seen(
                    Training(**made["training"]), lambda name=dataset: len(pictures_of(profile, name, "train"))
                )
                found.append(Planned(dataset, run, seed, seen, macs, codec, False, matching(made) is not None))
    return found + (_proxies(profile) if profile.preprocessing else [])


def _seen(training: Training, pictures: Callable[[], int]) -> int:
    """Return how many pictures pass a training; how many there are is only asked where its length is in epochs."""
    return training.batch * (training.steps or training.length(pictures()))


def _to_train_on(profile: Profile) -> int:
    data, root = profile.data, project_root() / Path(profile.data.source).expanduser()
    if data.kind == "cifar10" and data.source == "download":
        return 50_000 - 10 * data.validation_per_class
    if data.kind == "folder" and not root.is_dir():
        if root.name not in PHOTOGRAPHS:
            raise ParameterError(
                f"the pictures of {profile.name}, {data.source}, are not here; give --pictures NUMBER."
            )
        return PHOTOGRAPHS[root.name]  # less few that validate
    return len(load_splits(profile, "train")["train"])


def _side(profile: Profile, dataset: str) -> int:
    """Return the side of a square with as many pixels as a picture of one's own data set."""
    return round(math.prod(pictures_of(profile, dataset, "train").alike().picture(0).shape[:2]) ** 0.5)


def restoration_macs(profile: Profile, task: str, mode: str) -> float:
    """Return the multiply-accumulates of a picture in a training step: all terms of its objective, and back."""
    chosen, settings = profile.mode(mode, task), profile.task(task)
    counted = replace(chosen, name="counted", weight=float(chosen.recognition is not None))
    side = 32 if profile.data.kind == "cifar10" else profile.data.crop
    return _restoration_macs(counted, task, settings.processor, settings.transformer, profile.source, side)


@cache
def _restoration_macs(mode, task: str, processor, transformer, source: str, side: int) -> float:
    channel = make_channel(task)
    with torch.device("meta"):
        nets = {"processor": make_processor(processor.name, channel.scale, **processor.sizes)}
        if mode.transformer:
            nets["transformer"] = make_processor(transformer.name, 1, **transformer.sizes)
        objective = Restoration(mode, channel, _judge(source))
        small, large = (torch.zeros(1, 3, size, size) for size in (side // channel.scale, side))
        batch = {"degraded": small, "target": large, "labels": torch.zeros(1, dtype=torch.long)}
        return _macs(lambda: objective.terms(nets, batch)["loss"])


def coding_macs(profile: Profile, dataset: str, method: str, side: int) -> float:
    """Return the same of a training around a codec: its networks and the judge; codec and proxy lie in the rate."""
    settings = profile.coding(dataset)
    soft = method != "npp_mse" and settings.recognition == "soft_labels"
    return _coding_macs(method, settings.preprocessor, settings.postprocessor, soft, settings.source, dataset, side)


@cache
def _coding_macs(method: str, before, after, soft: bool, source: str, dataset: str, side: int) -> float:
    with torch.device("meta"):
        sent = clean = torch.zeros(1, 3, side, side)
        judge = _judge(source, task_of(dataset))
        answer = judge.soft_labels if isinstance(judge, Detector) else judge
        pre = make_preprocessor("NPP", **before.model_dump()) if method != "post" else None
        post = make_processor(scale=1, **after.model_dump()) if method in ("post", "both") else None

        def step() -> torch.Tensor:
            coded = pre(sent) if pre else sent
            seen = post(coded) if post else coded
            loss = seen.sum() if method == "npp_mse" else answer(seen).sum()
            if method == "both":  # what was decoded is restored once more, for the distortion
                loss = loss + post(coded.detach()).sum()
            if soft:
                with torch.no_grad():
                    answer(clean)
            return loss

        return _macs(step)


def _macs(step: Callable[[], torch.Tensor]) -> float:
    with FlopCounterMode(display=False) as counter:
        step().backward()
    return counter.get_total_flops() / 2


def _judge(name: str, task: str = "classification"):
    """Return a recognizer or detector as shapes, without its weights; one of the user's own is loaded."""
    from torchvision import models

    kind, middle, families = Path(name).name, (0.5,) * 3, FAMILIES | CELL_FAMILIES
    if task == "detection":
        if kind in TRUNKS:
            return Detector(make_detector(kind, 10), name, map(str, range(10)))
        return Detector(models.get_model(name, weights=None, weights_backbone=None), name, map(str, range(90)))
    if name in families or name in PUBLISHED:
        net = families[name](10) if name in families else efficientnet_lite(PUBLISHED[name])
        return Recognizer(net, name, middle, middle)
    if ":" in name:
        return load_recognizer(name).to("meta")
    return Recognizer(models.get_model(name, weights=None), name, middle, middle)


def _proxies(profile: Profile) -> list[Planned]:
    """Return the learned proxies that do not ship as the profile wants them; no rate of theirs was measured."""
    wanted = {
        proxy_stem(profile.proxy.name, weight): made_by(profile.proxy, weight) for weight in profile.proxy.weights
    }
    return [
        Planned("proxies", stem, 0, made["recipe"]["steps"] * made["recipe"]["batch"], 0.0, "a learned proxy")
        for stem, made in wanted.items()
        if not is_made(made, SHIPPED / f"{stem}.json")
    ]

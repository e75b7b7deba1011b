"""The trainings that a profile asks for, each with its pictures and the multiply-accumulates of one of them.

Networks are built on torch's `meta` device, as shapes without numbers; pictures are only listed where they have to be.
"""

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ra_core.data import as_batch, elpv, scenes
from ra_core.errors import ParameterError
from ra_core.judges import Detector, Judge, Recognizer, load_judge
from ra_core.judges.detector import unresized
from ra_core.judges.recognizer import PUBLISHED
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.processors import make_processor
from ra_core.models.proxies import SHIPPED, proxy_stem
from ra_core.params import Profile
from ra_core.paths import project_root
from ra_core.pretraining.proxies import is_made, made_by
from ra_core.runs import CodingRun, RestorationRun, Run
from ra_core.runs import planned as runs_of
from ra_core.runs.shipped import matching
from ra_core.steps.costs import macs

COUNTS = {"download": 50_000, "imagenet": 1_281_167}  # pictures to train on, where they are not here
SIDES = {"cells": elpv.CROP, "scenes": scenes.SIDE}
NO_WORK = {"profile", "seed", "training", "device", "threads", "mode", "codec", "coder", "quality", "rungs", "weight"}
NO_WORK |= {"task", "channel", "proxy", "mse_weight", "restoration_weight", "start"}
NOT_COUNTED = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU)
COUNTED: dict[str, float] = {}  # by all that work depends on


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
    places = [*([] if profile.processors else profile.tasks), *profile.learning]
    for run in (run for place in places for run in runs_of(profile, place)):
        part, name, _ = run.folder.parts[-3:]
        seen = run.training.batch * (run.training.steps or run.training.length(pictures or _to_train_on(run)))
        files = run.own_pictures and "kind" in run.parameters["data"]
        ships = matching(run.parameters) is not None
        found.append(Planned(part, name, run.seed, seen, macs_of(run), coder_of(run), files, ships))
    return found + (_proxies(profile) if profile.learning else [])


def coder_of(run: Run) -> str:
    """Return the real codec that a training goes through, or nothing."""
    return run.parameters.get("codec", "jpeg" if run.parameters.get("task") == "jpeg" else "")


def _to_train_on(run: Run) -> int:
    data = run.parameters.get("data", {})
    source = data.get("source", data.get("folder", ""))
    if data and source != "shipped" and not (project_root() / Path(source).expanduser()).is_dir():
        if Path(source).name not in COUNTS:
            raise ParameterError(f"the pictures in {source} are not here; give --pictures NUMBER.")
        return COUNTS[Path(source).name]  # less few that validate
    return len(run.splits()["train"])


def _proxies(profile: Profile) -> list[Planned]:
    """Return the learned proxies that do not ship as the profile wants them; no rate of theirs was measured."""
    found = []
    for weight in profile.proxy.weights:
        stem, made = proxy_stem(profile.proxy.name, weight), made_by(profile.proxy, weight)
        if not is_made(made, SHIPPED / f"{stem}.json"):
            seen = made["recipe"]["steps"] * made["recipe"]["batch"]
            found.append(Planned("proxies", stem, 0, seen, 0.0, "a learned proxy"))
    return found


def macs_of(run: Run) -> float:
    """Return the multiply-accumulates of a picture in a training step, forward and back, without codec and proxy."""
    counts = {key: value for key, value in run.parameters.items() if key not in NO_WORK}
    if isinstance(run, RestorationRun):
        counts |= {"scale": run.channel.scale, "data": _known_side(run) or run.parameters["data"]}
    if run.method.recognition is None:
        counts.pop("source")  # it only validates
    key = json.dumps([counts, run.method.trains, str(run.method.recognition)], default=str)
    if key not in COUNTED:
        count = _restoration if isinstance(run, RestorationRun) else _coding
        COUNTED[key] = count(run, _bare(_judge(counts["source"])) if "source" in counts else None)
    return COUNTED[key]


def _restoration(run: RestorationRun, judge: Judge | None) -> float:
    scale, side = run.channel.scale, _known_side(run) or _side(run)
    with torch.device("meta"):
        networks = {name: _bare(net) for name, net in run.networks().items()}
        networks["processor"].requires_grad_(run.before is None)
        objective = run.objective(judge, {})
        small, large = (torch.zeros(1, 3, size, size) for size in (side // scale, side))
        batch = {"degraded": small, "target": large, "labels": torch.zeros(1, dtype=torch.long)}
        if run.method.random_numbers:
            batch["numbers"] = torch.zeros(1, run.method.random_numbers)
        return _counted(lambda: objective.terms(networks, batch)["loss"])


def _known_side(run: RestorationRun) -> int | None:
    data = run.parameters["data"]
    return {"cifar10": 32, "folder": data["crop"]}.get(data["kind"])


def _coding(run: CodingRun, judge: Judge | None) -> float:
    parameters, trains = run.parameters, run.method.trains
    side = SIDES.get(parameters["dataset"]) or parameters.get("data", {}).get("crop") or _side(run)
    with torch.device("meta"):
        clean = torch.zeros(1, 3, side, side, requires_grad="tables" in trains)  # which stand behind the picture
        pre = _bare(make_preprocessor("NPP", **parameters["preprocessor"])) if "preprocessor" in trains else None
        post = _bare(make_processor(scale=1, **parameters["postprocessor"])) if "postprocessor" in trains else None

        def step() -> torch.Tensor:
            coded = pre(clean) if pre else clean
            seen = post(coded) if post else coded
            loss = judge.distance(seen, clean).sum() if parameters["recognition"] else seen.sum()
            # What was decoded is restored once more, for the distortion.
            return loss + post(coded.detach()).sum() if pre and post else loss

        return _counted(step)


def _side(run: Run) -> int:
    """Return the side of a square with as many pixels as a picture of one's own data set."""
    return round(math.prod(as_batch(run.splits()["train"], 1)[0].shape[-2:]) ** 0.5)


def _bare(net: nn.Module) -> nn.Module:
    """Take out of a network what is not counted and slow on shapes alone, and return it."""
    for parent in net.modules():
        for name, child in parent.named_children():
            if isinstance(child, NOT_COUNTED):
                setattr(parent, name, nn.Identity())
    return net


def _counted(step: Callable[[], torch.Tensor]) -> float:
    """Return the multiply-accumulates of a step and its way back; NaN where an operator knows no shapes alone."""
    try:
        return macs(lambda: step().backward())
    except NotImplementedError:  # a loss of one's own may use such a one
        return math.nan


@cache
def _judge(name: str) -> Judge:
    """Return a judge as shapes; published ones come without their weights."""
    from torchvision import models

    middle = (0.5,) * 3
    with torch.device("meta"):
        if name in PUBLISHED:
            return Recognizer(efficientnet_lite(PUBLISHED[name]), name, middle, middle)
        if name in models.list_models(module=models.detection):
            net = models.get_model(name, weights=None, weights_backbone=None)
            return Detector(unresized(net), name, map(str, range(90)))
        if name in models.list_models(module=models):
            return Recognizer(models.get_model(name, weights=None), name, middle, middle)
    return load_judge(name).to("meta")

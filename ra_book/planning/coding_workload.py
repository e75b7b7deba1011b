"""What a profile asks for before codecs: trainings and evaluations, counted on a small picture."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from ra_book.planning.workload import Job, Work, count, norm_layers, trained_pictures
from ra_core.coding import pictures_of, planned, preprocessor_parameters
from ra_core.coding.proxy_ladder import BLOCK_CODECS
from ra_core.coding.rate_accuracy import FILTER_PICTURES, FILTERS
from ra_core.data import elpv, scenes
from ra_core.data.cifar10 import CLASSES
from ra_core.judges.detector_nets import TRUNKS, make_detector
from ra_core.judges.detector import Detector, load_detector
from ra_core.models.preprocessors import make_preprocessor, preprocess
from ra_core.models.processors import make_processor
from ra_core.models.proxies import SHIPPED, make_proxy, proxy_stem
from ra_core.judges.recognizer import CELL_FAMILIES, Recognizer, load_recognizer
from ra_core.params import Profile
from ra_core.params.base import Training
from ra_core.params.coding import Ladder, Preprocessing, ends_and_middle, task_of
from ra_core.pretraining.proxies import is_made, made_by
from ra_core.shipped_runs import matching

PICTURES = {  # of each part, and the side of a picture
    "cells": ({"train": 1644, "validation": 326, "test": 654}, elpv.CROP),
    "scenes": (scenes.COUNTS, scenes.SIDE),
}
SMALL = 64  # side of the picture that is counted on; all that is counted here grows with the pixels
CROP = 112.0  # pixels, as a middle of the sides of the crops a learned proxy is trained on


def coding_jobs(profile: Profile) -> list[Job]:
    """Return the trainings and evaluations of a profile around codecs, on every data set."""
    found = _proxies(profile)
    for dataset, settings in profile.preprocessing.items():
        found += _trainings(profile, dataset, settings)
        found += [_evaluation(profile, dataset, settings, codec) for codec in settings.all_codecs]
    return found


def _stock(profile: Profile, dataset: str) -> tuple[dict[str, int], int]:
    """Return the pictures of each part, and the side of a picture; those of one's own folder are looked at."""
    if dataset in PICTURES:
        return PICTURES[dataset]
    parts = {part: pictures_of(profile, dataset, part) for part in ("train", "validation", "test")}
    height, width = parts["train"].alike().picture(0).shape[:2]
    sizes = parts["train"].sizes or ((height, width),)
    side = round((sum(height * width for height, width in sizes) / len(sizes)) ** 0.5)
    return {part: len(pictures) for part, pictures in parts.items()}, side


def _small(gradient: bool = False) -> torch.Tensor:
    """Return two coloured pictures, which nothing treats as grey."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.rand(2, 3, SMALL, SMALL).requires_grad_(gradient)


def _counted(net: nn.Module, call, gradient: bool, back: bool) -> Work:
    images = _small(gradient)

    def run():
        with torch.set_grad_enabled(back):
            answer = call(images)
        if back:
            answer.sum().backward()

    return count(run, len(images), net)


@cache
def _judge(dataset: str, name: str, back: bool) -> tuple[Work, int]:
    """Return the work of a recognizer or detector, with `back` that of its input's gradient, and its parameters."""
    if task_of(dataset) == "detection":
        if Path(name).name in TRUNKS:
            net = Detector(make_detector(Path(name).name, len(CLASSES)), name, CLASSES)
        else:
            net = load_detector(name)
        call = net.soft_labels
    elif name in CELL_FAMILIES:
        net = call = Recognizer(CELL_FAMILIES[name](len(elpv.CLASSES)), name, (0.5,) * 3, (0.5,) * 3)
    else:
        net = call = load_recognizer(name)
    return _counted(net, call, gradient=back, back=back), sum(p.numel() for p in net.parameters())


@cache
def _trained(kind: str, sizes: tuple, back: bool) -> tuple[Work, int]:
    """Return the work of a `preprocessor` or `postprocessor`, with `back` that of training it, and its parameters."""
    if kind == "postprocessor":
        net = call = make_processor(scale=1, **dict(sizes))
    else:
        net = make_preprocessor("NPPQA", **dict(sizes))

        def call(images):
            return preprocess(net, images, 1.0)

    work = replace(_counted(net, call, gradient=False, back=back), norms=norm_layers(net) if back else 0)
    return work, sum(p.numel() for p in net.parameters())


@cache
def _proxy(name: str, codec: str, n: int, m: int) -> Work:
    """Return the work of a proxy and of the gradient of its bits and pictures."""
    sizes = {"codec": BLOCK_CODECS[codec]} if name == "BlockDCT" else {"n": n, "m": m}
    net = make_proxy(name, **sizes).requires_grad_(False).eval()

    def call(images):
        out = net(images, torch.full((len(images),), 30.0)) if name == "BlockDCT" else net(images)
        return out["bits"].sum() + out["pictures"].sum()

    return _counted(net, call, gradient=True, back=True)


def _around(settings: Preprocessing, back: bool) -> dict[str, tuple[Work, int]]:
    """Return work and size of the networks that can stand around a codec."""
    sizes = {kind: tuple(getattr(settings, kind).model_dump().items()) for kind in ("preprocessor", "postprocessor")}
    return {kind: _trained(kind, size, back) for kind, size in sizes.items()}


def _trainings(profile: Profile, dataset: str, settings: Preprocessing) -> list[Job]:
    parts, side = _stock(profile, dataset)
    pixels = side**2 / SMALL**2
    nets, forward = _around(settings, back=True), _around(settings, back=False)
    (through, size), (look, _) = (_judge(dataset, settings.source, back) for back in (True, False))
    checked, found = min(settings.validation_pictures or parts["validation"], parts["validation"]), []
    for name, (codec, method, quality) in planned(profile, dataset).items():
        wanted = [preprocessor_parameters(profile, dataset, codec, method, quality, s) for s in profile.seeds]
        training = Training(**wanted[0]["training"])
        steps, pictures = trained_pictures(training, parts["train"])
        runs = sum(matching(one) is None for one in wanted)  # what ships is not trained
        kinds = [kind for kind in nets if method == "both" or (method == "post") == (kind == "postprocessor")]
        work = sum((nets[kind][0] for kind in kinds), Work())
        if "preprocessor" in kinds:
            work += _proxy(settings.codecs[codec].proxy, codec, profile.proxy.n, profile.proxy.m)
        if method == "both":  # what was decoded passes it twice: to be judged, and to be restored
            work += nets["postprocessor"][0]
        if method != "npp_mse":
            work += through + (look if settings.recognition == "soft_labels" else Work())
        check = sum((forward[kind][0] for kind in kinds), look)
        found.append(Job(
            dataset, name, "training", runs, steps, training.batch, pictures, side,
            work.times(pixels), training.precision, check.times(pixels), checked, ((codec, 1.0),),
            sum(nets[kind][1] for kind in kinds), size, parts["train"] + parts["validation"],
        ))  # fmt: skip
    return found


def _passes(profile: Profile, steps: Ladder) -> tuple[int, dict[str, int]]:
    """Return how often the test pictures are coded for one codec, and how often by each kind of network."""
    seeds, curve = len(profile.seeds), len(steps.curve)
    pre = seeds * (curve * bool(steps.rungs) + len(steps.single) + len(steps.npp_mse))
    behind = seeds * curve * steps.both_ends
    networks = {"preprocessor": pre + behind, "postprocessor": 2 * behind}
    return curve * (1 + len(steps.baselines)) + pre + 2 * behind, networks


def _evaluation(profile: Profile, dataset: str, settings: Preprocessing, codec: str) -> Job:
    """Return the measurement of bytes against accuracy with one codec, its filters' settings included."""
    parts, side = _stock(profile, dataset)
    test = min(settings.pictures or parts["test"], parts["test"])
    forward = _around(settings, back=False)
    judges = [_judge(dataset, name, back=False) for name in settings.judges]
    every, tuned = sum((work for work, _ in judges), Work()), 0
    if codec in settings.codecs:
        steps = settings.codecs[codec]
        passes, networks = _passes(profile, steps)
        at = len(ends_and_middle(steps.curve))
        tuned = sum(at * (1 + len(FILTERS[name])) for name in steps.baselines if name in FILTERS)
    else:
        trained_for = sum(bool(steps.rungs) for steps in settings.codecs.values())
        networks = {"preprocessor": trained_for * len(settings.transfer[codec])}
        passes = len(settings.transfer[codec]) + networks["preprocessor"]
    tuned *= min(FILTER_PICTURES, parts["validation"])
    work = every.times(passes * test) + judges[0][0].times(tuned)
    for kind, times in networks.items():
        work += forward[kind][0].times(times * test)
    pictures, batch = passes * test + tuned, settings.evaluation_batch
    return Job(
        dataset, f"evaluation of {codec}", "evaluation", 1, -(-pictures // batch), batch, pictures, side,
        Work(work.macs / pictures, work.moved / pictures, 0.0, work.operators).times(side**2 / SMALL**2),
        coders=((codec, 1.0),), frozen=sum(size for _, size in judges), held=test,
    )  # fmt: skip


def _proxies(profile: Profile) -> list[Job]:
    """Return the trainings of learned proxies that do not ship as the profile wants them."""
    settings, found = profile.proxy, []
    for weight in settings.weights:
        made = made_by(settings, weight)
        stem = proxy_stem(settings.name, weight)
        if is_made(made, SHIPPED / f"{stem}.json"):
            continue
        net, recipe = make_proxy(settings.name, n=settings.n, m=settings.m), settings.training
        work = _counted(net, lambda images, net=net: net(images)["bits"].sum(), gradient=False, back=True)
        steps = made["recipe"]["steps"]
        found.append(Job(
            "proxies", stem, "training", 1, steps, recipe.batch, steps * recipe.batch, int(CROP),
            work.times(CROP**2 / SMALL**2), recipe.precision, trained=sum(p.numel() for p in net.parameters()),
        ))  # fmt: skip
    return found

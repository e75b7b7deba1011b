"""The steps of the chapters on preprocessing: train a preprocessor, measure bytes against accuracy, compare.

Each step finds what it needs, makes what is missing, and leaves finished work alone.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ra_core import shipped_runs
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.coding.proxy_ladder import REFERENCES, load_proxy
from ra_core.coding.scores import summary
from ra_core.data import elpv, fingerprint
from ra_core.errors import ParameterError
from ra_core.evaluation import evaluate
from ra_core.experiments import set_threads
from ra_core.files import write_text
from ra_core.metrics import to_8bit
from ra_core.models.preprocessors import interpolated, make_preprocessor, preprocess
from ra_core.models.processors import make_processor
from ra_core.models.recognizers import load_recognizer
from ra_core.models.weights import load_weights
from ra_core.objectives import Preprocessing as Objective
from ra_core.objectives import Rung
from ra_core.params import Profile
from ra_core.params.base import Training
from ra_core.params.coding import ALL_RUNGS, METHODS, Ladder, task_of
from ra_core.paths import profile_folder, project_root
from ra_core.runs import begun, check_pictures, is_complete, now, record, tidy
from ra_core.training import fit
from ra_core.training.processes import Team, find_team

STRENGTH = 1 / 8  # of a preprocessor, for a lambda of 1; published


def load_pictures(dataset: str, part: str, count: int = 0):
    """Return a part of `cells` or `scenes`, or `count` of its pictures (0, or more than there are: all).

    Of cells they are taken at even distances, as those of one module and kind lie together; of scenes the first.
    """
    if dataset == "cells":
        return _spread(elpv.load(part), count)
    from ra_core.data import scenes

    return scenes.load(part, count or None)


def pictures_of(profile: Profile, dataset: str, part: str, count: int = 0):
    """Return what `load_pictures` does, of any data set of a profile.

    Of a folder of one's own `count` pictures are taken at even distances; what of it cannot be used is listed in
    `runs/<profile>/<dataset>/skipped.txt`.
    """
    data = profile.coding(dataset).data
    if data is None:
        return load_pictures(dataset, part, count)
    from ra_core.data.box_parts import load_parts

    found = load_parts(
        project_root() / Path(data.folder).expanduser(), data.resize, tuple(data.names.items()),
        tuple(data.parts.items()), data.test_share, data.validation_share,
    )  # fmt: skip
    skipped = dict.fromkeys(line for pictures in found.values() for line in pictures.skipped)
    write_text(profile_folder(profile.name) / dataset / "skipped.txt", "".join(f"{one}\n" for one in skipped))
    return _spread(found[part], count)


def _spread(pictures, count: int):
    """Return `count` pictures at even distances, or all."""
    if not 0 < count < len(pictures):
        return pictures
    return pictures.subset(torch.arange(count) * len(pictures) // count, pictures.name)


def load_judges(
    dataset: str, names: list[str], device: str | torch.device = "cpu", classes: tuple[str, ...] = ()
) -> dict[str, nn.Module]:
    """Return the recognizers or detectors of a data set by name, frozen; detectors name what they find by `classes`."""
    if task_of(dataset) == "classification":
        load = load_recognizer
    else:
        from ra_core.models.detectors import load_detector

        def load(name):
            return load_detector(name).speak(classes) if classes else load_detector(name)

    return {name: load(name).to(device, memory_format=torch.channels_last) for name in names}


def together(pictures, most: int = 0):
    """Return the first `most` pictures (0: all) as one batch, with labels; those of several sizes are cut to one."""
    chosen = pictures.subset(torch.arange(min(most or len(pictures), len(pictures))), pictures.name)
    chosen = chosen.alike() if getattr(chosen, "sizes", ()) else chosen
    return chosen.batch(torch.arange(len(chosen)))


class AtStrength(nn.Module):
    """A preprocessor as a link of a chain: an adaptive one is told the strength once and for all."""

    def __init__(self, net: nn.Module, strength: float):
        super().__init__()
        self.net, self.strength = net, strength

    def forward(self, images):
        return preprocess(self.net, images, self.strength if self.net.adaptive else None)


def ladder(profile: Profile, dataset: str, codec: str) -> Ladder:
    """Return the qualities of a codec. Raises `ParameterError` where no preprocessor is trained for it."""
    known = profile.coding(dataset).codecs
    if codec not in known:
        raise ParameterError(
            f"profile {profile.name} trains no preprocessor for codec {codec!r} on {dataset}; "
            f"choose one of {', '.join(known)}."
        )
    return known[codec]


def rungs(settings: Ladder, method: str, quality: float | None) -> tuple[Rung, ...]:
    """Return what a run is trained on: all rungs, or that of its quality where the method has one a quality."""
    every = tuple(Rung(q, weight, STRENGTH * weight) for q, weight in settings.rungs)
    if method in ALL_RUNGS:
        return every
    chosen = tuple(rung for rung in every if rung.quality == quality)
    if not chosen:
        known = ", ".join(f"{rung.quality:g}" for rung in every)
        raise ParameterError(f"quality {quality!r} is no rung of the ladder; choose one of {known}.")
    return chosen


def strength_at(settings: Ladder, quality: float) -> float:
    """Return the strength for any quality: that of the rungs, interpolated in log2 between them.

    Of several rungs of one quality the first counts: of the two that are published for QP 40 it lies nearer to the
    line through its neighbours.
    """
    return interpolated({q: STRENGTH * weight for q, weight in reversed(settings.rungs)}, quality)


def run_name(method: str, codec: str, quality: float | None = None) -> str:
    """Return the folder's name of a run: method, codec, and its quality unless it has all of them."""
    return f"{method}-{codec}" + ("" if method in ALL_RUNGS else f"-{quality:g}")


def planned(profile: Profile, dataset: str) -> dict[str, tuple[str, str, float | None]]:
    """Return every run a profile trains on a data set: its name, its codec, method and quality."""
    found: dict[str, tuple[str, str, float | None]] = {}
    for codec, steps in profile.coding(dataset).codecs.items():
        wanted: list[tuple[str, float | None]] = [("npp_qa", None)] if steps.rungs else []
        wanted += [("post", None), ("both", None)] if steps.both_ends else []
        wanted += [("npp", quality) for quality in steps.single]
        wanted += [("npp_mse", quality) for quality in steps.npp_mse]
        found |= {run_name(method, codec, quality): (codec, method, quality) for method, quality in wanted}
    return found


def needed(profile: Profile, dataset: str, codec: str) -> list[str]:
    """Return the runs a codec is measured with: its own, or, where it only transfers, the adaptive preprocessors."""
    if codec in profile.coding(dataset).codecs:
        return [name for name, (own, _, _) in planned(profile, dataset).items() if own == codec]
    return [name for name, (_, method, _) in planned(profile, dataset).items() if method == "npp_qa"]


def preprocessor_folder(profile: str, dataset: str, method: str, codec: str, quality, seed: int) -> Path:
    """Return `runs/<profile>/<dataset>/<method>-<codec>[-<quality>]/seed<seed>`."""
    return profile_folder(profile) / dataset / run_name(method, codec, quality) / f"seed{seed}"


def preprocessor_parameters(
    profile: Profile, dataset: str, codec: str, method: str, quality: float | None, seed: int
) -> dict:
    """Return all that the result of a training around a codec depends on, and nothing else.

    Raises `ParameterError` for a method, codec or quality the profile does not train.
    """
    if method not in METHODS:
        raise ParameterError(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}.")
    settings, steps = profile.coding(dataset), ladder(profile, dataset, codec)
    chosen = rungs(steps, method, quality)
    recognition = None if method == "npp_mse" else settings.recognition
    parameters = {
        "profile": profile.name, "dataset": dataset, "method": method, "codec": codec,
        "quality": None if method in ALL_RUNGS else quality, "seed": profile.checked_seed(seed),
        "rungs": [list(rung) for rung in chosen], "coder": repr(load_codec(codec)), "proxy": steps.proxy,
        "source": settings.source, "recognition": recognition, "preprocessor": settings.preprocessor.model_dump(),
        "training": steps.training_of(method, settings.training).model_dump(),
        "device": profile.device, "threads": profile.threads,
        "mse_weight": (method == "npp_mse" and settings.npp_mse_weight) or settings.mse_weight,
    }  # fmt: skip
    if settings.data:
        parameters["data"] = settings.data.model_dump()
    if steps.proxy != "BlockDCT":
        parameters["learned_proxy"] = profile.proxy.model_dump()
    if method in ("post", "both"):
        parameters["postprocessor"] = settings.postprocessor.model_dump()
        parameters["restoration_weight"] = settings.restoration_weight
    unused = ("preprocessor", "mse_weight", "proxy", "learned_proxy") if method == "post" else ()
    return {key: value for key, value in parameters.items() if key not in unused}


def train_preprocessor(
    profile: Profile, dataset: str, codec: str, method: str = "npp_qa", quality: float | None = None, seed: int = 0
) -> Path:
    """Train what a method has around a codec unless that is done or ships, and return its run folder."""
    parameters = preprocessor_parameters(profile, dataset, codec, method, quality, seed)
    folder = preprocessor_folder(profile.name, dataset, method, codec, quality, seed)
    team = find_team(profile.device)

    def done() -> bool:
        if not is_complete(folder, parameters):
            return shipped_runs.take(folder, parameters)
        if profile.coding(dataset).data:  # a folder of one's own, which may change
            now = {part: fingerprint(found) for part, found in _splits(profile, dataset).items()}
            check_pictures(folder, now)
        return True

    if not team.on_rank_zero(done):
        _train(profile, folder, parameters, team)
    team.on_rank_zero(lambda: tidy(folder))
    return folder


def _splits(profile: Profile, dataset: str) -> dict:
    """Return what is trained and validated on."""
    count = profile.coding(dataset).validation_pictures
    return {
        "train": pictures_of(profile, dataset, "train"),
        "validation": pictures_of(profile, dataset, "validation", count),
    }


def _train(profile: Profile, folder: Path, parameters: dict, team: Team) -> None:
    set_threads(profile)
    dataset, codec, seed = parameters["dataset"], parameters["codec"], parameters["seed"]
    settings, device = profile.coding(dataset), team.device
    splits = _splits(profile, dataset)
    judge = load_judges(dataset, [settings.source], device, splits["train"].classes)[settings.source]
    coder = load_codec(codec)
    nets = make_nets(parameters)
    chosen = tuple(Rung(*rung) for rung in parameters["rungs"])
    extra = {key: parameters[key] for key in ("mse_weight", "restoration_weight") if key in parameters}
    references = together(splits["validation"], REFERENCES)[0]
    proxy = load_proxy(parameters["proxy"], codec, profile, references) if "proxy" in parameters else None
    objective = Objective(coder, proxy, judge, chosen, parameters["recognition"], **extra)
    middle = chosen[len(chosen) // 2]

    def validate() -> dict:
        chain = chain_of(nets, codec, middle.quality, middle.strength)
        shown = (splits["validation"], settings.evaluation_batch, device)
        answers = evaluate(chain, {"source": judge}, *shown, with_ssim=False, team=team)
        return {"quality": middle.quality} | summary(answers, splits["validation"], "source")

    with begun(folder, parameters, team):
        torch.manual_seed(seed)
        started, training = now(), Training(**parameters["training"])
        done = fit(
            nets, objective, splits["train"], folder=folder, seed=seed, device=str(device),
            validate=validate, validations=1, validation_pictures=splits["validation"],
            name=f"{dataset} {folder.parent.name} seed{seed}",
            **training.options(len(splits["train"])),
        )  # fmt: skip
        told = ("profile", "dataset", "method", "codec", "quality", "seed", "source")
        keys = {key: parameters[key] for key in told} | {"coder": coder.describe()} | team.facts
        team.on_rank_zero(lambda: record(folder, keys, splits, nets, device, started, done))


def make_net(parameters: dict) -> nn.Module:
    """Return the fresh preprocessor of a run; a seed begins the same everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters["seed"])
        name = "NPPQA" if parameters["method"] in ALL_RUNGS else "NPP"
        return make_preprocessor(name, **parameters["preprocessor"])


def make_nets(parameters: dict) -> dict[str, nn.Module]:
    """Return the fresh networks of a run by name; those of a seed begin the same in every method."""
    nets = {"preprocessor": make_net(parameters)} if "preprocessor" in parameters else {}
    if "postprocessor" in parameters:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(parameters["seed"])
            nets["postprocessor"] = make_processor(scale=1, **parameters["postprocessor"])
    return nets


def load_preprocessor(folder: Path, parameters: dict) -> nn.Module:
    """Return the trained preprocessor of a run folder."""
    return load_weights(make_net(parameters), Path(folder) / "preprocessor.safetensors").eval()


def load_nets(folder: Path, parameters: dict) -> dict[str, nn.Module]:
    """Return the trained networks of a run folder by name."""
    nets = make_nets(parameters).items()
    return {name: load_weights(net, Path(folder) / f"{name}.safetensors").eval() for name, net in nets}


def chain_of(nets: dict[str, nn.Module], codec: str, quality: float, strength: float) -> Chain:
    """Return the chain of the networks of a run around its codec."""
    pre = AtStrength(nets["preprocessor"], strength) if "preprocessor" in nets else None
    return Chain(Coded(load_codec(codec), whole(quality)), nets.get("postprocessor"), pre=pre)


def pair_at(
    profile: Profile, dataset: str, codec: str, method: str, quality: float | None, seed: int, pictures
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pictures, what is handed to the codec, and what a recognizer is shown, (B, 3, H, W) each.

    Pictures of several sizes are cut to one. A method that has all qualities is taken at the middle rung of its ladder.
    """
    folder = train_preprocessor(profile, dataset, codec, method, quality, seed)
    parameters = preprocessor_parameters(profile, dataset, codec, method, quality, seed)
    rung = Rung(*parameters["rungs"][len(parameters["rungs"]) // 2])
    chain = chain_of(load_nets(folder, parameters), codec, rung.quality, rung.strength)
    images, _ = together(pictures)
    with torch.inference_mode():
        sent = images if chain.pre is None else to_8bit(chain.pre(images))
        return images, sent, replace(chain, pre=None)(sent, torch.arange(len(sent)))["stored"]


def whole(quality: float) -> float | int:
    """Return a quality as a whole number where it is one, as most codecs ask for."""
    return int(quality) if quality == int(quality) else quality

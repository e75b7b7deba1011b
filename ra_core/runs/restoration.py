"""Runs of recognition-aware restoration: a processor, and perhaps a transformer, behind a task's channel."""

from dataclasses import asdict, dataclass

import torch

from ra_core.chain import Chain
from ra_core.channels import Channel, make_channel
from ra_core.data import is_labelled, load_splits
from ra_core.errors import DataError
from ra_core.evaluation import evaluate
from ra_core.models.processors import make_processor
from ra_core.models.weights import load_weights
from ra_core.objectives import Restoration
from ra_core.params import Data, Profile
from ra_core.paths import profile_folder, project_root, run_folder
from ra_core.runs.run import Run
from ra_core.runs.shipped import place_of


@dataclass(frozen=True)
class RestorationRun(Run):
    """A training of one task in one mode.

    The processor of `ra_transformer` learns what that of `plain` does, so it takes that one, from the run `before`, and
    trains the transformer alone.
    """

    before: "RestorationRun | None" = None
    recorded = ("profile", "task", "mode", "seed", "source")
    validations = 4

    @property
    def name(self):
        return "{task}/{mode}/seed{seed}".format(**self.parameters)

    @property
    def channel(self) -> Channel:
        """What happens to the pictures."""
        return make_channel(self.parameters["task"], **self.parameters["channel"])

    def splits(self):
        data, folder = Data(**self.data), profile_folder(self.parameters["profile"])
        return load_splits(data, ("train", "validation"), project_root(), folder)

    def judge(self, pictures, device):
        if self.method.needs_labels and not is_labelled(pictures):
            raise DataError(
                f"mode {self.method.name} learns from labels, and {self.parameters['data']['source']} holds pictures "
                "alone; train plain and ra_unsupervised, or add a table labels.csv or class folders."
            )
        return super().judge(pictures, device)

    def networks(self):
        scales = {"processor": self.channel.scale, "transformer": 1}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return {name: make_processor(scale=scales[name], **self.parameters[name]) for name in self.method.trains}

    def begin(self, networks):
        start, fresh = self.parameters.get("start"), networks.keys() - ({"processor"} if self.before else set())
        for name in start["sha256"].keys() & fresh if start else ():
            load_weights(networks[name], place_of(start["run"]) / f"{name}.safetensors", start["sha256"][name])
        if self.before:
            networks["processor"] = self.before.stored()["processor"].eval().requires_grad_(False)

    def objective(self, judge, splits):
        return Restoration(self.method, self.channel, judge)

    def chain(self, networks, quality=None):
        return Chain(self.channel, networks["processor"], networks.get("transformer"))

    def validate(self, networks, judge, splits, team):
        shown = (splits["validation"], self.evaluation_batch, team.device)
        found = evaluate(self.chain(networks), {"source": judge}, *shown, team=team).summary("source")
        return {key: value for key, value in found.items() if key != "bpp"}  # of one codec at one quality


def resolve_restoration(profile: Profile, task: str, mode: str, seed: int) -> RestorationRun:
    """Return the run of one task, mode and seed of a profile."""
    chosen, settings = profile.mode(mode, task), profile.task(task)
    parameters = {
        "profile": profile.name, "task": task, "mode": chosen.name, "seed": seed, "weight": chosen.weight,
        "data": profile.data.model_dump(exclude={"test", "test_per_class"}), "channel": asdict(profile.channel(task)),
        "processor": settings.processor.model_dump(),
        "source": chosen.source(profile.source),  # validates in every mode
        "training": settings.training.model_dump(), "device": profile.device, "threads": profile.threads,
    }  # fmt: skip
    if chosen.transformer:
        parameters["transformer"] = settings.transformer.model_dump()
    folder = run_folder(profile.name, task, chosen.name, seed)
    return RestorationRun(parameters, folder, profile.evaluation_batch, cache=profile.data.cache)

"""Everything a run of the book depends on, typed: a profile."""

import re
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Literal

from pydantic import Field, create_model, field_validator, model_validator

from ra_core.channels import TASKS, Channel, make_channel
from ra_core.data import DATASETS
from ra_core.errors import ParameterError
from ra_core.human_yaml import is_name
from ra_core.judges.sidecar import checked_source
from ra_core.methods import Method, find_method, name_parts
from ra_core.params.base import (
    MAX_SEED,
    MAX_THREADS,
    Network,
    SourceName,
    Strict,
    Training,
    UnseenNames,
    mended,
    one_of,
)
from ra_core.params.coding import LearnedProxy, Preprocessing
from ra_core.params.data import Data

RESERVED = ("notebooks", "report", "proxies", "book")  # folders of a profile's runs, beside those of its tasks


class Task(Strict):
    """What one task trains."""

    processor: Network = Network()
    transformer: Network = Network(name="ResnetGenerator")
    training: Training = Training()
    start: str = Field("", description="a finished run by name, photos/sr/plain, with whose networks trainings begin")
    weights: dict[str, float] = Field({}, description="lambda by mode, where it differs from the published one")

    @field_validator("weights")
    @classmethod
    def _known_modes(cls, weights):
        for name, weight in weights.items():
            if "@" in name:
                raise ValueError(f"{name!r} has a lambda already; name a mode without @")
            if not (_mode(name).recognition and weight > 0):
                raise ValueError(
                    "a lambda is a number above 0 for a mode with a recognition term (0 is the mode plain)"
                )
        return {_mode(name).name: weight for name, weight in weights.items()}


class Profile(Strict):
    """Everything a run of the book depends on."""

    name: str
    extensions: list[str] = Field([], description="Python modules of one's own, which register what they bring")
    data: Data = Data()
    channels: Strict = Field(Strict(), description="how strongly tasks degrade, see `profile_model`")
    tasks: dict[one_of(TASKS), Task] = Field({"sr": Task(), "dn": Task(), "jpeg": Task()}, min_length=1)
    preprocessing: dict[str, Preprocessing] = Field(
        {}, description="preprocessing before a codec, by data set: a registered one, or a name for one's own"
    )
    proxy: LearnedProxy = LearnedProxy()
    processors: str | None = Field(
        None, description="trained already, and only judged: those that ship by this name, or runs/PROFILE"
    )
    modes: list[str] = Field(
        ["plain", "ra", "ra_transformer", "ra_unsupervised"],
        min_length=1, description="ra@0.01: with lambda 0.01, ra@vgg8: with that source, ra@resnet20+vgg8: with two",
    )  # fmt: skip
    seeds: list[int] = Field([0], min_length=1, description="one training a seed")
    source: SourceName | None = Field("resnet20", description="the judge that training sees; null: no judge here did")
    unseen: UnseenNames = Field(
        ["resnet26", "vgg8", "densenet17", "mobilenet"], description="only in evaluation; judges/*: all files there"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = Field(0, ge=0, le=MAX_THREADS, description="CPU threads of torch in a notebook, 0 for one a core")
    jobs: int = Field(1, ge=1, description="notebooks that the workflow runs side by side")
    evaluation_batch: int = Field(250, ge=1, description="pictures a step of evaluation")

    @field_validator("modes")
    @classmethod
    def _known_modes(cls, modes):
        names = [_mode(name).name for name in modes]
        if len(set(names)) < len(names):
            raise ValueError("a mode is named twice")
        return names

    @field_validator("seeds")
    @classmethod
    def _possible_seeds(cls, seeds):
        if len(set(seeds)) < len(seeds) or not all(0 <= seed <= MAX_SEED for seed in seeds):
            raise ValueError(f"seeds must be different and from 0 to {MAX_SEED}")
        return seeds

    @model_validator(mode="after")
    def _different_judges(self):
        if len({self.source, *self.unseen}) < 1 + len(self.unseen):
            raise ValueError(f"source = {self.source!r} and unseen = {self.unseen} must be different recognizers")
        if not (self.source or (self.processors and self.unseen)):
            raise ValueError("source is null: name processors that are trained already, and judges under unseen")
        return self

    @model_validator(mode="after")
    def _sources_of_modes(self):
        for name in self.modes:
            for source in find_method(name).sources:
                if mended(checked_source, source) not in self.recognizers:
                    raise ValueError(f"mode {name!r} learns from {source!r}; name that under unseen as well")
        return self

    @model_validator(mode="after")
    def _trainable(self):
        if self.data.kind == "boxes" and not self.processors:
            raise ValueError("data.kind = 'boxes' has nothing to train on; name processors that are trained already")
        if self.processors and self.learning:
            raise ValueError(
                "processors are only judged; move preprocessing that trains into another profile, or name trained there"
            )
        return self

    @model_validator(mode="after")
    def _enlargeable(self):
        for name, task in self.tasks.items():
            scale, processor = self.channel(name).scale, task.processor.name
            if scale > 1 and processor == "ResnetGenerator":
                raise ValueError(f"tasks.{name}.processor.name = {processor!r} keeps the size; give SRResNet")
            if scale & (scale - 1):
                raise ValueError(f"channels.factor = {scale} is not allowed: {processor} enlarges by 2, 4, 8 or 16")
        return self

    @model_validator(mode="after")
    def _data_sets(self):
        taken = (*RESERVED, *TASKS)
        for name, settings in self.preprocessing.items():
            if name in DATASETS and settings.data:
                raise ValueError(f"preprocessing.{name} has its own pictures; give those in data another name")
            if name not in DATASETS and not settings.data:
                known = " or ".join(DATASETS)
                raise ValueError(f"preprocessing.{name} has no data; name {known}, or state data: {{folder: ...}}")
            known = ("folder", "boxes") if settings.trained else ("folder",)  # boxes of this kind only test
            if getattr(settings.data, "kind", "folder") not in known:
                raise ValueError(
                    f"preprocessing.{name}.data.kind = {settings.data.kind!r} is not allowed; "
                    f"write {' or '.join(known)}, or name a registered data set in place of a name of your own"
                )
            if name in taken or not is_name(name) or not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(
                    f"preprocessing.{name} cannot be the name of a data set; use small letters, digits and _, "
                    f"and none of {', '.join(taken)}, nor a word such as no, on or null"
                )
            for codec, ladder in settings.codecs.items():
                if ladder.proxy not in ("BlockDCT", self.proxy.name):
                    raise ValueError(
                        f"preprocessing.{name}.codecs.{codec}.proxy = {ladder.proxy!r}, "
                        f"but the learned proxy, proxy.name, is {self.proxy.name!r}"
                    )
        return self

    @property
    def recognizers(self) -> list[str]:
        """All recognizers, the source first, where there is one."""
        return [*([self.source] if self.source else []), *self.unseen]

    @property
    def learning(self) -> dict[str, Preprocessing]:
        """The data sets on which networks around codecs are trained, and not only judged."""
        return {name: settings for name, settings in self.preprocessing.items() if not settings.trained}

    @property
    def compares_sources(self) -> bool:
        """Whether a mode learns from other judges than the source, so that it can be asked what transfers."""
        return any(find_method(name).sources for name in self.modes)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that its pictures are divided into; where nothing is trained, only what is reported on."""
        return ("test",) if self.processors else ("train", "validation", "test")

    @property
    def is_published_setting(self) -> bool:
        """Whether results can be set beside the paper's: its pictures, channels, networks and recognizers.

        Recognizers of ImageNet refuse pictures of other classes, so pictures in a folder are ImageNet's.
        """
        pictures = (self.data.kind, self.data.resize, self.data.crop) == ("folder", 256, 224)
        networks = {(task.processor, task.transformer) for task in (Task(), *self.tasks.values())}
        judges = self.source == "resnet18" and "resnet50" in self.unseen
        return pictures and len(networks) == 1 and judges and self.channels == type(self.channels)()

    def task(self, name: str) -> Task:
        """Return a task of this profile. Raises `ParameterError` where it has none of that name."""
        return self.tasks[self._known("task", name, self.tasks)]

    def channel(self, task: str) -> Channel:
        """Return the channel of a task."""
        return make_channel(task, **self.channels.model_dump())

    def coding(self, dataset: str) -> Preprocessing:
        """Return what this profile does before codecs on a data set. Raises `ParameterError` where it does nothing."""
        return self.preprocessing[self._known("preprocessing for", dataset, self.preprocessing)]

    def mode(self, name: str, task: str) -> Method:
        """Return a mode of this profile with its lambda on a task. Raises `ParameterError` where it has none."""
        base, *_ = name_parts(self._known("mode", find_method(name).name, self.modes))
        return find_method(name, self.task(task).weights.get(base))

    def _known(self, what: str, name: str, known: Iterable[str]) -> str:
        if name not in known:
            choice = ", ".join(known) or "none"
            raise ParameterError(f"profile {self.name} has no {what} {name!r}; choose one of {choice}.")
        return name


def _mode(name: str) -> Method:
    method = mended(find_method, name)
    if not method.restores:
        raise ValueError(f"method {name!r} works around a codec; name a mode of restoration")
    return method


def profile_model() -> type[Profile]:
    """Return the type of a profile whose `channels` has the parameters of every task that is registered now."""
    return _profile_model(tuple(TASKS.values()))


@cache
def _profile_model(tasks: tuple[type, ...]) -> type[Profile]:
    known = {each.name: each for channel in tasks for each in fields(channel) if each.metadata["description"]}
    typed = {name: (type(each.default), Field(each.default, **each.metadata)) for name, each in known.items()}
    channels = create_model("Channels", __base__=Strict, **typed)
    return create_model("Profile", __base__=Profile, channels=(channels, channels()))

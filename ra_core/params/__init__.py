"""Typed parameters, and the only reader of `params/`.

A profile states what differs from the defaults below, which are the published recipe.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from ra_core import human_yaml
from ra_core.errors import ParameterError, RAError
from ra_core.losses import Mode, find_mode
from ra_core.params.base import Network, Strict, Training
from ra_core.params.coding import DATASETS, RESERVED, LearnedProxy, Preprocessing

TaskName = Literal["sr", "dn", "jpeg"]
MAX_SEED = 10**9  # a multiple of it still fits into what torch takes


class Data(Strict):
    """Where pictures come from."""

    kind: Literal["cifar10", "folder"] = Field(
        "cifar10", description="CIFAR-10, or a folder: of class folders, with labels.csv, or of pictures alone"
    )
    source: str = Field("shipped", description="CIFAR-10: shipped, download or a path; folder: its path")
    train_per_class: int = Field(0, ge=0, description="training pictures a class, 0 for all")
    test_per_class: int = Field(0, ge=0, description="test pictures a class, 0 for all")
    validation_per_class: int = Field(
        50, ge=1, description="pictures a class set aside from training (not of flat folders)"
    )
    resize: int = Field(256, ge=8, description="folder: shorter side before the crop, pixels")
    crop: int = Field(224, ge=8, description="folder: side of the square crop, pixels")
    test_share: float = Field(
        0.5, gt=0, lt=1, description="folder without class folders: share of the files that is only reported on"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="folder without class folders: share of the files that validates"
    )

    @model_validator(mode="after")
    def _something_to_train_on(self):
        if self.test_share + self.validation_share >= 1:
            raise ValueError(
                f"test_share = {self.test_share} and validation_share = {self.validation_share} "
                "leave nothing to train on; their sum must be below 1"
            )
        return self

    @property
    def title(self) -> str:
        """What readers call these pictures."""
        return "CIFAR-10" if self.kind == "cifar10" else Path(self.source).name


class Channels(Strict):
    """How strongly each task degrades a picture."""

    factor: int = Field(4, ge=2, le=16, description="sr: downsampling factor")
    sigma: float = Field(0.1, gt=0, le=1, description="dn: standard deviation of the noise, 1 is black to white")
    quality: int = Field(10, ge=1, le=100, description="jpeg: Pillow's quality")


class Task(Strict):
    """What one task trains."""

    processor: Network = Network()
    transformer: Network = Network(name="ResnetGenerator")
    training: Training = Training()
    weights: dict[str, float] = Field({}, description="lambda by mode, where it differs from the published one")

    @field_validator("weights")
    @classmethod
    def _known_modes(cls, weights):
        for name, weight in weights.items():
            if "@" in name:
                raise ValueError(f"{name!r} has a lambda already; name a mode without @")
            if not (_known_mode(name).recognition and weight > 0):
                raise ValueError(
                    "a lambda is a number above 0 for a mode with a recognition term (0 is the mode plain)"
                )
        return {_known_mode(name).name: weight for name, weight in weights.items()}


class Profile(Strict):
    """Everything a run of the book depends on."""

    name: str
    data: Data = Data()
    channels: Channels = Channels()
    tasks: dict[TaskName, Task] = Field({"sr": Task(), "dn": Task(), "jpeg": Task()}, min_length=1)
    preprocessing: dict[str, Preprocessing] = Field(
        {}, description="preprocessing before a codec, by data set: cells, scenes, or a name for one's own"
    )
    proxy: LearnedProxy = LearnedProxy()
    modes: list[str] = Field(
        ["plain", "ra", "ra_transformer", "ra_unsupervised"],
        min_length=1,
        description="ra@0.01 is the mode ra with lambda 0.01: several of them are a sweep",
    )
    seeds: list[int] = Field([0], min_length=1, description="one training a seed")
    source: str = Field("resnet20", description="the recognizer that training sees")
    unseen: list[str] = Field(["resnet26", "vgg8", "densenet17", "mobilenet"], description="only in evaluation")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = Field(0, ge=0, description="CPU threads of torch in a notebook, 0 for one a core")
    jobs: int = Field(1, ge=1, description="notebooks that the workflow runs side by side")
    evaluation_batch: int = Field(250, ge=1, description="pictures a step of evaluation")

    @field_validator("modes")
    @classmethod
    def _modes(cls, modes):
        names = [_known_mode(name).name for name in modes]
        if len(set(names)) < len(names):
            raise ValueError("a mode is named twice")
        return names

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds):
        if len(set(seeds)) < len(seeds) or not all(0 <= seed <= MAX_SEED for seed in seeds):
            raise ValueError(f"seeds must be different and from 0 to {MAX_SEED}")
        return seeds

    @model_validator(mode="after")
    def _different(self):
        if len({self.source, *self.unseen}) < 1 + len(self.unseen):
            raise ValueError(f"source = {self.source!r} and unseen = {self.unseen} must be different recognizers")
        return self

    @model_validator(mode="after")
    def _enlargeable(self):
        processor, factor = (self.tasks["sr"].processor.name if "sr" in self.tasks else None, self.channels.factor)
        if processor == "ResnetGenerator":
            raise ValueError("tasks.sr.processor.name = 'ResnetGenerator' keeps the size; give SRResNet or SRDenseNet")
        if processor and factor & (factor - 1):
            raise ValueError(f"channels.factor = {factor} is not allowed: {processor} enlarges by 2, 4, 8 or 16")
        return self

    @model_validator(mode="after")
    def _data_sets(self):
        for name, settings in self.preprocessing.items():
            if name in DATASETS and settings.data:
                raise ValueError(f"preprocessing.{name} has its own pictures; give those in data another name")
            if name not in DATASETS and not settings.data:
                known = " or ".join(DATASETS)
                raise ValueError(
                    f"preprocessing.{name} has no data; name {known}, or state data: {{folder: ...}} of your own"
                )
            if name in RESERVED or not re.fullmatch("[a-z][a-z0-9_]*", name):
                raise ValueError(
                    f"preprocessing.{name} cannot be the name of a data set; use small letters, digits and _, "
                    f"and none of {', '.join(RESERVED)}"
                )
        return self

    @model_validator(mode="after")
    def _the_learned_proxy(self):
        for dataset, settings in self.preprocessing.items():
            for codec, ladder in settings.codecs.items():
                if ladder.proxy not in ("BlockDCT", self.proxy.name):
                    raise ValueError(
                        f"preprocessing.{dataset}.codecs.{codec}.proxy = {ladder.proxy!r}, "
                        f"but the learned proxy, proxy.name, is {self.proxy.name!r}"
                    )
        return self

    @staticmethod
    def checked_seed(seed: int) -> int:
        """Return a seed that a training can have. Raises `ParameterError` for another."""
        if not 0 <= seed <= MAX_SEED:
            raise ParameterError(f"seed {seed} is not allowed; give a whole number from 0 to {MAX_SEED}.")
        return seed

    @property
    def recognizers(self) -> list[str]:
        """All recognizers, the source first."""
        return [self.source, *self.unseen]

    @property
    def is_published_setting(self) -> bool:
        """Whether results can be set beside the paper's: its pictures, channels, networks and recognizers.

        Recognizers of ImageNet refuse pictures of other classes, so pictures in a folder are ImageNet's.
        """
        pictures = (self.data.kind, self.data.resize, self.data.crop) == ("folder", 256, 224)
        networks = {(task.processor, task.transformer) for task in (Task(), *self.tasks.values())}
        judges = self.source == "resnet18" and "resnet50" in self.unseen
        return pictures and len(networks) == 1 and judges and self.channels == Channels()

    def task(self, name: str) -> Task:
        """Return a task of this profile. Raises `ParameterError` where it has none of that name."""
        if name not in self.tasks:
            raise ParameterError(f"profile {self.name} has no task {name!r}; choose one of {', '.join(self.tasks)}.")
        return self.tasks[name]

    def coding(self, dataset: str) -> Preprocessing:
        """Return what this profile does before codecs on a data set. Raises `ParameterError` where it does nothing."""
        if dataset not in self.preprocessing:
            known = ", ".join(self.preprocessing) or "none"
            raise ParameterError(f"profile {self.name} has no preprocessing for {dataset!r}; it has it for {known}.")
        return self.preprocessing[dataset]

    def mode(self, name: str, task: str) -> Mode:
        """Return a mode of this profile with its lambda on a task. Raises `ParameterError` where it has none."""
        mode = find_mode(name)
        if mode.name not in self.modes:
            raise ParameterError(f"profile {self.name} has no mode {name!r}; choose one of {', '.join(self.modes)}.")
        return find_mode(name, self.task(task).weights.get(mode.name))


def _known_mode(name: str) -> Mode:
    try:
        return find_mode(name)
    except RAError as error:
        raise ValueError(str(error).rstrip(".")) from error


def said_of(name: str, text: str) -> tuple[str, str]:
    """Return the command and the description that the text of a profile's file begins with."""
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    return comments[0] if comments else f"make book PROFILE={name}", " ".join(comments[1:])


def load_profile(name: str, overrides: dict | None = None, folder: Path | None = None) -> Profile:
    """Return the profile `params/<name>.yaml`, with `overrides` merged into it.

    A profile that is overridden is named `<name>-custom`, so that its runs lie apart from the profile's own.
    Raises `ParameterError` naming file, key, value and what is allowed.
    """
    from ra_core.paths import project_root

    folder = folder or project_root() / "params"
    path = folder / f"{name}.yaml"
    if Path(name).name != name or not path.exists():  # runs/<name> would lie elsewhere
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ParameterError(f"profile {name!r} is unknown; choose one of {known} (they lie in {folder}).")
    try:
        values = human_yaml.parse(path.read_text(encoding="utf-8"))
    except ValueError as error:  # a text that is not UTF-8 raises one as well
        raise ParameterError(f"{path} is not YAML ({error}); mend it.") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ParameterError(f"{path} holds a {type(values).__name__}; it must hold keys with values.")
    if overrides:
        values = _merged(values, overrides)
    where = f"{path} with overrides" if overrides else str(path)
    if "name" in values:
        raise ParameterError(f"{where}: name = {values['name']!r} is not allowed; a profile has the name of its file.")
    try:
        return Profile.model_validate(values | {"name": f"{name}-custom" if overrides else name})
    except ValidationError as error:
        raise ParameterError(_sentence(where, error)) from error


def _merged(base: dict, changes: dict) -> dict:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


# What pydantic's kinds of error ask for, in our words.
WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "invalid_key": "a key that is a text",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
}


def _sentence(where: str, error: ValidationError) -> str:
    """Return the first problem of a profile as one sentence."""
    first, more = error.errors()[0], error.error_count() - 1
    loc = [part for part in first["loc"] if part != "[key]"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")
    rest = f" ({more} more to mend)" if more else ""
    if first["type"] == "value_error":
        said = f"{key} = {first['input']!r} is not allowed: " if loc else ""
        return f"{where}: {said}{first['ctx']['error']}{rest}."
    if first["type"] == "missing":
        return f"{where}: {key} is missing; state it{rest}."
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(loc[:-1]))
        return f"{where}: {key} = {first['input']!r} is an unknown key; known keys here are {known}{rest}."
    wanted = WANTED.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return f"{where}: {key} = {first['input']!r} is not allowed; give {wanted}{rest}."


def _fields_at(path: list) -> list[str]:
    """Return the keys a profile knows at a place such as tasks, sr, training."""
    model = Profile
    for part in path:
        if part in model.model_fields:  # the name of a task is no field
            model = _inner(model.model_fields[part].annotation)
    return [name for name in model.model_fields if path or name != "name"]  # a profile's name is that of its file


def _inner(annotation):
    """Return the model inside an annotation such as dict[TaskName, Task]."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return annotation

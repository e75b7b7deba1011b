"""Typed parameters of preprocessing before a codec; part of a profile."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ra_core.methods import METHODS
from ra_core.models.proxies import PROXIES
from ra_core.params.base import MAX_SEED, Network, SourceName, Strict, Training, UnseenNames, one_of
from ra_core.params.data import OwnFolder

Positive = Annotated[float, Field(gt=0)]


class Preprocessor(Strict):
    """The network before the codec."""

    width: int = Field(32, ge=1, le=512, description="channels of the first level, 32 as published")
    identity: bool = Field(False, description="begin as the identity; false is the published form")
    batch_norm: Literal["train", "frozen"] = Field("frozen", description="frozen as published, or train")


class Ladder(Strict):
    """The qualities of one codec."""

    curve: list[float] = Field(min_length=2, description="where the codec alone and every method is measured")
    rungs: list[list[float]] = Field([], description="[quality, lambda]: what an adaptive preprocessor is trained on")
    adaptive_steps: int = Field(
        0, ge=0, description="of trainings for all qualities, which have more to learn; 0: as all trainings"
    )
    single: list[float] = Field([], description="qualities of the rungs with a preprocessor of their own")
    baselines: list[Literal["downscale", "gaussian", "bilateral", "saliency"]] = Field(
        [], description="what stands beside the preprocessors, besides the codec alone"
    )
    npp_mse: list[float] = Field([], description="qualities of the rungs with a preprocessor that knows no task")
    both_ends: bool = Field(
        False, description="also train a postprocessor, alone (post) and behind a preprocessor (both)"
    )
    shrink: float = Field(
        1, ge=1, le=16, description="with a preprocessor pictures are sent that many times smaller a side, and enlarged"
    )
    tables: list[Literal["tables", "npp_tables"]] = Field(
        [], description="of JPEG: learn its tables of quantisation, alone (tables) and with a preprocessor (npp_tables)"
    )
    receiver: str = Field(
        "", description="a finished run of restoration by name, set behind the codec, alone and behind npp_qa"
    )
    proxy: one_of(PROXIES) = Field("BlockDCT", description="the differentiable stand-in that gives the gradient")

    @model_validator(mode="after")
    def _on_the_ladder(self):
        if any(len(rung) != 2 or rung[1] <= 0 for rung in self.rungs):
            raise ValueError("a rung is [quality, lambda], the lambda above 0")
        if self.both_ends and not self.rungs:
            raise ValueError("both_ends needs rungs to train on")
        if self.both_ends and self.receiver:
            raise ValueError("both_ends trains a postprocessor and receiver names a finished one; state one of them")
        known = [quality for quality, _ in self.rungs]
        for name, qualities in (("single", self.single), ("npp_mse", self.npp_mse)):
            if missing := [quality for quality in qualities if quality not in known]:
                raise ValueError(f"{name} has {missing[0]}, which is the quality of no rung")
        return self

    @property
    def learning(self) -> list[str]:
        """What is stated of trainings, by the names of the fields."""
        measured = ("curve", "baselines", "receiver")
        return [
            name
            for name, field in type(self).model_fields.items()
            if name not in measured and getattr(self, name) != field.default
        ]

    def training_of(self, method: str, usual: Training) -> Training:
        """Return the training of a method, where `usual` is that of the data set."""
        if not METHODS[method].adaptive or not self.adaptive_steps:
            return usual
        return usual.model_copy(update={"epochs": None, "steps": self.adaptive_steps})


class LearnedProxy(Strict):
    """The learned proxy, one network a rate; as it stands, what ships.

    The network of each later weight begins as the one before it, and trains half as long as the first.
    """

    name: one_of(PROXIES) = "Hyperprior"
    n: int = Field(32, ge=2, le=1024, description="channels; 192 as published")
    m: int = Field(48, ge=2, le=1024, description="channels of the latent y; 192 as published")
    weights: list[Positive] = Field(
        [128.0, 512.0, 2048.0],
        min_length=1, description="of the squared error in [0, 1], one a rate, published 128 to 8192",
    )  # fmt: skip
    training: Training = Training(steps=3000, batch=8, lr=1e-3, schedule="cosine", channels_last=True)
    seed: int = Field(0, ge=0, le=MAX_SEED, description="of the first weights and the crops")

    @model_validator(mode="after")
    def _rates_in_steps(self):
        if self.name == "BlockDCT":
            raise ValueError("proxy.name = 'BlockDCT' has nothing to learn; name Hyperprior or Minnen2018")
        if len(set(self.weights)) < len(self.weights):
            raise ValueError("weights must be different")
        if self.training.steps is None:
            raise ValueError("the length of a proxy's training is given in steps")
        return self


def ends_and_middle(curve: list[float]) -> list[float]:
    """Return up to three qualities that stand for a whole curve, where asking at all of them would take too long."""
    return [curve[place] for place in sorted({0, len(curve) // 2, len(curve) - 1})]


class Preprocessing(Strict):
    """Preprocessing for one data set: what is trained, or only judged, and against what it is measured."""

    data: OwnFolder | None = Field(None, description="of a data set of one's own, and only there")
    trained: str | None = Field(
        None, description="finished runs, only judged here: those that ship by this name, or runs/PROFILE/DATASET"
    )
    source: SourceName | None = Field(
        description="the recognizer or detector that training sees; null: no judge here did"
    )
    unseen: UnseenNames = Field([], description="only in evaluation; judges/*: all files there")
    preprocessor: Preprocessor = Preprocessor()
    postprocessor: Network = Network(residual=True)
    training: Training = Training()
    recognition: Literal["labels", "soft_labels"] = "labels"
    codecs: dict[str, Ladder] = Field(min_length=1, description="codecs that preprocessors are trained for")
    transfer: dict[str, Annotated[list[float], Field(min_length=2)]] = Field(
        {}, description="other codecs, with the qualities of their curve"
    )
    mse_weight: float = Field(0.5, gt=0, description="weight of the squared error of a preprocessor, published 0.5")
    npp_mse_weight: float = Field(
        0.0, ge=0, description="the same of npp_mse, which has no other reason to keep a picture; 0: mse_weight"
    )
    restoration_weight: float = Field(
        1000.0, gt=0, description="weight of the squared error of a postprocessor; 1000 at a lambda of 1 is mode ra"
    )
    pictures: int = Field(0, ge=0, description="test pictures, 0 for all")
    validation_pictures: int = Field(0, ge=0, description="pictures a training ends with, 0 for all")
    evaluation_batch: int = Field(16, ge=1, description="pictures a step of evaluation")

    @model_validator(mode="after")
    def _different(self):
        if len(set(self.judges)) < len(self.judges):
            raise ValueError(f"source = {self.source!r} and unseen = {self.unseen} must be different")
        return self

    @model_validator(mode="after")
    def _judged_alone(self):
        if not (self.source or (self.trained and self.unseen)):
            raise ValueError("source is null: name finished runs under trained, and judges under unseen")
        for codec, ladder in self.codecs.items():
            if self.trained and ladder.learning:
                raise ValueError(f"codecs.{codec}.{ladder.learning[0]} is known from {self.trained}; leave it out")
            if not self.source and (asking := [name for name in ladder.baselines if name != "downscale"]):
                raise ValueError(
                    f"codecs.{codec}.baselines has {asking[0]}, which asks the source, and source is null; "
                    "only downscale can stay"
                )
        return self

    @property
    def all_codecs(self) -> list[str]:
        """Every codec with a page: those trained for, then those that only show how far that carries."""
        return [*self.codecs, *self.transfer]

    @property
    def both_ends(self) -> list[str]:
        """The codecs that postprocessors are trained for."""
        return [codec for codec, steps in self.codecs.items() if steps.both_ends]

    @property
    def judges(self) -> list[str]:
        """All recognizers or detectors, the source first, where there is one."""
        return [*([self.source] if self.source else []), *self.unseen]

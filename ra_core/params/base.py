"""What every model of parameters is made of: judges by name, networks, and the length and optimiser of a training."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from ra_core.judges.sidecar import checked_judge, checked_source, spelled_out
from ra_core.models.processors import PROCESSORS
from ra_core.strict import Strict, mended, one_of

MAX_SEED = 10**9  # a multiple of it still fits into what torch takes
MAX_THREADS = 1024  # far beyond, the process dies
JudgeName = Annotated[str, AfterValidator(lambda name: mended(checked_judge, name))]
UnseenNames = Annotated[
    list[JudgeName], BeforeValidator(lambda names: mended(spelled_out, names) if isinstance(names, list) else names)
]
SourceName = Annotated[str, AfterValidator(lambda name: mended(checked_source, name))]


class Training(Strict):
    """Length, optimiser and numerical precision of one training."""

    epochs: float | None = Field(None, gt=0, description="length in passes over the training pictures")
    steps: int | None = Field(None, ge=1, description="length in steps; exactly one of epochs and steps")
    batch: int = Field(20, ge=1, description="pictures a step")
    lr: float = Field(1e-4, gt=0, le=1, description="peak learning rate of Adam")
    schedule: Literal["drops", "cosine"] = Field("drops", description="tenfold drops, or warm-up and cosine")
    drops: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        [4 / 6, 5 / 6], description="where the rate drops, fractions of the run"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16 autocast, or none")
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient, 0 for none")
    compile: bool = Field(False, description="torch.compile: a minute at the start, then faster steps")
    channels_last: bool = Field(False, description="memory layout of pictures and weights")

    @model_validator(mode="after")
    def _one_length(self):
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self

    def length(self, pictures: int) -> int:
        """Return the number of steps on a training set of that size (published: six epochs)."""
        return self.steps or max(1, round((self.epochs or 6.0) * -(-pictures // self.batch)))

    def options(self, pictures: int) -> dict:
        """Return all of it as `ra_core.training.fit` takes it, on a training set of that size."""
        rest = self.model_dump(exclude={"epochs", "steps", "drops"})
        return rest | {"steps": self.length(pictures), "drops": tuple(self.drops)}


class Network(Strict):
    """An image-to-image network and its size."""

    name: one_of(PROCESSORS) = "SRResNet"
    width: int | None = Field(None, ge=1, le=1024, description="channels, null for the published width")
    blocks: int | None = Field(None, ge=1, le=200, description="residual or dense blocks, null: as published")
    residual: bool = Field(False, description="SRResNet that begins as the identity, or as bicubic enlargement")

    @field_validator("residual")
    @classmethod
    def _residual_srresnet(cls, residual, info):
        if residual and info.data.get("name") != "SRResNet":
            raise ValueError("only SRResNet can be residual")
        return residual

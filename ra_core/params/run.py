"""What `params.yaml` of a run may hold; whoever loads one of another's making is told what is wrong with it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ra_core.channels import TASKS
from ra_core.codecs import CODECS
from ra_core.human_yaml import is_name
from ra_core.methods import METHODS, find_method
from ra_core.params.base import MAX_SEED, MAX_THREADS, Network, Strict, Training, mended, one_of
from ra_core.params.coding import LearnedProxy, Positive, Preprocessor
from ra_core.params.data import Data, OwnFolder


def _name(name: str) -> str:
    if not is_name(name):
        raise ValueError("it must be a plain name, as it stands in paths")
    return name


Name = Annotated[str, AfterValidator(_name)]


class RunParameters(Strict):
    """What both kinds of runs have; the judge is a name, as whoever applies a run needs none."""

    profile: Name
    seed: int = Field(ge=0, le=MAX_SEED)
    source: str | None
    training: Training
    device: Literal["auto", "cpu", "cuda", "mps"]
    threads: int = Field(ge=0, le=MAX_THREADS)


class Start(Strict):
    """Finished networks that a training begins with: their run, and the digest of each."""

    run: str
    sha256: dict[str, str]


class RestorationParameters(RunParameters):
    """Those of a processor."""

    task: one_of(TASKS)
    mode: Annotated[str, AfterValidator(lambda name: mended(find_method, name) and name)]
    weight: float = Field(ge=0)
    data: Data
    channel: dict[str, object]
    processor: Network
    transformer: Network | None = None
    start: Start | None = None


class CodingParameters(RunParameters):
    """Those of networks around a codec."""

    dataset: Name
    method: one_of(METHODS)
    codec: one_of(CODECS)
    quality: float | None
    rungs: list[Annotated[list[float], Field(min_length=3, max_length=3)]] = Field(min_length=1)
    coder: str
    recognition: Literal["labels", "soft_labels"] | None
    data: OwnFolder | None = None
    preprocessor: Preprocessor = Preprocessor()
    postprocessor: Network = Network()
    proxy: str = "BlockDCT"
    learned_proxy: LearnedProxy = LearnedProxy()
    mse_weight: Positive = 1.0
    restoration_weight: Positive = 1.0
    shrink: float = Field(1, ge=1, le=16)

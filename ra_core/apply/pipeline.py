"""What is done to every picture of a folder: the networks of a finished run, then a codec."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from ra_core.codecs import Codec, load_codec
from ra_core.errors import ParameterError
from ra_core.networks import Network, network_of
from ra_core.runs import Run, find_run

KEYS = ("profile", "dataset", "task", "method", "mode", "codec", "quality", "seed")  # by which a run is known


@dataclass(frozen=True)
class Pipeline:
    """Networks, then `codec` at `quality` (None: PNG); `settings` decide the result, for JSON."""

    network: Network | None
    codec: Codec | None
    quality: float | None
    settings: dict

    @property
    def sends_smaller(self) -> bool:
        """Whether the networks make pictures smaller, which the receiver enlarges again."""
        return self.network is not None and self.network.shrink > 1


def make_pipeline(
    run: str | Path | None = None,
    codec: str | None = None,
    quality: float | None = None,
    strength: float | None = None,
    transformer: bool = False,
    device: torch.device | str = "cpu",
) -> Pipeline:
    """Return what a run does to pictures; without one, what a codec alone does.

    A preprocessor comes with the codec and quality it was trained for unless others are given; an adaptive one
    always needs a quality, and behind another codec than its own also a `strength`. Learned tables of quantisation go
    into the files of the codec they were learned for, at any quality. A processor's pictures are stored as PNG unless a
    codec is given; `transformer` adds the network it was trained with.
    Raises `ParameterError` for what is no finished run, and for what does not go together.
    """
    found = None if run is None else find_run(run)
    parameters = found.parameters if found else {}
    own = parameters.get("codec")
    codec = codec or own
    if codec is None and (run is None or quality is not None):
        raise ParameterError("no codec was named; give --codec with its --quality, or --run with a run's folder.")
    if quality is None and codec == own:
        quality = parameters.get("quality")
    coder = load_codec(codec) if codec else None
    if coder and quality is None:
        raise ParameterError(f"no quality was given for {codec}; give --quality, {coder.qualities.allowed}.")
    quality = coder.qualities.checked(quality) if coder else None
    network, weights = None, {}
    trains = found.method.trains if found else ()
    if "tables" in trains:
        coder = _with_tables(found, coder, quality)
    if found and trains != ("tables",):
        told = quality if found.method.adaptive and codec == own else None
        network = network_of(found, device, quality=told, strength=strength, transformer=transformer)
        weights = {name: (found.folder / f"{name}.safetensors").read_bytes() for name in network.nets}
    elif transformer or strength is not None:
        raise ParameterError(f"strength {strength!r} and --transformer are of networks; name some by --run too.")
    settings = {
        "run": {key: parameters[key] for key in KEYS if key in parameters} or None,
        "weights": {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()},
        "strength": network and network.strength, "codec": coder.describe() if coder else "png", "quality": quality,
    }  # fmt: skip
    return Pipeline(network, coder, quality, settings)


def _with_tables(run: Run, coder: Codec, quality: float | None) -> Codec:
    """Return the run's codec with its tables at a quality. Raises `ParameterError` for another codec."""
    if coder.name != run.parameters["codec"]:
        raise ParameterError(f"the tables of {run.name} are of {run.parameters['codec']}; leave --codec out.")
    return coder.with_tables(run.load()["tables"].at(quality))

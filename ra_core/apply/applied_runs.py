"""A finished run as something to apply to any picture: its networks, its codec, and what they depend on."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ra_core.codecs import Codec, load_codec
from ra_core.coding import AtStrength, load_preprocessor, strength_at
from ra_core.errors import ParameterError
from ra_core.experiments import load_chain
from ra_core.params.coding import Ladder
from ra_core.runs import read_params
from ra_core.shipped_runs import place_of

EXAMPLE = "runs/quick/cells/npp_qa-jpeg-optimized/seed0"
# What the parameters of the two kinds of run have, and by what a run is called.
KINDS = {
    "preprocessor": ("profile", "dataset", "method", "codec", "quality", "seed"),
    "processor": ("profile", "task", "mode", "seed"),
}


@dataclass(frozen=True)
class Method:
    """What is done to a picture: `nets`, one after the other, then `codec` at `quality` (None: stored as PNG).

    `settings` are all that the result depends on, ready for JSON.
    """

    nets: tuple[nn.Module, ...] = ()
    codec: Codec | None = None
    quality: float | None = None
    settings: dict = field(default_factory=dict)


def load_method(
    run: str | Path | None = None,
    codec: str | None = None,
    quality: float | None = None,
    strength: float | None = None,
    transformer: bool = False,
    device: torch.device | str = "cpu",
) -> Method:
    """Return what a run does to pictures; without one, what a codec alone does.

    A preprocessor comes with the codec and quality it was trained for unless others are given; an adaptive one
    always needs a quality, and behind another codec than its own also a `strength`. A processor's pictures are
    stored as PNG unless a codec is given; `transformer` adds the network it was trained with.
    `run` is a folder, or the name of a run that ships (`ra_core.shipped_runs`).
    Raises `ParameterError` for a folder that is no finished run, and for what does not go together.
    """
    folder = None if run is None else place_of(run)
    parameters = {} if folder is None else read_parameters(folder)
    kind = next((kind for kind in KINDS if kind in parameters), None)
    codec = codec or (parameters["codec"] if kind == "preprocessor" else None)
    if codec is None and (run is None or quality is not None):
        raise ParameterError("no codec was named; give --codec with its --quality, or --run with a run's folder.")
    if codec and quality is None:
        quality = parameters.get("quality") if codec == parameters.get("codec") else None
    coder = load_codec(codec) if codec else None
    if coder and quality is None:
        unit = coder.qualities
        raise ParameterError(
            f"codec {codec} was given no quality; give --quality, the {unit.unit} from {unit.low:g} to {unit.high:g}."
        )
    quality = coder.qualities.checked(_plain(quality)) if coder else None
    if kind == "preprocessor":
        strength = _strength(parameters, codec, quality, strength)
    elif strength is not None:
        raise ParameterError("a strength was given, but only a preprocessor has one; leave --strength out.")
    if transformer and "transformer" not in parameters:
        raise ParameterError("a transformer was asked for, but the run has none; leave --transformer out.")
    nets = _networks(folder, parameters, kind, strength, transformer) if kind else {}
    called = {key: parameters.get(key) for key in KINDS[kind]} if kind else None
    settings = {
        "run": called, "weights": {name: _digest(folder / f"{name}.safetensors") for name in nets},
        "strength": strength, "codec": coder.describe() if coder else "png", "quality": quality,
    }  # fmt: skip
    placed = tuple(net.to(device).eval() for net in nets.values())
    return Method(placed, coder, quality, json.loads(json.dumps(settings)))


def read_parameters(folder: Path) -> dict:
    """Return the parameters of a finished run. Raises `ParameterError` where the folder holds none."""
    advice = f"name the folder of a run, such as {EXAMPLE}."
    if not folder.is_dir():
        raise ParameterError(
            f"{folder} is no folder, nor one of the runs that ship (ra_core.shipped_runs.names() lists them); {advice}"
        )
    parameters = read_params(folder)
    if not {*KINDS, "postprocessor"} & set(parameters):
        raise ParameterError(f"the run in {folder} is neither a preprocessor's nor a processor's; {advice}")
    if "postprocessor" in parameters:
        raise ParameterError(
            f"the run in {folder} has a network behind the codec, which no standard file can hold; "
            "name the run of a preprocessor alone, such as npp_qa."
        )
    if not (folder / "run.json").exists():
        raise ParameterError(f"the run in {folder} has not ended; run its notebook again.")
    return parameters


def _plain(quality: float) -> float:
    """Return a whole number as such, as most codecs want it."""
    return int(quality) if isinstance(quality, float) and quality.is_integer() else quality


def _strength(parameters: dict, codec: str, quality: float, strength: float | None) -> float | None:
    """Return the strength of an adaptive preprocessor: the one given, or that of the quality."""
    if parameters["method"] != "npp_qa":
        if strength is not None:
            raise ParameterError("the run's preprocessor is made for one quality; leave --strength out.")
        return None
    known = [rung[:2] for rung in parameters["rungs"]]
    if strength is None and codec == parameters["codec"]:
        return strength_at(Ladder.model_construct(rungs=known), quality)
    if strength is None:
        raise ParameterError(
            f"the run was trained for {parameters['codec']} and its preprocessor cannot tell what quality {quality:g} "
            f"of {codec} asks for; give --strength, usually from 0.01 (few bytes) to 2 (many)."
        )
    if not 0 < strength < float("inf"):
        raise ParameterError(f"strength {strength!r} is not allowed; give a number above 0.")
    return strength


def _networks(folder: Path, parameters: dict, kind: str, strength, transformer: bool) -> dict[str, nn.Module]:
    """Return the trained networks of a run by name, in the order they are applied."""
    try:
        if kind == "preprocessor":
            return {kind: AtStrength(load_preprocessor(folder, parameters), strength)}
        chain = load_chain(folder)
        return {kind: chain.post} | ({"transformer": chain.transformer} if transformer else {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ParameterError(
            f"{folder / 'params.yaml'} does not describe the network of a run ({error!r}); train it again."
        ) from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""What is done to every picture of a folder: the networks of a finished run, then a codec."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ra_core.codecs import Codec, load_codec
from ra_core.errors import ParameterError
from ra_core.runs import AtStrength, Run, find_run

KEYS = ("profile", "dataset", "task", "method", "mode", "codec", "quality", "seed")  # by which a run is known


@dataclass(frozen=True)
class Pipeline:
    """Networks, one after the other, then `codec` at `quality` (None: PNG); `settings` decide the result, for JSON."""

    nets: tuple[nn.Module, ...]
    codec: Codec | None
    quality: float | None
    settings: dict


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
    always needs a quality, and behind another codec than its own also a `strength`. A processor's pictures are
    stored as PNG unless a codec is given; `transformer` adds the network it was trained with.
    Raises `ParameterError` for what is no finished run, and for what does not go together.
    """
    found = None if run is None else find_run(run)
    parameters, networks = ({}, {}) if found is None else (found.parameters, found.load())
    kind = "preprocessor" if "preprocessor" in networks else "processor"
    if run is not None and (kind not in networks or "postprocessor" in networks):
        raise ParameterError(
            f"{run} has a network behind the codec, which no standard file can hold, or none for pictures; "
            "name the run of a processor, or of a preprocessor alone, such as npp_qa."
        )
    codec = codec or parameters.get("codec")
    if codec is None and (run is None or quality is not None):
        raise ParameterError("no codec was named; give --codec with its --quality, or --run with a run's folder.")
    coder = load_codec(codec) if codec else None
    if coder and quality is None and codec == parameters.get("codec"):
        quality = parameters["quality"]
    if coder and quality is None:
        unit = coder.qualities
        raise ParameterError(
            f"{codec} was given no quality; give --quality, the {unit.unit}, {unit.low:g} to {unit.high:g}."
        )
    if coder:
        quality = coder.qualities.checked(quality)
    strength = _checked_strength(found, codec, quality, strength)
    if transformer and not networks.get("transformer"):
        raise ParameterError("a transformer was asked for, but the run has none; leave --transformer out.")
    nets = {name: networks[name] for name in (kind, *["transformer"] * transformer) if name in networks}
    settings = {
        "run": {key: parameters[key] for key in KEYS if key in parameters} or None,
        "weights": {name: _digest(found.folder / f"{name}.safetensors") for name in nets},
        "strength": strength, "codec": coder.describe() if coder else "png", "quality": quality,
    }  # fmt: skip
    if "preprocessor" in nets:
        nets["preprocessor"] = AtStrength(nets["preprocessor"], strength)
    placed = tuple(net.to(device).eval() for net in nets.values())
    return Pipeline(placed, coder, quality, json.loads(json.dumps(settings)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _checked_strength(run: Run | None, codec: str | None, quality: float, strength: float | None) -> float | None:
    """Return the strength of an adaptive preprocessor, given or by the quality; of all else None."""
    adaptive = run is not None and run.method.adaptive
    if adaptive and strength is None and codec == run.parameters["codec"]:
        return run.strength_at(quality)
    if adaptive == (strength is None) or not (strength is None or 0 < strength < math.inf):
        raise ParameterError(
            f"strength {strength!r} is not allowed; give --strength, a number from about 0.01 (few bytes) to 2 (many), "
            "to an adaptive preprocessor (npp_qa) alone, which needs it before another codec than its own."
        )
    return strength

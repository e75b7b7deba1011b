"""What is done to every picture of a folder: the networks of a finished run, then a codec."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ra_core.codecs import Codec, load_codec
from ra_core.errors import ParameterError
from ra_core.runs import AtStrength, find_run

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
    parameters, networks = (found.parameters, found.load()) if found else ({}, {})
    kind = "preprocessor" if "preprocessor" in networks else "processor"
    if found and (kind not in networks or "postprocessor" in networks):
        raise ParameterError(
            f"{run} has a network behind the codec, which no standard file can hold, or none for pictures; "
            "name the run of a processor, or of a preprocessor alone, such as npp_qa."
        )
    codec = codec or parameters.get("codec")
    if codec is None and (run is None or quality is not None):
        raise ParameterError("no codec was named; give --codec with its --quality, or --run with a run's folder.")
    if quality is None and codec == parameters.get("codec"):
        quality = parameters.get("quality")
    coder = load_codec(codec) if codec else None
    quality = coder.qualities.checked(quality) if coder else None
    adaptive = found is not None and found.method.adaptive
    if adaptive and strength is None and codec == parameters["codec"]:
        strength = found.strength_at(quality)
    if adaptive == (strength is None) or (adaptive and not 0 < strength < math.inf):
        raise ParameterError(
            f"strength {strength!r} is not allowed; give --strength, a number from about 0.01 (few bytes) to 2 (many), "
            "to an adaptive preprocessor (npp_qa) alone, which needs it before another codec than its own."
        )
    if transformer and not networks.get("transformer"):
        raise ParameterError("a transformer was asked for, but the run has none; leave --transformer out.")
    nets = {name: networks[name] for name in (kind, *["transformer"] * transformer) if name in networks}
    weights = {name: (found.folder / f"{name}.safetensors").read_bytes() for name in nets}
    settings = {
        "run": {key: parameters[key] for key in KEYS if key in parameters} or None,
        "weights": {name: hashlib.sha256(content).hexdigest() for name, content in weights.items()},
        "strength": strength, "codec": coder.describe() if coder else "png", "quality": quality,
    }  # fmt: skip
    if "preprocessor" in nets:
        nets["preprocessor"] = AtStrength(nets["preprocessor"], strength)
    return Pipeline(tuple(net.to(device).eval() for net in nets.values()), coder, quality, settings)

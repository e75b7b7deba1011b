"""The device that a training or an evaluation computes on."""

import torch

from ra_core.errors import ParameterError


def pick_device(device: str = "auto") -> torch.device:
    """Return the device asked for; `auto` takes CUDA, then MPS, then the CPU.

    Raises `ParameterError` for a device that torch does not see here.
    """
    here = [torch.cuda.is_available() and "cuda", torch.backends.mps.is_available() and "mps", "cpu"]
    here = [kind for kind in here if kind]
    if device == "auto":
        return torch.device(here[0])
    kind, _, number = device.partition(":")
    if kind not in here or (kind == "cuda" and int(number or 0) >= torch.cuda.device_count()):
        raise ParameterError(f"device {device!r} is not here; choose one of auto, {', '.join(here)}.")
    return torch.device(device)

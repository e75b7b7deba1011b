"""Finished runs of both kinds, without the training: tiny networks that change a picture a little."""

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import nn

from ra_core.files import write_json
from ra_core.models.blocks import for_inference
from ra_core.models.weights import save_weights
from ra_core.params import profile_model
from ra_core.runs import Run, resolve, write_params

JPEG = {"codec": "jpeg", "quality": 20}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NETWORK = {"name": "SRResNet", "width": 4, "blocks": 1}
PROFILE = profile_model().model_validate({
    "name": "tiny",
    "tasks": {
        "sr": {"processor": NETWORK, "transformer": NETWORK},
        "dn": {"processor": {"name": "ResnetGenerator", "width": 2, "blocks": 1}, "transformer": NETWORK},
    },
    "preprocessing": {"cells": {
        "source": "resnet20",
        "preprocessor": {"width": 2, "identity": True},
        "codecs": {"jpeg": {"curve": [10, 20], "rungs": [[10, 0.5], [20, 1.0]], "single": [20]}},
    }},
})  # fmt: skip


def shaken(net: nn.Module, seed: int = 0, by: float = 0.05) -> nn.Module:
    """Move all weights of a network a little, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return net.eval()


def preprocessor_run(folder: Path, method: str = "npp", codec: str = "jpeg", quality: float | None = 20) -> nn.Module:
    """Make the folder of a finished preprocessor run and return its network."""
    return coding_run(folder, method, codec, quality)["preprocessor"]


def coding_run(folder: Path, method: str, codec: str = "jpeg", quality: float | None = None) -> dict[str, nn.Module]:
    """Make the folder of a finished run around a codec and return its networks."""
    return _finish(folder, resolve(PROFILE, "cells", method, 0, codec, quality))


def processor_run(folder: Path, task: str = "dn", mode: str = "plain") -> dict[str, nn.Module]:
    """Make the folder of a finished processor run and return its networks, ready to evaluate."""
    return _finish(folder, resolve(PROFILE, task, mode))


def _finish(folder: Path, run: Run) -> dict[str, nn.Module]:
    networks = {name: shaken(net) for name, net in run.networks().items()}
    for name, net in networks.items():
        save_weights(net, folder / f"{name}.safetensors")
    write_params(folder, run.parameters)
    write_json(folder / "run.json", {})
    return {name: for_inference(net, "cpu") for name, net in networks.items()}


def array(height: int = 40, width: int = 56, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Return a smooth coloured picture, uint8 (H, W, channels)."""
    coarse = np.random.default_rng(seed).integers(40, 216, (4, 5, channels), dtype=np.uint8)
    layers = [
        Image.fromarray(coarse[..., i]).resize((width, height), Image.Resampling.BICUBIC) for i in range(channels)
    ]
    return np.dstack(layers)


def saved(path: Path, picture: np.ndarray | Image.Image, **options) -> np.ndarray:
    """Write a picture and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    image.save(path, **options)
    return np.asarray(image)


def opened(path: Path) -> np.ndarray:
    """Return the pixels of a file as they are stored."""
    with Image.open(path) as image:
        return np.asarray(image)


def table(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tree(folder) -> list[str]:
    """Return all files below a folder but records and settings."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.startswith(".records"))


def times(folder) -> dict[str, int]:
    return {path: (folder / path).stat().st_mtime_ns for path in tree(folder) if "/" in path}

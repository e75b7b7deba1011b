"""Photographs that come with packages, of classes of ImageNet: twenty labelled ones in foolbox."""

from importlib.util import find_spec
from pathlib import Path

import torch

from ra_core.data.folders import FolderPictures, imagenet_classes
from ra_core.errors import DataError


def in_foolbox() -> FolderPictures:
    """Return the twenty pictures of ImageNet in the package foolbox, whose names end in their class.

    Raises `DataError` where the package is not installed.
    """
    folder = package_folder("foolbox", "foolbox") / "data"
    files = tuple(sorted(path.name for path in folder.glob("imagenet_*.jpg")))
    labels = torch.tensor([int(Path(file).stem.rpartition("_")[2]) for file in files])  # of imagenet_03_990.jpg 990
    return FolderPictures(folder, files, labels, imagenet_classes(), "foolbox")


def package_folder(module: str, package: str) -> Path:
    """Return the folder of a module that pictures come with. Raises `DataError` where its package is not installed."""
    spec = find_spec(module)
    if spec is None:
        raise DataError(f"the photographs of {package} are not here; install the package {package}.")
    return Path(spec.submodule_search_locations[0])

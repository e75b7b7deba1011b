"""TEMPORARY until the data part is merged."""

from pathlib import Path

import torch

from ra_core.data import cifar10, elpv  # noqa
from ra_core.data.pictures import first_per_class, split_train
from ra_core.registry import Registry

DATASETS = Registry("data set")


class _Set:
    def __init__(self, kind):
        self.kind = kind


DATASETS.add("cells", _Set("classification"))
DATASETS.add("scenes", _Set("detection"))


def load_splits(data, parts, home, folder):
    """Splits."""
    from ra_core.data import flat_folders, folders

    splits = {}
    if data.kind == "cifar10":

        def load(part):
            return cifar10.load(data.source, part, home)
    else:
        root = home / Path(data.source).expanduser()
        if flat_folders.is_flat(root):
            found = flat_folders.load(
                root,
                data.test_share,
                data.validation_share,
                data.resize,
                data.crop,
                memory=folder / "checked.json",
                remember=True,
            )
            return {part: found[part] for part in parts}

        def load(part):
            return folders.load(root, part, resize=data.resize, crop=data.crop)

    if {"train", "validation"} & set(parts):
        splits |= split_train(load("train"), data.validation_per_class)
        if data.train_per_class:
            splits["train"] = first_per_class(splits["train"], data.train_per_class)
    if "test" in parts:
        splits["test"] = load("test")
        if data.test_per_class:
            splits["test"] = first_per_class(splits["test"], data.test_per_class)
    return {part: splits[part] for part in parts}


def _spread(pictures, count: int):
    if not 0 < count < len(pictures):
        return pictures
    return pictures.subset(torch.arange(count) * len(pictures) // count, pictures.name)


def load_part(name, part, count, data, home, folder):
    """Part."""
    if data is None:
        if name == "cells":
            return _spread(elpv.load(part), count)
        from ra_core.data import scenes

        return scenes.load(part, count or None)
    from ra_core.data.box_parts import load_parts

    found = load_parts(
        home / Path(data.folder).expanduser(),
        data.resize,
        tuple(data.names.items()),
        tuple(data.parts.items()),
        data.test_share,
        data.validation_share,
    )
    return _spread(found[part], count)


def as_batch(pictures, most: int = 0):
    """Batch."""
    chosen = pictures.subset(torch.arange(min(most or len(pictures), len(pictures))), pictures.name)
    chosen = chosen.alike() if getattr(chosen, "sizes", ()) else chosen
    return chosen.batch(torch.arange(len(chosen)))

"""Data sets register themselves, in the package or in a file outside of it."""

import sys
from types import SimpleNamespace

import pytest
import tiny
import torch
from refusal import refusal

from ra_core.data import DATASETS, dataset, load_part, load_splits
from ra_core.errors import ParameterError
from ra_core.registry import load_extensions

STRANGER = '''
"""Grey ramps: are they light on the left or on the right?"""

import torch

from ra_core.data import Pictures, dataset


@dataset("ramps", kind="classification", title="grey ramps")
def load(part):
    """Return twenty ramps of a part, which differ in their brightness."""
    labels = torch.arange(20) % 2
    ramp = torch.arange(16) * 8 + len(part)
    images = torch.stack([ramp.flip(0) if label else ramp for label in labels]) + torch.arange(20)[:, None]
    return Pictures(images.byte()[:, None, None].expand(-1, 3, 16, -1), labels, ("right", "left"), f"ramps/{part}")
'''


@pytest.fixture
def registered(monkeypatch):
    """What a test registers is forgotten."""
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS))


def settings(kind, **changes):
    usual = {"source": "", "train_per_class": 0, "test_per_class": 0, "validation_per_class": 2}
    return SimpleNamespace(kind=kind, **usual | changes)


def test_a_data_set_of_a_file_outside_the_package(registered, tmp_path, monkeypatch):
    (tmp_path / "my_ramps.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path)
    load_extensions(["my_ramps"])
    assert DATASETS.find("ramps").title == "grey ramps" and DATASETS["ramps"].kind == "classification"
    splits = load_splits(settings("ramps", train_per_class=3), ("test", "train", "validation"), tmp_path, tmp_path)
    assert {part: (len(p), p.name) for part, p in splits.items()} == {
        "test": (20, "ramps/test"), "train": (6, "ramps/train"), "validation": (20, "ramps/validation"),
    }  # fmt: skip
    some = load_part("ramps", "test", 4, None, tmp_path, tmp_path)
    assert torch.equal(some.images, splits["test"].images[[0, 5, 10, 15]])
    del sys.modules["my_ramps"]


def test_validation_is_set_aside_where_a_data_set_has_none(registered):
    asked = []

    @dataset("plain", kind="classification", title="plain", parts=("train", "test"))
    def load(part, source=""):
        asked.append((part, source))
        return tiny.pictures(12, name=part)

    found = DATASETS["plain"].splits(("validation", "test", "train"), 1, source="here", home="not asked for")
    assert [(part, len(p)) for part, p in found.items()] == [("validation", 3), ("test", 12), ("train", 9)]
    assert sorted(asked) == [("test", "here"), ("train", "here")]


def test_unknown_kinds_names_and_parts_are_refused(tmp_path):
    assert "'segmentation'" in refusal(ParameterError, lambda: dataset("a", kind="segmentation", title="a"))
    assert "'cels'" in refusal(ParameterError, load_part, "cels", "test", 0, None, tmp_path, tmp_path)
    for kind, part in (("cifar", "test"), ("scenes", "test"), ("cifar10", "val")):
        said = refusal(ParameterError, load_splits, settings(kind, source="shipped"), (part,), tmp_path, tmp_path)
        assert repr(part if kind == "cifar10" else kind) in said

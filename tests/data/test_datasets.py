"""Data sets register themselves, in the package or in a file outside of it."""

from types import SimpleNamespace

import pytest
import tiny
import torch
from refusal import refusal

from ra_core.data import DATASETS, dataset, load_part, load_splits
from ra_core.errors import ParameterError


@pytest.fixture
def registered(monkeypatch):
    """What a test registers is forgotten."""
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS))


def settings(kind, **changes):
    usual = {"source": "here", "train_per_class": 0, "test_per_class": 0, "validation_per_class": 1}
    return SimpleNamespace(kind=kind, **usual | changes)


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "validation", "test")])
def test_validation_is_set_aside_where_a_data_set_has_none(registered, tmp_path, parts):
    asked = []

    @dataset("plain", kind="classification", title="plain pictures", parts=parts)
    def load(part, source=""):
        asked.append((part, source))
        return tiny.pictures(12, name=part)

    assert (DATASETS.find("plain").title, DATASETS["plain"].kind) == ("plain pictures", "classification")
    found = load_splits(settings("plain", test_per_class=2), ("validation", "test", "train"), tmp_path, tmp_path)
    own = {"validation": 12, "test": 6, "train": 12} if len(parts) == 3 else {"validation": 3, "test": 6, "train": 9}
    assert [(part, len(p)) for part, p in found.items()] == list(own.items())
    assert sorted(asked) == sorted((part, "here") for part in parts)
    some = load_part("plain", "test", 4, None, tmp_path, tmp_path)
    assert torch.equal(some.images, tiny.pictures(12).images[[0, 3, 6, 9]]) and asked[-1] == ("test", "")


def test_unknown_kinds_names_and_parts_are_refused(tmp_path):
    assert "'segmentation'" in refusal(ParameterError, lambda: dataset("a", kind="segmentation", title="a"))
    assert "'cels'" in refusal(ParameterError, load_part, "cels", "test", 0, None, tmp_path, tmp_path)
    for kind, part in (("cifar", "test"), ("scenes", "train"), ("cifar10", "val")):
        said = refusal(ParameterError, load_splits, settings(kind, source="shipped"), (part,), tmp_path, tmp_path)
        assert repr(part if kind == "cifar10" else kind) in said

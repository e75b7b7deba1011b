"""What all pretrainings share: the files they leave, what these say, and that kills change nothing."""

import json

import boxed
import pytest
import tiny
import torch
from pretrained import KINDS, colours, family
from refusal import refusal
from safetensors import safe_open
from safetensors.torch import load_file
from trouble import killed

from ra_core.data import fingerprint
from ra_core.errors import TrainingError, WeightsError
from ra_core.files import content_of
from ra_core.judges.recognizer import OURS
from ra_core.paths import ASSETS
from ra_core.pretraining import detectors, proxies, recognizers

SIDECAR = {
    "name", "input", "parameters", "recipe", "seed", "trained_on", "train_fingerprint", "train_pictures", "seconds",
    "threads", "torch", "machine", "sha256",
}  # fmt: skip
MORE = {
    "recognizer": {"classes", "mean", "std", "tested_on", "test_fingerprint", "test_pictures", "test_top1"},
    "detector": {
        "classes", "features", "stored", "validated_on", "validation_fingerprint", "validation_pictures", "validation",
    },
    "proxy": {"n", "m", "weight", "begun_as", "objective", "stored", "crops", "held_out"},
}  # fmt: skip
every = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for known in (recognizers.FAMILIES, OURS):
        monkeypatch.setitem(known, "resnet20", family)
    monkeypatch.setitem(recognizers.RECIPE, "batch", 8)
    monkeypatch.setitem(recognizers.CYCLES, "resnet20", (1, 2))
    monkeypatch.setitem(detectors.RECIPE, "batch", 3)


@pytest.fixture
def each_saved(monkeypatch):
    """Save after each step; 5 are an epoch of the recognizer."""
    for module in (recognizers, detectors, proxies):
        fit = module.fit
        monkeypatch.setattr(module, "fit", lambda *a, fit=fit, **k: fit(*a, **k, checkpoint_seconds=0))


@every
def test_the_sidecar_lies_beside_and_within_the_weights(tmp_path, name):
    kind = KINDS[name]
    sidecar = kind.train(tmp_path)
    assert tiny.names(tmp_path) == [kind.stem + ending for ending in kind.files]
    assert set(sidecar) == SIDECAR | MORE[name]
    written = json.loads((tmp_path / f"{kind.stem}.json").read_text())
    assert written == json.loads(json.dumps(sidecar))
    with safe_open(tmp_path / f"{kind.stem}.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sidecar"]) == {k: v for k, v in written.items() if k != "sha256"}
    stored = load_file(tmp_path / f"{kind.stem}.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16 if "stored" in sidecar else torch.float32}
    assert not [key for key in stored if key.endswith("num_batches_tracked")]
    assert sidecar["parameters"] == sum(p.numel() for p in kind.load(kind.stem, tmp_path).parameters())
    train = {"recognizer": colours(44), "detector": boxed.pictures(9), "proxy": tiny.pictures(8)}[name]
    assert (sidecar["trained_on"], sidecar["train_pictures"], sidecar["seed"]) == (train.name, len(train), 0)
    assert sidecar["train_fingerprint"] == fingerprint(train)


@every
def test_a_flipped_bit_is_found(tmp_path, name):
    kind = KINDS[name]
    kind.train(tmp_path)
    path = tmp_path / f"{kind.stem}.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "SHA-256" in refusal(WeightsError, kind.load, kind.stem, tmp_path)


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*/*.safetensors")), ids=lambda path: path.stem)
def test_what_ships_is_as_its_sidecar_says(path):
    assert json.loads(path.with_suffix(".json").read_text())["sha256"] == content_of(path)


@pytest.mark.parametrize(
    ("name", "step", "more"),
    [("recognizer", 2, {"epochs": 0}), ("recognizer", 6, {"epochs": 0}),  # before the first cycle ends, right after,
     ("recognizer", 13, {"epochs": 0}), ("detector", 4, {}), ("proxy", 3, {})],  # in the second
)  # fmt: skip
def test_killed_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, each_saved, name, step, more):
    kind = KINDS[name]
    once = kind.train(tmp_path / "once", **more)
    with killed(monkeypatch, kind.objective, step):
        kind.train(tmp_path / "again", **more)
    assert tiny.names(tmp_path / "again") == [f"{kind.stem}.run"]
    again = kind.train(tmp_path / "again", **more)
    assert tiny.names(tmp_path / "again") == tiny.names(tmp_path / "once")
    weights = [load_file(tmp_path / run / f"{kind.stem}.safetensors") for run in ("once", "again")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    timed = dict.fromkeys(("seconds", "sha256"))  # the file's bytes hold the seconds
    assert again | timed == once | timed


@pytest.mark.parametrize(("name", "changes"), [(name, other) for name, kind in KINDS.items() for other in kind.others])
def test_going_on_with_another_recipe_is_refused(tmp_path, monkeypatch, each_saved, name, changes):
    kind = KINDS[name]
    with killed(monkeypatch, kind.objective, 3):
        kind.train(tmp_path)
    refusal(TrainingError, kind.train, tmp_path, **changes)
    assert tiny.names(tmp_path) == [f"{kind.stem}.run"]

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from refusal import refusal

from ra_core.errors import OutputError, TrainingError
from ra_core.training.checkpoint import load_checkpoint, random_states, save_checkpoint, set_random_states

SETTINGS = {"mode": "ra", "lr": 1e-4, "drops": [0.5, 0.75], "parameters": {"processor": 12}}
STATE = {
    "settings": SETTINGS, "step": 7, "log": [{"step": 7, "loss": 0.5}],
    "networks": {"processor": {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}},
}  # fmt: skip


@pytest.fixture
def path(tmp_path) -> Path:
    save_checkpoint(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_a_state_comes_back_as_it_was_and_on_the_cpu(path, monkeypatch):
    places, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: places.append(k) or load(*a, **k))
    state = load_checkpoint(path, SETTINGS)
    assert places == [{"map_location": "cpu", "weights_only": True}]
    tensors, expected = state["networks"].pop("processor"), STATE["networks"]["processor"]
    assert state == STATE | {"networks": {}} and list(tensors) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in tensors.items())
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]
    assert load_checkpoint(path.with_name("none.pt"), SETTINGS) is None


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, part):
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert f"{path} is not a whole checkpoint" in refusal(TrainingError, load_checkpoint, path, SETTINGS)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"step": 3}, {"settings": 3}, None], ids=str)
def test_a_foreign_file_is_refused(path, content):
    torch.save(content, path)
    assert f"{path} is not a whole checkpoint" in refusal(TrainingError, load_checkpoint, path, SETTINGS)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_cannot_be_read_is_not_called_broken(path, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("builtins.open", refuse)
    said = refusal(TrainingError, load_checkpoint, path, SETTINGS)
    assert str(path) in said and error.strerror in said and "whole" not in said and "delete" not in said


def test_short_memory_is_passed_on(path, monkeypatch):
    def short(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(torch, "load", short)
    with pytest.raises(RuntimeError, match="allocate"):
        load_checkpoint(path, SETTINGS)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_code_in_a_file_is_not_run(path, write):
    harm = path.with_name("harm")
    write({"settings": SETTINGS, "step": Harmful(harm)}, path)
    refusal(TrainingError, load_checkpoint, path, SETTINGS)
    assert not harm.exists()


@pytest.mark.parametrize(("key", "value"), [("lr", 1e-3), ("drops", []), ("parameters", {"processor": 13}), ("new", 1)])
def test_other_settings_are_refused_and_named(path, key, value):
    said = refusal(TrainingError, load_checkpoint, path, SETTINGS | {key: value})
    assert all(part in said for part in (str(path), f"{key} = {SETTINGS.get(key)!r}", repr(value)))


def test_random_states_put_back_the_generators_that_are_here(monkeypatch):
    torch.manual_seed(5)
    states = random_states()
    first = torch.rand(4)
    set_random_states(states)
    assert torch.equal(torch.rand(4), first) and ("cuda:0" in states) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    set_random_states({"cpu": states["cpu"], "cuda:3": torch.zeros(16, dtype=torch.uint8)})
    assert torch.equal(torch.get_rng_state(), states["cpu"])


def test_a_full_disk_keeps_the_old(path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    said = refusal(OutputError, save_checkpoint, path, STATE | {"step": 8})
    assert str(path) in said and "No space left on device" in said
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["checkpoint.pt"]

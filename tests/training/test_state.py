import pickle
import random
from functools import partial
from pathlib import Path

import pytest
import torch
from refusal import refusal
from torch import nn

from ra_core.errors import TrainingError
from ra_core.training.processes import Team
from ra_core.training.state import TrainingState, load_checkpoint

SETTINGS = {"mode": "ra", "lr": 1e-4, "drops": [0.5, 0.75], "parameters": {"processor": 12}}


def state(folder: Path) -> TrainingState:
    net = nn.Linear(2, 3)
    return TrainingState(folder, {"processor": net}, torch.optim.Adam(net.parameters()), SETTINGS)


@pytest.fixture
def path(tmp_path) -> Path:
    state(tmp_path).save()
    return tmp_path / "checkpoint.pt"


def test_a_state_comes_back_as_it_was_with_its_random_generators(tmp_path):
    saved, restored = state(tmp_path), state(tmp_path)
    restored.restore(Team("cpu"))
    assert restored.step == 0  # there is none yet
    saved.step, saved.log, saved.started = 7, [{"step": 7, "validation": {"psnr": 3.0}}], saved.started - 100
    saved.save()
    drawn = torch.rand(4)
    restored.restore(Team("cpu"))
    assert torch.equal(torch.rand(4), drawn) and (restored.step, restored.log) == (7, saved.log)
    assert restored.validations == {7: {"psnr": 3.0}} and 100 < restored.seconds < 200
    for name, value in saved.networks["processor"].state_dict().items():
        assert torch.equal(value, restored.networks["processor"].state_dict()[name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]


def test_generators_of_gpus_that_are_gone_are_left_out(tmp_path, path):
    content = torch.load(path, weights_only=True)
    content["random"]["cuda:99"] = torch.zeros(16, dtype=torch.uint8)
    torch.save(content, path)
    state(tmp_path).restore(Team("cpu"))
    assert torch.equal(torch.get_rng_state(), content["random"]["cpu"])


@pytest.mark.parametrize("content", [[1, 2], {"step": 3}, {"settings": 3}, None, 0, 0.01, 0.5, 0.999], ids=str)
def test_a_foreign_or_truncated_file_is_refused(path, content):
    if isinstance(content, int | float):
        path.write_bytes(path.read_bytes()[: int(content * path.stat().st_size)])
    else:
        torch.save(content, path)
    assert f"{path} is not a whole checkpoint" in refusal(TrainingError, load_checkpoint, path, SETTINGS)


def test_what_cannot_be_read_is_not_called_broken(path, monkeypatch):
    def refuse(*_, error, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", partial(refuse, error=OSError(5, "Input/output error")))
        said = refusal(TrainingError, load_checkpoint, path, SETTINGS)
    assert str(path) in said and "Input/output error" in said and "whole" not in said and "delete" not in said
    monkeypatch.setattr(torch, "load", partial(refuse, error=RuntimeError("can't allocate memory: 1 bytes.")))
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


def test_a_flipped_bit_is_found(path):
    whole, chance, same = path.read_bytes(), random.Random(0), 0
    good = torch.load(path, weights_only=True)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path, SETTINGS)
        except TrainingError as error:
            assert "is not a whole checkpoint" in str(error)
        else:  # in what only fills up
            same += 1
            assert str(found) == str(good)
    assert same < 50

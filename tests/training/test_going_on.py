"""Trainings that were killed or interrupted, and started again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from refusal import refusal
from torch import nn
from trouble import Interrupt, Interrupted

from ra_core.channels import Noise
from ra_core.errors import TrainingError
from ra_core.methods import find_method
from ra_core.objectives import Restoration
from ra_core.training import fit

HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module", params=["ra", pytest.param("ra_transformer", marks=pytest.mark.slow)])
def killed(request, tmp_path_factory):
    """A mode, and what `killed.py` found: trainings killed with SIGKILL at many moments, and the same undisturbed."""
    command = [sys.executable, str(HERE / "killed.py"), str(tmp_path_factory.mktemp("killed")), request.param]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=500, check=True).stdout
    return request.param, json.loads(said.splitlines()[-1])


def timeless(folder: Path) -> list[dict]:
    """The log without what depends on the machine."""
    return [{k: v for k, v in line.items() if k not in ("images_per_s", "seconds_left")} for line in tiny.log(folder)]


def test_a_run_killed_at_any_moment_ends_byte_for_byte_as_if_it_had_not_been(killed):
    mode, found = killed
    once, *runs = (Path(run["run"]) for run in found)
    assert list(tiny.weights(once)) == [f"{name}.safetensors" for name in tiny.networks(mode)]
    steps = [(line["step"], "validation" in line) for line in tiny.log(once)]
    assert steps == sorted(set(steps)) and steps[-1] == (5, True)
    for folder, run in zip(runs, found[1:], strict=True):
        assert run["signals"] and set(run["signals"]) == {signal.SIGKILL} and run["end"] == 0
        assert tiny.weights(folder) == tiny.weights(once), run
        assert tiny.names(folder) == tiny.names(once) and timeless(folder) == timeless(once)


def test_the_kills_met_runs_in_all_their_states(killed):
    left = [set(run["left"]) for run in killed[1][1:]]
    half = [names for names in left if any(name.startswith(".checkpoint.pt.") for name in names)]
    assert len(half) >= 2  # a checkpoint was being written
    assert any("checkpoint.pt" not in names for names in left)  # before the first
    assert any("processor.safetensors" in names and "run.json" not in names for names in left)
    assert any({"checkpoint.pt", "run.json"} <= names for names in left)  # all but put away
    assert sum("checkpoint.pt" in names for names in left) >= 5


class Dropping(nn.Module):
    """A processor that draws from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.net = tiny.networks()["processor"]

    def forward(self, x):
        return self.net(nn.functional.dropout(x, 0.2, self.training))


@pytest.mark.parametrize(
    ("how", "left"), [({}, 3), ({"precision": "bf16", "channels_last": True}, 3), ({"checkpoint_seconds": 60}, 4)],
    ids=["fp32", "bf16", "seldom"],
)  # fmt: skip
def test_an_interrupted_run_goes_on_with_all_its_states(tmp_path, how, left):
    def run(folder, channel):
        torch.manual_seed(3)
        objective = Restoration(find_method("ra"), channel, tiny.source())
        arguments = {"steps": 6, "batch": 5, "lr": 1e-3, "device": "cpu", "checkpoint_seconds": 0, "validations": 3}
        return fit({"processor": Dropping()}, objective, tiny.pictures(), folder=folder, **arguments | how)

    run(tmp_path / "once", channel=Noise(0.1))
    for step in (3, 2):  # of the process: the second one goes on after step 2 and ends in step 4
        with pytest.raises(Interrupt):
            run(tmp_path / "again", channel=Interrupted(step))
    rest = Interrupted(-1)
    run(tmp_path / "again", channel=rest)
    assert rest.left == [-1 - left]  # so many of the six steps; saved were all before, or every other one
    assert tiny.weights(tmp_path / "again") == tiny.weights(tmp_path / "once")
    assert [line["step"] for line in tiny.log(tmp_path / "again")] == [1, 2, 3, 4, 5, 6]


def test_a_run_whose_last_step_is_done_only_writes_its_weights(tmp_path):
    tiny.train(tmp_path, "ra_transformer")
    expected = tiny.weights(tmp_path)
    for name in expected:
        (tmp_path / name).unlink()
    tiny.train(tmp_path, "ra_transformer", channel=Interrupted(1))
    assert tiny.weights(tmp_path) == expected


OTHERS = [
    ({"lr": 1e-2}, ("lr", "0.001", "0.01")),
    ({"steps": 7}, ("steps", "6", "7")),
    ({"seed": 1}, ("seed", "0", "1")),
    ({"drops": (0.5,)}, ("drops", "[0.5]")),
    ({"mode": find_method("ra", 0.5)}, ("weight", "0.001", "0.5")),
    ({"mode": find_method("ra_unsupervised")}, ("mode", "'ra'", "'ra_unsupervised'")),
    ({"channel": Noise(0.2)}, ("channel", "sigma=0.1", "sigma=0.2")),
    ({"networks": tiny.networks(width=5)}, ("parameters", "{'processor': 2414}")),
    ({"pictures": tiny.pictures(13), "steps": 7}, ("training pictures",)),  # as of others epochs have other steps
    ({"pictures": tiny.pictures(name="more")}, ("training pictures",)),
    ({"pictures": tiny.pictures(seed=9)}, ("training pictures",)),
    ({"validation_pictures": None}, ("validation pictures",)),
]


@pytest.mark.parametrize(("changes", "named"), OTHERS)
def test_going_on_with_anything_else_is_refused_and_the_checkpoint_kept(tmp_path, changes, named):
    usual = {"mode": "ra", "validation_pictures": tiny.pictures(5)}
    with pytest.raises(Interrupt):
        tiny.train(tmp_path, channel=Interrupted(2), **usual)
    checkpoint = (tmp_path / "checkpoint.pt").read_bytes()
    said = refusal(TrainingError, tiny.train, tmp_path, **usual | changes)
    assert all(name in said for name in (*named, str(tmp_path / "checkpoint.pt")))
    assert (tmp_path / "checkpoint.pt").read_bytes() == checkpoint
    tiny.train(tmp_path, **usual)

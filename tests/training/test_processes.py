"""Training in several processes, here on one CPU: the same as in one, and clear words where it cannot go on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from safetensors.torch import load_file

from ra_core.cores import processes_here
from ra_core.errors import ParameterError, TrainingError
from ra_core.training.processes import Team, digest, find_team, is_rank_zero

HERE = Path(__file__).parents[1]
PROCESSES = dict(os.environ, GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1", RA_BATCH="1")
# A convolution before batch normalisation has a bias without effect, whose gradient is nothing but rounding; the
# running mean after it takes the bias away again.
IDLE = [f"body.0.body.{name}" for name in ("0.bias", "1.running_mean", "3.bias", "4.running_mean")]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def said(root) -> dict:
    """What `together.py` printed."""
    command = [sys.executable, str(HERE / "together.py"), str(root)]
    environment = PROCESSES | {"PYTHONPATH": os.pathsep.join([*sys.path, os.environ["PYTHONPATH"]])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def losses(folder: Path) -> dict[str, list[float]]:
    """The terms of each step."""
    lines = [line for line in tiny.log(folder) if "loss" in line]
    return {key: [line[key] for line in lines] for key in lines[0] if key not in ("images_per_s", "seconds_left")}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The trained weights of all networks that have an effect."""
    found = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    return {f"{n}.{key}": v for n, net in found.items() for key, v in net.items() if key not in IDLE}


# The same result as one process


@pytest.mark.parametrize(
    ("name", "count"), [("ra", 2), ("ra", 3), ("ra_transformer", 2), ("ra_unsupervised", 2), ("preprocessing", 2)]
)
def test_several_processes_end_as_one_does(root, said, name, count):
    assert all(process["error"] is None for process in said[f"{name} {count}"])
    alone, shared = root / f"{name} 1", root / f"{name} {count}"
    assert tiny.names(shared) == tiny.names(alone)
    for key, values in losses(alone).items():
        assert losses(shared)[key] == pytest.approx(values, rel=1e-5), key
    for key, value in weights(alone).items():
        torch.testing.assert_close(weights(shared)[key], value, rtol=0, atol=1e-6, msg=key)


def test_in_bf16_too_but_for_its_rounding(root, said):
    alone, shared = losses(root / "bf16 1"), losses(root / "bf16 2")
    assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-2) and shared["loss"] != losses(root / "ra 1")["loss"]


def test_three_processes_share_five_pictures_and_two(root, said):
    """So the last one has one picture fewer, and in the short batch of an epoch none."""
    assert losses(root / "ra 3")["loss"] != losses(root / "ra 1")["loss"]  # it was not one that did it all
    state = torch.load(root / "ra 3" / "checkpoint.pt", weights_only=True)
    alone = torch.load(root / "ra 1" / "checkpoint.pt", weights_only=True)
    assert state["settings"] == alone["settings"] and state["data"] == alone["data"]


@pytest.mark.parametrize("count", [2, 3])
def test_an_evaluation_shared_unevenly_is_exact_in_every_process(said, count):
    (alone,) = said["evaluation 1"]
    assert len(alone["value"]["psnr"]) == 23
    for process in said[f"evaluation {count}"]:
        assert process["value"] == alone["value"]


def test_a_run_of_the_book_is_the_same_and_says_how_many_made_it(root, said):
    folders = [Path(process["value"]) for process in [*said["book 1"], *said["book 2"]]]
    assert folders[1] == folders[2] and tiny.names(folders[0]) == tiny.names(folders[1])
    alone, shared = (json.loads((folder / "run.json").read_text()) for folder in folders[:2])
    assert "processes" not in alone and shared["processes"] == 2
    assert shared["metrics"] == pytest.approx(alone["metrics"], rel=1e-3)


# Processes that end, or differ


@pytest.mark.parametrize("count", [1, 3])
def test_the_kill_of_one_ends_the_other_and_any_number_goes_on(root, said, count):
    left, killed = said[f"killed {count}"]
    assert killed["signal"] == signal.SIGKILL
    kind, sentence = left["error"]
    assert kind == "TrainingError" and sentence.startswith("process 0 of 2 lost touch with the others")
    assert "start again, with this number of processes or another" in sentence
    assert all(process["error"] is None for process in said[f"resumed {count}"])
    again, once = losses(root / f"killed {count}"), losses(root / "ra 1")
    assert again["step"] == once["step"] == [1, 2, 3, 4, 5, 6]
    assert again["loss"] == pytest.approx(once["loss"], rel=1e-4)


@pytest.mark.parametrize(("what", "key"), [("networks", "processor"), ("pictures", "fingerprint"), ("batch", "batch")])
def test_processes_that_differ_are_refused_before_they_train(root, said, what, key):
    for process in said[f"other_{what}"]:
        kind, sentence = process["error"]
        assert kind == "TrainingError" and sentence.startswith(f"process 1 has {key} = ")
        assert sentence.endswith("give every process the same profile, code, weights and pictures.")
    assert tiny.names(root / f"other_{what}") == []


def test_what_cannot_be_divided_is_refused(said):
    for process in said["not_divisible"]:
        kind, sentence = process["error"]
        assert kind == "ParameterError" and "cannot be divided among 2 processes; start one" in sentence


def test_what_the_first_process_refuses_all_refuse(said):
    assert [process["error"] for process in said["refused_by_main"]] == [["ParameterError", "process 0 will not."]] * 2


def test_short_memory_in_processes_is_told_with_what_fits(said):
    sentences = [process["error"][1] for process in said["memory"]]
    for sentence in sentences:
        assert "a trial of the step fits with 1: give batch 2 to start anew, or keep the batch" in sentence
        assert "start at least 5 processes" in sentence


# The parts


@given(count=st.integers(0, 50), size=st.integers(1, 9))
def test_parts_are_even_and_make_up_the_whole(count, size):
    team = [Team("cpu", size, place) for place in range(size)]
    whole = list(range(count))
    assert [item for one in team for item in whole[one.part(count)]] == whole
    lengths = [len(whole[one.part(count)]) for one in team]
    assert max(lengths) - min(lengths) <= 1
    if count:
        shares = [one.share(count) for one in team]
        assert sum(share for _, share in shares) == pytest.approx(1)
        assert all(len(whole[part]) == max(1, round(share * count)) for part, share in shares)


def test_one_process_is_a_team_that_needs_nobody(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    team = find_team("cpu")
    tensor = torch.ones(2)
    team.add_up([tensor])
    team.agree({"a": 1})
    assert (team.size, team.is_main, team.device, team.told) == (1, True, torch.device("cpu"), {})
    assert team.gather([1]) == [1] and team.ask_main(lambda: 2) == 2 and tensor.tolist() == [1, 1]


def test_weights_have_a_digest_of_their_own():
    nets = {"a": tiny.networks()["processor"], "b": tiny.networks(seed=1)["processor"]}
    assert digest(nets) == digest(nets) and len(set(digest(nets).values())) == 2


@pytest.mark.parametrize(
    ("gpus", "started", "said"),
    [
        ({"cuda": 1}, {"device": "cuda"}, "2 processes were started on a node with 1 GPUs; start at most as many"),
        ({"cuda": 0}, {"device": "cuda"}, "device 'cuda' is not here; choose one of auto, cpu"),
        ({"cuda": 0, "mps": True}, {"device": "auto"}, "on device 'mps', which serves one; start one, or choose"),
        ({"cuda": 0}, {"device": "cpu"}, "2 processes were started but the package accelerate is not installed"),
    ],
)
def test_processes_that_cannot_be_a_team_are_refused(monkeypatch, gpus, started, said):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus["cuda"] > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: gpus.get("mps", False))
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert said in refusal(ParameterError, find_team, **started)


@pytest.mark.parametrize(
    ("name", "value", "ask"),
    [("WORLD_SIZE", "abc", find_team), ("WORLD_SIZE", "0", find_team), ("RANK", "-1", is_rank_zero),
     ("LOCAL_WORLD_SIZE", "", processes_here)],
)  # fmt: skip
def test_what_no_launcher_tells_is_refused(monkeypatch, name, value, ask):
    monkeypatch.setenv(name, value)
    assert f"the environment variable {name} is {value!r}" in refusal(ParameterError, ask)


def test_processes_that_do_not_find_each_other_are_told_so(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = refusal(TrainingError, find_team, "cpu")
    assert said.startswith("process 0 of 2 could not connect to the others (") and "address and port" in said


def test_a_team_whose_connection_breaks_says_so(monkeypatch):
    def broken(tensor):
        raise RuntimeError("Connection closed by peer. This may indicate a crash.\nAnd more.")

    monkeypatch.setattr(torch.distributed, "all_reduce", broken)
    said = refusal(TrainingError, Team("cpu", 4, 2).add_up, [torch.ones(1)])
    assert said.startswith("process 2 of 4 lost touch with the others, one of which has ended;")

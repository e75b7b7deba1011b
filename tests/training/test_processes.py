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
from together import Norms
from torch import nn

from ra_core.errors import ParameterError, TrainingError
from ra_core.training.data_parallel import sync_batch_norm
from ra_core.training.processes import Team, find_team, pick_device

HERE = Path(__file__).parents[1]
PROCESSES = dict(os.environ, GLOO_SOCKET_IFNAME="lo", OMP_NUM_THREADS="1", RA_BATCH="1")
# A convolution before batch normalisation has a bias without effect, whose gradient is nothing but rounding; the
# running mean after it takes the bias away again.
IDLE = [f"body.0.body.{name}" for name in ("0.bias", "1.running_mean", "3.bias", "4.running_mean")]
IDLE += ["first.0.bias", "first.1.running_mean", "head.0.bias", "head.1.running_mean"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def results(root) -> dict:
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


@pytest.mark.parametrize(
    ("name", "count"),
    [("ra", 2), ("ra", 3), ("ra_transformer", 2), ("ra_unsupervised", 2), ("preprocessing", 2), ("normalisation", 2),
     ("normalisation", 3)],
)  # fmt: skip
def test_several_processes_end_as_one_does(root, results, name, count):
    """Three share five pictures, and in the short batch of an epoch two, through which each works."""
    assert all(process["error"] is None for process in results[f"{name} {count}"])
    single, shared = root / f"{name} 1", root / f"{name} {count}"
    assert tiny.names(shared) == tiny.names(single)
    for key, values in losses(single).items():
        assert losses(shared)[key] == pytest.approx(values, rel=1e-5), key
    for key, value in weights(single).items():
        torch.testing.assert_close(weights(shared)[key], value, rtol=0, atol=1e-6, msg=key)
    states = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (single, shared)]
    assert states[0]["settings"] == states[1]["settings"]


def test_in_bf16_too_but_for_its_rounding(root, results):
    single, shared, plain, three = (losses(root / name)["loss"] for name in ("bf16 1", "bf16 2", "ra 1", "ra 3"))
    assert shared == pytest.approx(single, rel=1e-2) and shared != plain != three  # it was not one that did it all


@pytest.mark.parametrize("count", [2, 3])
def test_an_evaluation_shared_unevenly_is_exact_in_every_process(results, count):
    (single,) = results["evaluation 1"]
    assert len(single["value"]["psnr"]) == 23
    assert all(process["value"] == single["value"] for process in results[f"evaluation {count}"])


def test_a_run_of_the_book_is_the_same_and_says_how_many_made_it(results):
    folders = [Path(process["value"]) for process in [*results["book 1"], *results["book 2"]]]
    assert folders[1] == folders[2] and tiny.names(folders[0]) == tiny.names(folders[1])
    single, shared = (json.loads((folder / "run.json").read_text()) for folder in folders[:2])
    assert "processes" not in single and shared["processes"] == 2
    assert shared["metrics"] == pytest.approx(single["metrics"], rel=1e-3)


def test_on_gpus_what_takes_statistics_is_torch_s_and_what_is_frozen_stays():
    net = Norms().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    team = Team()
    team.device = torch.device("cuda")  # which need not be here
    sync_batch_norm(net, team)
    kinds = [type(layer) for layer in (net.first[1], net.second[0], net.second[1], net.head[1])]
    assert kinds == [nn.SyncBatchNorm, nn.SyncBatchNorm, type(Norms().second[1]), nn.SyncBatchNorm]
    assert list(net.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(net.eval()(images), Norms().eval()(images))  # evaluation knows no difference


@pytest.mark.parametrize("count", [1, 3])
def test_the_kill_of_one_ends_the_other_and_any_number_goes_on(root, results, count):
    left, killed = results[f"killed {count}"]
    assert killed["signal"] == signal.SIGKILL
    kind, sentence = left["error"]
    assert kind == "TrainingError" and "process 0 of 2" in sentence
    assert all(process["error"] is None for process in results[f"resumed {count}"])
    again, once = losses(root / f"killed {count}"), losses(root / "ra 1")
    assert again["step"] == once["step"] == [1, 2, 3, 4, 5, 6]
    assert again["loss"] == pytest.approx(once["loss"], rel=1e-4)


@pytest.mark.parametrize(("what", "key"), [("networks", "processor"), ("pictures", "fingerprint"), ("batch", "batch")])
def test_processes_that_differ_are_refused_before_they_train(root, results, what, key):
    for process in results[f"other_{what}"]:
        kind, sentence = process["error"]
        assert kind == "TrainingError" and f"process 1 has {key} = " in sentence
    assert tiny.names(root / f"other_{what}") == []


def test_what_cannot_be_divided_and_what_rank_zero_refuses_all_refuse(results):
    assert all(process["error"][0] == "ParameterError" for process in results["not_divisible"])
    for process in results["refused_by_main"]:
        assert process["error"] == ["ParameterError", "process 0 will not."]


@given(count=st.integers(1, 50), size=st.integers(1, 9))
def test_parts_are_even_and_make_up_the_batch(count, size):
    team, pictures = [Team("cpu", size, rank) for rank in range(size)], list(range(count))
    assert [item for one in team for item in pictures[one.part(count)]] == pictures
    lengths = [len(pictures[one.part(count)]) for one in team]
    assert max(lengths) - min(lengths) <= 1
    counted = torch.zeros(count, dtype=torch.float64)
    for part, share in (one.share(count) for one in team):
        counted[part] += share / len(pictures[part])
    torch.testing.assert_close(counted, torch.full((count,), 1 / count, dtype=torch.float64))  # each picture the same


def test_one_process_is_a_team_that_needs_nobody(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    team = find_team("cpu")
    assert (team.size, team.is_main, team.device, team.facts) == (1, True, torch.device("cpu"), {})
    assert team.gather([1]) == [1] and team.on_rank_zero(lambda: 2) == 2 and team.all_reduce(torch.ones(1)) == 1


ALONE = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("gpus", "mps", "device", "environment", "error", "named"),
    [(1, False, "cuda", ALONE, ParameterError, "2 processes"), (0, False, "cuda", ALONE, ParameterError, "'cuda'"),
     (0, True, "auto", ALONE, ParameterError, "'mps'"), (0, False, "cpu", ALONE, TrainingError, "accelerate"),
     (0, False, "cpu", {"WORLD_SIZE": "abc"}, ParameterError, "WORLD_SIZE is 'abc'"),
     (0, False, "cpu", {"WORLD_SIZE": "0"}, ParameterError, "is '0'"),
     (0, False, "cpu", ALONE | {"LOCAL_WORLD_SIZE": ""}, ParameterError, "LOCAL_WORLD_SIZE is ''"),
     (0, False, "cpu", {"WORLD_SIZE": "2"}, TrainingError, "process 0 of 2")],
)  # fmt: skip
def test_processes_that_cannot_be_a_team_are_refused(monkeypatch, gpus, mps, device, environment, error, named):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if named == "accelerate":
        monkeypatch.setitem(sys.modules, "accelerate", None)
    assert named in refusal(error, find_team, device)


def test_a_connection_that_breaks_is_told_from_other_errors():
    def broken(text: str):
        with Team("cpu", 4, 2).connection():
            raise RuntimeError(text)

    assert "process 2 of 4" in refusal(TrainingError, broken, "[gloo/pair.cc:5] Connection closed by peer.\nAnd more.")
    with pytest.raises(RuntimeError, match="shapes differ"):
        broken("shapes differ")


@pytest.mark.parametrize("name", ["cpu:foo", "cuda:x", "cuda:-1", "gpu", "", "meta", "cpu:"])
def test_what_is_no_device_is_one_sentence(name):
    assert repr(name) in refusal(ParameterError, pick_device, name)
    assert pick_device("cpu") == torch.device("cpu")

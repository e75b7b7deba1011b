import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from ra_core import runs
from ra_core.data import fingerprint
from ra_core.errors import DataError, OutputError, ParameterError, RAError
from ra_core.runs import folder as folders
from ra_core.training.processes import Team

PARAMETERS = {
    "mode": "ra", "weight": 1e-3, "training": {"lr": 1e-5, "drops": [4 / 6, 5 / 6]}, "device": "cuda", "threads": 0,
}  # fmt: skip


# What is begun, what is complete


def left_by_a_run(folder, parameters) -> None:
    runs.write_params(folder, parameters)
    for name in ("checkpoint.pt", "run.json", "log.jsonl", "processor.safetensors"):
        (folder / name).write_text("x")


def test_a_run_is_complete_by_its_parameters_and_its_record(tmp_path):
    assert not runs.is_complete(tmp_path, PARAMETERS)
    runs.write_params(tmp_path, PARAMETERS)
    assert not runs.is_complete(tmp_path, PARAMETERS)
    (tmp_path / "run.json").write_text("{}")
    assert runs.is_complete(tmp_path, PARAMETERS)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"device": "cpu"}, True), ({"threads": 8}, True), ({"device": "cpu", "threads": 8}, True),
        ({"weight": 1e-2}, False), ({"training": {"lr": 1e-4}}, False), ({"source": "vgg8"}, False),
    ],
)  # fmt: skip
def test_on_which_machine_it_ran_is_no_part_of_what_a_run_is(tmp_path, capsys, change, same):
    left_by_a_run(tmp_path, PARAMETERS)  # finished on a GPU
    assert runs.is_complete(tmp_path, PARAMETERS | change) == same
    folders.begin(tmp_path, PARAMETERS | change)  # and begun again, a checkpoint goes on
    assert tiny.names(tmp_path) == [
        "checkpoint.pt" if same else "checkpoint.old.pt", "log.jsonl", "params.yaml", "processor.safetensors",
    ]  # fmt: skip
    assert runs.read_params(tmp_path) == PARAMETERS | change
    said = capsys.readouterr().out
    assert said.count("\n") == (not same) and (same or (str(tmp_path) in said and "checkpoint.old.pt" in said))
    folders.begin(tmp_path, PARAMETERS)
    assert tiny.names(tmp_path)[0] == ("checkpoint.pt" if same else "checkpoint.old.pt")
    (tmp_path / "checkpoint.pt").write_text("y")
    folders.begin(tmp_path, PARAMETERS | {"seed": 1})  # given up once more
    assert {path.read_text() for path in tmp_path.glob("checkpoint.*")} == ({"y"} if same else {"x", "y"})


@given(st.floats(allow_nan=False) | st.integers() | st.none() | st.booleans() | st.text(max_size=20))
def test_any_value_is_known_again(tmp_path_factory, value):
    folder = tmp_path_factory.getbasetemp() / "known"
    runs.write_params(folder, {"value": [value]})
    assert yaml.safe_load((folder / "params.yaml").read_text()) == runs.read_params(folder) == {"value": [value]}


@pytest.mark.parametrize("damaged", [b"a: [", b"- a", b"", b"\xff\xfe\xff", None])
def test_nothing_goes_where_it_is_not_known_what_the_run_was(tmp_path, capsys, damaged):
    left_by_a_run(tmp_path, PARAMETERS)
    if damaged is None:
        (tmp_path / "params.yaml").unlink()
    else:
        (tmp_path / "params.yaml").write_bytes(damaged)
    assert "params.yaml cannot be read (" in refusal(ParameterError, runs.read_params, tmp_path)
    assert not runs.is_complete(tmp_path, PARAMETERS)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refusal(ParameterError, folders.begin, tmp_path, PARAMETERS)  # it has ended, and its networks are whole
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left
    (tmp_path / "run.json").unlink()
    folders.begin(tmp_path, PARAMETERS)
    assert (tmp_path / "checkpoint.pt").read_text() == "x" and capsys.readouterr().out == ""
    assert runs.read_params(tmp_path) == PARAMETERS and not (tmp_path / "run.json").exists()


def test_beginning_makes_the_folder(tmp_path):
    folders.begin(tmp_path / "a" / "b", PARAMETERS)
    assert tiny.names(tmp_path / "a" / "b") == ["params.yaml"]


def test_a_record_says_all_that_is_known_of_a_run(empty_project):
    splits = {"train": tiny.pictures(9, name="t"), "validation": tiny.pictures(3, seed=1, name="v")}
    nets = tiny.networks("ra_transformer")
    done = {"wall_seconds": 12.3456, "images_per_s": 7.891, "validation": {"psnr": 31.5}}
    folder, keys, cpu = empty_project / "run", {"profile": "tiny", "seed": 3}, torch.device("cpu")
    folders.begin(folder, PARAMETERS)
    for name, content in (("processor", b"p"), ("transformer", b"t")):
        (folder / f"{name}.safetensors").write_bytes(content)
    runs.record(folder, keys, splits, nets, cpu, "2024-05-06T07:08:09+00:00", done)
    found = json.loads((folder / "run.json").read_text())
    assert list(found) == [
        "profile", "seed", "git", "versions", "device", "threads", "data", "started", "wall_seconds", "peak_memory_mb",
        "images_per_s", "parameters", "sha256", "metrics",
    ]  # fmt: skip
    assert (found["profile"], found["seed"], found["git"]) == ("tiny", 3, {"commit": None, "dirty": None})
    assert found["versions"] == runs.versions() and found["device"] == runs.device_name(cpu)
    assert found["data"] == {
        part: {"name": split.name, "pictures": len(split), "fingerprint": fingerprint(split)}
        for part, split in splits.items()
    }
    assert (found["started"], found["wall_seconds"]) == ("2024-05-06T07:08:09+00:00", 12.35)
    assert (found["images_per_s"], found["metrics"]) == (7.89, {"psnr": 31.5})
    assert found["parameters"] == {key: sum(p.numel() for p in net.parameters()) for key, net in nets.items()}
    digests = {"processor": hashlib.sha256(b"p").hexdigest(), "transformer": hashlib.sha256(b"t").hexdigest()}
    assert found["sha256"] == digests
    assert found["peak_memory_mb"] > 10 and found["threads"] == torch.get_num_threads()
    assert runs.is_complete(folder, PARAMETERS)


def test_a_run_on_a_gpu_notes_the_memory_of_the_gpu(empty_project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 2_345_600_000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Big One")
    done = {"wall_seconds": 1.0, "images_per_s": 2.0, "validation": {}}
    runs.record(empty_project, {}, {}, {}, torch.device("cuda"), "2024-05-06T07:08:09+00:00", done)
    found = json.loads((empty_project / "run.json").read_text())
    assert found["gpu_memory_mb"] == 2345.6 != found["peak_memory_mb"]


def test_tidying_takes_the_checkpoint_and_what_killed_writers_left(tmp_path):
    kept = ["log.jsonl", "params.yaml", "processor.safetensors", "run.json", "transformer.safetensors"]
    left = ["checkpoint.pt", ".checkpoint.pt.0123abcd.pt", ".log.jsonl.0123abcd.jsonl", ".run.json.ffffffff.json"]
    for name in kept + left:
        (tmp_path / name).write_text("x")
    runs.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    runs.tidy(tmp_path)


def test_a_run_is_held_while_it_is_trained(tmp_path):
    folder, team = tmp_path / "run", Team("cpu")
    with runs.begun(folder, PARAMETERS, team):
        with pytest.raises(OutputError) as caught, runs.begun(folder, PARAMETERS, team):
            pass
        assert f"the training in {folder} is under way already" in str(caught.value)
    assert tiny.names(folder) == ["params.yaml"]


@pytest.mark.parametrize("place", [0, 1])
def test_the_first_process_alone_begins_a_run(tmp_path, place):
    team = Team("cpu", 1, place)
    team.on_rank_zero = (lambda work: work()) if place == 0 else (lambda work: None)
    with runs.begun(tmp_path / "run", PARAMETERS, team):
        assert (tmp_path / "run" / "params.yaml").exists() == (place == 0)


def test_where_there_is_nothing_to_delete_a_disk_may_be_read_only(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refused)
    runs.tidy(tmp_path)


def test_a_finished_run_is_refused_where_its_pictures_have_changed(tmp_path):
    data = {"train": {"fingerprint": "aa"}, "validation": {"fingerprint": "bb"}}
    (tmp_path / "run.json").write_text(json.dumps({"data": data}))
    runs.check_pictures(tmp_path, {})
    runs.check_pictures(tmp_path, {"train": "aa", "validation": "bb"})
    said = refusal(DataError, runs.check_pictures, tmp_path, {"train": "aa", "validation": "cc"})
    assert "the validation pictures have changed since" in said and "to train again" in said


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"data": 3}', '{"data": {"train": {}}}'])
def test_a_finished_run_that_does_not_say_on_what_it_was_trained_is_refused(tmp_path, record):
    (tmp_path / "run.json").write_text(record)
    assert "run.json" in refusal(RAError, runs.check_pictures, tmp_path, {"train": "aa"})


# What a run says of itself


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t.invalid", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_and_whether_files_differ_from_it(empty_project):
    assert runs.git_state() == {"commit": None, "dirty": None}  # no repository yet
    git(empty_project, "init", "-q")
    assert runs.git_state() == {"commit": None, "dirty": None}  # no commit yet
    (empty_project / "params" / "a.yaml").write_text("a: 1")
    git(empty_project, "add", ".")
    git(empty_project, "commit", "-q", "-m", "one")
    commit = git(empty_project, "rev-parse", "HEAD")
    (empty_project / "results").mkdir()
    (empty_project / "results" / "kept.csv").write_text("a")
    assert runs.git_state() == {"commit": commit, "dirty": False}  # no run depends on what was kept of others
    (empty_project / "params" / "a.yaml").write_text("a: 2")
    assert runs.git_state() == {"commit": commit, "dirty": True}


def test_without_git_there_is_no_commit(empty_project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.git_state() == {"commit": None, "dirty": None}


def test_peak_memory_is_in_megabytes_and_only_grows():
    held = b"x" * 1_500_000_000  # by the process that starts it, which does not count
    lines = ["from ra_core.runs.provenance import peak_memory_mb as mb", "before = mb()", "block = b'x' * 400_000_000"]
    lines += ["during = mb()", "del block", "print(before, during, mb())"]
    command = [sys.executable, "-c", "; ".join(lines)]  # a process of its own holds no memory that others freed
    before, during, after = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
    assert 50 < before < len(held) / 1e6 and before + 200 < during < before + 410 and after > during - 1


def test_versions_device_and_time_are_as_people_read_them():
    found = runs.versions()
    assert {"python", "torch", "torchvision", "numpy", "pillow", "ra_core"} <= set(found)
    assert found["torch"] == torch.__version__.partition("+")[0]
    assert all(re.match(r"\d+\.\d+", version) for version in found.values())
    assert re.fullmatch(rf"cpu \(\w+, {torch.get_num_threads()} threads\)", runs.device_name(torch.device("cpu")))
    text = runs.now()  # UTC, to the second
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", text)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()) < 60

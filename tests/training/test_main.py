"""The command line of one training, in one process and by Accelerate's launchers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from ra_core import runs, steps
from ra_core.training.__main__ import main

HERE = Path(__file__).parents[1]


def test_it_trains_what_was_named_and_prints_its_folder(tiny_project, capsys):
    assert main(["--profile", "tiny", "--task", "dn", "--mode", "plain", "--seed", "3"]) == 0
    folder = tiny_project / "runs" / "tiny" / "dn" / "plain" / "seed3"
    assert capsys.readouterr().out.splitlines()[-1] == str(folder) and (folder / "run.json").exists()
    changed = "{tasks: {dn: {training: {steps: 2, lr: 1e-3}}}}"
    assert main(["--profile", "tiny", "--task", "dn", "--overrides", changed]) == 0
    assert tiny.log(tiny_project / "runs" / "tiny-custom" / "dn" / "ra" / "seed0")[-1]["step"] == 2


def test_it_names_a_preprocessor(tiny_project, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "resolve", lambda profile, *what: asked.append((profile.name, *what)))
    monkeypatch.setattr(steps, "train", lambda run: "folder")
    words = "--profile tiny --dataset cells --codec jpeg --method npp --quality 10 --seed 1"
    assert main(words.split()) == 0
    assert asked == [("tiny", "cells", "npp", 1, "jpeg", 10.0)]


@pytest.mark.parametrize(
    ("words", "named"),
    [("", "--task"), ("--dataset cells", "--codec"), ("--task dn --dataset cells --codec jpeg", "--task"),
     ("--task jpg", "'jpg'"), ("--task dn --mode rra", "'rra'"), ("--task dn --overrides [1", "'[1'"),
     ("--task dn --overrides 3", "'3'")],
)  # fmt: skip
def test_what_is_unclear_is_refused_in_a_sentence(tiny_project, capsys, words, named):
    assert main(["--profile", "tiny", *words.split()]) == 1
    said = capsys.readouterr().err
    assert named in said and said.count("\n") == 1 and tiny.names(tiny_project) == ["notebooks", "params"]


COMMAND = """
import sys
sys.path.insert(0, {tests!r})
import tiny
from ra_core.data import cifar10
cifar10.load = tiny.load
from ra_core.training.__main__ import main
"""
BY_COMMAND = COMMAND + "sys.exit(main())\n"
BY_NOTEBOOK = COMMAND + """
from accelerate import notebook_launcher
notebook_launcher(main, (["--profile", "tiny", "--task", "dn"],), num_processes=2, use_port="29517")
"""  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("code", [BY_COMMAND, BY_NOTEBOOK], ids=["accelerate", "notebook"])
def test_two_processes_are_launched(tmp_path, code):
    project = tiny.project(tmp_path)
    (project / "started.py").write_text(code.format(tests=str(HERE)))
    command = [sys.executable, "started.py"]
    if code == BY_COMMAND:
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
        command += ["--main_process_port", "29518", "started.py", "--profile", "tiny", "--task", "dn"]
    paths = [str(HERE), str(HERE.parent), os.environ["PYTHONPATH"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = (project / "runs" / "tiny" / "dn" / "ra" / "seed0" / "run.json").read_text()
    assert '"processes": 2' in record

"""The command line of one training, in one process and by Accelerate's launchers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from ra_core import coding
from ra_core.training.command import main

HERE = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    with tiny.at_project(tmp_path, monkeypatch):
        yield tmp_path


def test_it_trains_what_was_named_and_prints_its_folder(project, capsys):
    assert main(["--profile", "tiny", "--task", "dn", "--mode", "plain", "--seed", "3"]) == 0
    folder = project / "runs" / "tiny" / "dn" / "plain" / "seed3"
    assert capsys.readouterr().out.splitlines()[-1] == str(folder) and (folder / "run.json").exists()
    changed = "{tasks: {dn: {training: {steps: 2, lr: 1e-3}}}}"
    assert main(["--profile", "tiny", "--task", "dn", "--overrides", changed]) == 0
    assert tiny.log(project / "runs" / "tiny-custom" / "dn" / "ra" / "seed0")[-1]["step"] == 2


def test_it_names_a_preprocessor(project, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(coding, "train_preprocessor", lambda profile, *what: asked.append((profile.name, *what)))
    words = "--profile tiny --dataset cells --codec jpeg --method npp --quality 10 --seed 1"
    assert main(words.split()) == 0
    assert asked == [("tiny", "cells", "jpeg", "npp", 10.0, 1)]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("", "--task"),
        ("--dataset cells", "--codec"),
        ("--task dn --dataset cells --codec jpeg", "--task"),
        ("--task jpg", "'jpg'"),
        ("--task dn --mode rra", "'rra'"),
        ("--task dn --overrides [1", "'[1'"),
        ("--task dn --overrides 3", "'3'"),
    ],
)
def test_what_is_unclear_is_refused_in_a_sentence(project, capsys, words, named):
    assert main(["--profile", "tiny", *words.split()]) == 1
    said = capsys.readouterr().err
    assert named in said and said.count("\n") == 1 and tiny.names(project) == ["notebooks", "params"]


SITE = """
import sys
sys.path.insert(0, {tests!r})
import tiny
from ra_core.data import cifar10
cifar10.load = tiny.load
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["accelerate", "notebook"])
def test_two_processes_are_launched(tmp_path, launcher):
    project = tiny.project(tmp_path)
    (project / "started.py").write_text(SITE.format(tests=str(HERE)) + (
        "from ra_core.training.command import main\nsys.exit(main())\n" if launcher == "accelerate" else
        "from accelerate import notebook_launcher\n"
        "from ra_core.experiments import train_run\nfrom ra_core.params import load_profile\n"
        "notebook_launcher(train_run, (load_profile('tiny'), 'dn', 'ra', 0), num_processes=2, use_port='29517')\n"
    ))  # fmt: skip
    started = [sys.executable, "started.py"]
    if launcher == "accelerate":
        started = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
        started += ["--main_process_port", "29518", "started.py", "--profile", "tiny", "--task", "dn"]
    paths = [str(HERE), str(HERE.parent), os.environ["PYTHONPATH"]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(started, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = (project / "runs" / "tiny" / "dn" / "ra" / "seed0" / "run.json").read_text()
    assert '"processes": 2' in record


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "ra_core.training", "--help"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "--task" in done.stdout and done.stderr == ""

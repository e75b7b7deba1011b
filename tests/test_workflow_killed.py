"""A workflow that is killed with SIGKILL at random moments, with all its processes, and started again."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import copied
import pytest

TARGET, KILLS = "runs/tiny/dn/accuracy.csv", 6
TINY = """data: {train_per_class: 4, test_per_class: 4, validation_per_class: 2}
tasks: {dn: {processor: {name: SRResNet, width: 4, blocks: 1}, training: {steps: 30, batch: 8}}}
modes: [plain]
unseen: [vgg8]
threads: 1
"""


def start(project: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", TARGET, "--nolock", "--rerun-incomplete", "--cores", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(project)])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return subprocess.Popen([*command, "--config", "profile=tiny"], cwd=project, env=environment, **pipes)


def results(project: Path) -> dict[str, bytes]:
    """Return weights and tables, byte for byte, and what is left in the folder of the run."""
    run = project / "runs/tiny/dn/plain/seed0"
    found = {name: (project / "runs/tiny/dn" / name).read_bytes() for name in ("accuracy.csv", "paired.csv")}
    left = "\n".join(sorted(path.name for path in run.iterdir()))
    return found | {"weights": (run / "processor.safetensors").read_bytes(), "left": left.encode()}


@pytest.mark.slow
def test_a_workflow_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    project, began = copied.project(tmp_path / "project", tiny=TINY), time.monotonic()
    undisturbed = start(project)
    said = undisturbed.communicate(timeout=900)[0]
    assert undisturbed.returncode == 0, said
    once, took, chance = results(project), time.monotonic() - began, random.Random(0)
    shutil.rmtree(project / "runs")
    for _ in range(KILLS):
        workflow = start(project)
        time.sleep(took * chance.uniform(0.1, 0.9))
        os.killpg(workflow.pid, signal.SIGKILL)
        workflow.communicate(timeout=60)
        time.sleep(3)  # in which a kernel notices that nobody asks it any more
    last = start(project)
    said = last.communicate(timeout=900)[0]
    assert last.returncode == 0 and "Traceback" not in said, said
    assert results(project) == once

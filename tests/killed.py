"""Kills trainings with SIGKILL at many moments, lets each start again, and prints what came of them as JSON.

`python killed.py FOLDER MODE`. Every training is a process of its own, forked from this one, which has paid for
its imports and has not computed anything yet. A moment is a number of lines of the package: a training is
killed when it has executed that many, wherever that is. Every step ends with a checkpoint, so many moments lie
within one.
"""

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import tiny
import torch

import ra_core
from ra_core.data import cifar10
from ra_core.params import load_profile
from ra_core.runs import resolve
from ra_core.runs.shipped import matching
from ra_core.steps import trainings

PACKAGE = str(Path(ra_core.__file__).parent)
MOMENTS = 5


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def count_lines(limit: float) -> list[int]:
    """Count the lines of the package that are executed from now on; be killed after `limit`."""
    lines = [0]

    def local(frame, event, argument):
        lines[0] += event == "line"
        if lines[0] >= limit:
            kill()
        return local

    sys.settrace(lambda frame, *_: local if frame.f_code.co_filename.startswith(PACKAGE) else None)
    return lines


def be_killed_in_a_checkpoint(number: int) -> None:
    """Be killed when half of the checkpoint of that number lies on the disk."""
    write, written = Path.write_bytes, [0]

    def half(path, content):
        if "checkpoint" in path.name:
            written[0] += 1
            if written[0] == number:
                write(path, bytes(content)[: len(content) // 2])
                kill()
        return write(path, content)

    Path.write_bytes = half


def train(project: Path, mode: str, limit: float = float("inf"), checkpoint: int = 0, before: str = "") -> None:
    """Train in the present process, note what it did, and end."""
    os.chdir(project)
    trainings.fit = functools.partial(trainings.fit, checkpoint_seconds=0)
    cifar10.load = tiny.load
    if checkpoint:
        be_killed_in_a_checkpoint(checkpoint)
    if before:  # the step of that name
        setattr(trainings, before, lambda folder, *_: kill() if mode in folder.parts else None)
    lines = count_lines(limit)
    trainings.train(resolve(load_profile("tiny"), "dn", mode))
    sys.settrace(None)
    (project / "lines").write_text(str(lines[0]))


def started(project: Path, mode: str, **options) -> int:
    """Run `train` in a new process, the first time after what it builds on; return the signal that ended it, or 0."""
    if not project.exists():
        project.mkdir()
        tiny.project(project)
        if mode == "ra_transformer":
            started(project, "plain")
    child = os.fork()
    if not child:
        code = 1
        try:
            train(project, mode, **options)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "a training failed"
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def killed_and_started_again(project: Path, mode: str, *rounds: dict) -> dict:
    """Kill a training as each of `rounds` says, then let it end."""
    signals = [started(project, mode, **round_) for round_ in rounds]
    run = project / "runs" / "tiny" / "dn" / mode / "seed0"
    left = tiny.names(run) if run.exists() else []
    return {"run": str(run), "signals": signals, "left": left, "end": started(project, mode)}


def main(root: Path, mode: str) -> list[dict]:
    """Do all of it; return the runs, the undisturbed one first."""
    torch.optim.Adam([torch.zeros(1)])  # the first one of a process imports half of torch
    matching({})  # reads all that ships
    once = killed_and_started_again(root / mode, mode)
    total = int((root / mode / "lines").read_text())
    moments = [round(total * (i + 0.5) / MOMENTS) for i in range(MOMENTS)]
    plans = [[{"limit": limit}] for limit in moments]
    plans += [[{"checkpoint": 1}], [{"checkpoint": 2}, {"checkpoint": 2}], [{"limit": moments[2]}] * 3]
    plans += [[{"before": "record"}], [{"before": "tidy"}]]
    return [once, *(killed_and_started_again(root / f"{mode}{n}", mode, *plan) for n, plan in enumerate(plans))]


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))

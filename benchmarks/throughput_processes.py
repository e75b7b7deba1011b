"""Two processes against one, of one thread each: the same training, which `ra_core.training.fit` divides between them.

`throughput.py` starts this file by torchrun, as book/processes.md does. In every round rank zero trains alone while the
other waits, then both train together, then each for itself on half the batch: what two reach that tell each other
nothing is what the machine allows. Pictures are kept decoded, lest one process alone decode them on the other's core.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from loops import CLASSES, OurLoop, tiny_networks
from timing import spread
from torch import nn

from ra_core.channels import make_channel
from ra_core.data.cache import InMemory
from ra_core.data.folders import load_tree
from ra_core.files import read_json, write_json
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.processors import make_processor
from ra_core.training.processes import Team, find_team, shutdown

TARGET = 1.8
WAYS = ("alone", "together", "apart")


def lite0_networks(task: str, **sizes: int) -> tuple[nn.Module, nn.Module]:
    """Return a processor and EfficientNet-Lite0 with random weights, the same at every call."""
    torch.manual_seed(0)
    return make_processor("SRResNet", make_channel(task).scale, **sizes), efficientnet_lite("lite0", CLASSES).eval()


NETWORKS = {
    "published size": lite0_networks, "narrow": partial(lite0_networks, width=32, blocks=3), "tiny": tiny_networks,
}  # fmt: skip


def time_processes(
    root: Path, scratch: Path, rounds: int, *, batch: int = 20, steps: int = 2,
    names: Iterable[str] = ("published size", "narrow"),
) -> dict[str, dict]:  # fmt: skip
    """Start two processes with the pictures of `root`; return a row for the networks of each name."""
    output = scratch / "processes.json"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    given = [root, scratch, output, f"--batch={batch}", f"--steps={steps}", f"--rounds={rounds}", "--names", *names]
    subprocess.run([*torchrun, __file__, *map(str, given)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return {f"two processes beside one, sr ra, {name}": row for name, row in read_json(output).items()}


def time_networks(name: str, given: argparse.Namespace, pictures, team: Team) -> dict:
    """Time all ways in turn, as one process of the team."""

    def seconds(way: str) -> float:
        """Return what the slowest process takes."""
        batch, took = given.batch // (team.size if way == "apart" else 1), 0.0
        size = str(team.size if way == "together" else 1)
        if team.is_main or way != "alone":
            with patch.dict(os.environ, WORLD_SIZE=size, LOCAL_WORLD_SIZE=size):
                loop = OurLoop("sr", "ra", given.root, given.scratch, batch, team.device, NETWORKS[name])
                took = loop.seconds(1, given.steps, pictures=pictures)  # the first one chooses kernels
        return max(team.gather([took]))

    rounds = [[seconds(way) for way in WAYS] for _ in range(given.rounds)]
    alone, together, _ = zip(*rounds, strict=True)
    return {
        "ours_s": spread(together), "published_s": spread(alone), "ratio": spread([a / b for a, b, _ in rounds]),
        "apart": spread([a / c for a, _, c in rounds]), "batch": given.batch, "target": TARGET,
        "ours": given.batch * given.steps / statistics.median(together),
        "published": given.batch * given.steps / statistics.median(alone),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Be one of the processes that are timed; throughput.py starts them.")
    for name in ("root", "scratch", "output"):
        parser.add_argument(name, type=Path)
    for name in ("--batch", "--steps", "--rounds"):
        parser.add_argument(name, type=int)
    parser.add_argument("--names", nargs="+", choices=NETWORKS)
    given, team = parser.parse_args(arguments), find_team("cpu")
    pictures = load_tree(given.root).subset(torch.arange(given.batch), "train")  # no batch is short
    pictures = replace(pictures, cache=InMemory(pictures))
    rows = {name: time_networks(name, given, pictures, team) for name in given.names}
    if team.is_main:
        write_json(given.output, rows)
    shutdown()


if __name__ == "__main__":
    main()

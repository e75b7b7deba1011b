"""What finished and shipped runs, and scripts of others, rely on: renewed on purpose by `python tests/test_golden.py`.

`golden.json` holds, for every run of every profile, a digest of its `params.yaml` as a dict, and the options of every
public command.
"""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ra_core.params import load_profile
from ra_core.runs import planned

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden.json")
COMMANDS = (
    "ra_core.apply", "ra_core.training", "ra_core.data.check", "ra_core.shipped_runs", "ra_core.export",
    "ra_core.pretraining.detectors", "ra_core.pretraining.proxies", "ra_book.book", "ra_book.reference",
    "ra_book.costs",
)  # fmt: skip


def parameters(profile: str) -> dict[str, str]:
    """Return a digest of the parameters of every run of a profile, by its name."""
    runs = planned(load_profile(profile, folder=ROOT / "params"))
    texts = {run.name: json.dumps(run.parameters, sort_keys=True) for run in runs}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def options(command: str) -> list[str]:
    """Return what a command takes, from its help."""
    said = subprocess.run(
        [sys.executable, "-m", command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return sorted(set(re.findall(r"^  (?:-\w, )?(--[a-z-]+|[a-zA-Z]+)\b", said.stdout, flags=re.MULTILINE)))


@pytest.mark.parametrize("profile", json.loads(GOLDEN.read_text())["parameters"])
def test_runs_of_a_profile_are_known_by_the_same_parameters(profile):
    assert parameters(profile) == json.loads(GOLDEN.read_text())["parameters"][profile]


def test_every_profile_is_held():
    profiles = {path.stem for path in (ROOT / "params").glob("*.yaml")}
    assert profiles == set(json.loads(GOLDEN.read_text())["parameters"])


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_the_same_options(command):
    assert options(command) == json.loads(GOLDEN.read_text())["commands"][command]


if __name__ == "__main__":
    found = {
        "parameters": {path.stem: parameters(path.stem) for path in sorted((ROOT / "params").glob("*.yaml"))},
        "commands": {command: options(command) for command in COMMANDS},
    }
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")

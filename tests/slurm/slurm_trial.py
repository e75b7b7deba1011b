"""Runs a tiny profile on this machine and again through Slurm, and checks that nothing differs.

`python tests/slurm/slurm_trial.py FOLDER`, after `sudo tests/slurm/one_node.sh up`, with the extra `cluster`. FOLDER
gets two copies of the project, `here` and `slurm`. While Slurm works, a second workflow is started, which has to give
way.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import copied

TINY = """# Two trainings, for a trial.
data: {train_per_class: 4, test_per_class: 4, validation_per_class: 2}
tasks: {sr: {processor: {name: SRResNet, width: 4, blocks: 1}, training: {steps: 4, batch: 4, lr: 1e-3}}}
modes: [plain, ra]
unseen: [vgg8]
threads: 1
"""
STEPS = {"train_processor": 2, "cross_evaluate": 1, "report": 1}
MEMORY = [f"{step}:mem_mb=2000" for step in STEPS]  # this machine is small
ON_SLURM = [  # which keeps no accounts here
    "--workflow-profile", "workflow/slurm", "--slurm-no-account", "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "3", "--set-resources", *MEMORY,
]  # fmt: skip


def start(folder: Path, *options: str) -> subprocess.Popen:
    """Start the workflow as far as its report."""
    command = [sys.executable, "-m", "snakemake", "report", *options, "--config", "profile=tiny"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, **pipes)


def finished(workflow: subprocess.Popen) -> str:
    """Wait for a workflow that has to succeed, and return what it said."""
    said = workflow.communicate()[0]
    assert workflow.returncode == 0, said
    return said


def jobs() -> dict[str, str]:
    """Return Slurm's records of its jobs by their numbers."""
    said = subprocess.run(["scontrol", "-o", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    return {record.split()[0]: record for record in said.splitlines() if record.startswith("JobId=")}


def results(folder: Path) -> dict[str, bytes | dict]:
    """Return what a run found out: tables and weights as bytes, metrics as numbers."""
    runs = folder / "runs" / "tiny"
    found = {str(path.relative_to(runs)): path.read_bytes() for path in runs.rglob("*.csv")}
    found |= {str(path.relative_to(runs)): path.read_bytes() for path in runs.rglob("*.safetensors")}
    return found | {
        str(path.relative_to(runs)): json.loads(path.read_text())["metrics"] for path in runs.rglob("run.json")
    }


def main(folder: Path) -> None:
    """Run the trial; any difference is an AssertionError."""
    began = time.time()
    here, there = (copied.project(folder / name, tiny=TINY) for name in ("here", "slurm"))
    finished(start(here, "--cores", "1", "--nolock"))
    between, before = time.time(), jobs()
    first = start(there, *ON_SLURM)
    lock = there / "runs" / "tiny" / ".workflow.lock"
    while not lock.exists() and first.poll() is None:
        time.sleep(0.2)
    second = start(there, *ON_SLURM)
    said = second.communicate()[0]
    print("a second workflow says:", said.strip().splitlines()[-1])
    assert second.returncode == 1 and "the workflow of profile tiny is under way already" in said, said
    finished(first)
    ran = [record for number, record in jobs().items() if number not in before]
    for step, times in STEPS.items():
        records = [record for record in ran if f"Comment=rule_{step}" in record]
        asked = sum("TresPerJob=gres:gpu:1" in record for record in records)
        print(f"{step}: {len(records)} jobs of Slurm, {asked} with a GPU")
        assert len(records) == times and all("JobState=COMPLETED" in record for record in records), records
        assert all("MinMemoryNode=2000M" in record for record in records), records
        assert asked == (0 if step == "report" else times), records
    alone, sent = results(here), results(there)
    assert alone.keys() == sent.keys()
    assert {name for name in alone if alone[name] != sent[name]} == set()
    seconds = f"{between - began:.0f} s here, {time.time() - between:.0f} s through Slurm"
    print(f"{len(alone)} result files are equal; {seconds}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

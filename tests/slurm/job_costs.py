"""What the workflow itself costs a job: trainings of a blink, each a job of a Slurm of one node, and where time goes.

`python tests/slurm/job_costs.py FOLDER [JOBS]`, after `sudo tests/slurm/one_node.sh up`, with the extra `cluster` and
nothing beside it. FOLDER gets a copy of the project; what was found is printed and written as
`runs/benchmarks/jobs.json` of this one.
"""

import json
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import torch
from slurm_trial import ON_SLURM, copied, jobs

sys.path.insert(0, str(copied.ROOT / "benchmarks"))
from timing import about, spread

from ra_core.files import write_json

SHORT = """# Trainings that take no time.
data: {{train_per_class: 4, test_per_class: 4, validation_per_class: 2}}
tasks: {{dn: {{processor: {{name: SRResNet, width: 4, blocks: 1}}, training: {{steps: 4, batch: 4, lr: 1e-3}}}}}}
modes: [plain, ra]
seeds: {seeds}
unseen: [vgg8]
device: cpu
threads: 1
"""


def seconds_of(record: str) -> float:
    """Return how long a job of Slurm ran, in whole seconds."""
    began, ended = (datetime.fromisoformat(re.search(rf"{name}=(\S+)", record)[1]) for name in ("StartTime", "EndTime"))
    return (ended - began).total_seconds()


def main(folder: Path, count: int) -> None:
    """Send `count` trainings to Slurm, and say what of their time is the training's."""
    copy = copied.project(folder, short=SHORT.format(seeds=list(range(count // 2))))
    names = [f"dn/{mode}/seed{seed}" for mode in ("plain", "ra") for seed in range(count // 2)]
    targets = [f"runs/short/{name}/run.json" for name in names]
    command = [sys.executable, "-m", "snakemake", *targets, *ON_SLURM, "--config", "profile=short"]
    before, began = jobs(), time.time()
    subprocess.run(command, cwd=copy, check=True)
    whole = time.time() - began
    ran = [record for number, record in jobs().items() if number not in before]
    assert len(ran) == len(names) and all("JobState=COMPLETED" in record for record in ran)
    executed = [json.loads(path.read_text()) for path in (copy / "runs/short/notebooks").glob("03_*.ipynb")]
    runs = [json.loads((copy / target).read_text()) for target in targets]
    found = about(torch.device("cpu")) | {
        "jobs": len(names), "whole_s": whole, "job_s": spread([seconds_of(record) for record in ran]),
        "notebook_s": spread([each["metadata"]["papermill"]["duration"] for each in executed]),
        "training_s": spread([run["wall_seconds"] for run in runs]),
    }  # fmt: skip
    write_json(copied.ROOT / "runs/benchmarks/jobs.json", found)
    print(json.dumps({key: found[key] for key in ("jobs", "whole_s", "job_s", "notebook_s", "training_s")}, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 100)

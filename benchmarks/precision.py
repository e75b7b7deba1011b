"""Measures what bf16 changes in the results, against how much seeds differ.

`python benchmarks/precision.py --task dn` trains and evaluates a task of the profile `quick` in fp32 and in bf16 with
the same seeds, prints the table and writes runs/benchmarks/precision-dn.json, which the book's status page shows.
Trainings begin from nothing, as seeds that go on from one network differ in less. With quick's lengths one takes less
than a minute on a core, in fp32 twice that: 12 of them for three seeds and two modes. What was trained before is kept
below runs/precision-fp32 and runs/precision-bf16 and used again.
"""

import argparse
import statistics
from pathlib import Path

import pandas as pd
from timing import about

from ra_core.files import write_json
from ra_core.metrics import mean_interval
from ra_core.params import Profile, load_profile
from ra_core.steps import evaluate_task
from ra_core.training import PRECISIONS, pick_device

UNITS = {"top1": "top-1 on the source in points", "unseen": "top-1 unseen in points", "psnr": "PSNR in dB"}


def with_precision(base: str, task: str, precision: str, modes: list[str], seeds: list[int]) -> Profile:
    """Return a profile of one task in one precision, whose runs lie apart from those of any other."""
    training = {"start": "", "training": {"precision": precision}}
    overrides = {"tasks": {task: training}, "modes": modes, "seeds": seeds}
    return load_profile(base, overrides).model_copy(update={"name": f"precision-{precision}"})


def by_seed(accuracy: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Return a row a seed: top-1 on the source, the mean of the unseen, PSNR."""
    rows = accuracy[accuracy["mode"] == mode]
    sides = {role: part.groupby("seed") for role, part in rows.groupby("role")}
    source, unseen = sides["source"], sides["unseen"]
    return pd.DataFrame({"top1": source.top1.mean(), "unseen": unseen.top1.mean(), "psnr": source.psnr.mean()})


def compare(fp32: pd.DataFrame, bf16: pd.DataFrame, mode: str) -> dict[str, dict[str, float]]:
    """Return by number: both means, the spread of fp32 over seeds, and bf16's difference with a 95 % interval."""
    full, half = by_seed(fp32, mode), by_seed(bf16, mode)
    found = {}
    for key in UNITS:
        difference, low, high = mean_interval((half[key] - full[key]).tolist())
        spread = statistics.stdev(full[key])
        found[key] = {
            "fp32": full[key].mean(), "bf16": half[key].mean(), "seeds_sd": spread,
            "difference": difference, "low": low, "high": high, "within": abs(difference) <= spread,
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what bf16 changes in the results.")
    parser.add_argument("--profile", default="quick", help="whose task is trained")
    parser.add_argument("--task", default="dn", choices=["sr", "dn", "jpeg"])
    parser.add_argument("--modes", nargs="+", default=["plain", "ra"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="two or more")
    options = parser.parse_args()
    if len(set(options.seeds)) < 2:
        parser.error("the spread of seeds needs at least two of them; give for instance --seeds 0 1 2.")
    given = options.profile, options.task
    profiles = [with_precision(*given, precision, options.modes, options.seeds) for precision in PRECISIONS]
    tables = [evaluate_task(profile, options.task)[0] for profile in profiles]
    results = {mode: compare(*tables, mode) for mode in options.modes}
    for mode, numbers in results.items():
        for key, row in numbers.items():
            verdict = "within" if row["within"] else "beyond"
            print(
                f"{options.task} {mode}, {UNITS[key]}: fp32 {row['fp32']:.2f} (seeds' standard deviation "
                f"{row['seeds_sd']:.2f}), bf16 {row['bf16']:.2f}, difference {row['difference']:+.2f} "
                f"[{row['low']:+.2f}, {row['high']:+.2f}]: {verdict} the seeds' spread"
            )
    output, device = Path("runs/benchmarks") / f"precision-{options.task}.json", pick_device(profiles[0].device)
    write_json(output, about(device) | {"settings": vars(options), "units": UNITS, "results": results})
    print(f"written to {output}")


if __name__ == "__main__":
    main()

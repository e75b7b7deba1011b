"""What a profile will cost on a machine: `python -m ra_book.planning [PROFILE ...] [--machine NAME] [--gpus N]`.

Work is counted by `ra_book.planning.workload`. A picture takes as long as its multiply-accumulates at the machine's
rate and the bytes of all other operators at its bandwidth take together; a step at least as long as its operators take
to be launched. A step of a GPU computes, codes on the CPU where its channel is a codec, and sums the gradients of all
GPUs, one after the other. Meanwhile the next pictures are read and decoded, so the slowest of step, decoding and disk
sets the pace. A core that computes does all of it itself, one after the other.
"""

import argparse
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ra_book.planning.workload import Job, Stock, jobs_of
from ra_book.reference import TRAINING_COLUMNS, training_row
from ra_core.errors import ParameterError, RAError, exit_status
from ra_core.params import Profile, load_profile
from ra_core.paths import project_root

PICTURE_BYTES = 116_200  # of a picture of ImageNet: its two archives, 154.6 GB of 10^9 bytes, hold 1,331,167
FLOAT, ADAM = 4, 16  # bytes of a weight; with its gradient and Adam's two moments
CODER_MS = {"jpeg": 0.5, "webp": 6.0, "heic": 60.0, "avif": 35.0, "jpeg2000": 20.0, "jpegxl": 30.0, "bpg": 100.0}
CODED_SIDE = 256  # to which CODER_MS belongs: coding and decoding on one core, rounded from benchmarks/coding.py
CODED_TOGETHER = 2**16  # bytes of a picture from which `ra_core.channels.Jpeg` codes a batch on all cores
LOG_BYTES = 100_000  # of the text files of one run
PANEL = 6  # pictures of each chain that a task keeps for the book
MEASURED = [column for column in TRAINING_COLUMNS if column not in ("profile", "commit")]


@dataclass(frozen=True)
class Machine:
    """What a machine does in a second; `assumed` says what of it was not measured here.

    Peaks are floating-point operations (a multiply-accumulate is two) and bytes a second, of which the shares are
    reached; `launch` are seconds an operator takes a step whatever the pictures; `decode` are pictures a second and
    core. All GPUs share `storage` bytes a second; `link` joins those of a `node`, `network` nodes, a GPU each way, and
    `collective` are the seconds that a sum of few numbers over GPUs takes. Of a CPU all numbers are those of one core,
    of a GPU `cores` are those beside it. `base_mb` is what a process, or a GPU, holds before it works.
    """

    name: str
    title: str
    peak: dict[str, float]
    share: float
    bandwidth: float
    bandwidth_share: float
    launch: float
    decode: float
    cores: int
    base_mb: float
    assumed: str = ""
    gpu: bool = False
    node: int = 8
    link: float = 450e9
    network: float = 50e9
    collective: float = 100e-6
    storage: float = 5e9


MACHINES = {
    machine.name: machine
    for machine in (
        # `python benchmarks/planning.py` fits such rates to steps it times, by the time of the core alone.
        Machine(
            "cpu", "2 cores (AMD EPYC, bf16 instructions), one training a core",
            {"fp32": 64e9, "bf16": 127e9}, 1.0, 23e9, 0.6, 160e-6, 210.0, 2, 860.0,
        ),
        # Peaks as the maker states them, without sparsity; fp32 are convolutions in TF32, torch's default.
        Machine(
            "h100", "H100 SXM, 16 cores a GPU", {"fp32": 494e12, "bf16": 989e12}, 0.3, 3.35e12, 0.7, 6e-6, 210.0, 16,
            1500.0, gpu=True,
            assumed="all but the peaks and the decoding",
        ),
    )
}  # fmt: skip


def machine_of(name: str) -> Machine:
    """Return a machine by name. Raises `ParameterError` for another."""
    if name not in MACHINES:
        raise ParameterError(f"machine {name!r} is unknown; choose one of {', '.join(MACHINES)}.")
    return MACHINES[name]


def compute_seconds(work, machine: Machine, precision: str, batch: float) -> float:
    """Return how long the device takes for a step of `batch` pictures."""
    width = 0.5 if precision == "bf16" else 1.0
    products = 2 * work.macs / (machine.share * machine.peak[precision])
    others = width * work.moved / (machine.bandwidth_share * machine.bandwidth)
    launched = work.operators * machine.launch
    if machine.gpu:  # which computes while the next operators are launched
        return max(launched, batch * (products + others))
    return launched + batch * (products + others)


def coder_seconds(job: Job) -> float:
    """Return how long one core codes and decodes for one picture."""
    each = sum(times * CODER_MS.get(codec.split("-")[0], 0.0) for codec, times in job.coders)
    return each / 1000 * (job.side / CODED_SIDE) ** 2


def step_seconds(job: Job, machine: Machine, gpus: int = 1, batch: float | None = None) -> dict[str, float]:
    """Return how long the parts of a step take, one after the other, with `batch` pictures (the job's) on each GPU.

    `network` is the sum of the gradients over all GPUs, twice (N - 1) / N of their bytes through the slower of its
    links, and a `collective` for it and for each way through each normalisation over the whole batch.
    """
    batch = job.batch if batch is None else batch
    found = {"compute": compute_seconds(job.work, machine, job.precision, batch)}
    if job.coders:
        together = machine.gpu and 3 * job.side**2 >= CODED_TOGETHER
        found["coding"] = batch * coder_seconds(job) / (min(batch, machine.cores) if together else 1)
    if gpus > 1 and job.trained:
        link = machine.link if gpus <= machine.node else min(machine.link, machine.network)
        sums = 1 + 2 * job.work.norms
        found["network"] = 2 * (gpus - 1) / gpus * FLOAT * job.trained / link + sums * machine.collective
    return found


def host_seconds(job: Job, machine: Machine) -> float:
    """Return how long one core decodes and codes for one picture."""
    return coder_seconds(job) + (1 / machine.decode if job.folder else 0.0)


def _check_gpus(machine: Machine, gpus: int) -> None:
    if gpus < 1 or (gpus > 1 and not machine.gpu):
        raise ParameterError(f"{gpus} GPUs of {machine.name} are not allowed; give 1, or more of a machine with GPUs.")


def bounds(job: Job, machine: Machine, gpus: int = 1, global_batch: bool = False) -> dict[str, float]:
    """Return how many training pictures a second a step and what goes on beside it allow, with so many GPUs.

    Every GPU has the job's batch, or, with `global_batch`, its part of it, at least one picture. The cores that decode
    also code. Raises `ParameterError` for no GPU, or several of a machine without.
    """
    _check_gpus(machine, gpus)
    gpus = min(gpus, job.batch) if global_batch else gpus
    batch = job.batch / gpus if global_batch else job.batch
    step = sum(step_seconds(job, machine, gpus, batch).values())
    if not machine.gpu:  # the core that computes decodes as well
        return {"step": 1 / (step / batch + (1 / machine.decode if job.folder else 0.0))}
    found = {"step": gpus * batch / step}
    if job.folder:
        found["decoding"] = gpus * machine.cores / host_seconds(job, machine)
        found["disk"] = machine.storage / PICTURE_BYTES
    return found


def bottleneck(found: dict[str, float]) -> str:
    """Return what allows the fewest pictures a second."""
    return min(found, key=found.get)


def run_seconds(job: Job, machine: Machine, gpus: int = 1, global_batch: bool = False) -> float:
    """Return how long one run of a job takes, its validations included."""
    seconds = job.pictures / min(bounds(job, machine, gpus, global_batch).values())
    if job.checked:
        looked = replace(job, work=job.check, precision="fp32", batch=max(job.batch, 50), trained=0)
        seconds += job.checked / min(bounds(looked, machine, gpus).values())
    return seconds


def images_per_second(job: Job, machine: Machine) -> float:
    """Return what `run.json` calls `images_per_s`: training pictures over all of the run's time."""
    return job.pictures / run_seconds(job, machine)


def memory_mb(job: Job, machine: Machine) -> float:
    """Return the memory of a run in MB of 10^6 bytes: process, pictures, weights, and what waits for the way back.

    Of a GPU it is the GPU's own, where no pictures are held.
    """
    waiting = job.batch * job.work.kept * (0.5 if job.precision == "bf16" else 1.0)
    held = 0 if machine.gpu else 3 * job.side**2 * job.held
    return machine.base_mb + (held + ADAM * job.trained + FLOAT * job.frozen + waiting) / 1e6


def storage_gb(profile: Profile, jobs: list[Job], stock: Stock | None, at_once: int) -> dict[str, float]:
    """Return what lies on disk in GB of 10^9 bytes: pictures, kept weights, checkpoints of runs `at_once`, results."""
    trainings = [job for job in jobs if job.kind == "training"]
    folder = stock if stock and profile.data.kind == "folder" else None
    panels = len(profile.tasks) * PANEL * (2 + len(profile.modes)) * 3 * max(job.side for job in jobs) ** 2
    largest = sorted((job.trained for job in trainings for _ in range(job.runs)), reverse=True)[:at_once]
    return {
        "pictures": PICTURE_BYTES * (folder.train + folder.test) / 1e9 if folder else 0.0,
        "weights": sum(job.runs * FLOAT * job.trained for job in trainings) / 1e9,
        "checkpoints": sum(3 * FLOAT * size for size in largest) / 1e9,
        "results": (panels + sum(job.runs * LOG_BYTES for job in trainings)) / 1e9,
    }


def cost(profile: Profile, machine: Machine, gpus: int = 1, stated: Stock | None = None) -> dict:
    """Return the cost of a profile on a machine as one row; its runs go side by side, one a core or GPU."""
    _check_gpus(machine, gpus)
    jobs = [job for job in jobs_of(profile, stated) if job.runs]  # what ships is not trained
    trainings = [job for job in jobs if job.kind == "training"]
    places = gpus if machine.gpu else machine.cores
    hours = {kind: sum(job.runs * run_seconds(job, machine) for job in jobs if job.kind == kind) / 3600
             for kind in ("training", "evaluation")}  # fmt: skip
    longest = max((run_seconds(job, machine) for job in jobs), default=0.0) / 3600
    rates = [images_per_second(job, machine) for job in trainings]
    return {
        "profile": profile.name, "machine": machine.name, "trainings": sum(job.runs for job in trainings),
        "pictures": sum(job.runs * job.pictures for job in trainings), "pmacs": sum(job.macs for job in jobs) / 1e15,
        "training_hours": hours["training"], "evaluation_hours": hours["evaluation"],
        "hours": max(longest, sum(hours.values()) / places),
        "images_per_s_low": min(rates, default=np.nan), "images_per_s_high": max(rates, default=np.nan),
        "peak_memory_mb": max((memory_mb(job, machine) for job in jobs), default=np.nan),
    }  # fmt: skip


def costs(names: list[str], machine: Machine, gpus: int = 1, stated: Stock | None = None) -> pd.DataFrame:
    """Return a row of `cost` for every profile; one that cannot be counted has the reason in `missing`."""
    _check_gpus(machine, gpus)
    rows = []
    for name in names:
        try:
            rows.append(cost(load_profile(name), machine, gpus, stated) | {"missing": ""})
        except RAError as error:
            rows.append({"profile": name, "machine": machine.name, "missing": str(error)})
    return pd.DataFrame(rows)


def scaling(profile: Profile, machine: Machine, gpus=(1, 8, 64), stated: Stock | None = None) -> pd.DataFrame:
    """Return a row for each training of a profile, number of GPUs and what may bound it: pictures a second, hours.

    One training uses all GPUs, each with the profile's batch. `compute`, `coding` and `network` are their shares of a
    step, `cores` those that a GPU needs for decoding to keep up with its steps.
    """
    rows = []
    for job in jobs_of(profile, stated):
        for number in gpus if job.kind == "training" else ():
            found, parts = bounds(job, machine, number), step_seconds(job, machine, number)
            shares = {name: parts.get(name, 0.0) / sum(parts.values()) for name in ("compute", "coding", "network")}
            usual = {
                "part": job.part, "run": job.name, "gpus": number, "bottleneck": bottleneck(found),
                "images_per_s": min(found.values()), "hours": run_seconds(job, machine, number) / 3600,
                "gb_per_s": min(found.values()) * PICTURE_BYTES / 1e9 if job.folder else 0.0,
                "same_batch_images_per_s": min(bounds(job, machine, number, global_batch=True).values()),
                "cores": found["step"] / number * host_seconds(job, machine), **shares,
            }  # fmt: skip
            rows += [usual | {"resource": name, "allows": value} for name, value in found.items()]
    return pd.DataFrame(rows)


def measured(profile: str, root: Path | None = None) -> pd.DataFrame:
    """Return what finished trainings of a profile took: those of `runs/`, then those of `results/` that it lacks."""
    root = root or project_root()
    rows = []
    for path in sorted((root / "runs" / profile).glob("*/*/seed*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        rows.append(training_row({"task": path.parents[2].name, "mode": path.parents[1].name} | record))
    table = root / "results" / profile / "trainings.csv"
    known = pd.read_csv(table).reindex(columns=MEASURED) if table.exists() else pd.DataFrame(columns=MEASURED)
    own = pd.DataFrame(rows, columns=MEASURED)
    both = known if own.empty else own if known.empty else pd.concat([own, known], ignore_index=True)
    return both.drop_duplicates(["part", "run", "seed"]).reset_index(drop=True)


def compare(profile: Profile, found: pd.DataFrame, stated: Stock | None = None) -> pd.DataFrame:
    """Return the rows of `measured` whose training the profile plans, with what was predicted for their device."""
    jobs = {(job.part, job.name): job for job in jobs_of(profile, stated)} if len(found) else {}
    rows = []
    for row in found.to_dict("records"):
        job = jobs.get((row["part"], row["run"]))
        if job is None:
            continue
        machine, threads = _ran_on(str(row["device"]))
        rate = threads * images_per_second(job, machine)
        predicted = {"images_per_s": rate, "peak_memory_mb": memory_mb(job, machine)}
        rows.append(row | {"profile": profile.name} | {f"predicted_{key}": value for key, value in predicted.items()})
    columns = ["profile", *MEASURED, "predicted_images_per_s", "predicted_peak_memory_mb"]
    return pd.DataFrame(rows, columns=columns)


def _ran_on(device: str) -> tuple[Machine, int]:
    """Return the machine that comes nearest to a device of `run.json`, and how many of its cores were used."""
    threads = re.search(r"(\d+) threads", device)
    if device.startswith("cuda"):
        return MACHINES["h100"], 1
    return MACHINES["cpu"], int(threads[1]) if threads else 1


def spread(ratios) -> tuple[float, float]:
    """Return the median ratio of predicted to measured, and the factor within which two thirds of them lie of it."""
    logs = np.log(np.asarray(ratios, dtype=float))
    return float(np.exp(np.median(logs))), float(np.exp(np.quantile(np.abs(logs - np.median(logs)), 2 / 3)))


def profile_names(root: Path | None = None) -> list[str]:
    """Return the names of all profiles in `params/`."""
    return sorted(path.stem for path in ((root or project_root()) / "params").glob("*.yaml"))


def main(arguments: list[str] | None = None) -> int:
    """Print what profiles cost on machines. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_book.planning", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", help="names of files in params/ (default: all)")
    parser.add_argument("--machine", help=f"one of {', '.join(MACHINES)} (default: all)")
    parser.add_argument("--gpus", type=int, default=1, help="trainings side by side on so many GPUs")
    counts = ("TRAIN", "TEST", "CLASSES")
    parser.add_argument("--pictures", type=int, nargs=3, metavar=counts, help="of a folder that is not here")
    given = parser.parse_args(arguments)

    def show() -> None:
        from ra_book.figures.planning import planned_costs
        from ra_book.figures.tables import to_markdown

        if given.pictures and min(given.pictures) < 1:
            raise ParameterError(f"--pictures {given.pictures} is not allowed; give three numbers of at least 1.")
        stated = Stock(*given.pictures) if given.pictures else None
        names = given.profiles or profile_names()
        machines = [machine_of(given.machine)] if given.machine else list(MACHINES.values())
        for name in given.profiles:  # one that was asked for and cannot be counted is an error
            jobs_of(load_profile(name), stated)
        # Without `--machine`, the number of GPUs is for those machines that have any.
        tables = [costs(names, m, given.gpus if m.gpu or given.machine else 1, stated) for m in machines]
        found = pd.concat(tables, ignore_index=True)
        print(to_markdown(planned_costs(found)), end="")
        for reason in dict.fromkeys(found.loc[found["missing"] != "", "missing"]):
            print(f"not counted: {reason}")

    return exit_status(show)

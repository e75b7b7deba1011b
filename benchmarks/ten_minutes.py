"""Everything that a GPU is wanted for, in order of worth, in one command that takes ten minutes.

`python benchmarks/ten_minutes.py` runs the parts below, writes each as a JSON file into runs/benchmarks/ten_minutes as
soon as it has a row, and ends after `--seconds`: what no longer fits is skipped, and its file says so. Networks that
were trained lie in `runs-0.tar` and `runs-1.tar` there; the next call goes on from them. It needs no installed project,
and the packages that `bare_machine.py` names; `--carry` lists what to bring to a bare machine. `--device cpu --tiny`
rehearses all of it. The recognizer is EfficientNet-Lite0 where its weights are here, else ResNet-18 with random ones.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path

import bare_machine
import torch
import variants
from bare_machine import ROOT
from loops import OurLoop, networks, tiny_networks
from throughput import write_pictures
from throughput_gpu import Plan, time_gpu
from timing import about

from ra_core.errors import ParameterError, RAError, WeightsError
from ra_core.files import read_json, write_json
from ra_core.models.efficientnet_lite import efficientnet_lite, published
from ra_core.params import Profile, load_profile
from ra_core.paths import profile_folder
from ra_core.runs import resolve
from ra_core.steps import train
from ra_core.training import pick_device

TASKS, MODES = ("sr", "dn", "jpeg"), ("plain", "ra", "ra_unsupervised")
LEAST = 10  # seconds without which no part is begun


class Late(BaseException):
    """The time of a part is over; no handler of errors is to catch it."""


@dataclass
class Job:
    """What every part is told."""

    device: torch.device
    tiny: bool
    ends: float  # by the monotonic clock
    pictures: Path  # to train on
    output: Path
    root: Path = Path()  # pictures to be timed
    scratch: Path = Path()
    longer: float = 2  # how many times the steps of the profile are trained
    plan: Plan = field(default_factory=lambda: Plan(8, 2, (64, 128), 3))
    batch, steps, skipped = 64, 25, 8

    def __post_init__(self):
        if self.tiny:
            self.plan, self.batch, self.steps, self.skipped = Plan(1, 1, (1,), 1, 16, 0), 1, 1, 1
        self.profiled = ("dn",) if self.tiny else ("sr", "dn")
        self.backend = "eager" if self.tiny else "inductor"
        self.make = tiny_networks if self.tiny else networks
        if not self.tiny:
            try:
                self.weights = published("lite0")
                self.make = self.with_lite0
            except WeightsError:
                print("the weights of EfficientNet-Lite0 are not here; ResNet-18 with random ones is timed.")

    def with_lite0(self, task: str) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Return the processor of a task and EfficientNet-Lite0."""
        net = efficientnet_lite("lite0")
        net.load_state_dict(self.weights)
        return networks(task)[0], net.eval()

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.ends - time.monotonic()


def tests(job: Job) -> Iterator[tuple[str, dict]]:
    """Run the tests marked `gpu`."""
    if absent := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        yield "pytest", {"skipped": f"not run: {', '.join(absent)} is not installed"}
        return
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    chosen = [file for file in files if file.endswith("test_metrics.py")] if job.tiny else files
    options = ["-m", "gpu", "-rfE", "--tb=short", "-o", f"cache_dir={job.scratch / 'pytest'}"]
    command = [sys.executable, "-m", "pytest", *options, *chosen]
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = done.stdout.strip().splitlines()
    failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    took = time.monotonic() - started
    yield "pytest", {"status": done.returncode, "said": said[-1:], "failed": failed, "seconds": took, "end": said[-80:]}


def rates(job: Job) -> Iterator[tuple[str, dict]]:
    """Time `fit` on picture files and on ready tensors in every task and mode, and find the largest batch."""
    for task, mode in [("jpeg", "ra")] if job.tiny else product(TASKS, MODES):
        yield f"{task} {mode}", attempt(rate, job, task, mode)
    for task in job.profiled:
        yield f"{task} ra, largest batch", attempt(largest, job, task)


def rate(job: Job, task: str, mode: str) -> dict:
    """Return pictures a second of `fit` from files and on ready tensors, and the memory that took."""
    variants.forget(job.device)
    loop = OurLoop(task, mode, job.root, job.scratch, job.batch, job.device, job.make)
    pictures, seconds = job.batch * job.steps, loop.seconds(job.skipped, job.steps)
    peak = variants.peak_memory(job.device)
    ready = pictures / loop.ready_seconds(job.skipped, job.steps)
    found = pictures / seconds
    return {"batch": job.batch, "images_s": found, "ready_images_s": ready, "share": found / ready, "peak_mb": peak}


def largest(job: Job, task: str) -> dict:
    """Return the batch that memory has room for, as two batches tell it, and whether a step of it fits."""
    peaks = {batch: held(job, task, batch)["peak_mb"] for batch in (job.batch, 2 * job.batch)}
    a_picture = max(1e-3, (peaks[2 * job.batch] - peaks[job.batch]) / job.batch)
    room = (torch.cuda.mem_get_info(job.device)[1] if job.device.type == "cuda" else 8e9) / 1e6
    batch = int(0.93 * (room - peaks[job.batch]) / a_picture) + job.batch
    batch = min(batch, 3 if job.tiny else 2048)
    told = {"mb_a_picture": a_picture, "peaks_mb": peaks, "memory_mb": room, "batch": batch}
    return told | attempt(held, job, task, batch)


def held(job: Job, task: str, batch: int) -> dict:
    """Take two steps of a batch."""
    variants.forget(job.device)
    OurLoop(task, "ra", job.root, job.scratch, batch, job.device, job.make).ready_seconds(1, 1)
    return {"fits": True, "peak_mb": variants.peak_memory(job.device)}


def attempt(work: Callable, *arguments) -> dict:
    """Return the row of some work, or the error that it ended with."""
    try:
        return work(*arguments)
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def kernels(job: Job) -> Iterator[tuple[str, dict]]:
    """Profile a step of `ra`."""
    for task in job.profiled:
        given = task, job.batch, job.device, job.make, job.skipped, 3
        yield f"{task} ra", attempt(variants.kernels, *given)


def steps(job: Job) -> Iterator[tuple[str, dict]]:
    """Time variants of the step, and JPEG both ways."""
    yield "jpeg channel", attempt(variants.jpeg_row, job.batch, job.device, 1 if job.tiny else 10)
    given = job.batch, job.device, job.make, job.backend, job.skipped, job.steps
    yield from variants.rows(job.profiled, *given)


def ratios(job: Job) -> Iterator[tuple[str, dict]]:
    """Time the published loop beside ours, each at its best batch."""
    for task in ("dn",) if job.tiny else TASKS:
        variants.forget(job.device)
        yield f"{task} ra", attempt(time_gpu, task, job.plan, job.root, job.scratch, job.device, job.make)


def runs(job: Job) -> Iterator[tuple[str, dict]]:
    """Train the profile `photos` for longer, seed by seed, until the time is over."""
    if not job.pictures.is_dir():
        yield "pictures", {"skipped": f"not run: {job.pictures} is not here; name a folder by --pictures"}
        return
    profile = lengthened(job)
    folder = profile_folder(profile.name)
    bare_machine.unpack(folder, job.output)
    planned = (resolve(profile, task, mode, seed) for seed in (0, 1, 2) for task in TASKS for mode in MODES)
    for run in islice(planned, 1 if job.tiny else None):
        try:
            train(run)
        except RAError as error:
            yield run.name, {"error": str(error)}
            continue
        finally:  # also what is unfinished, with its checkpoint
            kept = bare_machine.archive(run.folder, folder, job.output)
        found = read_json(run.folder / "run.json")
        yield run.name, {key: found[key] for key in ("images_per_s", "wall_seconds", "metrics")} | kept


def lengthened(job: Job) -> Profile:
    """Return the profile `photos` with more steps, whose runs lie apart, on the device and pictures of a job."""
    tasks = {
        task: {"training": {"steps": round(job.longer * each.training.steps)}}
        for task, each in load_profile("photos").tasks.items()
    }
    place = job.pictures.absolute()
    source = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
    changes = {"data": {"source": str(source)}, "device": job.device.type, "tasks": tasks}
    if job.tiny:
        tasks["sr"] = {"processor": {"width": 4, "blocks": 1}, "training": {"steps": 1, "batch": 2}}
        changes |= {"source": "loops:tiny_recognizer", "unseen": []}
        changes["data"]["validation_per_class"] = 1
    elif find_spec(bare_machine.WEIGHTS) is None:
        raise ParameterError("photos learns from EfficientNet-Lite0, whose package is not installed.")
    return load_profile("photos", changes).model_copy(update={"name": "photos_longer"})


# What is run in this order, and the seconds that it may take at most.
PARTS: dict[str, tuple[Callable[[Job], Iterator], float]] = {
    "tests": (tests, 90), "rates": (rates, 120), "kernels": (kernels, 30), "variants": (steps, 150),
    "ratios": (ratios, 100), "runs": (runs, float("inf")),
}  # fmt: skip


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `Late` in what is still under way after some seconds."""

    def ring(*_) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_part(name: str, job: Job, machine: dict) -> dict:
    """Run a part and return its record, which is written with every row."""
    work, most = PARTS[name]
    limit = min(most, job.left() - LEAST / 2)
    record, started = machine | {"part": name, "tiny": job.tiny, "rows": {}}, time.monotonic()

    def keep(**facts) -> None:
        record.update(facts, seconds=time.monotonic() - started)
        write_json(job.output / f"{name}.json", record)

    if job.left() < LEAST:
        keep(skipped=f"{max(0.0, job.left()):.0f} s were left")
        return record
    try:
        with at_most(limit):
            for key, row in work(job):
                record["rows"][key] = row
                keep()
    except Late:
        keep(stopped=f"its {limit:.0f} s were over")
    except Exception as error:
        keep(error=f"{type(error).__name__}: {error}"[:2000])
    return record


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Do everything that a GPU is wanted for, within ten minutes.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seconds", type=float, default=540, help="after which everything ends")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="some of the parts")
    parser.add_argument("--pictures", type=Path, default=ROOT / "data/photos/train", help="what photos learns from")
    parser.add_argument("--longer", type=float, default=2, help="times the steps of photos")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/benchmarks/ten_minutes")
    parser.add_argument("--tiny", action="store_true", help="rehearse it with tiny numbers, which mean nothing")
    parser.add_argument("--carry", action="store_true", help="list what to bring to a bare machine, with its MB")
    options = parser.parse_args(arguments)
    if options.carry:
        return bare_machine.carry(options.pictures, options.output)
    os.environ["RA_BATCH"] = "1"  # no bar
    try:
        device = pick_device(options.device)
    except ParameterError as error:
        parser.error(str(error))
    ends, machine = time.monotonic() + options.seconds, about(device)
    with tempfile.TemporaryDirectory(prefix="ten-minutes-") as folder:
        given = device, options.tiny, ends, options.pictures, options.output.resolve(), Path(folder) / "pictures"
        job = Job(*given, scratch=Path(folder), longer=options.longer)
        write_pictures(job.root, 16 if options.tiny else 256)
        for name in options.only:
            record = run_part(name, job, machine)
            ended = next((f"{key}: {record[key]}" for key in ("skipped", "stopped", "error") if key in record), "done")
            print(f"{name}: {len(record['rows'])} rows in {record['seconds']:.0f} s, {ended}", flush=True)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()

"""Time training steps on one core, and fit to them the rates that `ra_book.planning` foretells with.

`python benchmarks/planning.py` prints each step's time beside the fitted one. Times are those the core worked, so
that other work on the machine counts little. The rate of memory is measured by itself, as steps tell it badly from the
others; operators reach a share of it with which trainings of preprocessors, which move most, are foretold best.
It takes one to two minutes and 4 GB of memory.
"""

import time

import numpy as np
import torch
from torchvision.models import resnet18

from ra_book.planning import MACHINES
from ra_book.planning.workload import jobs_of
from ra_core.channels import make_channel
from ra_core.experiments import make_networks
from ra_core.judges.recognizer import Recognizer, load_recognizer
from ra_core.objectives import Restoration
from ra_core.params import load_profile

# Profile, task, mode, precision, pictures a step, steps.
CASES = [("quick", task, mode, "bf16", 32, 15) for task in ("sr", "dn") for mode in ("plain", "ra", "ra_transformer")]
CASES += [("quick", task, mode, "fp32", 32, 15) for task, mode in (("sr", "ra"), ("dn", "plain"), ("dn", "ra"))]
CASES += [("imagenet", "sr", mode, kind, 4, 5) for kind in ("bf16", "fp32") for mode in ("plain", "ra")]
CASES += [("imagenet", "dn", "plain", "bf16", 2, 5)]
RATES = ("bf16, GFLOP/s", "fp32, GFLOP/s", "moved, GB/s", "operators/s")
MOVED = 2  # the place of what is moved among them


def timed(name: str, task: str, mode: str, precision: str, batch: int, steps: int) -> float:
    """Return the median seconds of a step on random pictures, after one that warms up."""
    profile = load_profile(name)
    side = 32 if profile.data.kind == "cifar10" else profile.data.crop
    judge = Recognizer(resnet18(), "resnet18", (0.5,) * 3, (0.5,) * 3) if side > 32 else load_recognizer(profile.source)
    networks = make_networks(profile, task, mode, 0)
    channel = make_channel(task, **profile.channels.model_dump())
    objective = Restoration(profile.mode(mode, task), channel, judge)
    for net in (*networks.values(), judge):
        net.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam([p for net in networks.values() for p in net.parameters()], lr=1e-4)
    images, labels = torch.rand(batch, 3, side, side), torch.zeros(batch, dtype=torch.long)
    images, spent = images.contiguous(memory_format=torch.channels_last), []
    for step in range(steps + 1):
        started = time.process_time()
        prepared = objective.prepare(images, labels, torch.Generator().manual_seed(step))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            terms = objective.terms(networks, prepared)
        adam.zero_grad()
        terms["loss"].backward()
        adam.step()
        spent.append(time.process_time() - started)
    return float(np.median(spent[1:]))


def demands(name: str, task: str, mode: str, precision: str, batch: int, steps: int) -> list[float]:
    """Return what a step asks for: operations in bf16 and in fp32, bytes, operators."""
    work = next(job.work for job in jobs_of(load_profile(name)) if (job.part, job.name) == (task, mode))
    low = precision == "bf16"
    products = 2 * batch * work.macs
    return [products * low, products * (not low), batch * work.moved * (0.5 if low else 1), work.operators]


def bandwidth() -> float:
    """Return how many bytes a second an addition reads and writes that is too large for any cache."""
    a, b = torch.rand(2, 2**26)
    spent = []
    for _ in range(6):
        started = time.process_time()
        torch.add(a, b, out=a)
        spent.append(time.process_time() - started)
    return 3 * a.numel() * a.element_size() / float(np.median(spent[1:]))


def fit(asked: np.ndarray, seconds: np.ndarray, moving: float) -> np.ndarray:
    """Return the seconds one unit of each demand takes, such that the relative errors are least; a byte's are given."""
    known, others = asked[:, MOVED] * moving, np.delete(asked, MOVED, axis=1)
    each = np.linalg.lstsq(others / seconds[:, None], 1 - known / seconds, rcond=None)[0]
    return np.insert(each, MOVED, moving)


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked, seconds = np.array([demands(*case) for case in CASES]), np.array([timed(*case) for case in CASES])
    each = fit(asked, seconds, 1 / (MACHINES["cpu"].bandwidth_share * bandwidth()))
    for case, measured, fitted in zip(CASES, seconds, asked @ each, strict=True):
        print(f"{' '.join(map(str, case[:5])):40} {measured:.3f} s, fitted {fitted:.3f} s, {fitted / measured:.2f}")
    for rate, unit, scale in zip(RATES, each, (1e9, 1e9, 1e9, 1), strict=True):
        print(f"{rate}: {1 / unit / scale:.4g}")

"""The training step on a GPU: each way at its best batch, beside ready tensors and the card's bf16 peak."""

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from loops import OurLoop, networks, their_loop, their_seconds
from timing import clock, spread

from ra_core.cores import cores
from ra_core.errors import TrainingError
from ra_core.runs import device_name

BATCHES = (16, 32, 64, 128, 256)  # tried; the published one is 20
PEAKS = {"H100 PCIe": 756, "H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121}  # dense bf16 TFLOP/s


@dataclass(frozen=True)
class Plan:
    """How much is timed."""

    steps: int = 40  # of each way in a round
    rounds: int = 3
    batches: tuple[int, ...] = BATCHES
    skipped: int = 10  # steps before those that are timed, in which memory and kernels are chosen
    side: int = 8192  # of the matrices whose product says what a card reaches
    workers: int = 5  # of the published way


def peak_tflops(device: torch.device, side: int, repeats: int = 30) -> float:
    """Return what a large bf16 matrix product reaches on the card."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    started = clock(device)
    for _ in range(repeats):
        a @ b
    return 2 * side**3 * repeats / (clock(device) - started) / 1e12


def best_batch(make: Callable[[int], Callable[[], float]], plan: Plan) -> tuple[int, Callable]:
    """Return the batch that does most pictures a second, and what takes its steps."""
    found = []
    for batch in plan.batches:
        try:
            run = make(batch)
            found.append((batch / run(), batch, run))
        except (torch.OutOfMemoryError, TrainingError):  # and larger ones will not fit either
            break
        finally:
            gc.collect()
            torch.cuda.empty_cache()
    if not found:
        raise SystemExit(f"not even a batch of {plan.batches[0]} pictures fits on this GPU.")
    _, batch, run = max(found, key=lambda row: row[0])
    return batch, run


def time_gpu(task: str, plan: Plan, root: Path, scratch: Path, device: torch.device, make: Callable = networks) -> dict:
    """Time the `ra` step at the best batch of each way, beside ready tensors and the card's peak."""
    steps, skipped, workers = plan.steps, plan.skipped, min(plan.workers, cores())
    loops: dict[int, OurLoop] = {}

    def ours(batch: int) -> Callable[[], float]:
        loops[batch] = OurLoop(task, "ra", root, scratch, batch, device, make)
        return lambda: loops[batch].seconds(skipped, steps)

    def theirs(batch: int) -> Callable[[], float]:
        loop = their_loop(task, "ra", root, scratch, batch, device, workers, make)
        return lambda: their_seconds(loop, skipped, steps)

    (batch, run), (their_batch, their_run) = best_batch(ours, plan), best_batch(theirs, plan)
    ready = loops[batch]
    rows = [(their_run(), run(), ready.ready_seconds(skipped, steps)) for _ in range(plan.rounds)]
    rates = [batch * steps / row[1] for row in rows]
    tflops = loops[batch].flops() / batch * statistics.median(rates) / 1e12
    peak, name = peak_tflops(device, plan.side), device_name(device)
    stated = next((value for card, value in PEAKS.items() if card in name), None)
    return {
        "batch": batch, "published_batch": their_batch, "ours": statistics.median(rates),
        "published": their_batch * steps / statistics.median(row[0] for row in rows),
        "ratio": spread([(row[0] / their_batch) / (row[1] / batch) for row in rows]),
        "ready": spread([row[2] / row[1] for row in rows]),
        "tflops": tflops, "of_product": tflops / peak, "of_peak": tflops / stated if stated else None,
    }  # fmt: skip

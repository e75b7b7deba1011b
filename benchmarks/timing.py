"""What the benchmarks share: clocks, rounds in which two ways take turns, and what is said of the machine."""

import platform
import statistics
import time
from collections.abc import Callable

import torch

from ra_core.cores import cores
from ra_core.runs import device_name, git_state, now, versions


def clock(device: torch.device) -> float:
    """Return the time once the device has done all it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(work: Callable, *arguments, tick: Callable[[], float] = time.perf_counter) -> tuple[float, object]:
    """Do the work; return how long that took, and its result."""
    started = tick()
    result = work(*arguments)
    return tick() - started, result


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the range of what was measured in several rounds."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def in_turn(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> dict:
    """Return the seconds of both ways, and their ratios, over rounds in which they take turns."""
    seconds = [(theirs(), ours()) for _ in range(rounds)]
    return {
        "ours_s": spread([b for _, b in seconds]), "published_s": spread([a for a, _ in seconds]),
        "ratio": spread([a / b for a, b in seconds]),
    }  # fmt: skip


def about(device: torch.device) -> dict:
    """Return when, from which code and on which machine a benchmark was made."""
    machine = {"device": device_name(device), "cores": cores(), "machine": platform.machine()}
    machine["bf16"] = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return {"made": now(), "git": git_state(), "versions": versions(), "machine": machine}

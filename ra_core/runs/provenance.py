"""What a finished run says of itself: commit, versions, machine, pictures, time and memory."""

import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ra_core.data import fingerprint
from ra_core.files import content_of, write_json
from ra_core.models.blocks import parameter_count
from ra_core.paths import project_root

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pandas", "safetensors", "ra_core")


def record(
    folder: Path, keys: dict, splits: dict, networks: dict, device: torch.device, started: str, summary: dict
) -> None:
    """Write `run.json`, with which a run is complete; `summary` is what `ra_core.training.fit` returned."""
    data = {part: {"name": s.name, "pictures": len(s), "fingerprint": fingerprint(s)} for part, s in splits.items()}
    gpu = device.type == "cuda"
    on_gpu = {"gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 1e6, 1)} if gpu else {}
    found = {
        **keys,
        "git": git_state(), "versions": versions(), "device": device_name(device),
        "threads": torch.get_num_threads(), "data": data,
        "started": started, "wall_seconds": round(summary["wall_seconds"], 2),
        "peak_memory_mb": round(peak_memory_mb(), 1), **on_gpu,
        "images_per_s": round(summary["images_per_s"], 2),
        "parameters": {name: parameter_count(net) for name, net in networks.items()},
        "sha256": {name: content_of(folder / f"{name}.safetensors") for name in networks},
        "metrics": summary["validation"],
    }  # fmt: skip
    write_json(folder / "run.json", found)


def git_state() -> dict:
    """Return the commit of the project and whether files differ from it; nulls outside a repository.

    What is kept of finished runs, in `results/`, does not count: no run depends on it.
    """

    def git(*arguments):
        command = ["git", "-C", str(project_root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", ":(exclude)results")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def versions() -> dict:
    """Return the versions of Python and of the packages results depend on."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):  # of the project itself, used from its folder
        return version(package)


def peak_memory_mb() -> float:
    """Return the largest memory this process has held, in MB of 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `getrusage` also tells of the process that started this one
        return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def device_name(device: torch.device) -> str:
    """Return a device as a person would name it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

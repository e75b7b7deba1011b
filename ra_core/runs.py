"""Run folders: where a run leaves what, and what it says of itself."""

import json
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from ra_core.data import fingerprint
from ra_core.errors import DataError, ParameterError
from ra_core.files import remove, write_json, write_text
from ra_core.locks import file_lock
from ra_core.paths import project_root
from ra_core.training.processes import Team

LOCK = ".training.lock"
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "pandas", "safetensors", "ra_core")


def write_params(folder: Path, parameters: dict) -> None:
    """Write resolved parameters as `params.yaml`."""
    write_text(folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False))


def read_params(folder: Path) -> dict:
    """Return what `write_params` wrote. Raises `ParameterError` where that is missing or damaged."""
    path = folder / "params.yaml"
    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParameterError(f"{folder} holds no params.yaml, so it is not the folder of a run.") from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(f"{path} cannot be read ({reason}); train the run again.") from error
    if not isinstance(parameters, dict):
        raise ParameterError(f"{path} does not say with which parameters a run was started; train it again.")
    return parameters


def is_begun(folder: Path, parameters: dict) -> bool:
    """Say whether a run, finished or not, was started with these very parameters."""
    try:
        return read_params(folder) == parameters
    except ParameterError:  # not begun, or damaged, so it is not known what the run was
        return False


def is_complete(folder: Path, parameters: dict) -> bool:
    """Say whether a run ended with these very parameters."""
    return is_begun(folder, parameters) and (folder / "run.json").exists()


def check_pictures(folder: Path, now: dict[str, str]) -> None:
    """Refuse a finished run whose pictures are no longer those it was trained on: `now` has fingerprints by part.

    Raises `DataError`, as its networks would be judged by pictures that they may have learnt.
    """
    then = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
    for part, found in now.items():
        if then[part]["fingerprint"] != found:
            raise DataError(
                f"the {part} pictures have changed since the run in {folder} was trained; "
                "put the old ones back, or delete that folder to train again."
            )


def begin(folder: Path, parameters: dict) -> None:
    """Make a folder ready for a run: what a run with other parameters left there is given up."""
    if not is_begun(folder, parameters):
        remove(folder / "checkpoint.pt")
    remove(folder / "run.json")
    write_params(folder, parameters)


@contextmanager
def begun(folder: Path, parameters: dict, team: Team) -> Iterator[None]:
    """Begin a run in the main process of a team, and hold its folder until the training has ended."""
    with ExitStack() as stack:

        def work() -> None:
            stack.enter_context(file_lock(folder / LOCK, f"the training in {folder}"))
            begin(folder, parameters)

        team.on_rank_zero(work)
        yield


def record(
    folder: Path, keys: dict, splits: dict, networks: dict, device: torch.device, started: str, summary: dict
) -> None:
    """Write `run.json`, with which a run is complete; `summary` is what `ra_core.training.fit` returned."""
    data = {part: {"name": s.name, "pictures": len(s), "fingerprint": fingerprint(s)} for part, s in splits.items()}
    on_gpu = {"gpu_memory_mb": round(gpu_memory_mb(device), 1)} if device.type == "cuda" else {}
    found = {
        **keys,
        "git": git_state(), "versions": versions(), "device": device_name(device),
        "threads": torch.get_num_threads(), "data": data,
        "started": started, "wall_seconds": round(summary["wall_seconds"], 2),
        "peak_memory_mb": round(peak_memory_mb(), 1), **on_gpu,
        "images_per_s": round(summary["images_per_s"], 2),
        "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()},
        "metrics": summary["validation"],
    }  # fmt: skip
    write_json(folder / "run.json", found)


def tidy(folder: Path) -> None:
    """Delete from the folder of a finished run its checkpoint, and what killed writers left there."""
    for path in (folder / "checkpoint.pt", *folder.glob(".*.????????.*")):
        remove(path)


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
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def peak_memory_mb() -> float:
    """Return the largest memory this process has held, in MB of 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def gpu_memory_mb(device: torch.device) -> float:
    """Return the most memory that this process's tensors have held on a GPU, in MB of 10^6 bytes."""
    return torch.cuda.max_memory_allocated(device) / 1e6


def device_name(device: torch.device) -> str:
    """Return a device as a person would name it."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def now() -> str:
    """Return the present time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

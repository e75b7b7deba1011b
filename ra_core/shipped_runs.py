"""Finished runs that ship with the package: a run with the very same parameters takes theirs instead of training.

`python -m ra_core.shipped_runs RUN_FOLDER` puts a finished run of this project into `ra_core/assets/runs/`.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import yaml

from ra_core.errors import ParameterError, exit_status
from ra_core.files import atomic, write_json
from ra_core.runs import write_params

SHIPPED = Path(__file__).parent / "assets" / "runs"
ELSEWHERE = ("profile", "device", "threads")  # what a training may differ in from a shipped one


def matching(parameters: dict) -> Path | None:
    """Return the shipped run with these parameters, but for the profile's name, device and threads, if there is one."""
    wanted = _essence(parameters)
    for path in sorted(SHIPPED.glob("*/params.yaml")):
        if _essence(yaml.safe_load(path.read_text(encoding="utf-8"))) == wanted:
            return path.parent
    return None


def take(folder: Path, parameters: dict) -> bool:
    """Copy the shipped run with these parameters into a run folder, and say whether there was one.

    Its `run.json` stays what the training wrote, with `shipped` and the profile's name added; it comes last.
    """
    shipped = matching(parameters)
    if shipped is None:
        return False
    write_params(folder, parameters)
    for source in sorted(shipped.iterdir()):
        if source.name not in ("params.yaml", "run.json"):
            with atomic(folder / source.name) as temporary:
                shutil.copyfile(source, temporary)
    record = json.loads((shipped / "run.json").read_text(encoding="utf-8"))
    write_json(folder / "run.json", record | {"profile": parameters["profile"], "shipped": shipped.name})
    return True


def ship(folder: Path, target: Path | None = None) -> Path:
    """Copy a finished run folder to where shipped runs lie and return its place there.

    Raises `ParameterError` for a folder that holds no finished run.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists() or not (folder / "params.yaml").exists():
        raise ParameterError(f"{folder} holds no finished run; name a folder runs/PROFILE/.../seedN.")
    part, run, seed = folder.resolve().parts[-3:]
    place = (target or SHIPPED) / f"{part}-{run}-{seed}"
    for source in sorted(
        [*folder.glob("*.safetensors"), *(folder / n for n in ("log.jsonl", "params.yaml", "run.json"))]
    ):
        with atomic(place / source.name) as temporary:
            shutil.copyfile(source, temporary)
    return place


def _essence(parameters: dict) -> dict:
    return {key: value for key, value in parameters.items() if key not in ELSEWHERE}


def main(arguments: list[str] | None = None) -> int:
    """Ship a finished run and print its new place. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m ra_core.shipped_runs", description="Let a finished run ship with the package."
    )
    parser.add_argument("folder", type=Path, help="runs/PROFILE/.../seedN")
    given = parser.parse_args(arguments)
    return exit_status(lambda: print(ship(given.folder)))


if __name__ == "__main__":
    sys.exit(main())

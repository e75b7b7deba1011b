"""Finished runs that ship with the package, each under a name such as `cifar10_narrow/sr/ra/seed0`.

They lie in `ra_core/assets/runs/` as runs do in `runs/`. A run with the very same parameters takes theirs instead of
training, and `ra_core.experiments.load_chain` and `ra_core.apply --run` take their names.
`python -m ra_core.shipped_runs RUN_FOLDER` puts a finished run of this project there.
"""

import argparse
import json
import shutil
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from ra_core.errors import ParameterError, exit_status
from ra_core.files import atomic, write_json
from ra_core.paths import project_root
from ra_core.runs import read_params, write_params

SHIPPED = Path(__file__).parent / "assets" / "runs"
ELSEWHERE = ("profile", "device", "threads")  # what a training may differ in from a shipped one


def names() -> list[str]:
    """Return the names of all runs that ship."""
    return [_name(place) for place in _places()]


def place_of(run: str | Path) -> Path:
    """Return the folder that `run` is, here or from the project's root, or that of the run which ships by this name."""
    places = [Path(run), SHIPPED / run]
    with suppress(ParameterError):  # a script outside of any project
        places.insert(1, project_root() / run)
    return next((place for place in places if place.is_dir()), Path(run))


def find_run(run: str | Path) -> Path:
    """Return `place_of` a finished run. Raises `ParameterError` where none is."""
    folder = place_of(run)
    if not (folder / "run.json").exists() or not (folder / "params.yaml").exists():
        raise ParameterError(
            f"{run} holds no finished run; name a folder runs/PROFILE/.../seedN, or one of those that ship, "
            "which ra_core.shipped_runs.names() lists."
        )
    return folder


def matching(parameters: dict) -> Path | None:
    """Return the shipped run with these parameters, but for the profile's name, device and threads, if there is one."""
    wanted = _essence(parameters)
    for path in _places():
        if _essence(_read(path)) == wanted:
            return path
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
    write_json(folder / "run.json", record | {"profile": parameters["profile"], "shipped": _name(shipped)})
    return True


def ship(folder: Path, target: Path | None = None) -> Path:
    """Copy a finished run folder to where shipped runs lie and return its place there.

    Raises `ParameterError` for a folder that holds no finished run.
    """
    folder = find_run(folder)
    parameters = read_params(folder)
    if parameters.get("data", {}).get("kind") == "folder":
        raise ParameterError(
            f"{folder} was trained on a folder of pictures, which others may not have; "
            "only runs on pictures that are the same everywhere can ship."
        )
    place = (target or SHIPPED) / _made_name(parameters)
    for source in sorted(
        [*folder.glob("*.safetensors"), *(folder / n for n in ("log.jsonl", "params.yaml", "run.json"))]
    ):
        with atomic(place / source.name) as temporary:
            shutil.copyfile(source, temporary)
    return place


def _made_name(parameters: dict) -> str:
    """Return the name of a run, as its folder below `runs/` has it."""
    if "task" in parameters:
        run = parameters["task"], parameters["mode"]
    else:
        from ra_core.coding import run_name

        made = (parameters[key] for key in ("method", "codec", "quality"))
        run = parameters["dataset"], run_name(*made)
    return "/".join((parameters["profile"], *run, f"seed{parameters['seed']}"))


def _places() -> list[Path]:
    return sorted(path.parent for path in SHIPPED.glob("*/*/*/seed*/params.yaml"))


def _name(place: Path) -> str:
    return place.relative_to(SHIPPED).as_posix()


@cache
def _read(place: Path) -> dict:
    return read_params(place)  # what ships stays as it is, and every run of a workflow asks for it


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

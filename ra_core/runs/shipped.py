"""Finished runs that ship with the package, each under a name such as `cifar10_narrow/sr/ra/seed0`.

They lie in `ra_core/assets/runs/` as runs do in `runs/`. A run with the very same parameters and pictures takes theirs
instead of training, and `find_run` and `python -m ra_core.apply --run` take their names.
"""

import json
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path

from ra_core.errors import ParameterError
from ra_core.files import atomic, write_json
from ra_core.paths import ASSETS, project_root
from ra_core.runs.folder import changed_pictures, essence, read_params, write_params
from ra_core.runs.run import Run

SHIPPED = ASSETS / "runs"


def shipped_names() -> list[str]:
    """Return the names of all runs that ship."""
    return [_name(place) for place in _places()]


def place_of(run: str | Path) -> Path:
    """Return the folder that `run` is, here or from the project's root, or that of the run which ships by this name.

    A name without a seed is that of seed 0.
    """
    places = [Path(run), SHIPPED / run / "seed0", SHIPPED / run]
    with suppress(ParameterError):  # a script outside of any project
        places.insert(1, project_root() / run)
    return next((place for place in places if place.is_dir()), Path(run))


def matching(parameters: dict) -> Path | None:
    """Return the shipped run with these parameters, if there is one.

    The machine, the profile's name and the path of a folder of pictures count for nothing; `take` compares pictures.
    """
    wanted = _trained_as(parameters)
    return next((path for path in _places() if _trained_as(_read(path)) == wanted), None)


def take(run: Run, pictures: dict[str, str] | None = None) -> bool:
    """Copy the shipped run with the parameters and pictures of `run` into its folder, and say whether there was one.

    Its `run.json` stays what the training wrote, with `shipped` and the profile's name added; it comes last.
    `pictures` are the run's `fingerprints`, where they are known.
    """
    shipped, folder = matching(run.parameters), run.folder
    if shipped is None or changed_pictures(shipped, run.fingerprints() if pictures is None else pictures):
        return False
    write_params(folder, run.parameters)
    for source in sorted(shipped.iterdir()):
        if source.name not in ("params.yaml", "run.json"):
            with atomic(folder / source.name) as temporary:
                shutil.copyfile(source, temporary)
    record = json.loads((shipped / "run.json").read_text(encoding="utf-8"))
    write_json(folder / "run.json", record | {"profile": run.parameters["profile"], "shipped": _name(shipped)})
    return True


def _places() -> list[Path]:
    return sorted(path.parent for path in SHIPPED.glob("*/*/*/seed*/params.yaml"))


def _name(place: Path) -> str:
    return place.relative_to(SHIPPED).as_posix()


@cache
def _read(place: Path) -> dict:
    return read_params(place)  # what ships stays as it is, and every run of a workflow asks for it


def _trained_as(parameters: dict) -> dict:
    """Return the parameters that a shipped run must share."""
    found = {key: value for key, value in essence(parameters).items() if key != "profile"}
    if Run(parameters, Path()).own_pictures:
        found["data"] = {key: value for key, value in found["data"].items() if key not in ("source", "folder")}
    return found

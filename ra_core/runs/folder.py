"""A run's folder: with which parameters it was begun, whether it has ended, and who works in it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import yaml

from ra_core.errors import DataError, ParameterError
from ra_core.files import read_text, remove, write_text
from ra_core.locks import file_lock
from ra_core.models.weights import read_sidecar
from ra_core.training.processes import Team

LOCK = ".training.lock"
MACHINE = ("device", "threads")  # parameters of where a training is computed, not of what


def essence(parameters: dict) -> dict:
    """Return what identifies a run, finished or not: its parameters but for those of the machine."""
    return {key: value for key, value in parameters.items() if key not in MACHINE}


def write_params(folder: Path, parameters: dict) -> None:
    """Write resolved parameters as `params.yaml`."""
    write_text(folder / "params.yaml", yaml.safe_dump(parameters, sort_keys=False))


def read_params(folder: Path) -> dict:
    """Return what `write_params` wrote. Raises `ParameterError` where that is missing or damaged."""
    path = folder / "params.yaml"
    try:
        parameters = yaml.safe_load(read_text(path))
        if isinstance(parameters, dict):
            return parameters
        reason = "it holds no parameters by name"
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
    raise ParameterError(f"{path} cannot be read ({reason}); name the folder of a run, or delete it to train it again.")


def is_complete(folder: Path, parameters: dict) -> bool:
    """Say whether a run that was started with these parameters, on whatever machine, has ended."""
    return _started_with(folder) == essence(parameters) and (folder / "run.json").exists()


def _started_with(folder: Path) -> dict | None:
    """Return what identifies the run in a folder; None where it is not begun, or damaged and so not known."""
    with suppress(ParameterError):
        return essence(read_params(folder))


def changed_pictures(folder: Path, now: dict[str, str]) -> list[str]:
    """Return the parts that are not what a finished run was trained on; `now` has the fingerprint of each."""
    advice = "delete that folder to train again"
    then = read_sidecar(folder / "run.json", {"data"}, advice)["data"] if now else {}
    try:
        return [part for part, found in now.items() if then[part]["fingerprint"] != found]
    except (LookupError, TypeError) as error:
        raise DataError(f"{folder / 'run.json'} does not say what the run was trained on; {advice}.") from error


def check_pictures(folder: Path, now: dict[str, str]) -> None:
    """Refuse a finished run whose pictures are no longer those it was trained on.

    Raises `DataError`, as its networks would be judged by pictures that they may have learnt.
    """
    for part in changed_pictures(folder, now):
        raise DataError(
            f"the {part} pictures have changed since the run in {folder} was trained; "
            "put the old ones back, or delete that folder to train again."
        )


def begin(folder: Path, parameters: dict) -> None:
    """Make a folder ready for a run; the checkpoint of one that is known to be another is kept aside.

    What was begun on one machine goes on on another. Where the old parameters cannot be read the checkpoint stays in
    its place, as it says itself what it was made with. Raises `ParameterError` where those of a finished run cannot be
    read: nobody knows what would be lost.
    """
    if (folder / "run.json").exists():
        read_params(folder)
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists() and _started_with(folder) not in (None, essence(parameters)):
        names = (f"checkpoint.old{number or ''}.pt" for number in count())
        aside = next(folder / name for name in names if not (folder / name).exists())
        checkpoint.replace(aside)
        print(f"{folder} holds an unfinished run with other parameters, whose checkpoint is kept as {aside.name}.")
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


def tidy(folder: Path) -> None:
    """Delete from the folder of a finished run its checkpoint, and what killed writers left there."""
    for path in (folder / "checkpoint.pt", *folder.glob(".*.????????.*")):
        remove(path)

"""From a profile, a folder or a name to runs."""

from dataclasses import replace
from pathlib import Path

from ra_core.errors import ParameterError
from ra_core.methods import METHODS
from ra_core.models.weights import read_sidecar
from ra_core.params import MAX_SEED, Profile
from ra_core.params.run import CodingParameters, RestorationParameters
from ra_core.registry import nearest
from ra_core.runs.coding import CodingRun, resolve_coding, run_name
from ra_core.runs.folder import read_params
from ra_core.runs.restoration import RestorationRun, resolve_restoration
from ra_core.runs.run import Run
from ra_core.runs.shipped import place_of, shipped_names
from ra_core.strict import checked


def resolve(
    profile: Profile, place: str, method: str, seed: int = 0, codec: str | None = None, quality: float | None = None
) -> Run:
    """Return the run of a method of a profile; `place` is a task, or a data set with a `codec` and perhaps a `quality`.

    Where the profile names `processors`, or a data set what is `trained`, it is a finished run of theirs. Raises
    `ParameterError` for what the profile does not train, or does not find.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ParameterError(f"seed {seed} is not allowed; give a whole number from 0 to {MAX_SEED}.")
    if codec is None and profile.processors:
        return _finished(profile, place, method, seed)
    if codec is None:
        run = resolve_restoration(profile, place, method, seed)
        before = resolve(profile, place, "plain", seed) if run.method.transformer else None
        return replace(run, parameters=run.parameters | _start(profile.task(place).start, run), before=before)
    if trained := profile.coding(place).trained:
        return find_run(f"{trained}/{run_name(method, codec, quality)}/seed{seed}")
    return resolve_coding(profile, place, method, codec, quality, seed)


def _finished(profile: Profile, task: str, mode: str, seed: int) -> RestorationRun:
    """Return the run of one task, mode and seed of the processors that a profile only judges."""
    run = find_run(f"{profile.processors}/{task}/{profile.mode(mode, task).name}/seed{seed}")
    if run.channel != profile.channel(task):
        raise ParameterError(
            f"profile {profile.name} has {profile.channel(task)}, and its processors {profile.processors} learned "
            f"behind {run.channel}; state the same under channels."
        )
    return run


def _start(name: str, run: RestorationRun) -> dict:
    """Return what a run's parameters say of the finished one with whose networks it begins, if there is such a one."""
    if not name:
        return {}
    found = find_run(name)
    differ = [key for key in ("task", "channel", "processor") if found.parameters.get(key) != run.parameters[key]]
    if differ:
        key = differ[0]
        raise ParameterError(
            f"start = {name!r} has {key} {found.parameters.get(key)}, and {run.name} {run.parameters[key]}; "
            "state the same, or name another run."
        )
    digests = read_sidecar(found.folder / "run.json", {"sha256"}, "name another run")["sha256"]
    return {"start": {"run": name, "sha256": digests}}


def planned(profile: Profile, place: str | None = None) -> list[Run]:
    """Return every run that a profile trains, or only judges, of one task or data set or of all."""
    tasks = [task for task in profile.tasks if place in (None, task)]
    runs: list[Run] = [
        resolve(profile, task, mode, seed) for task in tasks for mode in profile.modes for seed in profile.seeds
    ]
    for dataset in profile.preprocessing:
        if place in (None, dataset):
            listed = _finished_around if profile.coding(dataset).trained else _around
            runs += [run for codec in profile.coding(dataset).codecs for run in listed(profile, dataset, codec)]
    return runs


def _around(profile: Profile, dataset: str, codec: str) -> list[Run]:
    """Return the runs around a codec: an adaptive preprocessor, both ends, and those of one quality."""
    steps = profile.coding(dataset).codecs[codec]
    wanted: list[tuple[str, float | None]] = [("npp_qa", None)] if steps.rungs else []
    wanted += [("post", None), ("both", None)] if steps.both_ends else []
    wanted += [(method, None) for method in steps.tables]
    wanted += [("npp", quality) for quality in steps.single] + [("npp_mse", quality) for quality in steps.npp_mse]
    return [
        resolve(profile, dataset, method, seed, codec, quality) for method, quality in wanted for seed in profile.seeds
    ]


def _finished_around(profile: Profile, dataset: str, codec: str) -> list[Run]:
    """Return the finished runs around a codec that a data set only judges, in the order of the table of methods."""
    trained, methods = profile.coding(dataset).trained, list(METHODS)
    found = [find_run(path.parent) for path in sorted(place_of(trained).glob("*/seed*/run.json"))]
    found = [run for run in found if run.parameters.get("codec") == codec and run.seed in profile.seeds]
    if not found:
        seeds = ", ".join(map(str, profile.seeds))
        raise ParameterError(
            f"{trained} holds no finished run around {codec} of seed {seeds}; train one there, name another folder "
            f"under preprocessing.{dataset}.trained, or take the codec out."
        )
    return sorted(found, key=lambda run: methods.index(run.parameters["method"]))


def needed(profile: Profile, dataset: str, codec: str) -> list[Run]:
    """Return the runs a codec is measured with: its own, or, where it only transfers, the adaptive preprocessors."""
    runs = planned(profile, dataset)
    if codec in profile.coding(dataset).codecs:
        return [run for run in runs if run.parameters["codec"] == codec]
    return [run for run in runs if run.parameters["method"] == "npp_qa"]


def find_run(run: str | Path) -> Run:
    """Return a finished run by its folder, or by its name where it ships.

    Raises `ParameterError`, with the nearest name, where there is none.
    """
    folder = place_of(run) if isinstance(run, str | Path) else None
    if folder is None or not (folder / "run.json").exists():
        known = [name.removesuffix("/seed0") for name in shipped_names()]
        near = nearest(run, known)
        hint = f"did you mean {near!r}? Else name" if near else "name"
        raise ParameterError(
            f"{run} holds no finished run; {hint} a folder runs/PROFILE/.../seedN, or one of those that ship, "
            "which ra_core.runs.shipped_names() lists."
        )
    parameters = read_params(folder)
    kind, model = (RestorationRun, RestorationParameters) if "task" in parameters else (CodingRun, CodingParameters)
    checked(model, folder / "params.yaml", parameters)
    return kind(parameters, folder)

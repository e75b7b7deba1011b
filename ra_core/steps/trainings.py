"""Train one run, unless that is done or ships."""

from pathlib import Path

import torch
from torch import nn

from ra_core.runs import Run, begun, check_pictures, is_complete, now, record, take, tidy
from ra_core.steps.common import set_threads
from ra_core.training import fit
from ra_core.training.processes import Team, find_team


def train(run: Run, pictures: dict[str, str] | None = None) -> Path:
    """Train the networks of a run unless that is done or ships, and the run before it; return its folder.

    Several processes that call it (see `ra_core.training.processes`) train it together. `pictures` are its
    `fingerprints`, where they are known. Raises `DataError` where it was done with others.
    """
    team = find_team(run.parameters["device"])

    def done() -> bool:
        if not is_complete(run.folder, run.parameters):
            return take(run, pictures)
        check_pictures(run.folder, run.fingerprints() if pictures is None else pictures)
        return True

    if not team.on_rank_zero(done):
        if run.before:
            train(run.before, pictures)
        _train(run, team)
    team.on_rank_zero(lambda: tidy(run.folder))  # also where a run was killed right after it ended
    return run.folder


def _train(run: Run, team: Team) -> None:
    """Train a run, or go on with it, and write all of its folder; `run.json` comes last."""
    set_threads(run.parameters["threads"])
    splits, networks = run.splits(), run.networks()
    run.begin(networks)
    judge = run.judge(splits["train"], team.device)
    objective = run.objective(judge, splits)
    # From here on what an earlier run left is given up; all that can be wrong with the parameters has shown by now.
    with begun(run.folder, run.parameters, team):
        torch.manual_seed(run.seed)
        started = now()
        summary = fit(
            networks, objective, splits["train"], folder=run.folder, seed=run.seed, device=str(team.device),
            validate=lambda: run.validate(networks, judge, splits, team), validations=run.validations,
            validation_pictures=splits["validation"], name=run.name.replace("/", " "),
            **run.training.options(len(splits["train"])),
        )  # fmt: skip
        keys = {key: run.parameters[key] for key in run.recorded} | run.described | team.facts
        team.on_rank_zero(lambda: record(run.folder, keys, splits, networks, team.device, started, summary))


def trained(run: Run, device: str | torch.device = "cpu", pictures: dict | None = None) -> dict[str, nn.Module]:
    """Return the networks of a run by name, trained first where they are not."""
    train(run, pictures)
    return run.load(device)

"""Boundaries of recognizers around restored pictures: how alike they are, and whether that predicts transfer."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from ra_core.bd_rate import counts
from ra_core.boundaries import Plane, answers_on, distance_to_boundary, input_gradients, plane_of
from ra_core.evaluation import table
from ra_core.judges import Judge, members_of
from ra_core.methods import name_parts
from ra_core.metrics import mean_interval
from ra_core.params import Profile
from ra_core.runs import resolve
from ra_core.steps.common import load_judges, pictures_of, set_threads, write_table
from ra_core.steps.restoration import right_answers
from ra_core.steps.trainings import trained
from ra_core.training import pick_device

SEEN = torch.linspace(-0.5, 1.5, 9), torch.linspace(-1, 1, 9)  # of a plane, in steps along and across
# Of a picture, percent but for the cosine: same answers as the source on the plane; cosine of the gradients of both;
# another answer after the step from plain to RA, and after a random step as long; the boundary nearer along RA.
MEASURES = ("agreement", "cosine", "crossed", "crossed_random", "nearer")
BOUNDARY_COLUMNS = ["profile", "task", "source", "recognizer", "role", "n"]
BOUNDARY_COLUMNS += [name + end for name in (*MEASURES, "gain") for end in ("", "_low", "_high")]
PREDICTORS = ("agreement", "cosine", "crossed")
PREDICTION_COLUMNS = ["profile", "task", "predictor", "pairs", "rho", "low", "high"]


def sources_of(profile: Profile, task: str) -> dict[str, str]:
    """Return the modes of a profile that are `ra` with one source at its usual lambda, by the name of that source."""
    found = {}
    for mode in profile.modes:
        base, _, weight = name_parts(mode)
        members = members_of(profile.mode(mode, task).source(profile.source))
        if base == "ra" and weight is None and len(members) == 1:
            found.setdefault(members[0], mode)
    return found


def restored(
    profile: Profile, task: str, modes: list[str], count: int, device: torch.device
) -> tuple[dict, torch.Tensor]:
    """Return what modes of the first seed make of the first test pictures, and the labels of these."""
    pictures = pictures_of(profile, task, "test", count)
    indices = torch.arange(len(pictures))
    clean, labels = pictures.batch(indices)
    runs = {mode: resolve(profile, task, mode, profile.seeds[0]) for mode in modes}
    chains = {mode: run.chain(trained(run, device)) for mode, run in runs.items()}
    stored = {mode: chain(clean.to(device), indices)["stored"].clone() for mode, chain in chains.items()}
    return stored, labels.to(device)


def measure_boundaries(profile: Profile, task: str, count: int = 100) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row for each source and recognizer, and how well these rows predict what the recognizer gains.

    A black box has no gradient to compare, and no row.
    The first, `runs/<profile>/<task>/boundaries.csv`, has the `MEASURES` as means over `count` test pictures, and the
    `gain` of RA with that source on `plain` over all of them, in points of top-1, with 95 % intervals over pictures.
    The second, `prediction.csv`, has Spearman's rank correlation of `PREDICTORS` with the gains of recognizers that
    training did not see, over all pairs, with an interval from drawing the pictures anew; it is empty where there are
    fewer than three sources. It reads what `evaluate_task` wrote.
    """
    set_threads(profile.threads)
    device, modes = pick_device(profile.device), sources_of(profile, task)
    judges = {name: each for name, each in load_judges(profile.recognizers, device).items() if not each.black_box}
    stored, labels = restored(profile, task, ["plain", *modes.values()], count, device)
    gradients = {name: input_gradients(judge, stored["plain"], labels) for name, judge in judges.items()}
    names, right = right_answers(profile, task, profile.seeds[0])
    rows, each = [], []
    for source, mode in modes.items():
        plane = plane_of(stored["plain"], stored[mode], torch.Generator().manual_seed(0))
        for name, values in _measured(judges, source, plane, gradients):
            values["gain"] = 100 * (right[mode] - right["plain"])[names.index(name)]
            intervals = {
                key: dict(zip(("", "_low", "_high"), mean_interval(found), strict=True))
                for key, found in values.items()
            }
            row = {key + end: value for key, ends in intervals.items() for end, value in ends.items()}
            keys = {"profile": profile.name, "task": task, "source": source, "recognizer": name}
            rows.append(keys | {"role": "source" if name == source else "unseen", "n": len(labels)} | row)
            each += [values] if name != source else []
    found = write_table(profile, f"{task}/boundaries", table(rows, BOUNDARY_COLUMNS))
    lines = [{"profile": profile.name, "task": task} | line for line in predicted(each)] if len(modes) > 2 else []
    return found, write_table(profile, f"{task}/prediction", table(lines, PREDICTION_COLUMNS))


def boundary_tables(profile: Profile, count: int = 100) -> dict[str, pd.DataFrame]:
    """Return the tables `boundaries` and `prediction` of all tasks, written as `runs/<profile>/<name>.csv`."""
    found = zip(*(measure_boundaries(profile, task, count) for task in profile.tasks), strict=True)
    names = ("boundaries", "prediction")
    return {name: write_table(profile, name, pd.concat(each)) for name, each in zip(names, found, strict=True)}


def _measured(judges: dict[str, Judge], source: str, plane: Plane, gradients: dict) -> Iterator[tuple[str, dict]]:
    """Yield each recognizer with the values of `MEASURES` of every picture, (N,)."""
    answers = {name: answers_on(judge, plane, *SEEN) for name, judge in judges.items()}
    for name, judge in judges.items():
        along, random = (distance_to_boundary(judge, plane.start, step) for step in (plane.along, plane.across))
        same = (answers[name] == answers[source]).flatten(1).double().mean(1)
        values = {
            "agreement": 100 * same, "cosine": (gradients[name] * gradients[source]).sum(1),
            "crossed": 100 * (along <= 1), "crossed_random": 100 * (random <= 1), "nearer": 100 * (along < random),
        }  # fmt: skip
        yield name, {key: value.double().cpu().numpy() for key, value in values.items()}


def predicted(pairs: list[dict[str, np.ndarray]]) -> list[dict]:
    """Return how well each predictor ranks pairs by their gain; of a pair, all values of a measure, (N,), are given.

    The pictures of the predictors and those of the gains are drawn anew apart from each other, as they may differ in
    number.
    """

    def means(name: str) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack([pair[name] for pair in pairs])
        drawn = counts(values.shape[1], seed=int(name == "gain"))
        return values.mean(1), drawn @ values.T / values.shape[1]

    gain, drawn_gain = means("gain")
    rows = []
    for name in PREDICTORS:
        value, drawn = means(name)
        ranks = [spearmanr(*pair).statistic for pair in zip(drawn, drawn_gain, strict=True)]
        low, high = np.nanpercentile(ranks, [2.5, 97.5])
        rows.append(
            {"predictor": name, "pairs": len(pairs), "rho": spearmanr(value, gain).statistic, "low": low, "high": high}
        )
    return rows

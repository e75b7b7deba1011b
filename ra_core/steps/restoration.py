"""Evaluate one task: every mode, seed and recognizer on the test pictures; and put the tables of all tasks together."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ra_core.chain import Chain
from ra_core.data import is_labelled
from ra_core.evaluation import ACCURACY_COLUMNS, PAIRED_COLUMNS, Answers, evaluate, paired, table, tidy
from ra_core.files import atomic
from ra_core.params import Profile
from ra_core.paths import profile_folder
from ra_core.runs import planned
from ra_core.steps.common import load_judges, merged, pictures_of, set_threads, write_table
from ra_core.steps.trainings import trained
from ra_core.training import pick_device


def chains_of(profile: Profile, task: str, device: torch.device) -> Iterator[tuple[str, int, Chain]]:
    """Yield every chain that a task is judged by, with mode and seed: oracle, unprocessed, then the trained modes."""
    yield "oracle", 0, Chain()
    yield "unprocessed", 0, Chain(profile.channel(task))
    runs = planned(profile, task)
    pictures = {} if profile.processors else runs[0].fingerprints()  # what others learned from need not be here
    for run in runs:
        yield run.parameters["mode"], run.seed, run.chain(trained(run, device, pictures))


def evaluate_task(profile: Profile, task: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate every chain of a task on the test split, train what is missing, and return the two tables.

    They are written as `runs/<profile>/<task>/accuracy.csv` and `paired.csv`, beside `answers.npz`, what every
    recognizer said of every picture.
    """
    set_threads(profile.threads)
    device, test = pick_device(profile.device), pictures_of(profile, task, "test")
    judges = load_judges(profile.recognizers, device, test.classes)
    chains = {(mode, seed): chain for mode, seed, chain in chains_of(profile, task, device)}
    answers: dict[tuple[str, int], Answers] = {}
    for (mode, seed), chain in chains.items():
        answers[mode, seed] = evaluate(chain, judges, test, profile.evaluation_batch, device)
        first, verdict = next(iter(answers[mode, seed].verdicts.items()))
        print(f"{task} {mode} seed{seed}: {verdict.value():.1f} % {verdict.metric} on {first}", flush=True)

    rows, gains = [], []
    for (mode, seed), found in answers.items():
        keys = {"profile": profile.name, "task": task, "mode": mode, "seed": seed}
        unlike = {"psnr": np.nan, "ssim": np.nan} if mode == "oracle" else {}  # the oracle is the clean picture
        source = profile.mode(mode, task).source(profile.source) if mode in profile.modes else profile.source
        rows += [row | unlike for row in tidy(found, source, **keys)]
        if mode in profile.modes and mode != "plain" and ("plain", seed) in answers:
            gains += paired(found, answers["plain", seed], source, **keys)
    _write_answers(profile_folder(profile.name) / task / "answers.npz", profile, answers, test)
    accuracy = write_table(profile, f"{task}/accuracy", table(rows, ACCURACY_COLUMNS))
    return accuracy, write_table(profile, f"{task}/paired", table(gains, PAIRED_COLUMNS))


def _write_answers(path: Path, profile: Profile, answers: dict[tuple[str, int], Answers], test) -> None:
    """Write what each recognizer said behind each chain (`Verdict.arrays`), (V, R, N, ...) each.

    A version is a mode, of the first seed, or `ra/seed1`, of another.
    """
    shown = [_version(profile, *key) if key[0] in profile.modes else key[0] for key in answers]
    said = [[verdict.arrays() for verdict in found.verdicts.values()] for found in answers.values()]
    given = {what: np.array([[each[what] for each in row] for row in said]) for what in said[0][0]}
    classes = test.classes
    if "answers" in given:
        given["labels"] = test.labels.numpy()
        if not is_labelled(test):  # right is what the source says to the clean picture
            given["labels"] = given["answers"][0, 0]
            classes = [f"class {number}" for number in range(given["answers"].max() + 1)]
    given |= {"versions": np.array(shown), "recognizers": np.array(profile.recognizers)}
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **given, classes=np.array(classes))


def _version(profile: Profile, mode: str, seed: int) -> str:
    return mode if seed == profile.seeds[0] else f"{mode}/seed{seed}"


def right_answers(profile: Profile, task: str, seed: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return recognizers, and by mode whether each names each test picture rightly, (R, N), 0 or 1, of one seed.

    It reads what `evaluate_task` wrote.
    """
    answers = np.load(profile_folder(profile.name) / task / "answers.npz")
    right = (answers["answers"] == answers["labels"]).astype(float)
    by_version = dict(zip(answers["versions"].tolist(), right, strict=True))
    return answers["recognizers"].tolist(), {mode: by_version[_version(profile, mode, seed)] for mode in profile.modes}


def merge_tables(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the tables of all tasks together as `runs/<profile>/accuracy.csv` and `paired.csv`.

    What was not evaluated yet is evaluated first.
    """
    tasks = [(task,) for task in profile.tasks]
    accuracy, paired = (merged(profile, tasks, name, evaluate_task) for name in ("accuracy", "paired"))
    return write_table(profile, "accuracy", accuracy), write_table(profile, "paired", paired)

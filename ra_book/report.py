"""What the pages of the book say in numbers, out of what the runs wrote."""

import json
import re
from itertools import product

import pandas as pd

from ra_book import figures
from ra_book.figures.measured import PAIRED, per_role, prepare
from ra_core.params import Profile
from ra_core.runs import resolve, versions

IMAGENET_TEST = 50_000  # pictures, on which the paper's accuracies were measured


def read_logs(profile: Profile, task: str) -> dict[str, list[dict]]:
    """Return the log of the first seed of every mode of a task."""
    folders = {mode: resolve(profile, task, mode, profile.seeds[0]).folder for mode in profile.modes}
    return {mode: list(map(json.loads, (f / "log.jsonl").read_text().splitlines())) for mode, f in folders.items()}


def read_runs(profile: Profile) -> list[dict]:
    """Return what every run of restoration said of itself (`run.json`)."""
    runs = product(profile.tasks, profile.modes, profile.seeds)
    return [json.loads((resolve(profile, *run).folder / "run.json").read_text()) for run in runs]


def published_tables(profile: Profile, accuracy: pd.DataFrame, published: pd.DataFrame) -> str:
    """Return the paper's tables beside ours as Markdown, one a task; nothing unless the test set is ImageNet's."""
    if not (profile.is_published_setting and accuracy["n"].max() == IMAGENET_TEST):
        return ""
    tables = {task: figures.to_markdown(figures.beside_published(accuracy, published, task)) for task in profile.tasks}
    return "\n".join(f"**{figures.task_title(task)}**\n\n{table}" for task, table in tables.items())


def report_values(profile: Profile, accuracy: pd.DataFrame, paired: pd.DataFrame) -> dict[str, str]:
    """Return every number the text of the book names, formatted, by a flat name.

    `<task>_<mode>_source` and `<task>_<mode>_unseen` are top-1 in percent, `<task>_<mode>_psnr` in dB, and
    `<task>_<mode>_gain` with `_gain_low` and `_gain_high` the difference to plain on the source in points.
    """
    runs = read_runs(profile)
    values = {
        "profile": profile.name, "source": profile.source or "none here", "unseen": ", ".join(profile.unseen),
        "seeds": str(len(profile.seeds)), "test_pictures": f"{accuracy.n.max():,}",
        "train_pictures": f"{runs[0]['data']['train']['pictures']:,}", "runs": str(len(runs)),
        "training_minutes": f"{sum(run['wall_seconds'] for run in runs) / 60:.1f}",
        "peak_memory_gb": f"{max(run['peak_memory_mb'] for run in runs) / 1000:.1f}",
        "device": runs[0]["device"], "commit": (runs[0]["git"]["commit"] or "unknown")[:12],
        "torch": versions()["torch"],
    }  # fmt: skip
    accuracy, paired = (rows.assign(mode=rows["mode"].map(_plain_name)) for rows in (accuracy, paired))
    for (task, mode), rows in accuracy.groupby(["task", "mode"]):
        values[f"{task}_{mode}_source"] = f"{rows.top1[rows.role == 'source'].mean():.1f}"
        values[f"{task}_{mode}_unseen"] = f"{rows.top1[rows.role == 'unseen'].mean():.1f}"
        values[f"{task}_{mode}_psnr"] = f"{rows.psnr.mean():.2f}"
    for row in per_role(prepare(paired, PAIRED)).query("role == 'source'").itertuples() if len(paired) else ():
        name = f"{row.task}_{row.method}_gain"
        values |= {name: f"{row.value:+.1f}", f"{name}_low": f"{row.low:+.1f}", f"{name}_high": f"{row.high:+.1f}"}
    return values


def _plain_name(mode: str) -> str:
    """Return a mode as a part of a name in the text of the book, which knows neither @ nor points."""
    return re.sub(r"\W", "_", mode)

"""Reference results: what a profile gave once, kept in the repository so that readers can set theirs beside it.

`python -m ra_book.reference PROFILE` copies the tables of a finished `make book PROFILE=...` from `runs/PROFILE` to
`results/PROFILE`. Only numbers are kept, never pictures or weights.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from ra_book.speed import spent
from ra_core.errors import OutputError, exit_status
from ra_core.files import write_json, write_text
from ra_core.params import Profile, header, load_profile
from ra_core.paths import profile_folder, project_root
from ra_core.runs import git_state, now, planned
from ra_core.runs.coding import run_name
from ra_core.steps.common import around_codecs, part_path

TABLES = ("accuracy", "paired", "recognizers", "rate_accuracy", "bd_rate")
TABLES += ("transfer", "later", "boundaries", "prediction")
PARTS = {"paired": "paired", "bd_rate": "bd"}  # what runs call the parts of a table, one a task or a codec
PER_DATASET = ("same_bytes", "cost", "agreement", "filters")  # each in a file a codec, or one a data set
TRAINING_COLUMNS = ["profile", "part", "run", "seed", "device", "commit", "pictures", "wall_seconds"]
TRAINING_COLUMNS += ["images_per_s", "peak_memory_mb", "shipped"]


def results_folder() -> Path:
    """Return `results/`, in git."""
    return project_root() / "results"


def collect(name: str) -> Path:
    """Put the tables of a profile's runs in the place of those in `results/<name>`; return that folder.

    `trainings.csv` has a row a training, `about.json` says by which command, commits and packages they came about.
    Raises `OutputError` where the profile has no finished tables.
    """
    runs, folder = profile_folder(name), results_folder() / name
    tables = {stem: pd.read_csv(runs / f"{stem}.csv") for stem in TABLES if (runs / f"{stem}.csv").exists()}
    if not {"accuracy", "rate_accuracy"} & set(tables):
        raise OutputError(f"{runs} holds no tables of results; run make book PROFILE={name} first.")
    for stem in PER_DATASET:
        parts = sorted({*runs.glob(f"*/{stem}.csv"), *runs.glob(f"*/{stem}-*.csv")})
        if parts:
            tables[stem] = pd.concat(map(pd.read_csv, parts), ignore_index=True)
    profile = load_profile(name)
    done = [run.folder for run in planned(profile) if (run.folder / "run.json").exists()]
    records = [json.loads((place / "run.json").read_text(encoding="utf-8")) for place in done]
    rows = pd.DataFrame([training_row(record) for record in records], columns=TRAINING_COLUMNS)
    judged = pd.Series([not place.is_relative_to(runs) for place in done], dtype=bool)  # finished elsewhere
    tables["trainings"] = rows.assign(shipped=rows["shipped"] | judged)
    if taken := spent(runs / "notebooks"):
        tables["spent"] = pd.DataFrame(taken)
    shutil.rmtree(folder, ignore_errors=True)
    for stem, rows in tables.items():
        write_text(folder / f"{stem}.csv", rows.to_csv(index=False))
    text = (project_root() / "params" / f"{name}.yaml").read_text(encoding="utf-8")
    write_text(folder / "params.yaml", text)
    write_json(folder / "about.json", _about(name, text, records, tables["trainings"]))
    return folder


def training_row(record: dict) -> dict:
    """Return a row of `trainings.csv` out of a `run.json`.

    `pictures` are those seen, `peak_memory_mb` is of what computed, process or GPU, `shipped` says: not trained.
    """
    row = {key: record.get(key) for key in TRAINING_COLUMNS}
    git = record.get("git", {})
    return row | {
        "part": record.get("task") or record["dataset"],
        "run": record.get("mode") or run_name(record["method"], record["codec"], record["quality"]),
        "commit": (git.get("commit") or "")[:12] + ("+" if git.get("dirty") else ""),
        "pictures": round(record["wall_seconds"] * record["images_per_s"]),
        "peak_memory_mb": record.get("gpu_memory_mb", row["peak_memory_mb"]),
        "shipped": "shipped" in record,
    }


def references() -> dict[str, dict[str, pd.DataFrame]]:
    """Return the tables of every profile that has reference results, by profile and name of the table."""
    return {
        folder.name: {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv"))}
        for folder in reference_folders()
    }


def reference_folders() -> list[Path]:
    """Return the folder of every profile that has reference results."""
    return [path.parent for path in sorted(results_folder().glob("*/about.json"))]


def kept(table: str, *profiles: str) -> pd.DataFrame:
    """Return a table of the reference results of profiles, one below the other; without rows where none has it."""
    paths = [results_folder() / name / f"{table}.csv" for name in profiles]
    found = [pd.read_csv(path) for path in paths if path.exists()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["task"])


def trainings() -> pd.DataFrame:
    """Return the trainings of all reference results, a row each."""
    tables = [tables["trainings"] for tables in references().values()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=TRAINING_COLUMNS)


def about(name: str) -> dict:
    """Return what the reference results of a profile say of themselves."""
    return json.loads((results_folder() / name / "about.json").read_text(encoding="utf-8"))


def profile_names() -> list[str]:
    """Return the names of all profiles in `params/`."""
    return sorted(path.stem for path in (project_root() / "params").glob("*.yaml"))


def not_run() -> list[str]:
    """Return the profiles of `params/` that have no reference results."""
    known = {"smoke", *(folder.name for folder in reference_folders())}
    return [name for name in profile_names() if name not in known]


def beside(profile: Profile, table: str) -> dict[str, pd.DataFrame]:
    """Return a table of every reference that has it, by profile, and last that of the reader's own runs."""
    found = {name: tables[table] for name, tables in references().items() if table in tables}
    places = [*((task,) for task in profile.tasks), *around_codecs(profile)]
    paths = [part_path(profile, place, PARTS[table]) for place in places]
    if own := [pd.read_csv(path) for path in paths if path.exists()]:
        found[f"yours ({profile.name})"] = pd.concat(own, ignore_index=True)
    return {name: rows for name, rows in found.items() if len(rows)}


def _about(name: str, text: str, records: list[dict], rows: pd.DataFrame) -> dict:
    """Return by which command, commits and packages the trainings came about, and what they took."""
    command, description = header(name, text)
    trained = rows[~rows["shipped"].astype(bool)]
    started = sorted(record["started"] for record in records) or [""]
    return {
        "profile": name, "command": command, "about": description, "trainings": len(trained),
        "training_hours": round(float(trained["wall_seconds"].sum()) / 3600, 2),
        "peak_memory_mb": max(rows["peak_memory_mb"], default=0.0),
        "devices": sorted(set(rows["device"])), "commits": sorted(set(rows["commit"])),
        "first": started[0], "last": started[-1], "versions": records[-1]["versions"] if records else {},
        "collected": {"at": now(), "git": git_state()},
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Collect the results of a profile and print their folder. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_book.reference", description=main.__doc__)
    parser.add_argument("profile", help="name of a file in params/")
    given = parser.parse_args(arguments)
    return exit_status(lambda: print(collect(given.profile)))


if __name__ == "__main__":
    sys.exit(main())

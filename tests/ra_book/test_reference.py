"""Reference results: what is kept of a profile's runs, and how it stands beside those of others."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from ra_book import figures, reference
from ra_core.errors import OutputError
from ra_core.evaluation import ACCURACY_COLUMNS, PAIRED_COLUMNS, RATE_COLUMNS
from ra_core.params import load_profile
from ra_core.runs import resolve, write_params

TEXT = """# make book PROFILE=mine
# One task, one ladder.
tasks: {dn: {}}
preprocessing:
  cells:
    source: cell_lite0
    preprocessor: {width: 2}
    codecs: {jpeg: {curve: [5, 40], rungs: [[5, 0.5], [40, 2.0]], single: [40]}}
modes: [plain, ra]
"""


def record(**given) -> dict:
    return {
        "profile": "mine", "seed": 0, "source": "resnet20", "device": "cpu (x86_64, 1 threads)",
        "git": {"commit": "0123456789abcdef", "dirty": False}, "versions": {"torch": "2.15.0"},
        "started": "2026-11-22T10:00:00+00:00", "wall_seconds": 20.0, "images_per_s": 12.0, "peak_memory_mb": 800.0,
    } | given  # fmt: skip


RUNS = {
    "dn/plain": record(task="dn", mode="plain"),
    "dn/ra": record(task="dn", mode="ra", peak_memory_mb=900.0, started="2026-11-22T11:00:00+00:00"),
    "cells/npp_qa-jpeg": record(dataset="cells", method="npp_qa", codec="jpeg", quality=None),
    "cells/npp-jpeg-40": record(
        dataset="cells", method="npp", codec="jpeg", quality=40.0, wall_seconds=40.0, shipped="x"
    ),
    "dn/ra_unsupervised": record(task="dn", mode="ra_unsupervised"),  # of an earlier form of the profile
}


def paired(value: float, mode: str = "ra") -> pd.DataFrame:
    row = {"profile": "mine", "task": "dn", "mode": mode, "seed": 0, "recognizer": "resnet20", "role": "source"}
    row |= {"n": 100, "difference": value, "low": value - 1, "high": value + 1}
    return pd.DataFrame([row]).reindex(columns=PAIRED_COLUMNS)


def bd(method: str, value: float) -> pd.DataFrame:
    return pd.DataFrame([{
        "profile": "mine", "dataset": "cells", "codec": "jpeg", "method": method, "seed": 0,
        "recognizer": "cell_lite0", "role": "source", "metric": "top1", "bd": value, "low": value - 5,
        "high": value + 5, "no_overlap": 0.0, "value_low": 70.0, "value_high": 80.0,
    }])  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose profile `mine` has run."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "mine.yaml").write_text(TEXT)
    (tmp_path / "params" / "other.yaml").write_text("# make book PROFILE=other\n")
    runs = tmp_path / "runs" / "mine"
    for name, said in RUNS.items():
        (runs / name / "seed0").mkdir(parents=True)
        (runs / name / "seed0" / "run.json").write_text(json.dumps(said))
        (runs / name / "seed0" / "processor.safetensors").write_bytes(b"weights")
    pd.DataFrame(columns=ACCURACY_COLUMNS).to_csv(runs / "accuracy.csv", index=False)
    paired(5.0).to_csv(runs / "paired.csv", index=False)
    bd("npp_qa", -20.0).to_csv(runs / "bd_rate.csv", index=False)
    for codec in ("jpeg", "webp"):
        pd.DataFrame([{"dataset": "cells", "codec": codec}]).to_csv(runs / "cells" / f"cost-{codec}.csv", index=False)
    pd.DataFrame([{"dataset": "cells", "proxy": "BlockDCT"}]).to_csv(runs / "cells" / "agreement.csv", index=False)
    (runs / "notebooks").mkdir()
    (runs / "notebooks" / "05_report.ipynb").write_text(json.dumps({"metadata": {"papermill": {"duration": 30}}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tables_are_kept_and_nothing_else(project):
    stale = project / "results" / "mine" / "same_bytes.csv"
    stale.parent.mkdir(parents=True)
    stale.write_text("of an earlier collection\n")
    folder = reference.collect("mine")
    assert folder == project / "results" / "mine"
    names = {"accuracy", "paired", "bd_rate", "cost", "agreement", "trainings", "spent"}
    assert {p.name for p in folder.iterdir()} == {*(f"{n}.csv" for n in names), "params.yaml", "about.json"}
    assert (folder / "params.yaml").read_text() == TEXT
    assert list(pd.read_csv(folder / "cost.csv").codec) == ["jpeg", "webp"]
    assert list(pd.read_csv(folder / "agreement.csv").dataset) == ["cells"]


def test_every_training_the_profile_asks_for_is_a_row(project):
    rows = pd.read_csv(reference.collect("mine") / "trainings.csv")
    assert list(rows.columns) == reference.TRAINING_COLUMNS
    assert list(zip(rows.part, rows.run, strict=True)) == [
        ("dn", "plain"), ("dn", "ra"), ("cells", "npp_qa-jpeg"), ("cells", "npp-jpeg-40"),
    ]  # fmt: skip
    assert list(rows.pictures) == [240, 240, 240, 480]
    assert list(rows.shipped) == [False, False, False, True]
    assert set(rows.commit) == {"0123456789ab"}


def test_it_says_where_results_come_from(project):
    reference.collect("mine")
    said = reference.about("mine")
    assert (said["command"], said["about"]) == ("make book PROFILE=mine", "One task, one ladder.")
    assert (said["trainings"], said["training_hours"], said["peak_memory_mb"]) == (3, 0.02, 900.0)  # without what ships
    assert (said["first"][:13], said["last"][:13]) == ("2026-11-22T10", "2026-11-22T11")
    assert said["versions"] == {"torch": "2.15.0"}


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({}, "peak_memory_mb", 800.0),
        ({"gpu_memory_mb": 2345.6}, "peak_memory_mb", 2345.6),  # that of what computed
        ({"git": {"commit": "0123456789abcdef", "dirty": True}}, "commit", "0123456789ab+"),
    ],
)
def test_a_row_says_memory_and_commit(given, key, value):
    assert reference.training_row(record(task="dn", mode="ra", **given))[key] == value


def test_without_results_there_is_nothing_to_keep(project, capsys):
    with pytest.raises(OutputError, match="make book PROFILE=other"):
        reference.collect("other")
    assert reference.main(["other"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_profiles_never_run_are_told_and_without_references_tables_are_empty(project):
    assert reference.references() == {} and reference.trainings().empty
    assert figures.trainings_table(reference.trainings()).empty
    assert reference.not_run() == ["mine", "other"]
    reference.collect("mine")
    assert reference.not_run() == ["other"]


def test_a_table_of_several_profiles_is_one_below_the_other(project):
    for name in ("first", "second"):
        text = paired(5).assign(profile=name).to_csv(index=False)
        reference.write_text(project / "results" / name / "paired.csv", text)
    found = reference.kept("paired", "second", "absent", "first")
    assert found["profile"].tolist() == ["second", "first"] and list(found["difference"]) == [5, 5]
    assert reference.kept("paired", "absent")["task"].empty and reference.kept("later", "first").empty


def test_own_results_stand_last(project):
    reference.collect("mine")
    task = project / "runs" / "other" / next(iter(load_profile("other").tasks))
    task.mkdir(parents=True)
    paired(2.0).to_csv(task / "paired.csv", index=False)
    found = reference.beside(load_profile("other"), "paired")
    assert list(found) == ["mine", "yours (other)"]
    assert [rows.difference.iloc[0] for rows in found.values()] == [5.0, 2.0]
    assert list(reference.beside(load_profile("other"), "bd_rate")) == ["mine"]


def test_profiles_stand_side_by_side_and_what_one_did_not_run_is_a_dash():
    table = figures.gains_beside({"a": paired(5.0), "b": paired(2.0, "ra_unsupervised")})
    assert table.to_dict("split") == {
        "columns": ["a", "b"], "data": [["+5.0 [+4.0, +6.0]", "–"], ["–", "+2.0 [+1.0, +3.0]"]],
        "index": [("Denoising", "RA", "source"), ("Denoising", "RA unsupervised", "source")],
    }  # fmt: skip
    assert "of detectors of mAP@0.5 [95 % interval]</caption>" in table._repr_html_()
    table = figures.bd_beside({"a": bd("npp_qa", -20.0), "b": bd("npp", float("nan"))})
    assert [key[2] for key in table.index] == ["NPP-QA", "NPP, one a quality"]
    assert table.to_numpy().tolist() == [["−20.0 [−25.0, −15.0]", "–"], ["–", "no overlap"]]


def test_trainings_are_summed_by_profile_and_data():
    rows = pd.DataFrame([reference.training_row(said) for said in RUNS.values()])
    table = figures.trainings_table(rows)
    assert list(table.loc[("mine", "Denoising"), ["trainings", "pictures seen", "minutes"]]) == ["3", "720", "1.0"]
    assert list(table.loc[("mine", "cells"), ["trainings", "pictures seen", "images/s"]]) == ["1", "240", "12"]
    assert "device" not in table and "device" in figures.trainings_table(pd.concat([rows, rows.assign(device="mps")]))


KEPT = sorted(path.parent for path in Path(__file__).parents[2].glob("results/*/about.json"))


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_what_is_kept_comes_from_commits_and_keeps_the_contracts(folder):
    said = json.loads((folder / "about.json").read_text())
    assert said["profile"] == folder.name and said["devices"]
    assert said["commits"] and all(re.fullmatch("[0-9a-f]{12}", commit) for commit in said["commits"])  # no change
    for name, columns in (
        ("accuracy", ACCURACY_COLUMNS), ("rate_accuracy", RATE_COLUMNS), ("trainings", reference.TRAINING_COLUMNS),
    ):  # fmt: skip
        table = folder / f"{name}.csv"
        assert not table.exists() or list(pd.read_csv(table)) == list(columns)
    assert (folder / "trainings.csv").exists()


def test_processors_of_others_are_told_as_not_trained(project):
    text = TEXT.split("tasks:")[0] + "tasks: {dn: {}}\nmodes: [plain, ra]\nprocessors: runs/mine\n"
    (project / "params" / "judged.yaml").write_text(text)
    for mode in ("plain", "ra"):
        write_params(project / f"runs/mine/dn/{mode}/seed0", resolve(load_profile("mine"), "dn", mode).parameters)
    (project / "runs" / "judged").mkdir()
    paired(3.0).to_csv(project / "runs/judged/accuracy.csv", index=False)
    reference.collect("judged")
    rows = pd.read_csv(project / "results/judged/trainings.csv")
    assert list(rows.profile) == ["mine"] * 2 and list(rows.shipped) == [True] * 2
    said = reference.about("judged")
    assert (said["trainings"], said["training_hours"], said["commits"]) == (0, 0, ["0123456789ab"])

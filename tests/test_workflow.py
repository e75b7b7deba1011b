"""The whole, tiny: every notebook and the book, what a change re-runs, and what a failure leaves."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import copied
import nbformat
import pandas as pd
import pytest

from ra_core.coding.curves import RATE_COLUMNS
from ra_core.evaluation import ACCURACY_COLUMNS

TINY = """# make book PROFILE=tiny
# Two tasks and two modes, for the tests.
data: {train_per_class: 2, test_per_class: 2, validation_per_class: 1}
tasks:
  sr:
    processor: {name: SRResNet, width: 4, blocks: 1}
    training: &tiny {steps: 2, batch: 4, lr: 1e-3}
  dn:
    processor: {name: SRResNet, width: 4, blocks: 1}
    training: *tiny
preprocessing:
  cells:
    source: cell_resnet20
    preprocessor: {width: 2, identity: true}
    postprocessor: {width: 2, blocks: 1, residual: true}
    training: {steps: 1, batch: 2, lr: 1e-3}
    pictures: 4
    validation_pictures: 4
    codecs:
      jpeg: {curve: [5, 40], rungs: [[5, 0.5], [40, 2.0]], both_ends: true}
modes: [plain, ra]
unseen: [vgg8]
threads: 1
"""

LAST = {"report": 1, "reference_results": 1, "planning": 1, "book": 1}  # rules that run again after any other


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, so that nothing is written into this one."""
    return copied.project(tmp_path_factory.mktemp("project"), tiny=TINY)


def workflow(project: Path, *options: str, profile: str = "tiny", jobs: str = "2") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going", "--nolock", *options]
    environment = os.environ | {"PYTHONPATH": str(project)}
    command += ["--config", f"profile={profile}", f"jobs={jobs}"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=500)


def planned(project: Path) -> dict[str, int]:
    """Return how often each rule would run now."""
    said = workflow(project, "--dry-run", "--quiet", "rules")
    assert said.returncode == 0, said.stderr
    jobs = re.findall(r"^(\w+) +(\d+)$", said.stdout + said.stderr, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in jobs if rule != "total"}


@pytest.mark.parametrize("jobs", ["0", "x"])
def test_a_number_of_jobs_that_cannot_be_is_one_sentence(project, jobs):
    said = workflow(project, "--dry-run", jobs=jobs)
    assert said.returncode == 1 and f"JOBS={jobs} is not allowed; give how many" in said.stderr
    assert "Traceback" not in said.stderr and " in file " not in said.stderr


def test_an_unknown_profile_is_one_sentence(project):
    said = workflow(project, "--dry-run", profile="nope")
    assert said.returncode == 1
    assert (said.stdout + said.stderr).strip().splitlines()[-1].startswith("profile 'nope' is unknown; choose one of")
    assert "Traceback" not in said.stderr and "Snakefile" not in said.stderr


@pytest.fixture(scope="module")
def built(project):
    """The project after one run of the workflow."""
    said = workflow(project)
    assert said.returncode == 0, said.stdout + said.stderr
    return project


def test_every_notebook_was_executed_and_the_book_has_its_pages(built):
    folder = built / "runs" / "tiny" / "notebooks"
    trainings = [f"03_train_processor-{task}-{mode}-seed0" for task in ("sr", "dn") for mode in ("plain", "ra")]
    names = [
        "01_data_and_channels",
        "02_recognizers",
        *trainings,
        "04_cross_evaluate-sr",
        "04_cross_evaluate-dn",
        "06_train_proxy",
        *(f"07_train_preprocessor-cells-{method}-jpeg-seed0" for method in ("npp_qa", "post", "both")),
        "08_rate_accuracy-cells-jpeg",
        "09_both_ends-cells-jpeg",
    ]
    last = {"05_report", "11_reference_results", "12_planning"}
    assert {path.stem for path in folder.glob("*.ipynb")} == {*names, *last}
    html = built / "book" / "_build" / "html"
    pages = ("intro", "data_and_channels", "recognizers", "results/sr", "results/dn", "report", "status", "planning")
    for page in (*pages, "coding/index", "coding/proxies", "coding/cells-jpeg", "coding/both-ends-cells-jpeg"):
        text = (html / f"{page}.html").read_text()
        assert "Traceback" not in text
        assert "<img" in text or "<table" in text
    assert not (html / "results" / "jpeg.html").exists()  # the profile does not run it


def test_the_tables_are_as_contracted(built):
    accuracy = pd.read_csv(built / "runs" / "tiny" / "accuracy.csv")
    assert list(accuracy.columns) == ACCURACY_COLUMNS
    assert set(accuracy["mode"]) == {"oracle", "unprocessed", "plain", "ra"}
    assert len(accuracy) == 2 * 4 * 2  # tasks x modes x recognizers
    assert set(accuracy["n"]) == {20}
    files = {path.name for path in (built / "runs" / "tiny" / "dn" / "ra" / "seed0").iterdir()}
    assert files == {"params.yaml", "run.json", "log.jsonl", "processor.safetensors"}
    run = json.loads((built / "runs" / "tiny" / "dn" / "ra" / "seed0" / "run.json").read_text())
    assert (run["task"], run["mode"], run["seed"]) == ("dn", "ra", 0)
    rates = pd.read_csv(built / "runs" / "tiny" / "rate_accuracy.csv")
    assert list(rates.columns) == RATE_COLUMNS
    assert set(rates["method"]) == {"codec", "npp_qa", "post", "both"} and set(rates["n"]) == {4}


def test_nothing_changed_means_nothing_to_do(built):
    assert planned(built) == {}


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        ("unseen: [vgg8]", "unseen: [resnet26]", {"recognizers": 1, "cross_evaluate": 2, **LAST}),
        (
            "  dn:\n    processor: {name: SRResNet, width: 4",
            "  dn:\n    processor: {name: SRResNet, width: 5",
            {"train_processor": 2, "cross_evaluate": 1, **LAST},
        ),
        ("    pictures: 4", "    pictures: 5", {"rate_accuracy": 1, "both_ends": 1, **LAST}),
        (
            "    preprocessor: {width: 2",
            "    preprocessor: {width: 3",
            {"train_preprocessor": 2, "rate_accuracy": 1, "both_ends": 1, **LAST},
        ),
    ],
)
def test_a_changed_parameter_runs_again_only_what_depends_on_it(built, before, after, again):
    profile = built / "params" / "tiny.yaml"
    assert before in TINY
    profile.write_text(TINY.replace(before, after))
    try:
        found = planned(built)
    finally:
        profile.write_text(TINY)
    assert found == again


def test_a_failed_notebook_is_named_kept_and_run_again(built):
    path = built / "notebooks" / "04_cross_evaluate.ipynb"
    sound = path.read_text()
    notebook = nbformat.reads(sound, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("if task == 'dn':\n    raise ValueError('the roof leaks')"))
    path.write_text(nbformat.writes(notebook))
    said = workflow(built)
    text = said.stdout + said.stderr
    assert said.returncode != 0
    assert "04_cross_evaluate.ipynb failed in cell" in text
    assert "the roof leaks" in text
    kept = json.loads((built / "runs" / "tiny" / "notebooks" / "04_cross_evaluate-dn.ipynb").read_text())
    assert any(output["output_type"] == "error" for cell in kept["cells"] for output in cell.get("outputs", []))
    assert (built / "runs" / "tiny" / "sr" / "accuracy.csv").exists()  # the other task went on
    path.write_text(sound)
    assert "train_processor" not in planned(built)
    said = workflow(built)
    assert said.returncode == 0, said.stdout + said.stderr
    assert planned(built) == {}

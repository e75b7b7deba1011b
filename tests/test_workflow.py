"""The whole, tiny: every notebook and the book, and what a change runs again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import copied
import pandas as pd
import pytest

from ra_core.evaluation import ACCURACY_COLUMNS, RATE_COLUMNS

TINY = """# make book PROFILE=tiny
# One task, two modes and one codec, for the tests.
data: {train_per_class: 2, test_per_class: 2, validation_per_class: 1}
tasks:
  dn:
    processor: {name: SRResNet, width: 4, blocks: 1}
    training: {steps: 2, batch: 4, lr: 1e-3}
preprocessing:
  cells:
    source: cell_resnet20
    preprocessor: {width: 2, identity: true}
    training: {steps: 1, batch: 2, lr: 1e-3}
    pictures: 4
    validation_pictures: 4
    codecs:
      jpeg: {curve: [5, 40], rungs: [[5, 0.5], [40, 2.0]]}
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
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=1800)


def planned(project: Path) -> dict[str, int]:
    """Return how often each rule would run now."""
    said = workflow(project, "--dry-run", "--quiet", "rules")
    assert said.returncode == 0, said.stderr
    jobs = re.findall(r"^(\w+) +(\d+)$", said.stdout + said.stderr, flags=re.MULTILINE)
    return {rule: int(count) for rule, count in jobs if rule != "total"}


@pytest.mark.parametrize(("options", "given"), [({"jobs": "0"}, "0"), ({"profile": "nope"}, "nope")])
def test_what_cannot_be_is_one_sentence(project, options, given):
    said = workflow(project, "--dry-run", **options)
    assert said.returncode == 1 and given in said.stderr
    assert "Traceback" not in said.stderr and " in file " not in said.stderr


@pytest.fixture(scope="module")
def built(project):
    """The project after one run of the workflow."""
    said = workflow(project)
    assert said.returncode == 0, said.stdout + said.stderr
    return project


def test_every_notebook_was_executed_and_the_book_has_its_pages(built):
    assert {path.stem for path in (built / "runs/tiny/notebooks").glob("*.ipynb")} == {
        "01_data_and_channels", "02_recognizers", "03_train_processor-dn-plain-seed0", "03_train_processor-dn-ra-seed0",
        "04_cross_evaluate-dn", "05_report", "06_train_proxy",
        "07_train_preprocessor-cells-npp_qa-jpeg-seed0", "08_rate_accuracy-cells-jpeg", "11_reference_results",
        "12_planning",
    }  # fmt: skip
    html = built / "runs/tiny/_build/html"
    pages = ("intro", "data_and_channels", "recognizers", "results/dn", "report", "status", "planning")
    for page in (*pages, "coding/index", "coding/proxies", "coding/cells-jpeg"):
        text = (html / f"{page}.html").read_text()
        assert "Traceback" not in text
        assert "<img" in text or "<table" in text
    assert not (html / "results" / "jpeg.html").exists()  # the profile does not run it


def test_the_tables_are_as_contracted(built):
    runs = built / "runs" / "tiny"
    accuracy = pd.read_csv(runs / "accuracy.csv")
    assert list(accuracy.columns) == ACCURACY_COLUMNS
    assert set(accuracy["mode"]) == {"oracle", "unprocessed", "plain", "ra"}
    assert len(accuracy) == 4 * 2  # modes x recognizers
    assert set(accuracy["n"]) == {20}
    files = {path.name for path in (runs / "dn/ra/seed0").iterdir()}
    assert files == {"params.yaml", "run.json", "log.jsonl", "processor.safetensors"}
    run = json.loads((runs / "dn/ra/seed0/run.json").read_text())
    assert (run["task"], run["mode"], run["seed"]) == ("dn", "ra", 0)
    rates = pd.read_csv(runs / "rate_accuracy.csv")
    assert list(rates.columns) == RATE_COLUMNS
    assert set(rates["method"]) == {"codec", "npp_qa"} and set(rates["n"]) == {4}


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_changed_comment_or_docstring_runs_nothing_again(built):
    changed(built / "ra_core/losses.py", '"""', '"""Some more words. ')
    changed(built / "ra_core/losses.py", "\n\n\n", "\n\n\n# a comment\n")
    changed(built / "Snakefile", '"""', '"""Some more words. ')
    assert planned(built) == {}


def test_a_changed_parameter_runs_again_what_depends_on_it(built):
    profile = built / "params" / "tiny.yaml"
    changed(profile, "{name: SRResNet, width: 4", "{name: SRResNet, width: 5")
    try:
        assert planned(built) == {"train_processor": 2, "cross_evaluate": 1, **LAST}
    finally:
        profile.write_text(TINY)


def test_changed_code_runs_again_what_uses_it_and_trains_only_where_it_computes(built):
    """A line that draws gives the page of a training anew, and not the training."""
    target = "runs/tiny/dn/ra/seed0/run.json"
    page = built / "runs/tiny/notebooks/03_train_processor-dn-ra-seed0.ipynb"

    def times() -> tuple[str, int]:
        return json.loads((built / target).read_text())["started"], page.stat().st_mtime_ns

    def append_line(name: str) -> None:
        with open(built / name, "a") as file:
            file.write("\nANOTHER = 1\n")
        said = workflow(built, target)
        assert said.returncode == 0, said.stdout + said.stderr

    started, executed = times()
    append_line("ra_book/figures/networks.py")
    assert times()[0] == started and times()[1] > executed
    append_line("ra_core/losses.py")
    assert times()[0] > started
    assert planned(built)["train_processor"] == 1  # the other one


@pytest.mark.slow
def test_the_smoke_profile_has_both_ends_and_transfers(tmp_path):
    project = copied.project(tmp_path / "project")
    said = workflow(project, profile="smoke")
    assert said.returncode == 0, said.stdout + said.stderr
    for page in ("results/sr", "coding/cells-webp", "coding/both-ends-cells-jpeg-optimized"):
        assert (project / f"runs/smoke/_build/html/{page}.html").is_file()

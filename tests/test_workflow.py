"""The whole, tiny: every notebook and the book, and what a change runs again."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import copied
import pandas as pd
import pytest

from ra_core.evaluation import ACCURACY_COLUMNS, RATE_COLUMNS

TINY = """# make book PROFILE=tiny
# One task, two modes and one codec, for the tests; all of them, the pictures and the judges are of one's own.
extensions: [blur, hinge, few_colours, one_layer, birdnets, stripes]
data: {kind: stripes, train_per_class: 8, test_per_class: 10}
channels: {blur: 1.5}
tasks:
  blur:
    processor: {name: OneLayer, width: 1}
    training: {steps: 2, batch: 4, lr: 1e-3}
preprocessing:
  stripes:
    source: birdnet
    preprocessor: {width: 2, identity: true}
    training: {steps: 1, batch: 2, lr: 1e-3}
    pictures: 4
    validation_pictures: 4
    codecs:
      few-colours: {curve: [4, 40], rungs: [[4, 0.5], [40, 2.0]], proxy: Hyperprior}
modes: [plain, ra_hinge]
source: birdnet
unseen: [birdnets:small]
threads: 1
"""
LAST = {"report": 1, "reference_results": 1, "book": 1, "all": 1}  # rules that run again after any other


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, so that nothing is written into this one."""
    copy = copied.project(tmp_path_factory.mktemp("project"), tiny=TINY)
    for example in (copy / "book" / "examples").glob("*.py"):
        shutil.copy(example, copy)  # beside the Makefile, as the page on extending says
    return copy


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
        "01_data_and_channels", "02_recognizers", "03_train_processor-blur-plain-seed0",
        "03_train_processor-blur-ra_hinge-seed0", "04_cross_evaluate-blur", "05_report", "06_train_proxy",
        "07_train_preprocessor-stripes-npp_qa-few-colours-seed0", "08_rate_accuracy-stripes-few-colours",
        "11_reference_results", "12_planning", "13_photographs", "14_study", "15_transfer", "16_boundaries",
    }  # fmt: skip
    html = built / "runs/tiny/_build/html"
    pages = ("intro", "photographs", "study", "data_and_channels", "recognizers", "results/blur", "report", "status")
    for page in (*pages, "planning", "coding/index", "coding/proxies", "coding/stripes-few-colours"):
        text = (html / f"{page}.html").read_text()
        assert "Traceback" not in text
        assert "<img" in text or "<table" in text
    assert ">03_train_processor</span></code>" in (html / "status.html").read_text()  # and how long it took
    assert not (html / "results" / "jpeg.html").exists()  # the profile does not run it
    # What a stranger's six files brought has its place and its name, and no other file was changed.
    assert "Deblurring" in (html / "intro.html").read_text() and "RA, hinge" in (html / "results/blur.html").read_text()
    assert "Stripes: PNG of few colours" in (html / "coding/stripes-few-colours.html").read_text()
    assert "birdnets:small" in (html / "results/blur.html").read_text()


def test_the_tables_are_as_contracted(built):
    runs = built / "runs" / "tiny"
    accuracy = pd.read_csv(runs / "accuracy.csv")
    assert list(accuracy.columns) == ACCURACY_COLUMNS
    assert set(accuracy["mode"]) == {"oracle", "unprocessed", "plain", "ra_hinge"}
    assert len(accuracy) == 4 * 2  # modes x recognizers
    assert set(accuracy["n"]) == {20}
    files = {path.name for path in (runs / "blur/ra_hinge/seed0").iterdir()}
    assert files == {"params.yaml", "run.json", "log.jsonl", "processor.safetensors"}
    run = json.loads((runs / "blur/ra_hinge/seed0/run.json").read_text())
    assert (run["task"], run["mode"], run["seed"]) == ("blur", "ra_hinge", 0)
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
    changed(profile, "{name: OneLayer, width: 1", "{name: OneLayer, width: 2")
    try:
        assert planned(built) == {"train_processor": 2, "cross_evaluate": 1, "planning": 1, **LAST}
    finally:
        profile.write_text(TINY)


def test_changed_code_runs_again_what_uses_it_and_trains_only_where_it_computes(built):
    """A line that draws gives the page of a training anew, and not the training."""
    target = "runs/tiny/blur/ra_hinge/seed0/run.json"
    page = built / "runs/tiny/notebooks/03_train_processor-blur-ra_hinge-seed0.ipynb"

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

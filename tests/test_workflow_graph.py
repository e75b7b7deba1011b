"""The steps of a profile as data: what follows from the profile, and what waits for what."""

import copied
import pytest

from ra_book.sections import report_files
from ra_core.params import load_profile
from workflow.graph import PRIORITIES, TRAINING, Step, shipped, steps_of

PROFILES = sorted(path.stem for path in (copied.ROOT / "params").glob("*.yaml"))
MEASURED = {"rate_accuracy", "both_ends"}
PROFILE = """
tasks: {sr: {processor: &net {name: SRResNet, width: 4}}, dn: {processor: *net}}
modes: [plain, ra@0.01]
seeds: [0, 3]
preprocessing:
  cells:
    source: cell_resnet20
    codecs:
      jpeg: {curve: [5, 40], rungs: [[5, 0.5], [40, 2.0]], single: [5], both_ends: true}
      heic: {curve: [30, 40], rungs: [[30, 1.0]], proxy: Hyperprior}
    transfer: {webp: [5, 40]}
"""


def by_name(profile) -> dict[str, Step]:
    steps = steps_of(profile)
    assert len({step.name for step in steps}) == len(steps)
    return {step.name: step for step in steps}


def run_again(before, after) -> set[str]:
    """Return the rules that run again when one profile becomes the other, those that follow included."""
    old, again, made = by_name(before), set(), set()
    for step in steps_of(after):
        if old.get(step.name) != step or made & set(step.inputs):
            again.add(step.rule)
            made |= set(step.outputs)
    return again


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_steps_that_fit_together(name):
    steps = steps_of(load_profile(name))
    made: set[str] = set()
    for step in steps:
        assert set(step.inputs) <= made, f"{step.name} waits for what no step before it makes"
        assert not made & set(step.outputs), f"{step.name} makes what another step makes"
        assert all(path.startswith(f"runs/{name}/") for path in step.outputs)
        assert (copied.ROOT / "notebooks" / f"{step.notebook}.ipynb").is_file()
        assert all((copied.ROOT / path).is_file() for path in step.files)
        assert step.resources["runtime"] >= 60 and 8000 <= step.resources["mem_mb"] <= 64000
        made |= set(step.outputs)


def test_the_steps_of_a_kind_differ_in_their_wildcards_alone():
    steps = steps_of(load_profile("coding"))
    for step in steps:
        kin = [other for other in steps if other.rule == step.rule]
        assert len({(kind.notebook, kind.makes, *kind.wildcards) for kind in kin}) == 1
        assert len({tuple(kind.wildcards.values()) for kind in kin}) == len(kin)


def test_priorities_are_those_of_rules():
    rules = {step.rule for step in steps_of(load_profile("quick"))}
    assert PRIORITIES.keys() <= rules


def test_what_a_profile_lists_becomes_steps(write):
    steps = by_name(write(PROFILE))
    runs = [f"{task}-{mode}" for task in ("sr", "dn") for mode in ("plain", "ra@0.01")]
    methods = ("npp_qa-jpeg", "post-jpeg", "both-jpeg", "npp-jpeg-5", "npp_qa-heic")
    assert set(steps) == {
        "01_data_and_channels", "02_recognizers", "04_cross_evaluate-sr", "04_cross_evaluate-dn", "06_train_proxy",
        *(f"03_train_processor-{run}-seed{seed}" for run in runs for seed in (0, 3)),
        *(f"07_train_preprocessor-cells-{method}-seed{seed}" for method in methods for seed in (0, 3)),
        *(f"08_rate_accuracy-cells-{codec}" for codec in ("jpeg", "heic", "webp")), "09_both_ends-cells-jpeg",
        "05_report", "11_reference_results", "12_planning", "13_photographs", "14_study", "15_transfer",
        "16_boundaries",
    }  # fmt: skip
    assert steps["03_train_processor-sr-ra@0.01-seed3"].given == "task=sr mode=ra@0.01 seed=3 steps=10"
    assert steps["03_train_processor-sr-ra@0.01-seed3"].outputs == (
        "runs/mine/sr/ra@0.01/seed3/run.json", "runs/mine/notebooks/03_train_processor-sr-ra@0.01-seed3.ipynb",
    )  # fmt: skip
    npp = steps["07_train_preprocessor-cells-npp-jpeg-5-seed0"]
    assert npp.outputs[0] == "runs/mine/cells/npp-jpeg-5/seed0/run.json"
    assert npp.parameters == {"dataset": "cells", "codec": "jpeg", "method": "npp", "quality": 5, "seed": 0}
    assert "quality" not in steps["07_train_preprocessor-cells-npp_qa-jpeg-seed0"].given
    assert steps["09_both_ends-cells-jpeg"].given == "dataset=cells codec=jpeg seed=0"


def test_a_step_waits_for_what_it_needs_and_no_more(write):
    steps = by_name(write(PROFILE))
    waits = {name: {path.removeprefix("runs/mine/") for path in step.inputs} for name, step in steps.items()}
    trained = {f"dn/{mode}/seed{seed}/run.json" for mode in ("plain", "ra@0.01") for seed in (0, 3)}
    assert waits["04_cross_evaluate-dn"] == trained
    assert waits["07_train_preprocessor-cells-npp_qa-jpeg-seed0"] == set()
    assert waits["07_train_preprocessor-cells-npp_qa-heic-seed0"] == {"cells/agreement.csv"}  # by a learned proxy
    adaptive = {f"cells/npp_qa-{codec}/seed{seed}/run.json" for codec in ("jpeg", "heic") for seed in (0, 3)}
    assert waits["08_rate_accuracy-cells-webp"] == adaptive
    assert waits["08_rate_accuracy-cells-heic"] == {path for path in adaptive if "heic" in path}
    assert waits["05_report"] == {
        "cells/agreement.csv", "notebooks/06_train_proxy.ipynb", "notebooks/09_both_ends-cells-jpeg.ipynb",
        "sr/accuracy.csv", "dn/accuracy.csv",
        *(f"cells/rates-{codec}.csv" for codec in ("jpeg", "heic", "webp")),
    }  # fmt: skip
    assert {f"sr/plain/seed{seed}/run.json" for seed in (0, 3)} | trained | adaptive < waits["12_planning"]
    assert {path.rpartition("/")[2] for path in waits["12_planning"]} == {"run.json"}  # whose rates it reads
    assert "results/quick/trainings.csv" in steps["12_planning"].files


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ("modes:", "unseen: [vgg8]\nmodes:", {"recognizers", "cross_evaluate"}),
        ("dn: {", "dn: {training: {steps: 9}, ", {"train_processor", "cross_evaluate"}),
        ("    transfer", "    pictures: 5\n    transfer", MEASURED),
        ("    codecs", "    preprocessor: {width: 3}\n    codecs", {"train_preprocessor", *MEASURED}),
        ("modes:", "evaluation_batch: 7\nmodes:", {"cross_evaluate"}),
        ("modes:", "jobs: 2\nmodes:", set()),
    ],
)
def test_a_changed_parameter_runs_again_only_what_depends_on_it(write, old, new, rules):
    before, after = write(PROFILE), write(PROFILE.replace(old, new, 1))
    last = {"report", "reference_results"} if rules else set()
    last |= {"planning"} if rules & {*TRAINING} else set()
    assert run_again(before, after) == rules | last


@pytest.mark.parametrize(("device", "with_gpu"), [("auto", True), ("cuda", True), ("cpu", False), ("mps", False)])
def test_a_gpu_is_asked_for_where_networks_run_on_one(write, device, with_gpu):
    steps = steps_of(write(PROFILE + f"device: {device}\n"))
    asking = {step.rule for step in steps if step.resources.get("gpu") == 1}
    without = {"photographs", "study", "transfer", "boundaries", "data_and_channels"}
    without |= {"report", "reference_results", "planning"}
    assert asking == ({step.rule for step in steps} - without if with_gpu else set())


def test_a_step_reads_the_files_of_the_judges_that_it_asks(tmp_path, monkeypatch):
    (tmp_path / "judges").mkdir()
    for file in ("shop.json", "shop.onnx", "other.json"):
        (tmp_path / "judges" / file).touch()
    monkeypatch.chdir(tmp_path)
    assert shipped("shop", "resnet18") == ("judges/shop.json", "judges/shop.onnx")


@pytest.mark.parametrize(("data", "pictures"), [("", 20), ("data: {test_per_class: 4}\n", 4)])
def test_the_page_of_photographs_is_small_where_all_is(write, data, pictures):
    step = by_name(write(PROFILE + data))["13_photographs"]
    assert step.given == f"pictures={pictures}" and step.outputs == ("runs/mine/notebooks/13_photographs.ipynb",)
    assert step.inputs == ()


def test_the_page_of_photographs_reads_the_tables_that_it_shows(tmp_path, monkeypatch, write):
    profile = write(PROFILE)
    (tmp_path / "results/photos").mkdir(parents=True)
    (tmp_path / "results/photos/paired.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert by_name(profile)["13_photographs"].files == ("results/photos/paired.csv",)


def test_all_that_the_book_takes_from_the_report_is_made_by_its_step(write):
    profile = write(PROFILE)
    made = set(by_name(profile)["05_report"].outputs)
    assert {f"runs/mine/report/{name}" for name in report_files(profile)} <= made
    assert {f"runs/mine/{name}.csv" for name in ("accuracy", "paired", "rate_accuracy", "bd_rate")} <= made

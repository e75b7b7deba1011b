"""What learned before a codec on other pictures, judged on boxed ones by detectors that no training saw."""

import json

import boxed
import coded
import copied
import pandas as pd
import pytest
import tiny
from refusal import refusal

from ra_book import reference
from ra_book.book import coding_pages
from ra_book.work import planned as work_of
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.errors import ParameterError
from ra_core.evaluation import evaluate
from ra_core.params import load_profile
from ra_core.runs import coding, find_run, planned, resolve
from ra_core.steps import common, evaluate_codec, merge_rates, merge_tables, panels, pictures_of, train
from workflow.graph import steps_of

TRAINS = """\
modes: [plain]
preprocessing:
  cells:
    source: tiny:recognizer
    preprocessor: {width: 2, identity: true}
    training: {steps: 2, batch: 5, lr: 1e-3}
    codecs:
      jpeg: {curve: [5, 20, 60], rungs: [[5, 1], [60, 8]], shrink: 1.3333, tables: [tables], single: [60]}
"""
JUDGES = """\
processors: runs/tiny
data: &data {kind: boxes, source: squares, resize: 0}
tasks: {dn: {}}
modes: [plain]
source: null
unseen: &unseen [bright, duller]
preprocessing:
  street:
    trained: runs/tiny/cells
    data: *data
    source: null
    unseen: *unseen
    codecs:
      jpeg: {curve: [5, 20, 60], baselines: [downscale]}
    transfer: {webp: [5, 60]}
    evaluation_batch: 3
threads: 1
device: cpu
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny profile, trained, and one that judges what it left; what that learned from is not here."""
    with coded.at_project(tmp_path_factory.mktemp("project"), TRAINS) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("ra_core.data.cifar10.load", tiny.load)
        for run in planned(tiny.profile()):
            train(run)

        def load_judge(name, classes=()):
            return boxed.Brightest(name).with_classes(classes)

        def load_part(*_):
            raise AssertionError("the pictures of the training are not asked for")

        for module in (common, panels):
            patch.setattr(module, "load_judge", load_judge)
        patch.setattr(coding, "load_part", load_part)
        boxed.folder(folder / "squares", "coco")
        (folder / "params" / "judged.yaml").write_text(JUDGES)
        yield folder


def left(project) -> dict:
    """Return when each file of the trainings was written."""
    return {path: path.stat().st_mtime_ns for path in (project / "runs/tiny").rglob("*")}


def step_08(codec: str) -> list:
    """Run the cells of notebook 08 on the boxed pictures and return what they display."""
    cells = json.loads((copied.ROOT / "notebooks/08_rate_accuracy.ipynb").read_text())["cells"]
    shown: list = []
    scope: dict = {"display": shown.append}
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        exec("".join(cell["source"]), scope)
        if "parameters" in cell["metadata"].get("tags", []):
            scope |= {"profile": "judged", "dataset": "street", "codec": codec}
    return shown


def test_every_finished_run_is_judged_on_all_pictures_and_nothing_is_trained(project, monkeypatch):
    begun, before, settings = tiny.count_trainings(monkeypatch), left(project), load_profile("judged")
    rates, bd = evaluate_codec(settings, "street", "jpeg")
    assert begun == [] and before == left(project) and not list((project / "runs/judged").rglob("run.json"))
    assert list(dict.fromkeys(rates.method)) == ["codec", "downscale", "npp_qa", "npp", "tables"]
    assert set(rates.n) == {12} and set(rates.role) == {"unseen"} == set(bd.role)
    assert set(rates.metric) == {"map50"} and set(rates.task) == {"detection"}
    qualities = {method: set(rows.quality) for method, rows in rates.groupby("method")}
    assert qualities["npp"] == {60} and qualities["tables"] == qualities["npp_qa"] == {5, 20, 60}
    # One quality that no rung has is no curve of unseen qualities.
    assert set(bd.method) == {"downscale", "npp_qa", "tables"}


def test_rungs_shrink_and_tables_are_those_of_the_runs(project):
    settings = load_profile("judged")
    rates, _ = evaluate_codec(settings, "street", "jpeg")
    test = pictures_of(settings, "street", "test")
    judges = {"bright": boxed.Brightest("bright").with_classes(test.classes)}
    table = rates[rates.recognizer == "bright"].set_index(["method", "quality"])
    chains = {"downscale": Chain(Coded(load_codec("jpeg"), 20, 1.3333))}
    for method in ("npp_qa", "tables"):
        run = find_run(f"runs/tiny/cells/{method}-jpeg/seed0")
        chains[method] = run.chain(run.load(), 20)
        assert resolve(settings, "street", method, 0, "jpeg").parameters == run.parameters
    assert chains["npp_qa"].channel.shrink == 1.3333 and chains["npp_qa"].pre.strength == run.strength_at(20)
    for method, chain in chains.items():
        found = evaluate(chain, judges, test, 3)
        row = table.loc[method, 20]
        assert row.bytes_mean == pytest.approx(found.bytes.double().mean().item(), abs=1e-3)
        assert row.psnr == pytest.approx(found.psnr.mean().item(), abs=1e-3)
        assert row.value == pytest.approx(found.verdicts["bright"].value(), abs=1e-3)


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_the_page_of_a_codec_is_made_without_a_source(project, codec):
    shown = [each.alt for each in step_08(codec) if hasattr(each, "alt")]
    assert shown[0].startswith("Curves of mAP@0.5 of duller (unseen)")  # the first judge is shown before the others
    costs = pd.read_csv(project / f"runs/judged/street/cost-{codec}.csv")
    assert list(costs.network[:2]) == ["NPP-QA, width 2", "NPP-QA, width 32 (published)"]
    assert set(costs.use) == {"before the codec", "encode", "decode"}
    rates = pd.read_csv(project / f"runs/judged/street/rates-{codec}.csv")
    assert ("npp_qa for jpeg" in set(rates.method)) == (codec == "webp")


def test_the_workflow_reads_the_runs_and_trains_nothing(project):
    settings = load_profile("judged")
    steps = {step.name: step for step in steps_of(settings)}
    assert {name for name in steps if name[:2] in ("03", "06", "07", "08")} == {
        "08_rate_accuracy-street-jpeg", "08_rate_accuracy-street-webp",
    }  # fmt: skip
    step = steps["08_rate_accuracy-street-jpeg"]
    runs = [f"runs/tiny/cells/{name}/seed0" for name in ("npp_qa-jpeg", "npp-jpeg-60", "tables-jpeg")]
    assert step.inputs == () and {f"{run}/run.json" for run in runs} <= set(step.files)
    assert f"{runs[0]}/preprocessor.safetensors" in steps["08_rate_accuracy-street-webp"].files
    assert work_of(settings) == []
    assert set(coding_pages(settings)) == {"coding/street-jpeg", "coding/street-webp"}


def test_what_is_kept_of_it_says_that_nothing_was_trained(project):
    settings = load_profile("judged")
    merge_tables(settings)
    rates, bd = merge_rates(settings)
    assert set(rates.codec) == {"jpeg", "webp"} == set(bd.codec)
    trainings = pd.read_csv(reference.collect("judged") / "trainings.csv")
    assert list(trainings.run) == ["plain", "npp_qa-jpeg", "npp-jpeg-60", "tables-jpeg"] and trainings.shipped.all()


def test_a_codec_for_which_nothing_is_finished_is_one_sentence(project):
    codecs = {"heic": {"curve": [30, 40]}}
    changed = load_profile("judged", {"preprocessing": {"street": {"codecs": codecs}}})
    said = refusal(ParameterError, planned, changed, "street")
    assert said == (
        "runs/tiny/cells holds no finished run around heic of seed 0; train one there, name another folder under "
        "preprocessing.street.trained, or take the codec out."
    )
    for other in ("runs/tiny/dn", "runs/nowhere"):
        changed = load_profile("judged", {"preprocessing": {"street": {"trained": other}}})
        assert refusal(ParameterError, planned, changed).startswith(f"{other} holds no finished run around jpeg")
    said = refusal(ParameterError, resolve, load_profile("judged"), "street", "both", 0, "jpeg")
    assert said.startswith("runs/tiny/cells/both-jpeg/seed0 holds no finished run")


def test_what_ships_is_found_by_name(project):
    text = JUDGES.replace("jpeg: {curve: [5, 20, 60], baselines: [downscale]}", "jpeg-optimized: {curve: [6, 65]}")
    (project / "params" / "shipped.yaml").write_text(text.replace("runs/tiny/cells", "photos_coding/photos"))
    methods = [run.parameters["method"] for run in planned(load_profile("shipped"), "street")]
    assert {"npp_qa", "tables"} <= set(methods) and len(methods) == len(set(methods))

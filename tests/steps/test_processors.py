"""Processors that are trained already, judged on other pictures by other judges."""

import boxed
import numpy as np
import pytest
import tiny
import torch
from refusal import refusal

from ra_core.data import cifar10
from ra_core.detection import detect, mean_ap
from ra_core.errors import ParameterError
from ra_core.params import load_profile
from ra_core.runs import planned, resolve
from ra_core.steps import common, evaluate_task, pictures_of, train
from workflow.graph import steps_of

PROFILE = """
processors: runs/tiny
data: {kind: boxes, source: squares, resize: 0}
tasks: {dn: {}}
modes: [plain, ra]
source: null
unseen: [bright, duller]
threads: 1
device: cpu
"""


@pytest.fixture
def project(tiny_project, monkeypatch):
    """The tiny profile, trained, and one that judges its processors; what they learned from is not here."""
    settings = tiny.profile(modes=["plain", "ra"])
    for run in planned(settings):
        train(run)

    def load(*_):
        raise AssertionError("the pictures of the training are not asked for")

    monkeypatch.setattr(cifar10, "load", load)
    monkeypatch.setattr(common, "load_judge", lambda name, classes=(): boxed.Brightest(name).with_classes(classes))
    boxed.folder(tiny_project / "squares", "voc")
    (tiny_project / "params" / "judged.yaml").write_text(PROFILE)
    return tiny_project


def test_they_are_judged_and_nothing_is_trained(project, monkeypatch):
    begun = tiny.count_trainings(monkeypatch)
    settings = load_profile("judged")
    before = {path: path.stat().st_mtime_ns for path in (project / "runs/tiny").rglob("*")}
    accuracy, paired = evaluate_task(settings, "dn")
    assert begun == [] and before == {path: path.stat().st_mtime_ns for path in (project / "runs/tiny").rglob("*")}
    assert (project / "runs/judged/dn/accuracy.csv").exists() and not (project / "runs/judged/dn/plain").exists()
    assert set(accuracy["profile"]) == {"judged"} and set(accuracy["role"]) == {"unseen"} == set(paired["role"])
    versions, names = ["oracle", "unprocessed", "plain", "ra"], ["bright", "duller"]
    assert list(zip(accuracy["mode"], accuracy["recognizer"], strict=True)) == [(v, n) for v in versions for n in names]
    assert accuracy["top5"].isna().all() and set(accuracy["n"]) == {12}

    test, (run,) = pictures_of(settings, "dn", "test"), [r for r in planned(settings) if r.parameters["mode"] == "ra"]
    chain, judge = run.chain(run.load()), boxed.Brightest("bright").with_classes(test.classes)
    seen = [chain(test.batch(torch.tensor([i]))[0], torch.tensor([i]))["seen"] for i in range(12)]
    with torch.inference_mode():
        found = [judge(one)[0] for one in seen]
    by_hand = mean_ap(found, test.all_targets())["map50"]
    table = accuracy.set_index(["mode", "recognizer"])["top1"]
    assert table["ra", "bright"] == pytest.approx(by_hand, abs=1e-3)
    assert table["oracle", "bright"] == pytest.approx(mean_ap(detect(judge, test, 1), test.all_targets())["map50"])
    gain = paired.set_index(["mode", "recognizer"])["difference"]["ra", "bright"]
    assert gain == pytest.approx(table["ra", "bright"] - table["plain", "bright"], abs=1e-3)

    answers = np.load(project / "runs/judged/dn/answers.npz")
    assert answers["versions"].tolist() == versions and answers["recognizers"].tolist() == names
    assert answers["boxes"].shape == (4, 2, 12, 100, 4) and answers["scores"].shape == answers["labels"].shape
    for n, one in enumerate(found):
        np.testing.assert_allclose(answers["boxes"][3, 0, n, 0], one["boxes"][0], rtol=1e-5)
        np.testing.assert_allclose(answers["boxes"][3, 1, n, 0], one["boxes"][0] + 2, rtol=1e-5)
        assert answers["labels"][3, 0, n].tolist() == [int(one["labels"][0]), *[0] * 99]


def test_a_shipped_network_is_found_by_name_and_every_task_has_pictures_that_each_can_take(project):
    text = PROFILE.replace("runs/tiny", "cifar10_narrow").replace("tasks: {dn: {}}", "tasks: {sr: {}, dn: {}}")
    (project / "params" / "shipped.yaml").write_text(text)
    settings = load_profile("shipped")
    run = resolve(settings, "sr", "ra")
    assert run.parameters["profile"] == "cifar10_narrow" and (run.folder / "processor.safetensors").exists()
    one, other = (pictures_of(settings, task, "test") for task in ("sr", "dn"))
    assert one.sizes == other.sizes and set(one.sizes) == {(60, 64), (48, 48)}  # of 62 or 63, and 48 or 49 rows
    with torch.inference_mode():
        chain = run.chain(run.load())
        stored = [chain(one.batch(torch.tensor([i]))[0], torch.tensor([i]))["stored"] for i in range(2)]
    assert [tuple(each.shape[-2:]) for each in stored] == list(one.sizes[:2])
    assert len(pictures_of(load_profile("judged"), "dn", "test").sizes) == 12  # alone, dn takes them as they are
    assert {size[0] for size in pictures_of(load_profile("judged"), "dn", "test").sizes} == {62, 63, 48, 49}


def test_the_workflow_judges_and_does_not_train(project):
    steps = {step.name: step for step in steps_of(load_profile("judged"))}
    assert "04_cross_evaluate-dn" in steps and not any("train" in name for name in steps)
    step = steps["04_cross_evaluate-dn"]
    places = [f"runs/tiny/dn/{mode}/seed0/{file}" for mode in ("plain", "ra") for file in ("params.yaml", "run.json")]
    assert step.inputs == () and set(places) <= set(step.files)


def test_what_is_not_there_or_does_not_fit_is_refused(project):
    def judged(changes: str):
        (project / "params" / "wrong.yaml").write_text(PROFILE + changes)
        return load_profile("wrong")

    said = refusal(ParameterError, planned, judged("seeds: [7]\n"))
    assert said.startswith("runs/tiny/dn/plain/seed7 holds no finished run")
    said = refusal(ParameterError, planned, judged("channels: {sigma: 0.3}\n"))
    assert "Noise(sigma=0.3)" in said and "runs/tiny learned behind Noise(sigma=0.1)" in said
    said = refusal(ParameterError, pictures_of, judged(""), "dn", "train")
    assert said == "'boxes' has boxes and no labels to learn from; name data of a classification."


def test_a_classifier_does_not_judge_pictures_with_boxes(project, monkeypatch):
    monkeypatch.setattr(common, "load_judge", lambda name, classes=(): tiny.source())
    said = refusal(ParameterError, evaluate_task, load_profile("judged"), "dn")
    assert said == "recognizer 'tiny' names pictures, and squares has boxes; name detectors for them."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PROFILE.replace("processors: runs/tiny", ""), "source is null: name processors that are trained already"),
        ("data: {kind: boxes, source: squares}", "data.kind = 'boxes' has nothing to train on"),
        (PROFILE.replace("unseen: [bright, duller]", "unseen: []"), "and judges under unseen"),
    ],
)
def test_a_profile_that_cannot_be_judged_is_refused(write, text, said):
    assert said in refusal(ParameterError, write, text)


def test_other_pictures_with_labels_are_judged_by_the_same_key(tiny_project, monkeypatch):
    train_on = tiny.profile(modes=["plain", "ra"])
    first, _ = evaluate_task(train_on, "dn")
    others = tiny.pictures(21, seed=5, name="others")
    monkeypatch.setattr(cifar10, "load", lambda source, part, home="": {"test": others}[part])
    text = tiny.PROFILE.split("tasks:")[0].replace("test_per_class: 3", "test_per_class: 7")
    text += "tasks: {dn: {}}\nmodes: [plain, ra]\nprocessors: runs/tiny\nsource: tiny:recognizer\n"
    (tiny_project / "params" / "elsewhere.yaml").write_text(text + "unseen: [tiny:another]\ndevice: cpu\nthreads: 1\n")
    accuracy, paired = evaluate_task(load_profile("elsewhere"), "dn")
    assert set(accuracy["n"]) == {21} and set(paired["n"]) == {21} and set(first["n"]) == {9}
    assert accuracy["role"].tolist() == ["source", "unseen"] * 4  # it did take part in their training
    assert not (tiny_project / "runs/elsewhere/dn/plain").exists()

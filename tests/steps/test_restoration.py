import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from tiny import profile

from ra_core.runs import resolve
from ra_core.steps import common, evaluate_task, load_judges, merge_tables, pictures_of, set_threads
from ra_core.steps.restoration import chains_of

pytestmark = pytest.mark.usefixtures("tiny_project")
ACCURACY = "profile,task,mode,seed,recognizer,role,n,top1,top1_low,top1_high,top5,psnr,ssim"
PAIRED = "profile,task,mode,seed,recognizer,role,n,difference,low,high"


@pytest.fixture
def trained(monkeypatch):
    """Count the trainings that are begun."""
    return tiny.count_trainings(monkeypatch)


def test_threads_are_those_asked_for_or_all_of_this_process(monkeypatch):
    monkeypatch.setattr(common, "own_cores", lambda: 2)
    for asked, given in ((1, 1), (0, 2)):
        set_threads(asked)
        assert torch.get_num_threads() == given


def test_every_chain_of_a_task_is_trained_once_and_in_order(trained):
    settings = profile(modes=["plain", "ra"], seeds=[0, 4])
    chains = {(mode, seed): chain for mode, seed, chain in chains_of(settings, "dn", torch.device("cpu"))}
    pairs = [("plain", 0), ("plain", 4), ("ra", 0), ("ra", 4)]
    assert list(chains) == [("oracle", 0), ("unprocessed", 0), *pairs]
    assert chains["oracle", 0].channel is None and chains["unprocessed", 0].post is None
    assert trained == [f"dn {mode} seed{seed}" for mode, seed in pairs]
    list(chains_of(settings, "dn", torch.device("cpu")))
    assert len(trained) == 4


def test_tables_have_exactly_the_contracted_columns_and_rows(tiny_project):
    settings = profile()
    accuracy, paired = evaluate_task(settings, "dn")
    folder = tiny_project / "runs" / "tiny" / "dn"
    assert (folder / "accuracy.csv").read_text().splitlines()[0] == ACCURACY
    assert (folder / "paired.csv").read_text().splitlines()[0] == PAIRED
    pd.testing.assert_frame_equal(pd.read_csv(folder / "accuracy.csv"), accuracy)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "paired.csv"), paired)

    versions = ["oracle", "unprocessed", *settings.modes]
    rows = [(mode, name) for mode in versions for name in settings.recognizers]
    assert list(zip(accuracy["mode"], accuracy["recognizer"], strict=True)) == rows
    assert set(accuracy["profile"]) == {"tiny"} and set(accuracy["task"]) == {"dn"} and set(accuracy["seed"]) == {0}
    assert accuracy["role"].tolist() == ["source", "unseen"] * 6 and set(accuracy["n"]) == {9}
    assert accuracy["psnr"].isna().tolist() == accuracy["ssim"].isna().tolist() == [True] * 2 + [False] * 10
    assert (accuracy["top1_low"] <= accuracy["top1"]).all() and (accuracy["top1"] <= accuracy["top1_high"]).all()
    assert accuracy[["top1", "top1_low", "top1_high", "top5"]].stack().between(0, 100).all()
    assert set(accuracy["top5"]) == {100}  # of three classes

    assert list(zip(paired["mode"], paired["recognizer"], strict=True)) == rows[6:]
    top1 = accuracy.set_index(["mode", "recognizer"])["top1"]
    for row in paired.itertuples():
        gain = top1[row.mode, row.recognizer] - top1["plain", row.recognizer]
        assert row.difference == pytest.approx(gain, abs=1e-3) and row.low <= row.difference <= row.high
    by_mode = accuracy.set_index(["mode", "recognizer"])
    assert by_mode.loc["ra_transformer", "psnr"].tolist() == by_mode.loc["plain", "psnr"].tolist()


def test_the_answers_to_every_picture_are_written(tiny_project):
    settings = profile(seeds=[2, 0], modes=["plain", "ra"])
    accuracy, _ = evaluate_task(settings, "dn")
    answers = np.load(tiny_project / "runs" / "tiny" / "dn" / "answers.npz")
    assert answers["versions"].tolist() == ["oracle", "unprocessed", "plain", "plain/seed0", "ra", "ra/seed0"]
    assert answers["recognizers"].tolist() == ["tiny:recognizer", "tiny:another"]
    assert answers["answers"].shape == answers["confidences"].shape == (6, 2, 9)
    test = pictures_of(settings, "dn", "test")
    assert answers["labels"].tolist() == test.labels.tolist() and answers["classes"].tolist() == list(tiny.CLASSES)
    right = 100 * (answers["answers"] == answers["labels"]).mean(2)
    np.testing.assert_allclose(accuracy["top1"], right.flatten(), atol=1e-3)
    run, every = resolve(settings, "dn", "ra", 2), torch.arange(9)
    seen = run.chain(run.load())(test.batch(every)[0], every)["seen"]
    for r, recognizer in enumerate(load_judges(settings.recognizers).values()):
        confidence, answer = recognizer(seen).softmax(1).max(1)
        assert answers["answers"][4, r].tolist() == answer.tolist()
        np.testing.assert_allclose(answers["confidences"][4, r], confidence.detach().numpy(), rtol=1e-4)


def test_tables_of_all_tasks_are_put_together(tiny_project):
    small = {"processor": {"width": 4, "blocks": 1}, "training": {"steps": 2, "batch": 5}}
    settings = profile(tasks={"jpeg": small, "sr": small}, modes=["plain", "ra"])
    accuracy, paired = merge_tables(settings)
    assert list(accuracy["task"].unique()) == list(settings.tasks) == ["dn", "jpeg", "sr"]
    assert len(accuracy) == 3 * 4 * 2 and len(paired) == 3 * 2
    root = tiny_project / "runs" / "tiny"
    assert (root / "accuracy.csv").read_text().splitlines()[0] == ACCURACY
    for name in ("accuracy", "paired"):
        parts = [(root / task / f"{name}.csv").read_text().splitlines()[1:] for task in settings.tasks]
        assert (root / f"{name}.csv").read_text().splitlines()[1:] == [line for part in parts for line in part]


def test_without_plain_there_is_nothing_to_pair(tiny_project):
    accuracy, paired = merge_tables(profile(modes=["ra"]))
    assert len(accuracy) == 3 * 2 and len(paired) == 0
    assert (tiny_project / "runs" / "tiny" / "paired.csv").read_text() == PAIRED + "\n"

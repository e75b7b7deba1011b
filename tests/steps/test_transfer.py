"""What transfers: gains by source, the share that unseen recognizers get, and what a change of the picture leaves."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from refusal import refusal

from ra_core.data import cifar10
from ra_core.errors import ParameterError
from ra_core.metrics import mean_interval, psnr
from ra_core.params import load_profile
from ra_core.runs import resolve
from ra_core.steps import evaluate_task, transfer_tables
from ra_core.steps.transfer import CHANGES, LATER_COLUMNS, TRANSFER_COLUMNS, measure_transfer

OTHER, BOTH = "ra@tiny:another", "ra@tiny:recognizer+tiny:another@0.01"
MODES = ["plain", "ra", "ra_transformer", OTHER, BOTH]


@pytest.fixture
def settings(tiny_project):
    found = tiny.profile(modes=MODES)
    evaluate_task(found, "dn")
    return found


def test_modes_with_sources_of_their_own_are_trained_from_them_and_judged_in_that_role(settings, tiny_project):
    runs = {mode: resolve(settings, "dn", mode) for mode in MODES}
    assert [run.parameters["source"] for run in runs.values()] == [
        *["tiny:recognizer"] * 3, "tiny:another", "tiny:recognizer+tiny:another",
    ]  # fmt: skip
    assert runs[BOTH].folder.name == "seed0" and runs[BOTH].parameters["weight"] == 0.01
    weights = {(run.folder / "processor.safetensors").read_bytes() for run in runs.values()}
    assert len(weights) == 4  # that of ra_transformer is that of plain
    accuracy = pd.read_csv(tiny_project / "runs/tiny/dn/accuracy.csv").set_index(["mode", "recognizer"])["role"]
    roles = {mode: tuple(accuracy[mode, name] for name in settings.recognizers) for mode in MODES}
    assert roles == {
        "plain": ("source", "unseen"), "ra": ("source", "unseen"), "ra_transformer": ("source", "unseen"),
        OTHER: ("unseen", "source"), BOTH: ("source", "source"),
    }  # fmt: skip


def test_gains_are_paired_differences_and_shares_their_ratio(settings, tiny_project):
    """Answers by hand: of 200 pictures `plain` names 40 rightly, `ra` 80 and 60, its mirror image 50 and 90."""
    shares = {"plain": (40, 40), "ra": (80, 60), "ra_transformer": (40, 40), OTHER: (50, 90), BOTH: (85, 85)}
    said = np.array([[np.arange(200) >= right for right in rights] for rights in shares.values()]).astype(int)
    given = {"versions": [*shares], "recognizers": settings.recognizers, "labels": np.zeros(200, int), "answers": said}
    np.savez(tiny_project / "runs/tiny/dn/answers.npz", **given)
    accuracy = pd.read_csv(tiny_project / "runs/tiny/dn/accuracy.csv")
    known = {"plain": 22.0, "ra": 21.5, "ra_transformer": 22.0, OTHER: 21.5, BOTH: 21.0}
    accuracy.assign(psnr=accuracy["mode"].map(known)).to_csv(tiny_project / "runs/tiny/dn/accuracy.csv", index=False)
    rows = measure_transfer(settings, "dn").set_index("mode")
    assert list(rows.reset_index()[TRANSFER_COLUMNS]) == TRANSFER_COLUMNS and set(rows["n"]) == {200}
    assert rows["own"].tolist() == [20, 0, 25, 22.5]
    assert rows["unseen"].tolist()[:3] == [10, 0, 5] and np.isnan(rows["unseen"].iloc[3])  # nobody is unseen
    assert rows["share"].fillna(-1).tolist() == [50, -1, 20, -1]  # without a gain of its own there is no share
    low, high = rows.loc["ra", ["own_low", "own_high"]]
    expected = mean_interval(torch.tensor([100.0] * 40 + [0.0] * 160))[1:]
    assert (low, high) == pytest.approx(expected, abs=1e-4)
    assert rows.loc["ra", "share_low"] < 50 < rows.loc["ra", "share_high"]
    assert rows["psnr_loss"].tolist() == [0.5, 0, 0.5, 1]
    assert rows["beyond"].fillna(0).tolist() == [0, -10, 0, 0]  # of two recognizers only there one was seen by neither


def test_every_seed_is_measured_against_plain_of_its_own(tiny_project):
    settings = tiny.profile(modes=["plain", "ra"], seeds=[0, 1])
    evaluate_task(settings, "dn")
    rows = measure_transfer(settings, "dn").set_index("seed")
    paired = pd.read_csv(tiny_project / "runs/tiny/dn/paired.csv").set_index(["seed", "role"])["difference"]
    accuracy = pd.read_csv(tiny_project / "runs/tiny/dn/accuracy.csv").groupby(["mode", "seed"])["psnr"].first()
    assert rows.index.tolist() == [0, 1]
    for seed, row in rows.iterrows():
        assert (row["own"], row["unseen"]) == (paired[seed, "source"], paired[seed, "unseen"])
        assert row["psnr_loss"] == pytest.approx(accuracy["plain", seed] - accuracy["ra", seed], abs=1e-3)


def test_what_costs_more_than_every_ra_is_compared_with_none(settings, tiny_project):
    path = tiny_project / "runs/tiny/dn/accuracy.csv"
    for decibels, compared in ((21.4, True), (21.6, False)):
        rows = pd.read_csv(path)
        known = {"plain": 22.0, "ra": decibels, "ra_transformer": 21.5}
        rows.assign(psnr=rows["mode"].map(known).fillna(20.0)).to_csv(path, index=False)
        found = measure_transfer(settings, "dn").set_index("mode")["beyond"]
        assert np.isfinite(found["ra_transformer"]) == compared and np.isnan(found["ra"])


def test_every_mode_is_judged_after_every_change(settings, tiny_project):
    tables = transfer_tables(settings, ["ra", "ra_transformer", "absent"])
    later = tables["later"]
    assert list(later) == LATER_COLUMNS and list(tables["transfer"]) == TRANSFER_COLUMNS
    for name in ("later", "transfer"):
        pd.testing.assert_frame_equal(pd.read_csv(tiny_project / f"runs/tiny/{name}.csv"), tables[name])
    assert len(later) == 2 * len(CHANGES) * 2 and set(later["mode"]) == {"ra", "ra_transformer"}
    as_restored = later[later["change"] == "as restored"].set_index(["mode", "recognizer"])["difference"]
    paired = tables["paired"].set_index(["mode", "recognizer"])["difference"]
    assert as_restored["ra"].to_dict() == paired["ra"].to_dict()
    found = later["top1"] - later["plain"]
    assert found.to_numpy() == pytest.approx(later["difference"].to_numpy(), abs=1e-3)
    seen = later.groupby("mode")["psnr"].first()
    accuracy = pd.read_csv(tiny_project / "runs/tiny/dn/accuracy.csv").groupby("mode")["psnr"].first()
    assert seen["ra"] == accuracy["ra"] and seen["ra_transformer"] != accuracy["ra_transformer"]  # what T shows


def test_a_change_is_what_its_name_says():
    images = cifar10.load("shipped", "test").batch(torch.arange(4))[0]
    changed = {name: change(images) for name, change in CHANGES.items()}
    assert torch.equal(changed["as restored"], images)
    assert torch.equal(changed["shifted by a pixel"][..., 1:, 1:], images[..., :-1, :-1])
    assert torch.equal(changed["shifted by a pixel"][..., 0, 1:], images[..., 0, :-1])
    assert changed["shown 5/4 as large"].shape[-2:] == (40, 40)
    for name in ("resized to 3/4 and back", "coded as JPEG 75"):
        assert changed[name].shape == images.shape and 20 < psnr(changed[name], images).mean() < 40
        assert torch.equal((changed[name] * 255).round() / 255, changed[name])


@pytest.mark.parametrize("mode", ["ra@tiny:stranger", "ra@tiny:recognizer+tiny:stranger"])
def test_a_source_that_does_not_judge_is_refused(tiny_project, mode):
    assert "tiny:stranger" in refusal(ParameterError, load_profile, "tiny", {"modes": ["plain", mode]})


def test_a_lambda_of_a_task_counts_for_a_mode_with_a_source(tiny_project):
    given = {"modes": [OTHER, BOTH], "tasks": {"dn": {"weights": {"ra": 0.5}}}}
    found = load_profile("tiny", given)
    assert [found.mode(mode, "dn").weight for mode in (OTHER, BOTH)] == [0.5, 0.01]
    assert found.compares_sources and not load_profile("tiny").compares_sources

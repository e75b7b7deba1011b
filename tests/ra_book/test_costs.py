"""What trainings cost: counted work, and rates that follow it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ra_book import costs, work
from ra_core.errors import ParameterError
from ra_core.judges import load_recognizer
from ra_core.models.processors import make_processor
from ra_core.params import load_profile
from ra_core.runs import resolve

KEYS = ["machine", "profile", "part", "run", "coder", "macs", "images_per_s"]


def rates(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame([("cpu", *row) for row in rows], columns=KEYS)


@pytest.fixture(scope="module")
def quick() -> list[work.Planned]:
    return work.planned(load_profile("quick"))


def by_run(planned: list[work.Planned], part: str) -> dict[str, work.Planned]:
    return {one.run: one for one in planned if one.part == part}


def test_a_damaged_run_does_not_count_and_ends_no_plan(empty_project, capsys):
    for name, text in (("a", "{"), ("b", '{"task": "dn"}')):
        path = empty_project / "runs" / name / "dn/plain/seed0/run.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    shutil.copytree(Path(__file__).parents[2] / "params", empty_project / "params", dirs_exist_ok=True)
    assert (costs.measured()["machine"] == "h100").any()
    assert capsys.readouterr().out.count("does not count") == 2


def test_a_step_is_counted_as_torch_counts_it_on_numbers(quick):
    net = make_processor("SRResNet", 1, width=16, blocks=3)
    judge, images = load_recognizer("resnet20"), torch.rand(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        restored = net(images)
        (restored.mean() + judge(restored).mean()).backward()
    assert by_run(quick, "dn")["ra"].macs == pytest.approx(counter.get_total_flops() / 2 / len(images), rel=1e-3)


@pytest.mark.parametrize(("mode", "more"), [("plain", 0), ("ra", 1)])
def test_what_changes_no_work_is_not_counted_again(quick, mode, more):
    run = resolve(load_profile("quick"), "sr", mode)
    found, known = work.macs_of(run), len(work.COUNTED)
    fresh = {key: value for key, value in run.parameters.items() if key != "start"}
    assert work.macs_of(replace(run, parameters=fresh)) == found and len(work.COUNTED) == known
    work.macs_of(replace(run, parameters=fresh | {"source": "densenet17"}))
    assert len(work.COUNTED) == known + more


def test_methods_ask_for_what_they_have(quick):
    dn = {run: one.macs for run, one in by_run(quick, "dn").items()}
    assert dn["plain"] < dn["ra"] < dn["ra_transformer"] < dn["ra_unsupervised"]  # T alone; two looks at clean and seen
    coding = work.planned(load_profile("coding"))
    cells = {run: one.macs for run, one in by_run(coding, "cells").items()}
    assert cells["npp_mse-heic-42"] < cells["npp_qa-heic"] == cells["npp-heic-42"] < cells["both-jpeg-optimized"]
    assert by_run(coding, "cells")["npp_qa-heic"].coder == "heic"


def test_pictures_are_steps_times_batch_and_what_ships_is_known(quick):
    assert by_run(quick, "sr")["plain"].pictures == 312 * 32
    assert {(one.part, one.run) for one in quick if one.shipped} == {
        ("scenes", "npp_qa-jpeg-optimized"), ("cells", "npp_qa-heic"), ("cells", "npp_qa-jpeg-optimized"),
    }  # fmt: skip
    photographs = work.planned(load_profile("imagenet", {"seeds": [0]}))
    assert {one.pictures for one in photographs} == {20 * 384_354} and all(one.files for one in photographs)
    assert len(work.planned(load_profile("imagenet"))) == 3 * len(photographs)


def test_pictures_that_are_not_here_have_to_be_stated(tmp_path):
    away = load_profile("imagenet", {"data": {"source": str(tmp_path / "away")}})
    with pytest.raises(ParameterError, match="away"):
        work.planned(away)
    assert work.planned(away, pictures=2_000)[0].pictures == 6 * 2_000


def test_a_learned_proxy_of_ones_own_is_planned_and_has_no_rate():
    (found,) = work._proxies(load_profile("smoke"))
    assert found.run == "hyperprior-512" and not work._proxies(load_profile("quick"))
    assert costs.rate(found, "smoke", "cpu", rates(("quick", "sr", "ra", "", 1e6, 10.0))) is None


ONE = work.Planned("sr", "ra", 0, 1000, 2e6)


def test_a_rate_is_scaled_by_work_from_the_nearest_of_the_same_machine_and_codec():
    known = rates(
        ("a", "dn", "plain", "", 1e6, 50.0), ("a", "sr", "ra", "", 30e6, 1.0), ("a", "sr", "ra", "jpeg", 2e6, 7.0)
    )
    found = costs.rate(ONE, "b", "cpu", known)
    assert found["images_per_s"] == pytest.approx(25) and found["times"] == 2
    assert costs.rate(ONE, "a", "cpu", known)["images_per_s"] == pytest.approx(15)  # its own comes first
    assert costs.rate(ONE._replace(coder="jpeg"), "b", "cpu", known)["images_per_s"] == 7
    assert costs.rate(ONE._replace(coder="avif"), "b", "cpu", known) is None  # never free
    assert costs.rate(ONE, "b", "h100", known) is None
    assert costs.rate(ONE._replace(macs=costs.FAR * 31e6), "b", "cpu", known) is None  # nothing near


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Where nothing was measured but three trainings of a profile of two."""
    profile, root = load_profile("quick", {"tasks": {"dn": {}}, "modes": ["plain", "ra"]}), tmp_path
    rows = [
        {"profile": "quick", "part": "dn", "run": run, "seed": 0, "device": "cpu (x86_64, 1 threads)", "shipped": False,
         "wall_seconds": seconds, "images_per_s": 10.0, "pictures": 1, "commit": "", "peak_memory_mb": 1.0}
        for run, seconds in (("plain", 100), ("ra", 100), ("ra_unsupervised", 1))
    ]  # fmt: skip
    monkeypatch.setattr(costs, "trainings", lambda: pd.DataFrame(rows))
    monkeypatch.setattr(costs, "project_root", lambda: root)
    return profile


def test_measured_rates_are_those_of_runs_that_took_their_time(project):
    found = costs.measured().query("machine == 'cpu'")
    assert found["run"].tolist() == ["plain", "ra"] and (found["images_per_s"] == 10).all()
    assert set(costs.measured().query("machine == 'h100'")["images_per_s"]) >= {1530, 1058, 591, 386}


def test_costs_are_pictures_over_rates_side_by_side(project):
    rows = costs.costs(["quick", "imagenet"], costs.measured(), ["cpu", "h100"], (1, 8, 10**6))
    quick = rows[(rows["profile"] == "quick") & (rows["machine"] == "cpu")]
    assert set(quick["devices"]) == {1, 8, 10**6} and list(rows) == costs.COLUMNS
    assert quick["hours"].isna().all() and "jpeg ra_unsupervised" in quick["missing"].iloc[0]
    photographs = rows[(rows["profile"] == "imagenet") & (rows["machine"] == "h100")]
    one, eight, many = photographs["hours"]
    assert eight == pytest.approx(one / 8) and one == pytest.approx(photographs["training_hours"].iloc[0])
    scaled = costs.scaling(load_profile("imagenet"), costs.measured(), "h100", (1, 8))
    assert many == pytest.approx(
        6 * 1_281_160 / scaled["images/s"].str.replace(",", "").astype(float).min() / 3600, rel=0.01
    )  # the longest
    assert scaled.loc[("sr", "plain"), "times its work"] == "1.00" and scaled.loc[("sr", "plain"), "cores"] == 8


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("cpu (x86_64, 1 threads)", "cpu"), ("cpu (x86_64, 2 threads)", "cpu-2"), ("mps", "mps"),
        ("cuda (NVIDIA H100 80GB HBM3)", "h100"), ("cuda (NVIDIA L4)", "nvidia-l4"),
    ],
)  # fmt: skip
def test_devices_have_short_names(device, name):
    assert costs.machine_of(device) == name


def test_the_command_prints_a_table_or_one_sentence(project, capsys):
    assert costs.main(["quick", "--machine", "cpu", "--gpus", "1", "2"]) == 0
    said = capsys.readouterr().out
    assert "| quick | cpu | 12 |" in said and "jpeg ra_unsupervised" in said
    for wrong in (["--machine", "abacus"], ["--gpus", "0"], ["nothing"]):
        assert costs.main(wrong) == 1
        assert wrong[-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hours", "text"), [(0.5, "30 min"), (72, "3.0 days"), (40, "40 h"), (1e-3, "4 s"), (float("nan"), "not known")]
)
def test_times_are_read_in_their_unit(hours, text):
    assert costs.as_time(hours) == text

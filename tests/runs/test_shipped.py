"""Runs that ship: what they may differ in from the one asked for, and what is taken from them."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from refusal import refusal

from ra_core import shipped_runs
from ra_core.errors import ParameterError, WeightsError
from ra_core.params import load_profile
from ra_core.runs import RestorationRun, find_run, is_complete, resolve, shipped, shipped_names, take
from ra_core.steps import train

PARAMETERS = {
    "profile": "long", "task": "dn", "mode": "ra", "seed": 0, "device": "cuda", "threads": 1, "training": {"lr": 0.1},
    "data": {"kind": "cifar10", "source": "shipped", "crop": 9}, "channel": {"sigma": 0.1}, "source": "resnet20",
    "weight": 0.001, "processor": {"name": "SRResNet", "width": 4, "blocks": 1},
}  # fmt: skip
FOLDER = {"kind": "folder", "source": "data/mine", "crop": 9}
NAME = "long/dn/ra/seed0"
LEARNT = {"train": "aa", "validation": "bb"}  # fingerprints


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Ship a finished run that has some parameters changed, and return its place."""
    for module in (shipped, shipped_runs):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "assets")
    shipped._read.cache_clear()

    def ship(**changes):
        folder = tmp_path / "runs" / NAME
        folder.mkdir(parents=True)
        data = {part: {"fingerprint": found} for part, found in LEARNT.items()}
        (folder / "params.yaml").write_text(yaml.safe_dump(PARAMETERS | changes))
        (folder / "run.json").write_text(json.dumps({"profile": "long", "wall_seconds": 1200.0, "data": data}))
        for name in ("log.jsonl", "processor.safetensors", "checkpoint.pt"):
            (folder / name).write_text(name)
        return shipped_runs.ship(folder)

    return ship


def test_a_finished_run_is_shipped_without_its_checkpoint_under_its_own_name(ship, tmp_path):
    place = ship()
    assert shipped_names() == [NAME] and place == tmp_path / "assets" / NAME
    assert {path.name for path in place.iterdir()} == {
        "log.jsonl", "params.yaml", "processor.safetensors", "run.json"
    }  # fmt: skip
    assert (place / "processor.safetensors").read_text() == "processor.safetensors"
    assert shipped_runs.ship(shutil.copytree(tmp_path / "runs" / NAME, tmp_path / "elsewhere")) == place


def test_an_unfinished_run_is_not_shipped(tmp_path, capsys):
    assert "holds no finished run" in refusal(ParameterError, shipped_runs.ship, tmp_path)
    assert shipped_runs.main([str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True), ({"profile": "quick"}, True), ({"device": "cpu"}, True), ({"threads": 8}, True),
        ({"seed": 1}, False), ({"training": {"lr": 0.2}}, False), ({"weight": 1}, False),
        ({"data": PARAMETERS["data"] | {"source": "download"}}, False),
    ],
)  # fmt: skip
def test_it_is_taken_where_only_profile_or_machine_differ(ship, tmp_path, change, taken):
    ship()
    run = RestorationRun(PARAMETERS | change, tmp_path / "mine")
    assert take(run) == taken == run.folder.exists()
    if taken:
        assert is_complete(run.folder, run.parameters)
        assert (run.folder / "processor.safetensors").read_text() == "processor.safetensors"
        said = json.loads((run.folder / "run.json").read_text())
        assert (said["profile"], said["wall_seconds"], said["shipped"]) == (run.parameters["profile"], 1200, NAME)


def test_of_a_folder_the_pictures_count_and_not_where_they_lie(ship, tmp_path):
    ship(data=FOLDER)
    elsewhere = RestorationRun(PARAMETERS | {"data": FOLDER | {"source": "/other"}}, tmp_path / "mine")
    assert not take(elsewhere, LEARNT | {"validation": "cc"}) and not elsewhere.folder.exists()
    assert not take(replace(elsewhere, parameters=PARAMETERS | {"data": FOLDER | {"crop": 8}}), LEARNT)
    assert take(elsewhere, LEARNT) and is_complete(elsewhere.folder, elsewhere.parameters)


def test_a_run_that_ships_is_found_by_its_name(ship, tmp_path, monkeypatch):
    place, mine = ship(), tmp_path / "runs" / NAME
    monkeypatch.chdir(tmp_path)
    assert find_run(NAME).folder == place and find_run(mine).folder == mine
    assert "ra_core.runs.shipped_names() lists" in refusal(ParameterError, find_run, "long/dn")
    (tmp_path / NAME).mkdir(parents=True)  # a folder of one's own comes before a name
    assert shipped.place_of(NAME).resolve() == (tmp_path / NAME).resolve()


@pytest.mark.parametrize("name", shipped_names())
def test_every_run_that_ships_fits_a_profile_and_its_weights_load(name):
    run = find_run(name)
    made = run.parameters
    place, method = (made[key] for key in (("task", "mode") if "task" in made else ("dataset", "method")))
    for profile in (made["profile"], *(["quick"] if made.get("dataset") == "scenes" else [])):
        codec, quality = made.get("codec"), made.get("quality")
        wanted = resolve(load_profile(profile), place, method, made["seed"], codec, quality)
        assert shipped.matching(wanted.parameters) == run.folder and wanted.name == run.name
    nets = run.load()
    assert set(nets) == {path.stem for path in run.folder.glob("*.safetensors")} and run.chain(nets).channel


def test_training_is_left_out_where_a_run_ships(tmp_path, monkeypatch):
    name = "coding/scenes/npp_qa-jpeg-optimized/seed0"
    made, profile = find_run(name).parameters, load_profile("quick")
    for folder in ("params", "notebooks"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ra_core.steps.trainings._train", None)
    folder = train(resolve(profile, made["dataset"], made["method"], made["seed"], made["codec"]))
    assert folder.is_relative_to(tmp_path)
    assert json.loads((folder / "run.json").read_text())["shipped"] == name


def test_weights_that_are_not_as_the_training_left_them_are_refused(tmp_path):
    place = Path(shutil.copytree(find_run("cifar10_narrow/dn/plain").folder, tmp_path / "run"))
    stated = json.loads((place / "run.json").read_text())["sha256"]
    content = (place / "processor.safetensors").read_bytes()
    assert stated == {"processor": hashlib.sha256(content).hexdigest()}
    (place / "processor.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "SHA-256" in refusal(WeightsError, find_run(place).load)
    for damaged in (3, None, {"processor": 3}):
        (place / "run.json").write_text(json.dumps({"sha256": damaged}))
        refusal(WeightsError, find_run(place).load)
    (place / "processor.safetensors").unlink()
    os.mkfifo(place / "processor.safetensors")
    assert "plain" in refusal(WeightsError, find_run(place).load)


WRONG = [("seed", "x"), ("seed", -1), ("seed", None), ("mode", ["ra"]), ("mode", "no"), ("task", 3), ("channel", "x"),
         ("processor", "x"), ("processor", {"name": "X"}), ("processor", {"name": "SRResNet", "blocks": 1_000_000}),
         ("training", [1]), ("data", 3), ("profile", "../../x"), ("profile", "a;touch X;"), ("colour", "red"),
         ("device", "moon")]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_malformed_parameters_of_a_run_are_one_sentence(tmp_path, key, value):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMETERS | {key: value}))
    said = refusal(ParameterError, find_run, tmp_path)
    assert str(tmp_path / "params.yaml") in said and key in said
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({k: v for k, v in PARAMETERS.items() if k != key}))
    if key in PARAMETERS and key != "task":  # by which the two kinds are told apart
        assert f"{key}: Field required" in refusal(ParameterError, find_run, tmp_path)


WRONG_AROUND = [("rungs", [[1]]), ("rungs", 3), ("quality", "x"), ("codec", "no"), ("method", None), ("coder", 3),
                ("preprocessor", {"width": 10**7})]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG_AROUND)
def test_those_of_a_run_around_a_codec_as_well(tmp_path, key, value):
    found = find_run("coding/scenes/npp_qa-jpeg-optimized/seed0").parameters
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(found | {key: value}))
    assert key in refusal(ParameterError, find_run, tmp_path)

"""Runs that ship: what they may differ in from the one asked for, and what is taken from them."""

import json
import shutil

import pytest
import yaml
from refusal import refusal

from ra_core import shipped_runs
from ra_core.errors import ParameterError
from ra_core.params import load_profile
from ra_core.runs import find_run, is_complete, resolve, shipped, shipped_names, take
from ra_core.steps import train

PARAMETERS = {
    "profile": "long",
    "dataset": "cells",
    "method": "npp_qa",
    "codec": "jpeg",
    "quality": None,
    "seed": 0,
    "device": "cpu",
    "threads": 1,
    "training": {"lr": 0.1},
}

NAME = "long/cells/npp_qa-jpeg/seed0"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A finished run, and the folder it was shipped to."""
    folder = tmp_path / "runs" / "long" / "cells" / "npp_qa-jpeg" / "seed0"
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMETERS))
    (folder / "run.json").write_text(json.dumps({"profile": "long", "wall_seconds": 1200.0}))
    (folder / "log.jsonl").write_text('{"step": 1}\n')
    (folder / "preprocessor.safetensors").write_bytes(b"weights")
    (folder / "checkpoint.pt").write_bytes(b"unfinished")
    for module in (shipped, shipped_runs):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "assets")
    return shipped_runs.ship(folder)


def test_a_finished_run_is_shipped_without_its_checkpoint(place):
    assert shipped_names() == [NAME]
    names = {"log.jsonl", "params.yaml", "preprocessor.safetensors", "run.json"}
    assert {path.name for path in place.iterdir()} == names
    assert (place / "preprocessor.safetensors").read_bytes() == b"weights"


def test_a_run_keeps_its_name_wherever_it_lies_and_those_of_own_folders_stay(place, tmp_path):
    moved = shutil.copytree(tmp_path / "runs" / NAME, tmp_path / "elsewhere")
    assert shipped_runs.ship(moved) == place
    (moved / "params.yaml").write_text(yaml.safe_dump(PARAMETERS | {"data": {"folder": "mine"}}))
    assert "was trained on a folder of pictures" in refusal(ParameterError, shipped_runs.ship, moved)


def test_an_unfinished_run_is_not_shipped(tmp_path, capsys):
    with pytest.raises(ParameterError, match="holds no finished run; name a folder runs/"):
        shipped_runs.ship(tmp_path)
    assert shipped_runs.main([str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("change", [{}, {"profile": "quick"}, {"device": "cuda"}, {"threads": 8}])
def test_it_is_taken_where_only_profile_or_machine_differ(place, tmp_path, change):
    folder, wanted = tmp_path / "mine", PARAMETERS | change
    assert take(folder, wanted) and is_complete(folder, wanted)
    assert (folder / "preprocessor.safetensors").read_bytes() == b"weights"
    said = json.loads((folder / "run.json").read_text())
    assert said == {"profile": wanted["profile"], "wall_seconds": 1200.0, "shipped": NAME}


@pytest.mark.parametrize("change", [{"seed": 1}, {"training": {"lr": 0.2}}, {"rungs": [[5, 1]]}])
def test_it_is_not_taken_where_the_result_would_be_another(place, tmp_path, change):
    assert not take(tmp_path / "mine", PARAMETERS | change)
    assert not (tmp_path / "mine").exists()


def test_a_run_that_ships_is_found_by_its_name(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_run(NAME).folder == place
    mine = tmp_path / "runs" / NAME
    assert find_run(mine).folder == mine
    with pytest.raises(ParameterError, match=r"holds no finished run; .* ra_core.runs.shipped_names\(\) lists"):
        find_run("long/cells")
    (tmp_path / NAME).mkdir(parents=True)  # a folder of one's own comes before a name
    assert shipped.place_of(NAME).resolve() == (tmp_path / NAME).resolve()


@pytest.mark.parametrize("name", shipped_names())
def test_every_run_that_ships_fits_a_profile_and_its_weights_load(name):
    run = find_run(name)
    made = run.parameters
    place, method = (made[key] for key in (("task", "mode") if "task" in made else ("dataset", "method")))
    for profile in (made["profile"], *(["quick"] if "dataset" in made else [])):
        codec, quality = made.get("codec"), made.get("quality")
        wanted = resolve(load_profile(profile), place, method, made["seed"], codec, quality)
        assert shipped.matching(wanted.parameters) == run.folder and wanted.name == run.name
    nets = run.load()
    assert set(nets) == {path.stem for path in run.folder.glob("*.safetensors")} and run.chain(nets).channel


def test_training_is_left_out_where_a_run_ships(tmp_path, monkeypatch):
    name = "coding/scenes/npp_qa-jpeg-optimized/seed0"
    made = find_run(name).parameters
    for folder in ("params", "notebooks"):
        (tmp_path / folder).mkdir()
    profile = load_profile("quick")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ra_core.steps.trainings._train", None)
    folder = train(resolve(profile, made["dataset"], made["method"], made["seed"], made["codec"]))
    assert folder.is_relative_to(tmp_path)
    assert json.loads((folder / "run.json").read_text())["shipped"] == name

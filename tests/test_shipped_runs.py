"""Runs that ship: what they may differ in from the one asked for, and what is taken from them."""

import json

import pytest
import yaml

from ra_core import shipped_runs
from ra_core.coding import load_nets, preprocessor_parameters, train_preprocessor
from ra_core.errors import ParameterError
from ra_core.params import load_profile
from ra_core.runs import is_complete

PARAMETERS = {
    "profile": "long",
    "dataset": "cells",
    "seed": 0,
    "device": "cpu",
    "threads": 1,
    "training": {"lr": 0.1},
}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A finished run, and the folder it was shipped to."""
    folder = tmp_path / "runs" / "long" / "cells" / "npp_qa-jpeg" / "seed0"
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMETERS))
    (folder / "run.json").write_text(json.dumps({"profile": "long", "wall_seconds": 1200.0}))
    (folder / "log.jsonl").write_text('{"step": 1}\n')
    (folder / "preprocessor.safetensors").write_bytes(b"weights")
    (folder / "checkpoint.pt").write_bytes(b"unfinished")
    monkeypatch.setattr(shipped_runs, "SHIPPED", tmp_path / "assets")
    return shipped_runs.ship(folder)


def test_a_finished_run_is_shipped_without_its_checkpoint(shipped):
    assert shipped.name == "cells-npp_qa-jpeg-seed0"
    names = {"log.jsonl", "params.yaml", "preprocessor.safetensors", "run.json"}
    assert {path.name for path in shipped.iterdir()} == names
    assert (shipped / "preprocessor.safetensors").read_bytes() == b"weights"


def test_an_unfinished_run_is_not_shipped(tmp_path, capsys):
    with pytest.raises(ParameterError, match="holds no finished run; name a folder runs/"):
        shipped_runs.ship(tmp_path)
    assert shipped_runs.main([str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("change", [{}, {"profile": "quick"}, {"device": "cuda"}, {"threads": 8}])
def test_it_is_taken_where_only_profile_or_machine_differ(shipped, tmp_path, change):
    folder, wanted = tmp_path / "mine", PARAMETERS | change
    assert shipped_runs.take(folder, wanted) and is_complete(folder, wanted)
    assert (folder / "preprocessor.safetensors").read_bytes() == b"weights"
    said = json.loads((folder / "run.json").read_text())
    assert said == {"profile": wanted["profile"], "wall_seconds": 1200.0, "shipped": shipped.name}


@pytest.mark.parametrize("change", [{"seed": 1}, {"training": {"lr": 0.2}}, {"rungs": [[5, 1]]}])
def test_it_is_not_taken_where_the_result_would_be_another(shipped, tmp_path, change):
    assert not shipped_runs.take(tmp_path / "mine", PARAMETERS | change)
    assert not (tmp_path / "mine").exists()


def test_every_run_that_ships_fits_a_profile_and_its_weights_load(tmp_path, monkeypatch):
    places = sorted(path.parent for path in shipped_runs.SHIPPED.glob("*/params.yaml"))
    assert places, "no run ships"
    for place in places:
        made = yaml.safe_load((place / "params.yaml").read_text())
        keys = ("dataset", "codec", "method", "quality", "seed")
        for name in (made["profile"], "quick"):
            wanted = preprocessor_parameters(load_profile(name), **{key: made[key] for key in keys})
            assert shipped_runs.matching(wanted) == place
        nets = load_nets(place, made)
        assert set(nets) == {path.stem for path in place.glob("*.safetensors")}


def test_training_is_left_out_where_a_run_ships(tmp_path, monkeypatch):
    place = sorted(path.parent for path in shipped_runs.SHIPPED.glob("*/params.yaml"))[0]
    made = yaml.safe_load((place / "params.yaml").read_text())
    for name in ("params", "notebooks"):
        (tmp_path / name).mkdir()
    profile = load_profile("quick")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ra_core.coding._train", None)
    run = (made["dataset"], made["codec"], made["method"], made["quality"], made["seed"])
    folder = train_preprocessor(profile, *run)
    assert (
        folder.is_relative_to(tmp_path)
        and json.loads((folder / "run.json").read_text())["shipped"] == place.name
    )

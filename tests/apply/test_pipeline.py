"""What is done to a picture by each kind of run and codec, and what is refused before anything is written."""

import json
import shutil

import numpy as np
import pytest
import torch
from applied import JPEG, array, coding_run, opened, preprocessor_run, processor_run, saved, table, times, tree
from PIL import Image
from refusal import refusal

from ra_core import metrics
from ra_core.apply import apply
from ra_core.chain import Chain
from ra_core.channels import Coded, from_arrays, to_arrays
from ra_core.codecs import load_codec
from ra_core.errors import DataError, ParameterError, WeightsError
from ra_core.runs import AtStrength
from ra_core.runs.coding import STRENGTH


def levels(images: torch.Tensor) -> np.ndarray:
    return to_arrays(images)[0]


def test_a_preprocessor_run_is_the_chain_of_its_evaluation(tmp_path, source, target):
    net, images = preprocessor_run(tmp_path / "run"), from_arrays([array()])
    [row] = apply(source, target, run=tmp_path / "run")
    out = Chain(channel=Coded(load_codec("jpeg"), 20), pre=AtStrength(net, 1.0))(images, torch.tensor([0]))
    file = target / "files" / "a.jpg"
    assert file.stat().st_size == int(out["bytes"]) == row["bytes"]
    assert row["bpp"] == pytest.approx(8 * row["bytes"] / (40 * 56), abs=1e-4)
    assert np.array_equal(opened(file), levels(out["stored"]))
    assert np.array_equal(opened(target / "pictures" / "a.png"), levels(out["stored"]))
    assert row["psnr"] == pytest.approx(metrics.psnr(out["stored"], images).item(), abs=1e-3)
    apply(source, tmp_path / "alone", **JPEG)
    alone = (tmp_path / "alone" / "files" / "a.jpg").read_bytes()
    assert alone == load_codec("jpeg").encode([array()], 20)[0] != file.read_bytes()


@pytest.mark.parametrize(
    ("chosen", "strength"),
    [
        ({"quality": 10}, STRENGTH * 0.5),
        ({"quality": 20.0}, STRENGTH),
        ({"quality": 15}, STRENGTH * 2**-0.5),
        ({"quality": 15, "strength": 0.7}, 0.7),
        ({"codec": "webp", "quality": 15, "strength": 0.3}, 0.3),
    ],
)
def test_an_adaptive_preprocessor_takes_the_strength_of_the_quality(tmp_path, source, target, chosen, strength):
    net = preprocessor_run(tmp_path / "run", "npp_qa", quality=None)
    apply(source, target, run=tmp_path / "run", **chosen)
    with torch.inference_mode():
        sent = levels(net(from_arrays([array()]), strength))
    codec = load_codec(chosen.get("codec", "jpeg"))
    file = target / "files" / f"a{codec.suffix}"
    assert file.read_bytes() == codec.encode([sent], int(chosen["quality"]))[0]
    assert json.loads((target / "settings.json").read_text())["strength"] == pytest.approx(strength)


@pytest.mark.parametrize("method", ["tables", "npp_tables"])
def test_learned_tables_go_into_the_files(tmp_path, source, target, method):
    nets = coding_run(tmp_path / "run", method)
    apply(source, target, run=tmp_path / "run", quality=15)
    tables, images = nets["tables"].at(15), from_arrays([array()])
    with torch.inference_mode():
        sent = nets["preprocessor"](images, STRENGTH * 2**-0.5) if "preprocessor" in nets else images
    file = target / "files" / "a.jpg"
    assert file.read_bytes() == load_codec("jpeg").with_tables(tables).encode([levels(sent)], 15)[0]
    with Image.open(file) as stored:
        assert [tuple(table) for table in stored.quantization.values()] == list(tables)
    settings = json.loads((target / "settings.json").read_text())
    assert settings["codec"]["settings"]["qtables"] == [list(table) for table in tables]
    said = refusal(ParameterError, apply, source, tmp_path / "x", run=tmp_path / "run", codec="webp", quality=15)
    assert said.endswith("are of jpeg; leave --codec out.")
    said = refusal(ParameterError, apply, source, tmp_path / "x", run=tmp_path / "run")
    assert said == "no quality was given for jpeg; give --quality, a whole number from 1 to 100 (100 is best)."


@pytest.mark.parametrize(("task", "scale"), [("dn", 1), ("sr", 4)])
def test_a_processor_run_writes_png_of_its_size(tmp_path, target, task, scale):
    saved(tmp_path / "in" / "a.png", array(channels=4))
    net = processor_run(tmp_path / "run", task)["processor"]
    [row] = apply(tmp_path / "in", target, run=tmp_path / "run")
    with torch.inference_mode():
        expected = levels(net(from_arrays([array(channels=4)[..., :3]])))
    written = opened(target / "pictures" / "a.png")
    assert written.shape == (40 * scale, 56 * scale, 4) and np.array_equal(written[..., :3], expected)
    assert row["bytes"] == (target / "pictures" / "a.png").stat().st_size and not (target / "files").exists()
    assert (row["width"], row["height"], row["psnr"] is None) == (56 * scale, 40 * scale, scale > 1)
    assert (table(target / "pictures.csv")[0]["psnr"] == "") == (scale > 1)


def test_a_processor_can_be_followed_by_its_transformer_and_a_codec(tmp_path, source, target):
    networks = processor_run(tmp_path / "run", "dn", "ra_transformer")
    apply(source, target, run=tmp_path / "run", codec="jpeg", quality=90, transformer=True)
    with torch.inference_mode():
        stored = metrics.to_8bit(networks["processor"](from_arrays([array()])))
        seen = levels(networks["transformer"](stored))
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode([seen], 90)[0]


# --- refused


def test_folders_that_cannot_be(tmp_path, source, target):
    saved(tmp_path / "full" / "mine.png", array())
    (tmp_path / "nothing").mkdir()
    for given, out, kind in (
        (tmp_path / "nowhere", target, DataError),
        (source / "a.png", target, DataError),
        (source, source, ParameterError),
        (source, tmp_path / "x" / ".." / "in" / "out", ParameterError),
        (source, tmp_path / "full", ParameterError),
        (source, tmp_path / "full" / "mine.png", ParameterError),
        (tmp_path / "nothing", target, DataError),
    ):
        refusal(kind, apply, given, out, **JPEG)
    assert not target.exists() and tree(source) == ["a.png"] and tree(tmp_path / "full") == ["mine.png"]


@pytest.mark.parametrize("settings", ["", "{", "null", "3", "[1]", "\\ud800"])
def test_damaged_settings_are_refused(source, target, settings):
    apply(source, target, **JPEG)
    (target / "settings.json").write_text(settings)
    assert "settings.json cannot be read" in refusal(ParameterError, apply, source, target, **JPEG)


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(source, target, workers):
    assert f"workers {workers} " in refusal(ParameterError, apply, source, target, workers=workers, **JPEG)
    assert not target.exists()


def test_other_settings_need_another_folder(tmp_path, source, target):
    preprocessor_run(tmp_path / "run")
    apply(source, target, **JPEG)
    before, other = times(target), shutil.copytree(source, tmp_path / "other")
    for where, changes, named in (
        (source, {"quality": 21}, "quality"),
        (source, {"codec": "webp"}, "codec"),
        (source, {"run": tmp_path / "run"}, "run, weights"),
        (other, {}, "input"),
    ):
        assert f"({named})" in refusal(ParameterError, apply, where, target, **JPEG | changes)
    assert times(target) == before


REFUSED = {
    "none": [
        ({}, "--codec"), ({"quality": 20}, "--codec"), ({"codec": "gif", "quality": 20}, "'gif'"),
        ({"codec": "jpeg"}, "give --quality, a whole number from 1"), ({"codec": "jpeg", "quality": 101}, "101"),
        ({"codec": "jpeg", "quality": 20.5}, "20.5"), ({"codec": "jpeg", "quality": float("nan")}, "nan"),
        (JPEG | {"strength": 1.0}, "strength 1.0"), (JPEG | {"transformer": True}, "--transformer"),
        (JPEG | {"device": "abacus"}, "'abacus'"),
    ],
    "npp": [({"strength": 1.0}, "strength 1.0"), ({"codec": "webp"}, "for webp; give --quality")],
    "npp_qa": [
        ({}, "for jpeg; give --quality"), ({"codec": "webp", "quality": 50}, "--strength"),
        ({"quality": 20, "strength": 0.0}, "strength 0.0"), ({"quality": 20, "strength": float("inf")}, "strength inf"),
    ],
    "dn": [
        ({"quality": 20}, "--codec"), ({"codec": "jpeg"}, "for jpeg; give --quality"),
        ({"strength": 1.0}, "strength 1.0"), ({"transformer": True}, "--transformer"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_settings_that_do_not_go_together(tmp_path, source, target, kind):
    run = {} if kind == "none" else {"run": tmp_path / "run"}
    if kind == "dn":
        processor_run(tmp_path / "run")
    elif run:
        preprocessor_run(tmp_path / "run", kind, quality=20 if kind == "npp" else None)
    for chosen, word in REFUSED[kind]:
        assert word in refusal(ParameterError, apply, source, target, **run, **chosen)
    assert not target.exists()


def test_a_folder_that_is_no_finished_run(tmp_path, source, target):
    refusal(ParameterError, apply, source, target, run=source)
    preprocessor_run(tmp_path / "run")
    (tmp_path / "run" / "preprocessor.safetensors").write_bytes(b"cut off")
    refusal(WeightsError, apply, source, target, run=tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    refusal(ParameterError, apply, source, target, run=tmp_path / "run")
    assert not target.exists()

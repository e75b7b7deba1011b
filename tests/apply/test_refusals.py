"""What is refused, in one sentence and before anything is written."""

import shutil

import pytest
from applied import JPEG, PROFILE, array, preprocessor_run, processor_run, saved, table, times, tree
from refusal import refusal

from ra_core.apply import apply
from ra_core.errors import DataError, ParameterError, WeightsError
from ra_core.runs import write_params


def test_folders_that_cannot_be(tmp_path, source, target):
    def said(*arguments, kind=ParameterError):
        return refusal(kind, apply, *arguments, **JPEG)

    assert "is no folder" in said(tmp_path / "nowhere", target, kind=DataError)
    assert "is no folder" in said(source / "a.png", target, kind=DataError)
    for inside in (source, source / "out", tmp_path / "x" / ".." / "in" / "out"):
        assert "lies in the input folder" in said(source, inside)
    saved(tmp_path / "full" / "mine.png", array())
    assert "holds other files" in said(source, tmp_path / "full")
    assert "is a file" in said(source, source.parent / "full" / "mine.png")
    (tmp_path / "nothing").mkdir()
    assert "holds no files" in said(tmp_path / "nothing", target, kind=DataError)
    assert not target.exists() and tree(source) == ["a.png"] and tree(tmp_path / "full") == ["mine.png"]


def test_a_folder_without_a_usable_file_is_said_to_be_so(source, target):
    (source / "a.png").write_text("no picture")
    assert "none of the files" in refusal(DataError, apply, source, target, **JPEG)
    assert len(table(target / "skipped.csv")) == 1


def test_other_settings_need_another_folder(tmp_path, source, target):
    preprocessor_run(tmp_path / "run")
    apply(source, target, **JPEG)
    before = times(target)
    other = shutil.copytree(source, tmp_path / "other")
    for where, changes, named in (
        (source, {"quality": 21}, "quality"),
        (source, {"codec": "webp"}, "codec"),
        (source, {"run": tmp_path / "run"}, "run, weights"),
        (other, {}, "input"),
    ):
        assert f"other settings ({named})" in refusal(ParameterError, apply, where, target, **JPEG | changes)
    (target / "settings.json").write_text("[1]")
    assert "other settings" in refusal(ParameterError, apply, source, target, **JPEG)
    assert times(target) == before


@pytest.mark.parametrize(
    ("chosen", "word"),
    [
        ({}, "no codec was named"),
        ({"quality": 20}, "no codec was named"),
        ({"codec": "gif", "quality": 20}, "codec 'gif' is unknown"),
        ({"codec": "jpeg"}, "JPEG quality from 1 to 100"),
        ({"codec": "jpeg", "quality": 101}, "is not allowed"),
        ({"codec": "jpeg", "quality": 20.5}, "is not allowed"),
        ({"codec": "jpeg", "quality": float("nan")}, "is not allowed"),
        (JPEG | {"strength": 1.0}, "leave --strength out"),
        (JPEG | {"transformer": True}, "leave --transformer out"),
        (JPEG | {"workers": 0}, "workers 0 is not allowed"),
        (JPEG | {"device": "abacus"}, "device 'abacus' is not here"),
    ],
)
def test_settings_that_do_not_go_together(source, target, chosen, word):
    assert word in refusal(ParameterError, apply, source, target, **chosen)
    assert not target.exists()


@pytest.mark.parametrize(
    ("method", "chosen", "word"),
    [
        ("npp", {"strength": 1.0}, "made for one quality"),
        ("npp", {"codec": "webp"}, "given no quality"),
        ("npp_qa", {}, "given no quality"),
        ("npp_qa", {"codec": "webp", "quality": 50}, "give --strength"),
        ("npp_qa", {"quality": 20, "strength": 0.0}, "strength 0.0 is not allowed"),
        ("npp_qa", {"quality": 20, "strength": float("inf")}, "strength inf is not allowed"),
    ],
)
def test_settings_that_do_not_go_with_a_preprocessor(tmp_path, source, target, method, chosen, word):
    preprocessor_run(tmp_path / "run", method, quality=20 if method == "npp" else None)
    assert word in refusal(ParameterError, apply, source, target, run=tmp_path / "run", **chosen)


def test_settings_that_do_not_go_with_a_processor(tmp_path, source, target):
    processor_run(tmp_path / "run")
    for chosen, word in (
        ({"quality": 20}, "no codec was named"),
        ({"codec": "jpeg"}, "given no quality"),
        ({"strength": 1.0}, "only a preprocessor has one"),
        ({"transformer": True}, "the run has none"),
    ):
        assert word in refusal(ParameterError, apply, source, target, run=tmp_path / "run", **chosen)


def test_a_folder_that_is_no_finished_run(tmp_path, source, target):
    def said(run, kind=ParameterError):
        return refusal(kind, apply, source, target, run=run)

    run = tmp_path / "run"
    assert "is no folder" in said(run)
    assert "holds no params.yaml" in said(source)
    net_parameters = PROFILE.model_dump(mode="json")
    for parameters, word in (
        (net_parameters, "is neither"),
        ({"postprocessor": {}}, "has a network behind the codec"),
        ({"preprocessor": {}, "method": "npp", "codec": "jpeg", "quality": 20}, "does not describe the network"),
        ({"processor": {"name": "SRResNet"}}, "does not describe the network"),
        ({"processor": {"name": "SRResNet", "depth": 3}, "channel": {}}, "does not describe the network"),
    ):
        write_params(run, parameters)
        (run / "run.json").write_text("{}")
        assert word in said(run)
    (run / "params.yaml").write_text("a: [")
    assert "cannot be read" in said(run)
    preprocessor_run(run)
    (run / "preprocessor.safetensors").write_bytes(b"cut off")
    assert "is not a whole safetensors file" in said(run, WeightsError)
    (run / "run.json").unlink()
    assert "has not ended" in said(run)
    assert not target.exists()

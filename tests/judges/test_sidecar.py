"""What a sidecar may say, and where a profile is refused with it."""

import json
from pathlib import Path

import pytest
from judge_files import SCALING, onnx_means, write
from refusal import refusal

from ra_core.errors import ParameterError
from ra_core.judges import load_judge
from ra_core.judges.sidecar import SUFFIXES, checked_source, find_sidecar
from ra_core.params import load_profile

EXAMPLES = Path(__file__).parents[2] / "book" / "examples" / "judges"

pytestmark = pytest.mark.usefixtures("empty_project")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        *(({field: None}, field) for field in ("family", "input", "resize", "scaling", "classes", "source", "licence")),
        ({"top1": None}, "state top1"),
        ({"top1": 0.9, "map50": 30}, "map50"),
        ({"top1": 101}, "100"),
        ({"framework": "keras"}, "tflite"),
        ({"colour": "RGB"}, "'colour'"),
        ({"input": 224}, "input"),
        ({"input": [0, 8]}, "input.0"),
        ({"resize": "stretch"}, "squeeze"),
        ({"scaling": {"divisor": 255}}, "scaling.channels"),
        ({"scaling": SCALING | {"std": [1, 0, 1]}}, "scaling.std.1"),
        ({"scaling": SCALING | {"mean": [1, 2]}}, "scaling.mean"),
        ({"classes": ["red", "red", "blue"]}, "twice"),
        ({"classes": "cifar10"}, "imagenet"),
        ({"architecture": "resnet18"}, "architecture"),
        ({"framework": "torchvision"}, "architecture"),
        ({"decoder": "yolox"}, "decoder"),
        ({"top1": None, "map50": 30}, "decoder"),
        ({"top1": None, "map50": 30, "decoder": "faster_rcnn"}, "faster_rcnn"),
        ({"top1": None, "map50": 30, "decoder": "yolox", "resize": "none"}, "resize"),
        ({"top1": None, "map50": 30, "decoder": "yolox", "resize": "crop"}, "crop"),
        ({"top1": None, "map50": 30, "decoder": "yolox", "background": True}, "background"),
        ({"engine": "qnnpack"}, "engine"),
    ],
)  # fmt: skip
def test_a_sidecar_that_cannot_be_right_is_refused_by_its_field(fields, words):
    write("means", onnx_means(), **fields)
    said = refusal(ParameterError, load_judge, "means")
    assert words in said and "means.json" in said


def test_a_profile_takes_every_classifier_that_lies_in_the_folder():
    for name in ("b_means", "a_means"):
        write(name, onnx_means())
    write("boxes", onnx_means(), top1=None, map50=30, decoder="yolox", resize="fit")
    text = "source: resnet20\nunseen: [vgg8, b_means, judges/*]"
    Path("params/mine.yaml").write_text(text)
    assert load_profile("mine").unseen == ["vgg8", "b_means", "a_means"]


@pytest.mark.parametrize("text", ["", "[]", '{"framework": "on', "3"])
def test_a_sidecar_that_is_no_json_object_is_refused(text):
    write("means", onnx_means())
    Path("judges", "means.json").write_text(text)
    assert "means.json" in refusal(ParameterError, load_judge, "means")


def test_a_sidecar_needs_weights_and_a_name_of_its_own():
    write("means", None)
    assert "means.onnx" in refusal(ParameterError, load_judge, "means")
    write("vgg8", onnx_means())
    assert "vgg8.json" in refusal(ParameterError, load_judge, "vgg8")
    said = refusal(ParameterError, load_judge, "nobody")
    assert "judges/nobody.json" in said
    refusal(ParameterError, load_judge, "../judges/means")


def profile(**fields) -> None:
    keys = {
        "data": {"kind": "folder", "source": "data/mine"},
        "tasks": {"dn": {}},
        "source": "vgg8",
        "unseen": ["mobilenet"],
    }
    Path("params", "mine.yaml").write_text("# make book PROFILE=mine\n" + json.dumps(keys | fields))


def test_a_profile_names_a_black_box_as_unseen_and_is_refused_with_it_as_source():
    write("means", onnx_means())
    profile(unseen=["means"])
    assert load_profile("mine").recognizers == ["vgg8", "means"]
    profile(source="means")
    said = refusal(ParameterError, load_profile, "mine")
    assert "source = 'means'" in said and "black box" in said and "unseen" in said
    around = {"cells": {"source": "means", "codecs": {"jpeg": {"rungs": [[10, 1.0], [50, 1.0]]}}}}
    profile(preprocessing=around)
    assert "preprocessing.cells.source" in refusal(ParameterError, load_profile, "mine")


def test_a_profile_is_refused_where_the_sidecar_of_a_judge_is_wrong():
    profile(unseen=["means"])
    write("means", onnx_means(), licence=None)
    said = refusal(ParameterError, load_profile, "mine")
    assert "unseen.0" in said and "means.json" in said and "licence" in said
    write("means", None)
    Path("judges", "means.onnx").unlink()
    assert "means.onnx" in refusal(ParameterError, load_profile, "mine")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_the_sidecars_of_the_book_are_right(file):
    Path("judges", file.name).write_text(file.read_text())
    suffix = SUFFIXES[json.loads(file.read_text())["framework"]]
    Path("judges", file.stem + suffix).touch()
    assert find_sidecar(file.stem).family
    if suffix != ".safetensors":
        assert file.stem in refusal(ParameterError, checked_source, file.stem)


def test_a_key_that_stands_twice_is_refused():
    write("means", onnx_means())
    path = Path("judges/means.json")
    path.write_text(path.read_text().replace("{", '{"top1": 3, ', 1))
    said = refusal(ParameterError, find_sidecar, "means")
    assert "means.json" in said and "twice" in said and "top1" in said

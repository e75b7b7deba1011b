"""Judges out of files: ONNX, TFLite, TorchScript and torchvision."""

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

import boxed
import judge_files
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from judge_files import CLASSES, SIDE, onnx_constant, onnx_means, scripted, tflite_means, write
from onnx import TensorProto, helper
from PIL import Image
from refusal import refusal
from torchvision import models

from ra_core.chain import Chain
from ra_core.channels import make_channel
from ra_core.data import Pictures
from ra_core.detection import detect, mean_ap
from ra_core.errors import ParameterError, WeightsError
from ra_core.evaluation import evaluate
from ra_core.judges import describe, load_judge
from ra_core.judges.files import resized
from ra_core.judges.sidecar import SUFFIXES, checked_source, find_sidecar
from ra_core.models.weights import save_weights
from ra_core.params import load_profile

EXAMPLES = Path(__file__).parents[2] / "book" / "examples" / "judges"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(judge_files.root(tmp_path))
    return tmp_path


def pictures(count: int = 5, side: int = SIDE) -> torch.Tensor:
    """Return pictures of 8 bits."""
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0)) / 255


def coloured(classes=("green", "blue", "red"), side: int = SIDE) -> Pictures:
    """Return pictures that are mostly of their class, which red, green and blue are in another order here."""
    images = torch.full((12, 3, side, side), 40, dtype=torch.uint8)
    labels = torch.arange(12) % 3
    for image, label in zip(images, labels.tolist(), strict=True):
        image[CLASSES.index(("green", "blue", "red")[label])] = 200
    return Pictures(images, labels, tuple(classes), "coloured")


# --- what is in the file


KINDS = {
    "onnx": (onnx_means, {}),
    "onnx of any size": (lambda: onnx_means(side="side"), {}),
    "onnx, one at a time": (lambda: onnx_means(1), {}),
    "onnx, three at a time": (lambda: onnx_means(3), {}),
    "onnx, channels last": (lambda: onnx_means(nhwc=True), {}),
    "onnx, half precision": (lambda: onnx_means(kind=TensorProto.FLOAT16), {}),
    "onnx, 8 bits": (lambda: onnx_means(kind=TensorProto.UINT8), {"scaling": {"channels": "RGB", "divisor": 1}}),
    "tflite": (tflite_means, {"framework": "tflite"}),
    "tflite of any batch": (lambda: tflite_means(free=True), {"framework": "tflite"}),
    "tflite, 8 bits": (
        lambda: tflite_means(True), {"framework": "tflite", "scaling": {"channels": "RGB", "divisor": 1}}
    ),
    "torchscript": (lambda: scripted(judge_files.Means(), Path("made.pt")), {"framework": "torchscript"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_any_framework_answers_as_it_should_for_any_number_of_pictures(kind):
    make, fields = KINDS[kind]
    write("means", make(), **fields)
    judge, images = load_judge("means"), pictures()
    assert describe(judge) == {"name": "means", "parameters": None}
    assert (judge.name, judge.family, judge.black_box, judge.stated) == ("means", "means", True, 90)
    expected = images.mean((2, 3)) * (255 if kind == "onnx, 8 bits" else 1)
    for count in (1, 2, 5):
        found = judge(images[:count])
        assert found.shape == (count, 3) and not found.requires_grad
        assert torch.allclose(found, expected[:count], rtol=2e-3, atol=1 / 255 if "8 bits" in kind else 1e-3)


def test_scaling_is_that_of_the_sidecar():
    scaling = {"channels": "BGR", "divisor": 2, "mean": [1, 2, 3], "std": [4, 5, 6]}
    write("means", onnx_means(), scaling=scaling)
    images = pictures()
    blue_first = (255 * images).flip(1).mean((2, 3))
    expected = (blue_first / 2 - torch.tensor([1, 2, 3])) / torch.tensor([4, 5, 6])
    assert torch.allclose(load_judge("means")(images), expected, atol=1e-4)


def test_a_background_class_is_left_out_and_probabilities_become_scores():
    probabilities = {"classes": ["green", "blue"], "background": True, "output": "probabilities"}
    write("means", tflite_means(), framework="tflite", **probabilities)
    images = pictures()
    expected = images.mean((2, 3))[:, 1:]
    found = load_judge("means")(images)
    assert torch.allclose(found.exp(), expected, atol=1e-5)
    assert load_judge("means")(torch.zeros(1, 3, SIDE, SIDE)).isfinite().all()


def test_threads_are_those_of_torch(monkeypatch):
    given, original = [], onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, **rest: given.append(options) or original(path, options, **rest),
    )
    write("means", onnx_means())
    load_judge("means")
    [options] = given
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (torch.get_num_threads(), 1)


@pytest.mark.parametrize(
    ("rule", "size"), [("squeeze", (6, 9)), ("fit", (20, 12)), ("crop", (10, 8)), ("none", (4, 4))]
)
@pytest.mark.parametrize("before", [(16, 12), (5, 30), (6, 9)])
def test_pictures_are_resized_as_pillow_does_it(rule, size, before):
    image = torch.randint(0, 256, (1, 3, *before), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found, across, down = resized(image, *size, rule)
    scale = {"fit": min, "crop": max}.get(rule, min)(size[0] / before[0], size[1] / before[1])
    after = {"squeeze": size, "none": before}.get(rule, tuple(max(1, round(side * scale)) for side in before))
    expected = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize(after[::-1], Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.array(expected)).permute(2, 0, 1).int()
    assert (down, across) == (after[0] / before[0], after[1] / before[1])
    if rule == "crop":
        top, left = (after[0] - size[0]) // 2, (after[1] - size[1]) // 2
        expected = expected[:, top : top + size[0], left : left + size[1]]
    assert found.shape[-2:] == (before if rule == "none" else size)
    inner = found[0, :, : expected.shape[1], : expected.shape[2]].int()
    assert (inner - expected).abs().max() <= 1
    if rule == "fit":
        assert (found[0, :, expected.shape[1] :] == 114).all() and (found[0, :, :, expected.shape[2] :] == 114).all()
    floats, *_ = resized(image / 255, *size, rule)
    assert (255 * floats - found).abs().max() <= 1.01


def test_a_network_of_torchvision_is_no_black_box_and_can_be_learned_from():
    torch.manual_seed(0)
    net = models.squeezenet1_1(num_classes=3).eval()
    save_weights(net, Path("judges", "own.safetensors"))
    scaling = {"channels": "BGR", "divisor": 1, "mean": [104, 117, 123]}
    fields = {"framework": "torchvision", "architecture": "squeezenet1_1", "input": [40, 40]}
    write("own", None, scaling=scaling, **fields)
    judge, images = load_judge("own", CLASSES), pictures(side=40).requires_grad_(True)
    expected = net((255 * images).flip(1) - torch.tensor([104, 117, 123]).view(3, 1, 1))
    assert not judge.black_box and torch.allclose(judge(images), expected, atol=1e-4)
    for term in (
        judge.task_loss(images, torch.tensor([0, 1, 2, 0, 1])),
        judge.distance(images, images.detach().flip(3)),
    ):
        (gradient,) = torch.autograd.grad(term.sum(), images)
        assert (gradient.abs().amax((1, 2, 3)) > 0).all()
    assert not any(p.requires_grad for p in judge.parameters())


# --- scored as any other


@pytest.mark.parametrize("side", [SIDE, 20])
def test_a_black_box_is_scored_like_any_judge_in_the_order_of_the_pictures_classes(side):
    write("means", onnx_means())
    set_of, judge = coloured(side=side), load_judge("means")
    for chain in (Chain(), Chain(make_channel("dn"))):
        answers = evaluate(chain, {"it": judge}, set_of, batch=5)
        verdict = answers.verdicts["it"]
        assert verdict.value() == 100 and verdict.answer.tolist() == set_of.labels.tolist()
        assert verdict.interval()[0] == 100 and answers.summary("it")["top1"] == 100
    assert judge.distance(pictures(), pictures().flip(3)).max() < 1e-6
    images, unlabelled = pictures(), Pictures(pictures(), None, ("unknown",), "photos")
    assert judge.look(images, images, None, unlabelled)["top1"].all()


def test_pictures_of_other_classes_are_refused():
    write("means", onnx_means())
    judge = load_judge("means")
    assert "'yellow'" in refusal(ParameterError, judge.with_classes, ("red", "green", "yellow"))
    set_of = coloured(("red", "green", "blue", "yellow"))
    assert "coloured has 4" in refusal(ParameterError, evaluate, Chain(), {"it": judge}, set_of)


def test_a_judge_that_is_fed_wrongly_is_warned_of_on_clean_pictures_alone():
    write("means", onnx_means(), scaling={"channels": "BGR", "divisor": 255})
    write("right", onnx_means())
    judges = {name: load_judge(name) for name in ("means", "right")}
    with pytest.warns(UserWarning, match=r"'means' reaches 33\.3 % .* states 90\.0 %") as caught:
        evaluate(Chain(), judges, coloured())
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(Chain(make_channel("dn")), judges, coloured())


# --- profiles


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


# --- what is refused


SCALING = {"channels": "RGB", "divisor": 255}


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


class Payload:
    """What writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path("unpickled").write_text, ("",))


def pickled() -> bytes:
    return pickle.dumps(Payload())


def saved() -> bytes:
    file = io.BytesIO()
    torch.save(Payload(), file)
    return file.getvalue()


def reaching(expression: str) -> bytes:
    """Return a TorchScript file whose code calls something else."""
    file, honest = io.BytesIO(), zipfile.ZipFile(io.BytesIO(scripted(judge_files.Means(), Path("honest.pt"))))
    with zipfile.ZipFile(file, "w") as archive:
        for entry in honest.infolist():
            content = honest.read(entry)
            if entry.filename.endswith(".py"):
                assert b"torch.mean(x" in content
                content = content.replace(b"torch.mean(x", expression.encode() + b"(torch.mean(x")
                content = content.replace(b"[2, 3])", b"[2, 3]))")
            archive.writestr(entry, content)
    return file.getvalue()


def outside() -> bytes:
    """Return an ONNX file whose numbers lie in a file above its folder."""
    Path("secret").write_bytes(np.ones(1, np.float32).tobytes())
    model = onnx.load_from_string(
        judge_files.onnx_file(
            [helper.make_node("Add", ["x", "w"], ["y"])], [1, 3, SIDE, SIDE], constants={"w": np.ones(1, "f")}
        )
    )
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../secret"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return model.SerializeToString()


TORCHSCRIPT = {"framework": "torchscript"}
BAD = {
    "nothing": (lambda: b"", {}),
    "no onnx": (lambda: b"no model" * 100, {}),
    "cut off": (lambda: onnx_means()[:-40], {}),
    "two inputs": (
        lambda: judge_files.onnx_file([helper.make_node("Add", ["x", "z"], ["y"])], [1, 3, SIDE, SIDE], inputs=2), {}
    ),
    "no pictures": (lambda: judge_files.onnx_file([helper.make_node("Identity", ["x"], ["y"])], [1, 3]), {}),
    "weights outside": (outside, {}),
    "another input": (lambda: onnx_means(side=9), {}),
    "more classes stated": (onnx_means, {"classes": [*CLASSES, "yellow"]}),
    "fewer classes stated": (onnx_means, {"classes": CLASSES[:2]}),
    "a background that is not there": (onnx_means, {"background": True}),
    "no tflite": (onnx_means, {"framework": "tflite"}),
    "tflite cut off": (lambda: tflite_means()[:200], {"framework": "tflite"}),
    "tflite of other classes": (tflite_means, {"framework": "tflite", "classes": "imagenet"}),
    "no torchscript": (onnx_means, TORCHSCRIPT),
    "a pickle": (pickled, TORCHSCRIPT),
    "a file of torch.save": (saved, TORCHSCRIPT),
    "torchscript cut off": (lambda: scripted(judge_files.Means(), Path("made.pt"))[:-300], TORCHSCRIPT),
    "torchscript of other classes": (
        lambda: scripted(judge_files.Means(), Path("made.pt")), TORCHSCRIPT | {"classes": CLASSES[:2]}
    ),
    "reads a file": (lambda: reaching('torch.from_file("secret", True, 4).add'), TORCHSCRIPT),
    "reads a file by another name": (lambda: reaching('getattr(torch, "from" "_file")'), TORCHSCRIPT),
    "other operators": (lambda: reaching("ops.image.decode_image"), TORCHSCRIPT),
    "no safetensors": (onnx_means, {"framework": "torchvision", "architecture": "squeezenet1_1"}),
    "no architecture": (onnx_means, {"framework": "torchvision", "architecture": "resnet19"}),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_damaged_or_hostile_file_is_refused_and_never_unpickled(what):
    make, fields = BAD[what]
    write("means", make(), **fields)
    assert "means." in refusal(WeightsError, load_judge, "means")
    assert not Path("unpickled").exists()


def test_an_engine_that_the_machine_lacks_is_named(monkeypatch):
    write("means", scripted(judge_files.Means(), Path("made.pt")), framework="torchscript", engine="qnnpack")
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["none"])
    assert "'qnnpack'" in refusal(WeightsError, load_judge, "means")


def test_without_the_extra_it_is_named(monkeypatch):
    write("means", onnx_means())
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert "'judges'" in refusal(ParameterError, load_judge, "means")


# --- detectors

DETECTOR = {"top1": None, "map50": 30, "classes": ["red", "green"], "input": [64, 64], "resize": "fit"}


def yolox(places: dict[int, list[float]]) -> bytes:
    """Return a YOLOX of two classes for 64 pixels that gives some places something and the others nothing."""
    answer = np.zeros((1, 64 + 16 + 4, 7), np.float32)
    for place, values in places.items():
        answer[0, place] = values
    return onnx_constant(64, y=answer)


def test_boxes_of_yolox_are_read_and_brought_back_to_the_picture():
    # Cell (2, 1) of stride 8, and cell (1, 0) of stride 16 with nearly the same box, less sure; cell (0, 1) of 32.
    near, size = [0.25, 0.5, np.log(2), np.log(3)], [0.0, 0.0, np.log(0.5), np.log(0.5)]
    found = {
        8 + 2: [*near, 0.8, 0.5, 0.9],
        64 + 1: [0.125, 0.75, np.log(1), np.log(1.5), 0.8, 0.0, 0.6],
        80 + 2: [*size, 1, 1, 0],
    }
    write("it", yolox(found), decoder="yolox", **DETECTOR)
    judge = load_judge("it")
    for answer in judge(torch.rand(2, 3, 128, 96)):  # half as large when it is fed
        assert answer["labels"].tolist() == [1, 2, 1]
        assert answer["scores"].tolist() == pytest.approx([1, 0.72, 0.4])
        boxes = [[0, 48, 16, 80], [20, 0, 52, 48], [20, 0, 52, 48]]
        assert torch.allclose(answer["boxes"], torch.tensor(boxes).float(), atol=1e-3)
    [answer] = judge.with_classes(("Green",))([torch.rand(3, 64, 64)])
    assert answer["labels"].tolist() == [1] and answer["scores"].tolist() == pytest.approx([0.72])


@pytest.mark.parametrize("levels", [False, True])
def test_boxes_of_nanodet_are_read_from_one_output_or_from_that_of_each_level(levels):
    scores, sides = np.zeros((1, 84, 2), np.float32), np.zeros((1, 84, 4, 8), np.float32)
    scores[0, 8 + 3, 1] = 0.7  # cell (3, 1) of stride 8, centre (28, 12)
    for side, distance in enumerate((2, 1, 3, 4)):
        sides[0, 8 + 3, side, distance] = 50
    sides = sides.reshape(1, 84, 32)
    outputs = {"y": np.concatenate([scores, sides], -1)}
    if levels:
        cut = [slice(0, 64), slice(64, 80), slice(80, 84)]
        outputs = {f"{kind}{i}": v[:, part] for i, part in enumerate(cut) for kind, v in (("a", scores), ("b", sides))}
    write("it", onnx_constant(64, **outputs), decoder="nanodet", **DETECTOR)
    [answer] = load_judge("it")(torch.rand(1, 3, 64, 64))
    assert answer["labels"].tolist() == [2] and answer["scores"].tolist() == pytest.approx([0.7])
    assert torch.allclose(answer["boxes"], torch.tensor([[12.0, 4.0, 52.0, 44.0]]), atol=1e-3)


def test_an_output_that_a_decoder_cannot_read_is_refused():
    write("it", onnx_constant(64, y=np.zeros((1, 84, 8), np.float32)), decoder="yolox", **DETECTOR)
    assert "84 x 3" in refusal(WeightsError, load_judge, "it")
    write("it", onnx_constant(64, y=np.zeros((1, 80, 7), np.float32)), decoder="yolox", **DETECTOR)
    refusal(WeightsError, load_judge, "it")


class FindsBright(torch.nn.Module):
    """A detector to be scripted, of the form that torchvision's have: losses, and boxes a picture."""

    def forward(self, images: list[torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
        found: list[dict[str, torch.Tensor]] = []
        for image in images:
            places = torch.nonzero(image.amax(0) > 0.6)
            if len(places) == 0:
                places = torch.zeros(1, 2, dtype=torch.long)
            low, high = places.amin(0), places.amax(0) + 1
            box = torch.stack([low[1], low[0], high[1], high[0]])[None].float()
            labels = image.mean((1, 2)).argmax()[None] + 1
            found.append({"boxes": box, "labels": labels, "scores": image.amax()[None]})
        return {}, found


def test_a_detector_in_torchscript_is_scored_on_boxed_pictures_of_any_size():
    fields = DETECTOR | {"classes": CLASSES, "resize": "none", "framework": "torchscript", "decoder": "faster_rcnn"}
    write("it", scripted(FindsBright(), Path("made.pt")), **fields)
    squares = boxed.mixed(6)
    judge = load_judge("it", squares.classes)
    assert judge.metric == "map50" and judge.black_box
    found = detect(judge, squares, batch=2)
    assert mean_ap(found, squares.all_targets()) == pytest.approx({"map": 100, "map50": 100, "map75": 100})
    answers = evaluate(Chain(), {"it": judge}, boxed.pictures(4), batch=2)
    assert answers.verdicts["it"].value() == pytest.approx(100)


def test_a_detector_of_torchvision_keeps_its_gradients_and_is_normalised_by_its_sidecar():
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    net = models.get_model(name, weights=None, weights_backbone=None, num_classes=3)
    save_weights(net, Path("judges", "it.safetensors"))
    scaling = SCALING | {"mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 1]}
    fields = DETECTOR | {"framework": "torchvision", "architecture": name, "resize": "none", "scaling": scaling}
    write("it", None, **fields)
    judge = load_judge("it")
    assert judge.classes == ("red", "green") and not judge.black_box
    assert judge.net.transform.image_mean == pytest.approx([0.5, 0.25, 0.125])
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    judge.task_loss(images, [{"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1])}]).backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda file: file.stem)
def test_the_sidecars_of_the_book_are_right(file):
    Path("judges", file.name).write_text(file.read_text())
    suffix = SUFFIXES[json.loads(file.read_text())["framework"]]
    Path("judges", file.stem + suffix).touch()
    assert find_sidecar(file.stem).family
    if suffix != ".safetensors":
        assert file.stem in refusal(ParameterError, checked_source, file.stem)

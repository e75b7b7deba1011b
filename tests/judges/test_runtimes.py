"""Files of ONNX, TFLite and TorchScript: what they answer, and which are not run."""

import io
import pickle
import zipfile
from pathlib import Path

import judge_files
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from judge_files import CLASSES, SIDE, onnx_means, pictures, scripted, tflite_means, write
from onnx import TensorProto, helper
from refusal import refusal

from ra_core.errors import ParameterError, WeightsError
from ra_core.judges import describe, load_judge

pytestmark = pytest.mark.usefixtures("empty_project")


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

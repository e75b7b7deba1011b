"""Tiny judges in files of other frameworks: their scores are the means of the three channels of what they are fed."""

import json
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as tflite
from flatbuffers import Builder
from onnx import TensorProto, helper, numpy_helper

from ra_core.judges.sidecar import SUFFIXES

SIDE = 8
CLASSES = ["red", "green", "blue"]
SCALING = {"channels": "RGB", "divisor": 255}
SIDECAR = {
    "framework": "onnx", "family": "means", "input": [SIDE, SIDE], "resize": "squeeze",
    "scaling": SCALING, "classes": CLASSES, "source": "a test", "licence": "none", "top1": 90,
}  # fmt: skip
DETECTOR = {"top1": None, "map50": 30, "classes": ["red", "green"], "input": [64, 64], "resize": "fit"}


def pictures(count: int = 5, side: int = SIDE) -> torch.Tensor:
    """Return pictures of 8 bits."""
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0)) / 255


def write(name: str, weights: bytes | None, **fields) -> dict:
    """Write a sidecar, with some fields other or (None) absent, and its weights into the present project."""
    sidecar = {key: value for key, value in (SIDECAR | fields).items() if value is not None}
    Path("judges", f"{name}.json").write_text(json.dumps(sidecar))
    if weights is not None:
        Path("judges", name + SUFFIXES.get(sidecar["framework"], "")).write_bytes(weights)
    return sidecar


def onnx_file(nodes: list, shape: list, kind: int = TensorProto.FLOAT, inputs: int = 1, constants: dict | None = None):
    """Return an ONNX file that maps `x` of a shape to `y` by some nodes."""
    entries = [helper.make_tensor_value_info("xyz"[2 * i], kind, shape) for i in range(inputs)]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "tiny", entries, [output], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def onnx_means(
    batch: int | str = "n", side: int | str = SIDE, nhwc: bool = False, kind: int = TensorProto.FLOAT
) -> bytes:
    """Return a classifier as an ONNX file."""
    axes = [1, 2] if nhwc else [2, 3]
    shape = [batch, side, side, 3] if nhwc else [batch, 3, side, side]
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["y"], axes=axes, keepdims=0),
    ]
    return onnx_file(nodes, shape, kind)


def onnx_constant(side: int, **outputs: np.ndarray) -> bytes:
    """Return an ONNX file that gives the same whatever picture it is fed, one at a time."""
    nodes = [helper.make_node("Identity", [f"{name}_stored"], [name]) for name in outputs]
    stored = [numpy_helper.from_array(value, f"{name}_stored") for name, value in outputs.items()]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, side, side])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()]
    graph = helper.make_graph(nodes, "constant", [entry], given, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def tflite_means(quantized: bool = False, free: bool = False) -> bytes:
    """Return a classifier as a TFLite file; a quantized one takes 8-bit values v and gives steps of 1 / 255."""
    model = tflite.ModelT()
    model.version = 3
    model.buffers = [tflite.BufferT(), tflite.BufferT()]
    model.buffers[1].data = list(np.array([1, 2], np.int32).tobytes())
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tflite.BuiltinOperator.MEAN
    code.version = 2 if quantized else 1
    model.operatorCodes = [code]

    def tensor(name: str, shape: list[int], kind: int, buffer: int = 0, scale: float | None = None):
        made = tflite.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, kind, buffer
        made.shapeSignature = [-1, *shape[1:]] if free and name in "xy" else None
        if scale is not None:
            made.quantization = tflite.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
        return made

    kind, scale = (tflite.TensorType.UINT8, 1 / 255) if quantized else (tflite.TensorType.FLOAT32, None)
    graph = tflite.SubGraphT()
    graph.tensors = [
        tensor("x", [1, SIDE, SIDE, 3], kind, scale=scale), tensor("axes", [2], tflite.TensorType.INT32, 1),
        tensor("y", [1, 3], kind, scale=scale),
    ]  # fmt: skip
    mean = tflite.OperatorT()
    mean.opcodeIndex, mean.inputs, mean.outputs = 0, [0, 1], [2]
    mean.builtinOptionsType, mean.builtinOptions = tflite.BuiltinOptions.ReducerOptions, tflite.ReducerOptionsT()
    graph.operators, graph.inputs, graph.outputs = [mean], [0], [2]
    model.subgraphs = [graph]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def scripted(module: torch.nn.Module, path: Path) -> bytes:
    """Return a module as a TorchScript file."""
    torch.jit.script(module).save(str(path))
    return path.read_bytes()


class Means(torch.nn.Module):
    """A classifier to be scripted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

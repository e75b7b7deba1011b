"""Networks in files of other frameworks, opened to be run only: no gradient, on the CPU, as many threads as torch has.

Nothing in such a file is unpickled by Python. An ONNX or TFLite file is a graph of known operators.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

from ra_core.errors import ParameterError

ONNX_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
}  # fmt: skip
MOST_CODE = 2**23  # bytes of the code in a TorchScript file

# A TorchScript file is a zip of tensors, of pickles and of code in a small language. torch.jit.load reads the pickles
# by a C++ reader that makes tensors, numbers, texts, lists, dicts and the classes of that very code, and imports
# nothing. The code can only call operators of torch, some of it already while it is loaded; so what could reach a file
# or another process is looked for before: operators by name, operators of libraries beyond the usual ones, and a
# `getattr` that does not spell out its name.
REACHING_OUT = re.compile(
    r"\b(from_file|save|read_file|write_file|load_tensor|rpc_\w+|(Ignored)?PythonOp)\b"
    r"|\bgetattr\b(?!\(\w+, \"[^\"\\]*\"\))"
    r"|\bops\b(?!\.(aten|prim|quantized|_quantized|prepacked|mkldnn_prepacked|torchvision)\.)"
)


@dataclass
class Opened:
    """A file that is ready to run.

    `run` maps scaled pictures (B, 3, H, W) to the list of what the file gives. `batch` is the number of pictures that
    it takes at once and `size` their height and width, None where it takes any, or does not say.
    """

    run: Callable[[torch.Tensor], list[torch.Tensor]]
    batch: int | None = None
    size: tuple[int, int] | None = None


def open_onnx(path: Path) -> Opened:
    """Open an ONNX file by onnxruntime."""
    runtime = _extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4  # what is wrong is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others need the cores as well
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = _only(session.get_inputs())
    shape = [side if isinstance(side, int) else None for side in entry.shape]
    pack, batch, size = _packing(shape, ONNX_TYPES[entry.type])

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(found) for found in session.run(None, {entry.name: pack(x)})]

    return Opened(run, batch, size)


def open_tflite(path: Path) -> Opened:
    """Open a TFLite file by LiteRT; whole numbers in its answer are scaled as the file says."""
    interpreter = _extra("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    entry, outputs = _only(interpreter.get_input_details()), interpreter.get_output_details()
    shape = [int(side) if side >= 0 else None for side in entry["shape_signature"]]
    pack, batch, size = _packing(shape, entry["dtype"])

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        values = pack(x)
        if None in shape and tuple(interpreter.get_input_details()[0]["shape"]) != values.shape:
            interpreter.resize_tensor_input(entry["index"], values.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], values)
        interpreter.invoke()
        found = []
        for output in outputs:
            tensor, (scale, zero) = torch.from_numpy(interpreter.get_tensor(output["index"])), output["quantization"]
            found.append(scale * (tensor.float() - zero) if scale else tensor)
        return found

    return Opened(run, batch, size)


def open_torchscript(path: Path, engine: str | None, in_a_list: bool) -> Opened:
    """Open a TorchScript file; a detector is given its pictures `in_a_list`.

    Traced files often take one picture only, do not say so, and some engines crash on two, so it gets one at a time.
    """
    with zipfile.ZipFile(path) as archive:
        code = [entry for entry in archive.infolist() if entry.filename.endswith(".py")]
        if sum(entry.file_size for entry in code) > MOST_CODE:
            raise ValueError("its code is too long")
        for entry in code:
            if found := REACHING_OUT.search(archive.read(entry).decode()):
                raise ValueError(f"its code uses {found.group().strip()!r}, which could reach beyond it")
    if engine is not None and engine not in torch.backends.quantized.supported_engines:
        raise ValueError(f"this machine has no engine {engine!r}")
    import torchvision  # noqa: F401  its operators are called by detectors

    with _quantized(engine), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # for those who write files: torch.export is newer
        module = torch.jit.load(str(path), map_location="cpu").eval()

    def run(x: torch.Tensor) -> list:
        with _quantized(engine):
            found = module([*x.contiguous()]) if in_a_list else module(x.contiguous())
        return [found] if isinstance(found, torch.Tensor) else list(found)

    return Opened(run, batch=1)


@contextmanager
def _quantized(engine: str | None) -> Iterator[None]:
    """Let 8-bit networks of torch run on an engine meanwhile."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine or before
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _extra(module: str):
    """Return a module of the extra `judges`. Raises `ParameterError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ParameterError(
            f"{module} is not installed ({error}); install the extra 'judges': pip install -e '.[judges]'."
        ) from error


def _only(inputs: list):
    """Return the one input of a file."""
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs and must have one")
    return inputs[0]


def _packing(shape: list[int | None], kind: type) -> tuple[Callable, int | None, tuple[int, int] | None]:
    """Return how pictures become the input of such a shape and type, its batch, and its height and width."""
    batch, *sides = shape
    last = sides[-1] == 3 and sides[0] != 3
    size = tuple(sides[:2] if last else sides[1:])
    if len(sides) != 3 or sides[-1 if last else 0] not in (3, None):
        raise ValueError(f"its input has the shape {shape} and is no batch of pictures of three channels")

    def pack(x: torch.Tensor) -> np.ndarray:
        values = (x.permute(0, 2, 3, 1) if last else x).contiguous().numpy()
        if np.issubdtype(kind, np.integer):
            values = values.round().clip(np.iinfo(kind).min, np.iinfo(kind).max)
        return np.ascontiguousarray(values, kind)

    return pack, batch, None if None in size else size

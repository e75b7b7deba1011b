"""A network as an ONNX file gives what it gives here, for any height, width and number of pictures."""

import importlib.util

import numpy as np
import onnxruntime
import pytest
import torch
from applied import preprocessor_run, processor_run
from refusal import refusal

import ra_core
from ra_core import export
from ra_core.errors import ParameterError

SIZES = [(1, 1, 1), (1, 1, 7), (2, 17, 33), (1, 64, 64), (3, 50, 31), (1, 120, 72)]


@pytest.mark.parametrize(
    "kind", ["sr", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dn", "npp", "npp_qa"))]
)
def test_onnxruntime_gives_the_same(tmp_path, kind, capsys):
    options = []
    if kind in ("sr", "dn"):
        processor_run(tmp_path / "run", kind)
    else:
        preprocessor_run(tmp_path / "run", kind, quality=20 if kind == "npp" else None)
        options = ["--strength", "0.1"] * (kind == "npp_qa")
    assert export.main([str(tmp_path / "run"), str(tmp_path / "out.onnx"), *options]) == 0
    net = ra_core.load(tmp_path / "run", "cpu", strength=0.1 if options else None)
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    for count, height, width in SIZES:
        images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
        [made] = session.run(None, {"input": images.numpy()})
        assert np.abs(made - net(images).numpy()).max() <= 1e-4
    assert session.get_modelmeta().custom_metadata_map["scale"] == str(net.scale)


def test_a_missing_package_or_a_wrong_name_is_one_sentence(tmp_path, monkeypatch, capsys):
    assert export.main(["nothing", str(tmp_path / "out.onnx")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(export, "find_spec", lambda name: importlib.util.find_spec(name) if name == "onnx" else None)
    message = refusal(ParameterError, export.export, ra_core.load("cifar10_narrow/dn/ra", "cpu"), tmp_path / "out.onnx")
    assert "onnxscript is missing" in message and not (tmp_path / "out.onnx").exists()

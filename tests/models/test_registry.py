"""Networks by name: published sizes, what is refused before anything is made, and one's own from a file outside."""

import pytest
import torch
from refusal import refusal

from ra_core.errors import ParameterError
from ra_core.models.preprocessors import PREPROCESSORS, make_preprocessor, preprocess
from ra_core.models.processors import PROCESSORS, make_processor
from ra_core.models.proxies import PROXIES, make_proxy
from ra_core.registry import load_extensions

every = pytest.mark.parametrize(
    ("registry", "name", "make"),
    [(PROCESSORS, "PROCESSORS", make_processor), (PREPROCESSORS, "PREPROCESSORS", make_preprocessor),
     (PROXIES, "PROXIES", make_proxy)],
    ids=["processors", "preprocessors", "proxies"],
)  # fmt: skip

STRANGER = """
from torch import nn
from ra_core.models.registry import {registry}

@{registry}.register("Mine")
class Mine(nn.Module):
    def __init__(self, scale: int = 1, width: int = 8):
        super().__init__()
        self.net = nn.Conv2d(3, 3 * scale**2, 1)
        self.up = nn.PixelShuffle(scale)

    def forward(self, images):
        return self.up(self.net(images))
"""


@pytest.mark.parametrize(
    ("make", "sizes", "parameters"),
    [
        (make_processor, {"name": "SRResNet", "scale": 4}, 734_092),
        (make_processor, {"name": "SRResNet", "scale": 1, "blocks": None}, 438_666),
        (make_processor, {"name": "SRDenseNet", "scale": 4, "width": None}, 5_455_043),
        (make_processor, {"name": "ResnetGenerator", "scale": 1}, 7_841_411),
        (make_preprocessor, {"name": "NPP"}, 9_422_235),
        (make_preprocessor, {"name": "NPPQA", "identity": True, "batch_norm": "frozen"}, 9_461_537),
        (make_proxy, {"name": "Minnen2018", "n": None}, 14_120_867),
        (make_proxy, {"name": "Hyperprior"}, 1_594_867),
        (make_proxy, {"name": "BlockDCT"}, 0),
    ],
)
def test_published_sizes(make, sizes, parameters):
    assert sum(p.numel() for p in make(**sizes).parameters()) == parameters


@every
def test_unknown_names_and_sizes_are_refused(registry, name, make):
    scale = {"scale": 1} if make is make_processor else {}
    message = refusal(ParameterError, make, "UNet", **scale)
    assert "'UNet'" in message and all(known in message for known in registry)
    for known in registry:
        assert "'depth'" in refusal(ParameterError, make, known, **scale, depth=1)


@every
def test_a_network_is_added_by_one_file(registry, name, make, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_known", dict(registry))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"my_{name}.py").write_text(STRANGER.format(registry=name))
    load_extensions([f"my_{name}"])
    assert make("Mine", scale=2, width=None)(torch.rand(1, 3, 4, 5)).shape == (1, 3, 8, 10)
    assert preprocess(make("Mine", scale=1), torch.rand(1, 3, 4, 5)).max() <= 1

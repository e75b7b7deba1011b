import pytest
import tiny
import torch
from refusal import refusal
from torch import nn

from ra_core.channels import Coded
from ra_core.codecs import CODECS, load_codec
from ra_core.errors import ParameterError
from ra_core.files import write_json
from ra_core.losses import straight_through
from ra_core.metrics import to_8bit
from ra_core.models.proxies import make_proxy
from ra_core.models.proxy_dct import BlockDCT
from ra_core.models.weights import save_weights
from ra_core.params import LearnedProxy, load_profile
from ra_core.runs import proxies
from ra_core.runs.proxies import LearnedLadder, proxies_of

IMAGES, _ = tiny.pictures(4).batch(torch.arange(4))
WEIGHTS = (64.0, 512.0)


class Constant(nn.Module):
    """A proxy of a fixed rate that multiplies by its `gain`."""

    def __init__(self, bpp: float, gain: float):
        super().__init__()
        self.bpp, self.gain, self.calls = bpp, gain, []

    def forward(self, images, quality=None):
        self.calls.append(len(images))
        bits = self.bpp * images[0, 0].numel() * images.mean((1, 2, 3)) / IMAGES.mean()
        return {"pictures": images * self.gain, "bits": bits}


class FakeCodec:
    """A codec whose file has as many bits a pixel as its quality says."""

    name = "fake"

    def __init__(self):
        self.asked = []

    def encode(self, pictures, quality, threads=None):
        self.asked.append(quality)
        return [bytes(round(quality * p.shape[0] * p.shape[1] / 8)) for p in pictures]

    def decode(self, files, threads=None):
        return [to_8bit(IMAGES[0]).permute(1, 2, 0).mul(255).byte().numpy() for _ in files]


@pytest.fixture
def ladder():
    return LearnedLadder([Constant(0.5, 0.1), Constant(2.0, 0.2), Constant(4.0, 0.3)], FakeCodec(), IMAGES)


def test_the_nearest_is_that_of_the_smallest_ratio(ladder):
    assert ladder.bpp == pytest.approx([0.5, 2.0, 4.0])
    for quality, expected in ((0.25, 0), (0.5, 0), (0.9, 0), (1.1, 1), (2, 1), (2.7, 1), (3, 2), (9, 2)):
        assert ladder.nearest(quality) == expected, quality


def test_each_picture_goes_to_the_proxy_of_its_own_quality(ladder):
    out = ladder(IMAGES, torch.tensor([4.0, 0.5, 2.0, 0.5]))
    gains = torch.tensor([0.3, 0.1, 0.2, 0.1]).view(4, 1, 1, 1)
    assert torch.allclose(out["pictures"], IMAGES * gains)
    assert [proxy.calls[1:] for proxy in ladder.proxies] == [[2], [1], [1]]
    same = ladder(IMAGES, 2.0)
    assert torch.allclose(same["pictures"], IMAGES * 0.2) and same["bits"].shape == (4,)


def test_the_codec_is_measured_once_a_quality():
    codec = FakeCodec()
    ladder = LearnedLadder([Constant(1, 1)], codec, IMAGES)
    for quality in (2.0, 2.0, 0.5):
        ladder(IMAGES, quality)
    assert codec.asked == [2, 0.5]


def test_a_ladder_must_know_the_quality(ladder):
    assert "was given no quality" in refusal(ParameterError, ladder, IMAGES)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Tiny proxies of two weights in place of those that a profile has; what is asked for is listed."""
    asked, files = [], [tmp_path / f"hyperprior-{weight:g}.safetensors" for weight in WEIGHTS]
    for weight, path in zip(WEIGHTS, files, strict=True):
        torch.manual_seed(int(weight))
        save_weights(make_proxy("Hyperprior", n=4, m=4), path)
        write_json(path.with_suffix(".json"), {"name": "Hyperprior", "n": 4, "m": 4, "weight": weight})
    monkeypatch.setattr(proxies, "trained_proxies", lambda *given: asked.append(given) or files)
    tiny.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return asked


def load_proxy(name: str, codec: str) -> nn.Module:
    return proxies.load_proxy(name, codec, IMAGES, LearnedProxy(), "tiny", "cpu")


@pytest.mark.parametrize("codec", CODECS)
def test_a_learned_proxy_stands_in_for_every_codec(weights, codec):
    try:
        coder = load_codec(codec)
    except ParameterError as missing:
        pytest.skip(str(missing))
    proxy = load_proxy("Hyperprior", codec)
    quality = (coder.qualities.low + coder.qualities.high) // 2
    sent = IMAGES.clone().requires_grad_(True)
    guess = proxy(sent, torch.full((4,), float(quality)))
    decoded, sizes = Coded(coder, quality).transmit(to_8bit(IMAGES))
    received = straight_through(decoded, guess["pictures"])
    bits = straight_through(8.0 * sizes.float(), guess["bits"])
    assert torch.allclose(received, decoded, atol=1e-6) and torch.allclose(bits, 8.0 * sizes.float())
    for value in (received.square().sum(), bits.sum()):
        (gradient,) = torch.autograd.grad(value, sent, retain_graph=True)
        assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.5
    assert not any(p.requires_grad for p in proxy.parameters()) and not proxy.training


def test_the_proxies_are_those_of_the_profile_in_order(weights, tmp_path):
    profile = load_profile("tiny")
    found = proxies_of(profile, "webp", IMAGES)
    assert list(found) == ["Hyperprior"]
    assert weights == [(profile.proxy, tmp_path / "runs" / "tiny" / "proxies", "cpu")]
    for mine, weight in zip(found["Hyperprior"].proxies, WEIGHTS, strict=True):
        torch.manual_seed(int(weight))
        fresh = make_proxy("Hyperprior", n=4, m=4).eval()
        assert torch.equal(mine(IMAGES)["bits"], fresh(IMAGES)["bits"])


def test_block_transforms_have_a_proxy_without_weights(weights):
    kinds = {codec: load_proxy("BlockDCT", codec).codec.__class__ for codec in ("jpeg-444", "heic", "bpg")}
    assert len(kinds) == 3 and isinstance(load_proxy("BlockDCT", "jpeg"), BlockDCT) and not weights


def test_what_cannot_stand_in_is_refused(weights):
    said = refusal(ParameterError, load_proxy, "BlockDCT", "webp")
    assert said.startswith("proxy BlockDCT cannot stand in for codec 'webp', only for bpg, heic, jpeg, jpeg-444,")
    assert "codec 'gif' is unknown" in refusal(ParameterError, load_proxy, "Hyperprior", "gif")

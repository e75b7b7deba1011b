import json
import urllib.error
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refusal
from safetensors import safe_open
from torch import nn
from torch.nn import functional as F
from torchvision import models

from ra_core.data import DATASETS, cifar10
from ra_core.errors import ParameterError, WeightsError
from ra_core.judges.recognizer import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SHIPPED,
    Recognizer,
    describe,
    load_recognizer,
    sidecar_of,
    soft_label_distance,
)
from ra_core.methods import METHODS
from ra_core.models import efficientnet_lite
from ra_core.models.cifar_nets import FAMILIES, OF_HALVES, vgg8
from ra_core.models.weights import save_weights

CUSTOM = """
import torch
from torch import nn

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4))

def own_range():
    net = plain()
    net.mean, net.std = (0.5, 0.25, 0.75), (0.5, 0.5, 0.125)
    return net

def two_channels():
    net = plain()
    net.mean = (0.5, 0.5)
    return net

def nothing():
    return "a string"

def needs(argument):
    return plain()

def weightless():
    plain().load_state_dict(torch.load("nowhere.pt"))
"""


@pytest.fixture
def custom(tmp_path, monkeypatch) -> str:
    """Return the name of a module that makes recognizers."""
    (tmp_path / "somebodys_nets.py").write_text(CUSTOM)
    monkeypatch.syspath_prepend(tmp_path)
    return "somebodys_nets"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Keep torchvision's weights apart from those of whoever runs the tests."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def recognizer() -> Recognizer:
    """Return a classifier with BatchNorm and Dropout, which was in training mode and had gradients left over."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 5))
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    return Recognizer(net, "it", IMAGENET_MEAN, IMAGENET_STD)


def normalised(images: torch.Tensor, mean=IMAGENET_MEAN, std=IMAGENET_STD) -> torch.Tensor:
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


# --- the wrapper


def test_normalisation_happens_inside():
    mean, std, images = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125), torch.rand(2, 3, 4, 4)
    assert torch.equal(Recognizer(nn.Identity(), "it", mean, std)(images), normalised(images, mean, std))


def test_no_weight_has_a_gradient_but_the_picture_has(recognizer):
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    recognizer(images).square().sum().backward()
    assert not any(p.requires_grad or p.grad is not None for p in recognizer.parameters())
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()


def test_nothing_brings_it_out_of_evaluation_mode(recognizer):
    parent = nn.ModuleDict({"recognizer": recognizer, "processor": nn.Conv2d(3, 3, 1)})
    before = {key: value.clone() for key, value in recognizer.state_dict().items()}
    images = torch.rand(6, 3, 8, 8)
    for wake in (parent.train, recognizer.train):
        wake()
        assert not any(module.training for module in recognizer.modules())
        single = torch.cat([recognizer(image[None]) for image in images])
        assert torch.allclose(recognizer(images), single, atol=1e-6)
    assert parent.training and parent["processor"].training
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())


# --- the distance of soft labels


def test_soft_label_distance_of_a_known_pair():
    logits = torch.tensor([[2.0, 1.0], [1.0, 1.0]]).log()  # (2/3, 1/3) and (1/2, 1/2)
    clean = torch.tensor([[1.0, 1.0], [1.0, 3.0]]).log()  # (1/2, 1/2) and (1/4, 3/4)
    expected = [2 * (1 / 6) ** 2, 2 * (1 / 4) ** 2]  # one a picture
    assert soft_label_distance(logits, clean).tolist() == pytest.approx(expected, rel=1e-6)


def test_lambda_on_the_sum_equals_the_published_ten_on_the_mean_over_1000_classes():
    generator = torch.Generator().manual_seed(0)
    logits, clean = 3 * torch.randn(2, 20, 1000, generator=generator)
    published = 10 * F.mse_loss(logits.softmax(1), clean.softmax(1))
    ours = METHODS["ra_unsupervised"].weight * soft_label_distance(logits, clean).mean()
    assert ours.item() == pytest.approx(published.item(), rel=1e-5)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 12), st.floats(0, 30))
def test_soft_label_distance_is_a_distance(seed, batch, classes, strength):
    generator = torch.Generator().manual_seed(seed)
    a, b = strength * torch.randn(2, batch, classes, generator=generator)
    distance = soft_label_distance(a, b)
    assert distance.shape == (batch,) and (distance >= 0).all() and (distance <= 2 + 1e-6).all()
    assert torch.equal(distance, soft_label_distance(b, a)) and not soft_label_distance(a, a).any()
    assert torch.allclose(distance, soft_label_distance(a + 5, b), atol=1e-5)  # as softmax does not see the shift
    never = torch.full((batch, 3), -1e4)  # further classes that neither takes into account change nothing
    assert torch.allclose(distance, soft_label_distance(torch.cat([a, never], 1), torch.cat([b, never], 1)))


# --- those that ship


@pytest.fixture(scope="module")
def test_parts():
    return {kind: DATASETS.find(kind).load("test") for kind in {*map(cifar10.seen_by, FAMILIES | OF_HALVES)}}


@pytest.mark.parametrize("name", FAMILIES | OF_HALVES)
def test_a_shipped_recognizer_is_small_documented_and_as_good_as_stated(name, test_parts):
    test_pictures, known = test_parts[cifar10.seen_by(name)], cifar10.FINGERPRINTS
    file, sidecar = SHIPPED / f"{name}.safetensors", sidecar_of(name)
    assert file.stat().st_size <= 4e6
    assert sidecar["name"] == name and tuple(sidecar["classes"]) == test_pictures.classes
    assert {"optimiser", "batch", "peak_lr", "weight_decay", "augmentation", "epochs"} <= set(sidecar["recipe"])
    assert isinstance(sidecar["seed"], int)
    seen = 1 if name in FAMILIES else 2  # every picture, or every second one
    assert (sidecar["train_pictures"], sidecar["test_pictures"]) == (50_000 // seen, 10_000 // seen)
    assert sidecar["trained_on"] == test_pictures.name.replace("-shipped/test", "/train")
    if name in FAMILIES:
        assert (sidecar["train_fingerprint"], sidecar["test_fingerprint"]) == (known["train"], known["test"])
    assert sidecar["test_top1"] >= (88 if name == "resnet20" else 85)
    with safe_open(file, "pt") as opened:  # the file says by itself where it comes from
        assert json.loads(opened.metadata()["sidecar"]) == {
            key: value for key, value in sidecar.items() if key != "sha256"
        }

    recognizer = load_recognizer(name)
    assert sidecar["parameters"] == sum(p.numel() for p in recognizer.parameters())
    assert describe(recognizer) == sidecar
    with torch.inference_mode():
        batches = [test_pictures.batch(indices) for indices in torch.arange(500).split(250)]
        right = sum((recognizer(images).argmax(1) == labels).sum().item() for images, labels in batches)
        images = batches[0][0][:2]
        wanted = recognizer.net(normalised(images, sidecar["mean"], sidecar["std"]))
        assert torch.equal(recognizer(images), wanted)
    assert abs(100 * right / 500 - sidecar["test_top1"]) < 3.5


def test_broken_files_of_a_recognizer_are_refused(tmp_path):
    def refused(sidecar: str | None, weights: bytes) -> str:
        if sidecar is not None:
            (tmp_path / "resnet20.json").write_text(sidecar)
        (tmp_path / "resnet20.safetensors").write_bytes(weights)
        return refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path)

    good, whole = (SHIPPED / "resnet20.json").read_text(), (SHIPPED / "resnet20.safetensors").read_bytes()
    for sidecar in (None, '{"name": "resn', "[]", '{"name": "resnet20"}'):
        assert "resnet20.json" in refused(sidecar, whole)
    for weights in (whole[:-1000], b""):
        assert "resnet20.safetensors" in refused(good, weights)
    assert "resnet20.safetensors" in refused(good, (SHIPPED / "vgg8.safetensors").read_bytes())


# --- torchvision's

SMALL = "squeezenet1_1"  # 1.2 million parameters
FILE = "squeezenet1_1-b8a52dc0.pth"


def test_torchvision_weights_are_fetched_once_and_normalised(cache, monkeypatch):
    torch.manual_seed(0)
    net = models.get_model(SMALL, weights=None).eval()
    fetched = []

    def download(url, path, *_, **__):
        fetched.append(url)
        torch.save(net.state_dict(), path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    recognizer, images = load_recognizer(SMALL), torch.rand(2, 3, 64, 48)
    assert torch.equal(recognizer(images), net(normalised(images)))
    assert not any(p.requires_grad for p in recognizer.parameters())
    assert describe(recognizer) == {"name": SMALL, "parameters": 1_235_496}
    assert same_weights(load_recognizer(SMALL), net)  # from the cache folder
    assert fetched == [models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url] and (cache / FILE).exists()


def test_weights_and_normalisation_are_those_of_the_paper_where_there_are_any(monkeypatch):
    asked = []
    monkeypatch.setattr(models, "get_model", lambda name, weights: asked.append(weights) or nn.Identity())
    load_recognizer("vit_h_14")
    load_recognizer("resnet50")
    other = load_recognizer("efficientnet_v2_l")
    assert asked[:2] == [models.ViT_H_14_Weights.DEFAULT, models.ResNet50_Weights.IMAGENET1K_V1]
    assert other.mean.flatten().tolist() == [0.5] * 3 and other.std.flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (urllib.error.URLError("Name or service not known"), "Name or service not known"),
        (RuntimeError('invalid hash value (expected "b8a52dc0", got "00")\nand more'), "invalid hash value"),
        (b"<html>please log in</html>", ""),
    ],
)
def test_weights_that_cannot_be_fetched_name_the_place_to_put_them(cache, monkeypatch, failure, reason):
    def download(url, path, *_, **__):
        if isinstance(failure, Exception):
            raise failure
        Path(path).write_bytes(failure)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    message = refusal(WeightsError, load_recognizer, SMALL)
    assert SMALL in message and str(cache / FILE) in message and reason in message and "TORCH_HOME" in message


@pytest.mark.parametrize("name", [SMALL, "vgg8"])
def test_a_file_of_weights_takes_the_place_of_what_a_network_brings(cache, tmp_path, name):
    net = models.get_model(SMALL, weights=None) if name == SMALL else FAMILIES[name]()
    save_weights(net, tmp_path / "own.safetensors")
    assert same_weights(load_recognizer(name, tmp_path / "own.safetensors"), net)
    save_weights(vgg8(classes=3), tmp_path / "other.safetensors")
    assert "other.safetensors" in refusal(WeightsError, load_recognizer, name, tmp_path / "other.safetensors")


def test_efficientnet_lite_is_scaled_as_it_was_trained(monkeypatch, tmp_path):
    torch.manual_seed(0)
    net = efficientnet_lite.efficientnet_lite("lite0").eval()
    monkeypatch.setattr(efficientnet_lite, "published", lambda name: {"lite0": net.state_dict()}[name])
    recognizer, images = load_recognizer("efficientnet_lite0"), torch.rand(2, 3, 40, 40)
    with torch.no_grad():
        assert torch.allclose(recognizer(images), net((255 * images - 127) / 128), atol=1e-5)
    save_weights(net, tmp_path / "own.safetensors")
    monkeypatch.setattr(efficientnet_lite, "published", None)  # not asked for
    assert load_recognizer("efficientnet_lite0", tmp_path / "own.safetensors").name == "efficientnet_lite0"
    assert describe(recognizer) == {"name": "efficientnet_lite0", "parameters": 4_652_008}


# --- custom ones


def test_a_function_of_one_s_own_makes_a_recognizer(custom, tmp_path):
    recognizer, images = load_recognizer(f"{custom}:plain"), torch.rand(3, 3, 2, 2)
    assert torch.equal(recognizer(images), recognizer.net(normalised(images)))
    assert not any(p.requires_grad for p in recognizer.parameters())
    assert describe(recognizer) == {"name": f"{custom}:plain", "parameters": 52}
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    save_weights(net, tmp_path / "own.safetensors")
    recognizer = load_recognizer(f"{custom}:own_range", tmp_path / "own.safetensors")
    assert torch.equal(recognizer(images), net(normalised(images, (0.5, 0.25, 0.75), (0.5, 0.5, 0.125))))


@pytest.mark.parametrize(
    ("function", "reason"),
    [("nothing", "'str'"), ("absent", "'absent'"), ("needs", "argument"), ("weightless", "nowhere.pt"),
     ("two_channels", "3"), ("", "package.module:function")],
)  # fmt: skip
def test_a_function_that_makes_no_recognizer_is_refused(custom, function, reason):
    message = refusal(ParameterError, load_recognizer, f"{custom}:{function}")
    assert reason in message and f"{custom}:{function}" in message


@pytest.mark.parametrize("name", ["no_such_package.nets:make", ":make", ".nets:make", "resnet19", "", "fcn_resnet50"])
def test_an_unknown_name_is_refused(name):
    message = refusal(ParameterError, load_recognizer, name)
    assert repr(name) in message and "package.module:function" in message
    assert ":" in name or all(family in message for family in FAMILIES)

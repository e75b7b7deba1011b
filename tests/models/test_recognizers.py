import json
import urllib.error
from pathlib import Path

import pytest
import torch
from refusal import refusal
from safetensors import safe_open
from torch import nn
from torchvision import models

from ra_core.data import cifar10
from ra_core.errors import ParameterError, WeightsError
from ra_core.models import efficientnet_lite
from ra_core.models.cifar_nets import FAMILIES, vgg8
from ra_core.judges.recognizer import IMAGENET_MEAN, IMAGENET_STD, SHIPPED, Recognizer, describe, load_recognizer, read_sidecar
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
def cache(tmp_path, monkeypatch):
    """Keep torchvision's weights apart from those of whoever runs the tests."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def small_net() -> nn.Module:
    """Return a classifier with BatchNorm and Dropout, in training mode, with gradients left over."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(144, 5))
    net(torch.rand(2, 3, 8, 8)).sum().backward()
    return net


# --- the wrapper


def test_normalisation_happens_inside():
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    recognizer = Recognizer(nn.Identity(), "it", mean, std)
    images = torch.tensor(mean).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.allclose(recognizer(images), torch.zeros(1, 3, 2, 2), atol=1e-7)
    one_more = images + torch.tensor(std).view(1, 3, 1, 1)
    assert torch.allclose(recognizer(one_more), torch.ones(1, 3, 2, 2), atol=1e-6)


def test_no_weight_has_a_gradient_but_the_picture_has():
    recognizer = Recognizer(small_net(), "it", IMAGENET_MEAN, IMAGENET_STD)
    recognizer.zero_grad()
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    recognizer(images).square().sum().backward()
    assert not any(p.requires_grad or p.grad is not None for p in recognizer.parameters())
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()


def test_wrapping_drops_gradients_that_were_left_over():
    recognizer = Recognizer(small_net(), "it", IMAGENET_MEAN, IMAGENET_STD)
    assert all(p.grad is None for p in recognizer.parameters())


def test_nothing_brings_it_out_of_evaluation_mode():
    recognizer = Recognizer(small_net(), "it", IMAGENET_MEAN, IMAGENET_STD)
    parent = nn.ModuleDict({"recognizer": recognizer, "processor": nn.Conv2d(3, 3, 1)})
    before = {key: value.clone() for key, value in recognizer.state_dict().items()}
    for wake in (parent.train, recognizer.train, lambda: recognizer.train(True)):
        wake()
        assert not any(module.training for module in recognizer.modules())
        recognizer(torch.rand(4, 3, 8, 8))
    assert parent.training and parent["processor"].training
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())


def test_an_answer_does_not_depend_on_the_other_pictures():
    recognizer = Recognizer(small_net(), "it", IMAGENET_MEAN, IMAGENET_STD)
    images = torch.rand(6, 3, 8, 8)
    single = torch.cat([recognizer(image[None]) for image in images])
    assert torch.allclose(recognizer(images), single, atol=1e-6)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (1, 1, 1)), ((0, 0, 0), (1, 1, 1, 1))])
def test_mean_and_std_have_one_number_a_channel(mean, std):
    assert "three numbers" in refusal(ParameterError, Recognizer, nn.Identity(), "it", mean, std)


# --- those that ship


@pytest.fixture(scope="module")
def test_pictures():
    return cifar10.load("shipped", "test")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_shipped_recognizer_is_small_documented_and_as_good_as_stated(name, test_pictures):
    file = SHIPPED / f"{name}.safetensors"
    assert file.stat().st_size <= 4e6

    sidecar = read_sidecar(name)
    assert sidecar["name"] == name and tuple(sidecar["classes"]) == cifar10.CLASSES
    assert {"optimiser", "batch", "peak_lr", "weight_decay", "augmentation", "epochs"} <= set(sidecar["recipe"])
    assert isinstance(sidecar["seed"], int)
    assert sidecar["train_fingerprint"] == cifar10.FINGERPRINTS["train"] and sidecar["train_pictures"] == 50_000
    assert sidecar["test_fingerprint"] == cifar10.FINGERPRINTS["test"] and sidecar["test_pictures"] == 10_000
    assert sidecar["test_top1"] >= (88 if name == "resnet20" else 85)
    with safe_open(file, "pt") as opened:  # the file says by itself where it comes from
        assert json.loads(opened.metadata()["sidecar"]) == sidecar

    recognizer = load_recognizer(name)
    assert sidecar["parameters"] == sum(p.numel() for p in recognizer.parameters())
    assert describe(recognizer) == sidecar
    with torch.inference_mode():
        batches = [test_pictures.batch(indices) for indices in torch.arange(2000).split(250)]
        right = sum((recognizer(images).argmax(1) == labels).sum().item() for images, labels in batches)
    assert abs(100 * right / 2000 - sidecar["test_top1"]) < 2.5


def test_a_shipped_recognizer_normalises_by_its_sidecar():
    recognizer, sidecar = load_recognizer("resnet20"), read_sidecar("resnet20")
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(sidecar[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    assert torch.equal(recognizer(images), recognizer.net((images - mean) / std))


def copy_shipped(folder, weights: bytes | None = None, sidecar: str | None = None) -> None:
    """Lay a changed copy of the source recognizer into `folder`."""
    folder.mkdir(exist_ok=True)
    whole = (SHIPPED / "resnet20.safetensors").read_bytes()
    (folder / "resnet20.safetensors").write_bytes(whole if weights is None else weights(whole))
    text = (SHIPPED / "resnet20.json").read_text()
    (folder / "resnet20.json").write_text(text if sidecar is None else sidecar)


def test_broken_files_of_a_recognizer_are_refused(tmp_path):
    assert "resnet20.json" in refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path / "none")
    copy_shipped(tmp_path, weights=lambda whole: whole[:-1000])
    assert "not a whole safetensors file" in refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path)
    copy_shipped(tmp_path, weights=lambda whole: b"")
    assert "not a whole safetensors file" in refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path)
    save_weights(vgg8(), tmp_path / "resnet20.safetensors")
    assert "another network" in refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path)
    for sidecar in ('{"name": "resn', "[]", '{"name": "resnet20"}'):
        copy_shipped(tmp_path, sidecar=sidecar)
        assert "resnet20.json" in refusal(WeightsError, load_recognizer, "resnet20", folder=tmp_path)


def test_weights_of_one_s_own_take_the_place_of_the_shipped(tmp_path):
    net = FAMILIES["vgg8"]()
    save_weights(net, tmp_path / "own.safetensors")
    recognizer = load_recognizer("vgg8", tmp_path / "own.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(recognizer.parameters(), net.parameters(), strict=True))


# --- torchvision's

SMALL = "squeezenet1_1"  # 1.2 million parameters


def test_every_torchvision_classifier_brings_its_own_normalisation():
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name)
        assert weights.DEFAULT.transforms().mean and weights.DEFAULT.transforms().std, name


def test_torchvision_weights_are_fetched_and_normalised(cache, monkeypatch):
    torch.manual_seed(0)
    net = models.get_model(SMALL, weights=None).eval()
    fetched = []

    def download(url, path, *_, **__):
        fetched.append(url)
        torch.save(net.state_dict(), path)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    recognizer, images = load_recognizer(SMALL), torch.rand(2, 3, 64, 48)
    assert fetched == [models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url]
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    assert torch.equal(recognizer(images), net((images - mean) / std))
    assert not any(p.requires_grad for p in recognizer.parameters())
    assert describe(recognizer) == {"name": SMALL, "parameters": 1_235_496}


def test_normalisation_is_that_of_the_weights(monkeypatch):
    """A network whose weights were trained with another range gets that one."""
    monkeypatch.setattr(models, "get_model", lambda name, weights: nn.Identity())
    recognizer = load_recognizer("efficientnet_v2_l")
    assert recognizer.mean.flatten().tolist() == [0.5] * 3 and recognizer.std.flatten().tolist() == [0.5] * 3


def test_a_network_without_the_first_weights_gets_those_it_has(monkeypatch):
    asked = []
    monkeypatch.setattr(models, "get_model", lambda name, weights: asked.append(weights) or nn.Identity())
    load_recognizer("vit_h_14")
    load_recognizer("resnet50")
    assert asked == [models.ViT_H_14_Weights.DEFAULT, models.ResNet50_Weights.IMAGENET1K_V1]


def test_without_network_a_sentence_says_what_to_do(cache, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    message = refusal(WeightsError, load_recognizer, SMALL)
    file = Path(torch.hub.get_dir()) / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    assert message == (
        f"the ImageNet weights of {SMALL} are missing or broken in {file} and could not be fetched (<urlopen error "
        "Name or service not known>); put that file there, name its cache folder in the environment variable "
        "TORCH_HOME, or connect to the network once."
    )


def test_weights_in_a_cache_folder_need_no_network(tmp_path, monkeypatch):
    torch.manual_seed(0)
    net = models.get_model(SMALL, weights=None)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(net.state_dict(), tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    recognizer = load_recognizer(SMALL)
    assert all(torch.equal(a, b) for a, b in zip(recognizer.parameters(), net.parameters(), strict=True))


def test_a_download_that_is_damaged_or_breaks_off_is_told(cache, monkeypatch):
    def damaged(url, path, *_, **__):
        with open(path, "wb") as file:
            file.write(b"<html>please log in</html>")

    monkeypatch.setattr(torch.hub, "download_url_to_file", damaged)
    assert "could not be fetched" in refusal(WeightsError, load_recognizer, SMALL)

    def broken_off(*_, **__):
        raise RuntimeError('invalid hash value (expected "b8a52dc0", got "00")\nand more')

    monkeypatch.setattr(torch.hub, "download_url_to_file", broken_off)
    assert "could not be fetched" in refusal(WeightsError, load_recognizer, "squeezenet1_0")


def test_a_file_of_weights_needs_no_network(cache, tmp_path):
    net = models.get_model(SMALL, weights=None)
    save_weights(net, tmp_path / "own.safetensors")
    recognizer = load_recognizer(SMALL, tmp_path / "own.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(recognizer.parameters(), net.parameters(), strict=True))
    save_weights(vgg8(), tmp_path / "other.safetensors")
    assert "another network" in refusal(WeightsError, load_recognizer, SMALL, tmp_path / "other.safetensors")


# --- EfficientNet-Lite


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


def test_a_function_of_one_s_own_makes_a_recognizer(custom):
    recognizer, images = load_recognizer(f"{custom}:plain"), torch.rand(3, 3, 2, 2)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    assert torch.equal(recognizer(images), recognizer.net((images - mean) / std))
    assert not any(p.requires_grad for p in recognizer.parameters())
    assert describe(recognizer) == {"name": f"{custom}:plain", "parameters": 52}


def test_it_may_bring_mean_std_and_take_weights(custom, tmp_path):
    torch.manual_seed(0)
    net, images = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), torch.rand(3, 3, 2, 2)
    save_weights(net, tmp_path / "own.safetensors")
    recognizer = load_recognizer(f"{custom}:own_range", tmp_path / "own.safetensors")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5, 0.25, 0.75), (0.5, 0.5, 0.125)))
    assert torch.equal(recognizer(images), net((images - mean) / std))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("nothing", "returned a str"),
        ("absent", "no attribute 'absent'"),
        ("needs", "argument"),
        ("weightless", "No such file"),
        ("two_channels", "three numbers"),
        ("", "package.module:function"),
    ],
)
def test_a_function_that_makes_no_recognizer_is_refused(custom, function, reason):
    message = refusal(ParameterError, load_recognizer, f"{custom}:{function}")
    assert reason in message and f"{custom}:{function}" in message


@pytest.mark.parametrize("name", ["no_such_package.nets:make", ":make", ".nets:make"])
def test_a_module_that_is_not_there_is_refused(name):
    assert "package.module:function" in refusal(ParameterError, load_recognizer, name)


@pytest.mark.parametrize("name", ["resnet19", "", "fcn_resnet50", "ResNet20"])
def test_an_unknown_name_is_refused(name):
    message = refusal(ParameterError, load_recognizer, name)
    assert repr(name) in message and all(family in message for family in FAMILIES)

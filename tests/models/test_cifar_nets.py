import pytest
import torch
from torch import nn

from ra_core.models.cifar_nets import FAMILIES, BasicBlock, DenseLayer, InvertedResidual

SIZES = {"resnet20": 272_474, "resnet26": 508_314, "vgg8": 510_954, "densenet17": 263_576, "mobilenet": 291_770}
FEATURES = {  # what a family has that the others lack
    "resnet20": BasicBlock, "resnet26": BasicBlock, "vgg8": nn.MaxPool2d, "densenet17": DenseLayer,
    "mobilenet": InvertedResidual,
}  # fmt: skip


def test_sizes():
    assert {name: sum(p.numel() for p in net().parameters()) for name, net in FAMILIES.items()} == SIZES


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_built_in_its_own_way(name):
    net = FAMILIES[name]()
    for kind in set(FEATURES.values()):
        assert any(isinstance(layer, kind) for layer in net.modules()) == (kind is FEATURES[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_become_logits_with_gradients_for_every_weight_and_picture(name):
    torch.manual_seed(0)
    net, images = FAMILIES[name](7), torch.randn(4, 3, 32, 32, requires_grad=True)
    nn.functional.cross_entropy(net(images), torch.arange(4)).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, key
    assert (images.grad.abs().amax((1, 2, 3)) > 0).all()
    with torch.no_grad():
        logits = net.eval()(images)
        assert (
            logits.shape == (4, 7) and logits.isfinite().all() and not torch.allclose(logits[0], logits[1], atol=1e-6)
        )
        assert torch.allclose(logits[1:2], net(images[1:2]), atol=1e-5)

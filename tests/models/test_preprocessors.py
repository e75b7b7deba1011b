import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ra_core.models.preprocessors import NPP, make_preprocessor, preprocess

NAMES = ("NPP", "NPPQA")


def narrow(name: str = "NPP", **sizes) -> NPP:
    torch.manual_seed(0)
    return make_preprocessor(name, **{"width": 2, **sizes})


def shaken(net: nn.Module) -> nn.Module:
    """Move every parameter a little away from where it began."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return net


@settings(max_examples=12)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(NAMES))
def test_any_size_comes_back_as_it_was(height, width, name):
    net = narrow(name).eval()
    images = torch.rand(2, 3, height, width)
    with torch.no_grad():
        answer = net(images, 0.5)
    assert answer.shape == images.shape and answer.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (17, 40)])
def test_the_identity_form_begins_as_exactly_the_identity(name, training, size):
    net = narrow(name, identity=True, width=4).train(training)
    images = 3 * torch.rand(2, 3, *size) - 1
    with torch.no_grad():
        for strength in (0.03125, torch.tensor([0.1, 2.0])):
            assert torch.equal(net(images, strength), images)


def test_the_published_form_is_the_sum_of_two_rectified_branches():
    net, images = shaken(narrow()).eval(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        pixel = net.pixel[1](net.pixel[0](images).relu()).relu()
        nn.init.zeros_(net.head[-1].weight)
        for bias, other in ((-1.0, 0.0), (2.5, 2.5)):  # below zero everywhere; not bounded above
            nn.init.constant_(net.head[-1].bias, bias)
            assert torch.equal(net(images), pixel + other)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("identity", [True, False])
def test_parameters_get_gradients(name, identity):
    net = shaken(narrow(name, identity=identity, width=4))
    images = torch.rand(2, 3, 32, 32)
    net(images, torch.tensor([0.2, 0.9])).square().mean().backward()
    gradients = {key: parameter.grad for key, parameter in net.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    dead = [key for key, gradient in gradients.items() if gradient.abs().max() == 0]
    # Three hidden values, all of which may be rectified to zero; the published form ends in rectifiers too.
    allowed = ("pixel.",) if identity else ("pixel.", "scaling.")
    assert all(key.startswith(allowed) for key in dead) and len(dead) < 12, dead


@pytest.mark.parametrize("identity", [True, False])
def test_a_batch_of_two_strengths_is_two_calls_of_one(identity):
    net = shaken(narrow("NPPQA", identity=identity, width=4)).eval()
    images = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    strengths = torch.tensor([0.0625, 2.0])
    with torch.no_grad():
        both = net(images, strengths)
        each = torch.cat([net(images[:1], strength) for strength in strengths])
        number = net(images[:1], 2.0)
    assert torch.allclose(both, each, atol=1e-5) and torch.allclose(both[1:], number, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_each_factor_multiplies_the_features_of_its_place():
    net = narrow("NPPQA", width=2).eval()
    images, seen = torch.rand(1, 3, 32, 32), {}
    for place, factor in zip(net.scaling, (2.0, 3.0, 0.5, 4.0, 5.0, 6.0, 7.0, 8.0), strict=True):
        nn.init.zeros_(net.scaling[place].net[2].weight)
        nn.init.constant_(net.scaling[place].net[2].bias, factor)
    parts = {"down": [level["shrink"] for level in net.down], "up": [level["body"] for level in net.up]}
    parts |= {"kept": [level["keep"] for level in net.down], "head": [net.head]}
    for name, layers in parts.items():
        for level, layer in enumerate(layers):
            layer.register_forward_hook(lambda _, args, out, key=f"{name}{level}": seen.update({key: (args[0], out)}))
    with torch.no_grad():
        net(images, 1.0)
    for place, factor, after in (("down0", 0.5, "kept1"), ("down1", 4.0, "kept2"), ("down2", 5.0, "kept3")):
        assert torch.equal(seen[after][0], factor * seen[place][1]), place
    assert torch.equal(seen["up0"][0], seen["down3"][1])  # the deepest features are not scaled
    for up, factor, kept, after in ((0, 1.0, 3, "up1"), (1, 6.0, 2, "up2"), (2, 7.0, 1, "up3"), (3, 8.0, 0, "head0")):
        both = torch.cat([seen[f"up{up}"][1], seen[f"kept{kept}"][1]], dim=1)
        assert torch.equal(seen[after][0], factor * both), up


def test_frozen_batch_norm_never_looks_at_the_batch_but_learns_its_scale_and_shift():
    net = narrow(batch_norm="frozen")
    images = torch.rand(3, 3, 32, 32)
    alone = net.train()(images[:1])
    together = net(images)
    assert net.training and torch.allclose(alone, together[:1], atol=1e-6)
    assert net(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)
    assert torch.equal(net.head[1].running_mean, torch.zeros(2))
    assert torch.equal(net.eval()(images), together)
    together.sum().backward()
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 26 and any(norm.weight.grad.abs().max() > 0 for norm in norms)


def test_preprocess_clamps_and_hands_the_strength_to_networks_that_take_one():
    images = torch.rand(2, 3, 16, 16)
    net = narrow(identity=True).eval()
    nn.init.constant_(net.head[-1].bias, -0.25)  # both branches, without a rectifier
    nn.init.constant_(net.pixel[1].bias, -0.5)
    with torch.no_grad():
        assert torch.allclose(net(images), images - 0.75)
        assert torch.equal(preprocess(net, images), net(images).clamp(0, 1))
        adaptive = shaken(narrow("NPPQA")).eval()
        assert torch.equal(preprocess(adaptive, images, 0.5), adaptive(images, 0.5).clamp(0, 1))
        assert torch.equal(preprocess(nn.Identity(), images), images)

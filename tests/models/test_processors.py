import pytest
import torch
from refusal import refusal
from torch import nn

from ra_core.errors import ParameterError
from ra_core.models.blocks import Residual
from ra_core.models.processors import PReLU, ResnetGenerator, SRResNet, make_processor


def layers(net: nn.Module, *kinds: type[nn.Module]) -> list:
    return [layer for layer in net.modules() if isinstance(layer, kinds)]


def test_srresnet_is_built_as_published_with_a_long_skip_and_nothing_after_the_sum_of_a_block():
    net = make_processor("SRResNet", 4)
    assert len(layers(net, Residual)) == 5
    assert [conv.kernel_size[0] for conv in layers(net, nn.Conv2d)] == [9, *[3] * 10, 3, 3, 3, 9]
    assert [prelu.num_parameters for prelu in layers(net, nn.PReLU)] == [1] * 9
    net, seen = SRResNet(1, width=4, blocks=2), {}
    net.tail.register_forward_pre_hook(lambda _, args: seen.update(tail=args[0]))
    net.head.register_forward_hook(lambda _, args, out: seen.update(head=out))
    for parameter in net.body[-2].parameters():
        nn.init.zeros_(parameter)
    net(torch.rand(1, 3, 8, 8))
    assert torch.equal(seen["tail"], seen["head"])
    block, x = net.body[0], -torch.rand(1, 4, 8, 8)
    nn.init.zeros_(block.body[-1].weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("name", "scale", "width", "blocks"),
    [("SRResNet", 4, 8, 2), ("SRResNet", 2, 8, 1), ("SRDenseNet", 4, 4, 1), ("ResnetGenerator", 1, 4, 1)],
)
@pytest.mark.parametrize("training", [True, False])
def test_output_shape_and_range(name, scale, width, blocks, training):
    torch.manual_seed(0)
    net = make_processor(name, scale, width=width, blocks=blocks).train(training)
    images = torch.rand(2, 3, 8, 12)
    for x in (images, 1000 * images, torch.zeros_like(images)):
        out = net(x)
        assert out.shape == (2, 3, 8 * scale, 12 * scale) and out.isfinite().all()
        bounded = out.min() >= 0 and out.max() <= 1
        assert bounded if name != "SRDenseNet" else not bounded or x.max() <= 1


@pytest.mark.parametrize("net", [SRResNet(1, 4, 1), ResnetGenerator(1, 4, 1)], ids=["SRResNet", "Generator"])
def test_the_bounded_networks_end_in_half_of_tanh_plus_one(net):
    last = layers(net, nn.Conv2d)[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 0.5)
    expected = (torch.tensor(0.5).tanh() + 1) / 2
    assert torch.allclose(net(torch.rand(1, 3, 8, 8)), expected, atol=1e-6)


def test_scales_and_sizes_that_a_network_does_not_have_are_refused():
    for name, scale in (("SRResNet", 3), ("SRResNet", 0), ("SRDenseNet", 6), ("ResnetGenerator", 4)):
        message = refusal(ParameterError, make_processor, name, scale)
        assert name in message and f"scale {scale}" in message
    for height, width in ((30, 32), (32, 31), (4, 32)):
        message = refusal(ParameterError, ResnetGenerator(1, 4, 1), torch.rand(1, 3, height, width))
        assert f"{height} x {width}" in message and "multiples of 4" in message


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_prelu_is_that_of_torch_in_value_and_gradient(dtype):
    torch.manual_seed(0)
    values = torch.cat([torch.randn(997), torch.tensor([0.0, -0.0, 3e4])]).to(dtype).view(2, 4, 5, 25)
    given = torch.randn(values.shape).to(dtype)
    found = []
    for net in (PReLU(), nn.PReLU()):
        x = values.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = net.to(torch.promote_types(dtype, torch.float32))(x)
        y.backward(given)
        found.append((y, x.grad, net.weight.grad, list(net.state_dict())))
    (y, x, weight, names), (y_torch, x_torch, weight_torch, names_torch) = found
    assert torch.equal(y, y_torch) and torch.equal(x, x_torch) and names == names_torch
    assert torch.allclose(weight.double(), weight_torch.double(), rtol=1e-12 if dtype == torch.float64 else 1e-2)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_residual_srresnet_begins_as_bicubic_enlargement_and_subtracts_its_answer(scale):
    torch.manual_seed(0)
    net, images = make_processor("SRResNet", scale, width=4, blocks=1, residual=True).eval(), torch.rand(2, 3, 8, 12)
    enlarged = nn.functional.interpolate(images, scale_factor=scale, mode="bicubic") if scale > 1 else images
    assert torch.equal(net(images), enlarged.clamp(0, 1))
    (net(images) - torch.rand_like(enlarged)).square().mean().backward()
    assert net.tail[-1].weight.grad.abs().max() > 0
    plain = make_processor("SRResNet", scale, width=4, blocks=1).eval()
    with torch.no_grad():
        net.load_state_dict(plain.state_dict())  # the same parameters, so the same count
        answer = torch.atanh(2 * plain(images).double() - 1).float()
        assert torch.allclose(net(images), (enlarged - answer).clamp(0, 1), atol=1e-4)

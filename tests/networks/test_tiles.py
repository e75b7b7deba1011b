import math

import numpy as np
import pytest
import torch
from applied import array, shaken
from torch import nn

from ra_core.channels import from_arrays, to_arrays
from ra_core.models.preprocessors import make_preprocessor
from ra_core.models.processors import make_processor
from ra_core.networks import tiles
from ra_core.networks.tiles import geometry, run_net

NETS = {
    "NPP": lambda: make_preprocessor("NPP", width=2, identity=True),
    "SRResNet": lambda: make_processor("SRResNet", 1, width=4, blocks=2),
    "SRResNet x4": lambda: make_processor("SRResNet", 4, width=4, blocks=2),
    "SRDenseNet x2": lambda: make_processor("SRDenseNet", 2, width=2, blocks=2),
    "ResnetGenerator": lambda: make_processor("ResnetGenerator", 1, width=2, blocks=2),
}
STRONGER = {"SRDenseNet x2": 0.1, "ResnetGenerator": 0.2}  # by how much weights are moved for a lively picture
CORE = 96


@pytest.fixture(params=NETS)
def net(request) -> nn.Module:
    torch.manual_seed(0)
    return shaken(NETS[request.param](), by=STRONGER.get(request.param, 0.05))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("NPP", (16, 122, 1)), ("SRResNet", (1, 13, 1)), ("SRResNet x4", (1, 13, 4)), ("ResnetGenerator", (4, 28, 1))],
)
def test_the_geometry_of_the_networks(name, expected):
    assert geometry(NETS[name]()) == expected


def test_a_network_sees_no_farther_than_its_reach_and_nearly_as_far(net):
    with torch.no_grad():
        for parameter in net.double().parameters():
            parameter.abs_().add_(0.01)  # weights of one sign, so that no path is silent
    grid, reach, scale = geometry(net)
    side = 2 * math.ceil(reach / grid) * grid + 4 * grid
    hidden = []  # what the last convolution gives; the last function, flat where it saturates, would hide what is seen
    last = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)][-1]
    last.register_forward_hook(lambda _, __, output: hidden.append(output))
    for target in (side // 2, side // 2 + grid // 2):  # places on the grid and between
        image = torch.full((1, 3, side, side), 0.5, dtype=torch.double, requires_grad=True)
        net(image)
        hidden.pop()[0, :, target * scale, target * scale].sum().backward()
        rows = image.grad[0].abs().sum((0, 2)).nonzero().flatten()
        far = max(target - int(rows.min()), int(rows.max()) - target)
        assert 0.7 * reach - grid <= far <= reach


def levels(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Return a picture (1, 3, H, W), uint8."""
    return torch.from_numpy(array(height, width, seed)).permute(2, 0, 1)[None]


def test_tiles_join_to_the_picture_that_comes_out_in_one_piece(net, monkeypatch):
    grid, reach, scale = geometry(net)
    picture = levels(2 * reach + CORE + 17, 2 * reach + CORE + 34)
    once, cut = run_net(net, picture, core=10**6).int(), run_net(net, picture, core=CORE).int()
    assert (once - cut).abs().max() <= 1  # the order of a sum may round a value the other way
    assert (once != cut).float().mean() < 1e-3 and len(once.unique()) > 50
    monkeypatch.setattr(tiles, "geometry", lambda net: (grid, 0, scale))  # without the margin there are seams
    assert (once - run_net(net, picture, core=CORE).int()).abs().max() > 1


def test_small_pictures_are_what_the_network_makes_of_them_also_a_few_at_a_time():
    net, arrays = shaken(NETS["NPP"]()), [array(37, 50, seed) for seed in range(5)]
    with torch.inference_mode():
        expected = torch.from_numpy(np.stack(to_arrays(net(from_arrays(arrays))))).permute(0, 3, 1, 2)
    pictures = torch.cat([levels(37, 50, seed) for seed in range(5)])
    assert torch.equal(run_net(net, pictures), expected) and not torch.equal(pictures, expected)
    few = run_net(net, pictures, core=64).int()  # two at a time
    assert few.shape == expected.shape and (few - expected.int()).abs().max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (9, 200), (5, 1)])
def test_any_size_comes_out_at_its_scale(net, size):
    scale = geometry(net).scale
    assert run_net(net, levels(*size), core=32).shape == (1, 3, size[0] * scale, size[1] * scale)

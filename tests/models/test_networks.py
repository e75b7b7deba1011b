"""What all networks share: published sizes, gradients, pictures that do not mix, refusals, one's own from a file."""

from functools import partial

import pytest
import torch
from refusal import refusal

from ra_core.errors import ParameterError
from ra_core.models.cell_nets import CELL_FAMILIES
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.preprocessors import PREPROCESSORS, make_preprocessor, preprocess
from ra_core.models.processors import PROCESSORS, make_processor
from ra_core.models.proxies import PROXIES, make_proxy
from ra_core.registry import load_extensions

PUBLISHED = [
    (make_processor, {"name": "SRResNet", "scale": 4}, 734_092),
    (make_processor, {"name": "SRResNet", "scale": 1, "blocks": None}, 438_666),
    (make_processor, {"name": "SRDenseNet", "scale": 4, "width": None}, 5_455_043),
    (make_processor, {"name": "ResnetGenerator", "scale": 1}, 7_841_411),
    (make_preprocessor, {"name": "NPP"}, 9_422_235),
    (make_preprocessor, {"name": "NPPQA", "identity": True, "batch_norm": "frozen"}, 9_461_537),
    (make_proxy, {"name": "Minnen2018", "n": None}, 14_120_867), (make_proxy, {"name": "Hyperprior"}, 1_594_867),
    (make_proxy, {"name": "BlockDCT"}, 0), (efficientnet_lite, {"name": "lite0"}, 4_652_008),
    (efficientnet_lite, {"name": "lite1"}, 5_416_680), (efficientnet_lite, {"name": "lite2"}, 6_092_072),
]  # fmt: skip
CLASSIFIERS = {
    "resnet20": 272_474, "resnet26": 508_314, "vgg8": 510_954, "densenet17": 263_576, "mobilenet": 291_770,
    "cell_resnet20": 278_434, "cell_vgg8": 522_370, "cell_mobilenet": 296_194, "cell_lite0": 701_218,
    "cell_lite1": 989_730,
}  # fmt: skip
PUBLISHED += [((FAMILIES | CELL_FAMILIES)[key], {"classes": 10 if key in FAMILIES else 2}, count)
              for key, count in CLASSIFIERS.items()]  # fmt: skip
SIZES = [("SRResNet", 4, 8, 2), ("SRResNet", 1, 8, 1), ("SRDenseNet", 4, 4, 1), ("ResnetGenerator", 1, 4, 1)]
NARROW = {f"{name} {scale}": partial(make_processor, name, scale, width=width, blocks=blocks)
          for name, scale, width, blocks in SIZES}  # fmt: skip
NARROW |= {key: partial(net, 2) for key, net in (FAMILIES | CELL_FAMILIES).items()}
NARROW |= {name: partial(make_proxy, name, n=4, m=6) for name in ("Minnen2018", "Hyperprior")}
NARROW["BlockDCT"] = partial(make_proxy, "BlockDCT", quality=30)


@pytest.mark.parametrize(("make", "sizes", "parameters"), PUBLISHED)
def test_published_sizes(make, sizes, parameters):
    assert sum(p.numel() for p in make(**sizes).parameters()) == parameters


def answers(net, images) -> dict[str, torch.Tensor]:
    out = net(images)
    return {key: out[key] for key in ("raw", "bits_y", "bits")} if isinstance(out, dict) else {"out": out}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NARROW)
def test_gradients_reach_every_weight_and_picture(name, training):
    torch.manual_seed(0)
    net, images = NARROW[name]().train(training), torch.rand(2, 3, 64, 64)
    for key, answer in answers(net, images.requires_grad_()).items():
        assert answer.isfinite().all()
        (gradient,) = torch.autograd.grad(answer.square().mean(), images, retain_graph=True)
        assert gradient.isfinite().all() and (gradient.abs().amax((1, 2, 3)) > 0).all(), key
    (sum(answer.square().mean() for answer in answers(net, images).values())).backward()
    for key, parameter in net.named_parameters():
        if parameter.requires_grad and training:  # evaluation rounds, which may leave nothing
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NARROW)
def test_pictures_of_a_batch_do_not_mix(name):
    torch.manual_seed(0)
    net = NARROW[name]().eval()
    images = torch.rand(3, 3, 64, 64) * torch.tensor([1.0, 8.0, 40.0]).view(3, 1, 1, 1)  # latents not all rounded to 0
    with torch.no_grad():
        alone = [answers(net, images[i : i + 1]) for i in range(3)]
        for key, answer in answers(net, images).items():
            assert torch.allclose(answer, torch.cat([one[key] for one in alone]), rtol=1e-4, atol=1e-5)
            assert not torch.equal(answer[0], answer[2])


every = pytest.mark.parametrize(
    ("registry", "name", "make"),
    [(PROCESSORS, "PROCESSORS", make_processor), (PREPROCESSORS, "PREPROCESSORS", make_preprocessor),
     (PROXIES, "PROXIES", make_proxy)],
    ids=["processors", "preprocessors", "proxies"],
)  # fmt: skip


@every
def test_unknown_names_sizes_and_shapes_are_refused(registry, name, make):
    scale = {"scale": 1} if make is make_processor else {}
    message = refusal(ParameterError, make, "UNet", **scale)
    assert "'UNet'" in message and all(known in message for known in registry)
    for known in registry:
        assert "'depth'" in refusal(ParameterError, make, known, **scale, depth=1)
        for shape in () if scale else ((3, 8, 8), (1, 1, 8, 8)):
            assert str(shape) in refusal(ParameterError, make(known), torch.rand(shape))


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


@every
def test_a_network_is_added_by_one_file(registry, name, make, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_known", dict(registry))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"my_{name}.py").write_text(STRANGER.format(registry=name))
    load_extensions([f"my_{name}"])
    assert make("Mine", scale=2, width=None)(torch.rand(1, 3, 4, 5)).shape == (1, 3, 8, 10)
    assert preprocess(make("Mine", scale=1), torch.rand(1, 3, 4, 5)).max() <= 1

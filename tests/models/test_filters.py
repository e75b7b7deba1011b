import math
from itertools import product

import pytest
import torch

from ra_core.models.filters import Bilateral, Gaussian, Saliency


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def explicit(image: torch.Tensor, radius: int, weight) -> torch.Tensor:
    """Return each pixel as the weighted mean of its neighbours, `weight(dy, dx, neighbour, pixel)`.

    Beyond the border the colour is that of the nearest pixel.
    """
    out, (height, width) = torch.zeros_like(image), image.shape[-2:]
    around = range(-radius, radius + 1)
    for y, x in product(range(height), range(width)):
        total, weights = torch.zeros(3, dtype=torch.float64), 0.0
        for dy, dx in product(around, around):
            colour = image[0, :, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)].double()
            w = weight(dy, dx, colour, image[0, :, y, x].double())
            total, weights = total + w * colour, weights + w
        out[0, :, y, x] = (total / weights).float()
    return out


def near(sigma: float):
    return lambda dy, dx, colour, own: math.exp(-(dy**2 + dx**2) / (2 * sigma**2))


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_gaussian_is_the_explicit_convolution(sigma):
    image, radius = picture(7, 9), max(1, round(3 * sigma))
    assert torch.allclose(Gaussian(sigma)(image), explicit(image, radius, near(sigma)), atol=1e-6)


@pytest.mark.parametrize(("sigma", "tone"), [(0.8, 0.1), (1.0, 0.4)])
def test_bilateral_is_the_explicit_mean(sigma, tone):
    def weight(dy, dx, colour, own):
        return near(sigma)(dy, dx, colour, own) * math.exp(-(colour - own).square().mean() / (2 * tone**2))

    image = picture(6, 8)
    assert torch.allclose(Bilateral(sigma, tone)(image), explicit(image, max(1, round(2 * sigma)), weight), atol=1e-6)


@pytest.mark.parametrize("net", [Gaussian(0.5), Gaussian(2.0), Bilateral(1.0, 0.05), Bilateral(2.0, 0.15)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 2), (16, 24)])
def test_any_size_comes_back_within_its_range_and_constants_and_batches_are_kept(net, size):
    images = torch.cat([picture(*size, seed) for seed in range(3)])
    out = net(images)
    assert out.shape == images.shape
    assert out.min() >= images.min() - 1e-6 and out.max() <= images.max() + 1e-6
    assert torch.allclose(out, torch.cat([net(image[None]) for image in images]), atol=1e-6)
    flat = torch.tensor([0.2, 0.9, 0.0]).view(1, 3, 1, 1).expand(2, 3, *size)
    assert torch.allclose(net(flat), flat, atol=1e-6) and not net.state_dict()


class Left(torch.nn.Module):
    """Three logits that look at the left half of a picture alone, each pixel as much as its weight says."""

    weight = torch.cat([torch.full((24,), 2.0), torch.zeros(40)])

    def forward(self, images):
        return (self.weight * images).mean((1, 2, 3))[:, None] * torch.tensor([1.0, 2.0, 3.0])


def test_saliency_blurs_where_the_recognizer_does_not_look():
    images = torch.cat([picture(32, 64, seed) for seed in (0, 1)])
    net = Saliency(Left())
    looked = net.saliency(images)
    assert looked.shape == (2, 1, 32, 64) and torch.allclose(looked.mean((1, 2, 3)), torch.ones(2), atol=1e-5)
    energy = Gaussian(8.0)(Left.weight.expand(1, 3, 32, 64))[:, :1]
    assert torch.allclose(looked[:1], energy / energy.mean(), atol=1e-4)
    with torch.inference_mode():  # as a link of a chain
        made = net(images)
    assert torch.equal(made[..., :16], images[..., :16])
    assert torch.allclose(made[..., 56:], Gaussian(3.0)(images)[..., 56:], atol=1e-6)
    assert torch.allclose(net(images[1:]), made[1:], atol=1e-6)  # alone as in a batch

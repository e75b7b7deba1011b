"""Denoising: white Gaussian noise."""

from dataclasses import dataclass

import torch

from ra_core.channels.base import Channel, parameter, task
from ra_core.data.draws import draw
from ra_core.errors import ParameterError


@task("dn", "denoising")
@dataclass(frozen=True)
class Noise(Channel):
    """White Gaussian noise of standard deviation `sigma` (1 is from black to white), clamped to [0, 1].

    In evaluation picture number i always gets the noise of seed i.
    """

    sigma: float = parameter(0.1, "dn: standard deviation of the noise, 1 is black to white", gt=0, le=1)

    def __call__(self, images, generator=None, indices=None):
        if indices is not None:
            if len(indices) != len(images):
                raise ParameterError(
                    f"{len(indices)} indices cannot fix the noise of {len(images)} pictures; give one each."
                )
            seeded = [torch.Generator().manual_seed(int(i)) for i in indices]
            noise = torch.stack([torch.randn(images.shape[1:], generator=each) for each in seeded])
        elif generator is not None:
            noise = draw(torch.randn, tuple(images.shape), generator, images.device)
        else:
            raise ParameterError(
                "noise needs a generator (in training) or picture indices (in evaluation); give one of them."
            )
        return (images + self.sigma * noise.to(images.device)).clamp(0, 1)

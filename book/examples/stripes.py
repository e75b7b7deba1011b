"""A data set: stripes, upright or lying, which nothing has to be downloaded for."""

import torch

from ra_core.data import Pictures, dataset


@dataset("stripes", kind="classification", title="stripes")
def load(part: str) -> Pictures:
    """Return a part (`train`, `validation` or `test`): pictures (N, 3, 32, 32) uint8 with labels."""
    generator = torch.Generator().manual_seed(len(part))
    labels, phase = (torch.randint(n, (400,), generator=generator) for n in (2, 8))
    wave = 255 * ((torch.arange(32) + phase[:, None]) % 8 < 4).byte()  # (N, 32)
    upright = wave[:, None, :].expand(-1, 32, -1)
    images = torch.where(labels[:, None, None] == 0, upright, upright.transpose(1, 2))
    return Pictures(images[:, None].repeat(1, 3, 1, 1), labels, ("upright", "lying"), f"stripes/{part}")

"""A data set: stripes, upright or lying, which nothing has to be downloaded for."""

# TODO-CORE: the decorator, and what a part's loader is given, as ra_core.data has them.
import torch

from ra_core.data import Pictures, dataset


@dataset("stripes", classes=("upright", "lying"))
def load(part: str) -> Pictures:
    """Return a part (`train`, `validation` or `test`) as pictures (N, 3, 32, 32) uint8 with labels."""
    generator = torch.Generator().manual_seed(["train", "validation", "test"].index(part))
    labels = torch.randint(2, (400,), generator=generator)
    phase = torch.randint(8, (400,), generator=generator)
    wave = ((torch.arange(32) + phase[:, None]) % 8 < 4).float()  # (N, 32)
    upright = wave[:, None, :].expand(-1, 32, -1)
    images = torch.where(labels[:, None, None] == 0, upright, upright.transpose(1, 2))
    return Pictures((255 * images).to(torch.uint8)[:, None].repeat(1, 3, 1, 1), labels, ("upright", "lying"), "stripes")

"""Learned tables of quantisation for JPEG, which begin as those of the standard."""

import numpy as np
import torch
from torch import nn

from ra_core.codecs.jpeg_standard import annex_k, percent, whole_steps

GAIN = 16.0  # so that the small learning rate of a network moves the logarithms of factors far enough


class QuantTables(nn.Module):
    """Two tables of quantisation for each quality: Annex K's, each number times a learned factor, which begins as 1.

    The factors of the rungs `qualities` are learned; between two of them they are interpolated, in the logarithm over
    that of libjpeg's scale, and outside the ends hold. So untrained the tables are libjpeg's at every quality.
    """

    def __init__(self, qualities: tuple[float, ...]):
        super().__init__()
        scale = percent(torch.tensor(sorted(set(qualities), reverse=True), dtype=torch.float32)).clamp_min(1).log()
        self.register_buffer("places", scale, persistent=False)  # rising
        self.register_buffer("usual", annex_k(), persistent=False)
        self.change = nn.Parameter(torch.zeros(len(scale), *self.usual.shape))

    def forward(self, quality: torch.Tensor) -> torch.Tensor:
        """Return the tables at each quality (B,), row by row, luma first: (B, 2, 64), whole numbers with a gradient."""
        scale = percent(quality.float())
        factors = (GAIN * torch.einsum("bk,kpn->bpn", self._shares(scale.clamp_min(1).log()), self.change)).exp()
        exact = self.usual * scale[:, None, None] * factors
        return exact / 100 + (whole_steps(exact) - exact / 100).detach()

    @torch.no_grad()
    def at(self, quality: float) -> tuple[tuple[int, ...], ...]:
        """Return both tables at one quality, as a JPEG codec takes them."""
        tables = self(torch.tensor([float(quality)], device=self.change.device))[0]
        return tuple(tuple(map(round, table)) for table in tables.tolist())

    def _shares(self, scale: torch.Tensor) -> torch.Tensor:
        """Return how much each rung counts at logarithms of scales (B,): (B, rungs)."""
        places, one = self.places.double().cpu().numpy(), np.eye(len(self.places))
        found = [np.interp(scale.double().cpu().numpy(), places, row) for row in one]
        return torch.from_numpy(np.stack(found, axis=1)).to(self.change)

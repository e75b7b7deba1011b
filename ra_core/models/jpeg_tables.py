"""JPEG's tables of quantisation: those of the standard's Annex K at any quality, and learned ones.

Source: ITU-T T.81, annex K.1; the scale is libjpeg's.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # 99 outside it
LARGEST = 255  # that a baseline file holds
GAIN = 16.0  # so that the small learning rate of a network moves the logarithms of factors far enough


def annex_k() -> torch.Tensor:
    """Return the luma and chroma tables of Annex K, row by row, (2, 64)."""
    chroma = F.pad(torch.tensor(CHROMA_CORNER, dtype=torch.float32), (0, 4, 0, 4), value=99)
    return torch.stack([torch.tensor(LUMA_TABLE, dtype=torch.float32), chroma]).flatten(1)


def percent(quality: torch.Tensor) -> torch.Tensor:
    """Return by how many percent libjpeg scales Annex K's tables at each quality, 1 to 100."""
    return torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)


def whole_steps(tables: torch.Tensor) -> torch.Tensor:
    """Return tables in percent as the whole numbers from 1 to 255 that a file holds, rounded as libjpeg does."""
    return ((tables + 50) / 100).floor().clamp(1, LARGEST)


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

"""Numbers of JPEG's standards: the tables of quantisation of Annex K at any quality, and the colours.

Sources: ITU-T T.81, annex K.1; the scale of qualities is libjpeg's; ITU-R BT.601, full range, as JFIF has it.
"""

import torch
from torch.nn import functional as F

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # 99 outside it
LARGEST = 255  # that a baseline file holds

# From RGB to luma and two chroma planes, these around 0, and back.
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


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

"""How many bytes of JPEG files are header, over a set of pictures."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ra_core.channels import to_arrays
from ra_core.codecs import Codec, jpeg_parts
from ra_core.data.boxes import in_batches

COLUMNS = ["codec", "quality", "n", "bytes_mean", "header_mean", "payload_mean"]


def header_rows(codec: Codec, qualities: Sequence[float], pictures, batch: int = 16) -> pd.DataFrame:
    """Return how many bytes of a JPEG codec's files are header, a row a quality, as means over a set of pictures.

    The header holds sizes and tables; the payload is what codes the pixels.
    """
    rows = []
    for quality in map(codec.qualities.checked, qualities):
        parts = []
        for indices in in_batches(pictures, batch):
            files = codec.encode(to_arrays(pictures.batch(indices)[0]), quality)
            parts += [jpeg_parts(file) for file in files]
        header, payload = np.mean(parts, axis=0)
        rows.append((codec.name, quality, len(parts), header + payload, header, payload))
    return pd.DataFrame(rows, columns=COLUMNS)

import numpy as np
import pytest
import tiny
import torch

from ra_core.channels import to_arrays
from ra_core.codecs import jpeg_parts, load_codec
from ra_core.steps.jpeg_headers import COLUMNS, header_rows


def test_header_and_payload_are_those_of_the_files():
    codec, pictures = load_codec("jpeg-optimized"), tiny.pictures(5)
    arrays = to_arrays(pictures.batch(torch.arange(5))[0])
    rows = header_rows(codec, [5.0, 90], pictures, batch=2)
    assert list(rows.columns) == COLUMNS and list(rows.quality) == [5, 90]
    for row in rows.itertuples():
        files = codec.encode(arrays, row.quality)
        assert row.bytes_mean == pytest.approx(np.mean([len(file) for file in files]))
        assert row.header_mean == pytest.approx(np.mean([jpeg_parts(file)[0] for file in files]))
        assert row.header_mean + row.payload_mean == pytest.approx(row.bytes_mean) and row.n == 5
    assert rows.header_mean[0] / rows.bytes_mean[0] > rows.header_mean[1] / rows.bytes_mean[1]

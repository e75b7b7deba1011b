"""Where the bytes of JPEG files go, beside the files themselves."""

import io

import numpy as np
import pytest
from PIL import Image
from refusal import refusal

from ra_core.codecs import jpeg_parts, load_codec
from ra_core.codecs.jpeg_files import block_bits
from ra_core.errors import CodecError


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def coded(picture: np.ndarray, **settings) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", **settings)
    return buffer.getvalue()


def payload_bits(file: bytes) -> int:
    """The bits after the header, without the end marker and the zeros after every 255."""
    return 8 * len(file[jpeg_parts(file)[0] : -2].replace(b"\xff\x00", b"\xff"))


@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize("name", ["jpeg", "jpeg-optimized", "jpeg-444", "jpeg-444-optimized"])
def test_the_bits_of_all_blocks_are_those_of_the_payload(name, quality):
    (file,) = load_codec(name).encode([smooth(64, 96)], quality)
    bits = block_bits(file)
    assert bits.shape == (8, 12) and (bits > 0).all()
    assert 0 <= payload_bits(file) - bits.sum() < 8  # the last byte is filled up


@pytest.mark.parametrize("grey", [True, False])
def test_only_blocks_that_lie_under_the_picture_are_counted(grey):
    picture = smooth(60, 41)[:, :, 0] if grey else smooth(60, 41)  # in colour coded in units of 16 x 16
    file = coded(picture, quality=40)
    bits = block_bits(file)
    assert bits.shape == (8, 6) and (bits > 0).all() and bits.sum() <= payload_bits(file)
    assert not grey or payload_bits(file) - bits.sum() < 8


@pytest.mark.parametrize("name", ["jpeg", "jpeg-444-optimized"])
def test_a_noisy_block_is_where_the_bits_are(name):
    picture = np.full((64, 64, 3), 90, np.uint8)
    picture[16:24, 40:48] = np.random.default_rng(1).integers(0, 256, (8, 8, 1))
    (file,) = load_codec(name).encode([picture], 60)
    bits = block_bits(file)
    assert np.unravel_index(bits.argmax(), bits.shape) == (2, 5)
    assert bits[2, 5] > 10 * np.median(bits)


def test_other_files_are_refused():
    picture = smooth(48, 48)
    file = coded(picture, quality=50)
    others = [coded(picture, progressive=True), coded(picture, restart_marker_blocks=2)]
    for wrong in [file[:-2], file[:-40] + file[-2:], b"", b"GIF89a", *others]:
        refusal(CodecError, block_bits, wrong)

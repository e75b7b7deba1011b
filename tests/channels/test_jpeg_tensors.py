"""JPEG in tensors is Pillow's JPEG in every value, whatever the picture, its size, the quality and the subsampling."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ra_core.channels import Jpeg, from_arrays, jpeg
from ra_core.channels.jpeg_tensors import LEFT_HALF, through_jpeg
from ra_core.data import cifar10

CPU = torch.device("cpu")
SUBSAMPLINGS = ("4:2:0", "4:4:4")
KINDS = ("noise", "saturated", "slopes", "grey", "flat")


def by_pillow(arrays: np.ndarray, quality: int, subsampling: str) -> torch.Tensor:
    """Return what Pillow decodes of the files it writes of arrays (B, H, W, 3)."""
    decoded = []
    for array in arrays:
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=quality, subsampling=subsampling)
        decoded.append(np.array(Image.open(file)))
    return from_arrays(decoded)


def pictures(kind: str, count: int, height: int, width: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "saturated":
        return draw.integers(0, 2, (count, height, width, 3), np.uint8) * np.uint8(255)
    if kind == "slopes":
        rows, columns = np.mgrid[:height, :width][..., None]
        by_row, by_column, start = draw.uniform(-9, 9, (3, count, 1, 1, 3))
        return (128 + 12 * start + by_row * rows + by_column * columns).clip(0, 255).astype(np.uint8)
    if kind == "flat":
        return np.tile(draw.integers(0, 256, (count, 1, 1, 3), np.uint8), (1, height, width, 1))
    noise = draw.integers(0, 256, (count, height, width, 3), np.uint8)
    return np.repeat(noise[..., :1], 3, axis=3) if kind == "grey" else noise


def photographs(count: int = 48) -> np.ndarray:
    """Return a mosaic of shipped photographs, of a size that holds no whole number of blocks."""
    images = cifar10.load("shipped", "test").images[:count].permute(0, 2, 3, 1).numpy()
    return images.reshape(6, -1, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1, 192, -1, 3)[:, :187, :253].copy()


def test_the_pillow_at_hand_has_the_pixels_that_tensors_compute():
    assert jpeg.as_pillow(CPU), "this Pillow decodes JPEG to other pixels, so the channel leaves JPEG to it everywhere"


@settings(max_examples=250)
@given(
    st.sampled_from(KINDS), st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 100),
    st.sampled_from(SUBSAMPLINGS), st.integers(0, 10**6),
)  # fmt: skip
def test_any_picture_is_pillow_s(kind, count, height, width, quality, subsampling, seed):
    arrays = pictures(kind, count, height, width, seed)
    assert torch.equal(through_jpeg(from_arrays(arrays), quality, subsampling), by_pillow(arrays, quality, subsampling))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_photographs_at_every_quality_are_pillow_s(subsampling, device):
    arrays = photographs()
    images = from_arrays(arrays, device)
    for quality in range(1, 101):
        assert torch.equal(through_jpeg(images, quality, subsampling).cpu(), by_pillow(arrays, quality, subsampling))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (2, 1), (3, 4), (4, 5), (8, 8), (16, 17), (17, 16)])
def test_edges_are_pillow_s(height, width, subsampling):
    for quality in (1, 20, 60, 90, 100):
        arrays = pictures("noise", 20, height, width, quality)
        assert torch.equal(
            through_jpeg(from_arrays(arrays), quality, subsampling), by_pillow(arrays, quality, subsampling)
        )


def test_a_picture_is_the_same_alone_and_in_a_batch_of_several_chunks(monkeypatch):
    images = from_arrays(pictures("noise", 7, 21, 34, 0))
    together = through_jpeg(images, 30, "4:2:0")
    assert torch.equal(together, torch.cat([through_jpeg(image[None], 30, "4:2:0") for image in images]))
    monkeypatch.setattr("ra_core.metrics.CACHED", 2 * 21 * 34 // torch.get_num_threads())
    assert torch.equal(through_jpeg(images, 30, "4:2:0"), together)


def test_the_layout_in_memory_and_autocast_change_nothing_and_no_gradient_passes():
    images = from_arrays(pictures("noise", 3, 24, 32, 1))
    expected = through_jpeg(images, 40, "4:2:0")
    assert expected.stride() == images.stride()
    assert torch.equal(through_jpeg(images.contiguous(), 40, "4:2:0"), expected)
    with torch.autocast("cpu", torch.bfloat16):
        decoded = through_jpeg(images.requires_grad_(), 40, "4:2:0")
    assert torch.equal(decoded, expected) and not decoded.requires_grad


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16])
def test_pictures_of_any_kind_of_float_are_those_in_float32(kind):
    images = torch.rand(2, 3, 19, 24, generator=torch.Generator().manual_seed(0)).to(kind)
    assert torch.equal(through_jpeg(images, 50, "4:2:0"), through_jpeg(images.float(), 50, "4:2:0"))
    assert Jpeg(50)(images).dtype == kind


def test_values_between_levels_are_rounded_as_what_is_stored():
    images = 1.4 * torch.rand((4, 3, 20, 20), generator=torch.Generator().manual_seed(3)) - 0.2
    assert torch.equal(through_jpeg(images, 75, "4:2:0"), Jpeg(75).transmit(images)[0])


def test_the_transform_is_the_published_algorithm_on_unit_vectors():
    """Loeffler, Ligtenberg and Moschytz 1989, with its twelve constants rounded to 13 bits."""
    names = (0.298631336, 0.390180644, 0.541196100, 0.765366865, 0.899976223, 1.175875602)
    names += (1.501321110, 1.847759065, 1.961570560, 2.053119869, 2.562915447, 3.072711026)
    c = [round(name * 2**13) for name in names]
    x = np.eye(8, dtype=int)
    plus, minus = x[:4] + x[:3:-1], x[:4] - x[:3:-1]
    outer, inner = plus[0] - plus[3], plus[1] - plus[2]
    turned = c[2] * (outer + inner)
    a, b, d, e = minus[::-1]
    both = c[5] * (a + b + d + e)
    first, second = both - c[8] * (a + d), both - c[1] * (b + e)
    rows = [
        2**13 * plus.sum(0), c[6] * e - c[4] * (a + e) + second,
        turned + c[3] * outer, c[11] * d - c[10] * (b + d) + first,
        2**13 * (plus[0] - plus[1] - plus[2] + plus[3]), c[9] * b - c[10] * (b + d) + second,
        turned - c[7] * inner, c[0] * a - c[4] * (a + e) + first,
    ]  # fmt: skip
    left = np.array(LEFT_HALF)
    assert np.array_equal(rows, np.hstack([left, left[:, ::-1] * np.tile([1, -1], 4)[:, None]]))


@pytest.mark.parametrize("side", [16, 80])
def test_a_channel_whose_pillow_differs_leaves_jpeg_to_it(monkeypatch, side):
    images = from_arrays(pictures("noise", 2, side, side, 0))
    expected = Jpeg(50).transmit(images)[0]
    assert torch.equal(Jpeg(50)(images), expected)
    monkeypatch.setattr(jpeg, "through_jpeg", lambda images, *_: images)
    jpeg.as_pillow.cache_clear()
    try:
        assert not jpeg.as_pillow(CPU) and torch.equal(Jpeg(50)(images), expected)
    finally:
        jpeg.as_pillow.cache_clear()


def test_small_pictures_are_coded_in_tensors_and_large_ones_by_pillow_on_a_cpu(monkeypatch):
    asked = []
    monkeypatch.setattr(jpeg, "as_pillow", lambda device: True)
    monkeypatch.setattr(jpeg, "through_jpeg", lambda images, *_: asked.append(len(images)) or images)
    for side in (48, 49):
        images = from_arrays(pictures("noise", 2, side, side, 0))
        Jpeg(50)(images), Jpeg(50).transmit(images)
    assert asked == [2]

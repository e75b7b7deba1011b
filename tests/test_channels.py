import io
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import refusal

from ra_core.channels import TASKS, Coded, Downsample, Jpeg, Noise, from_arrays, make_channel, to_arrays
from ra_core.channels.coded import shrunk
from ra_core.codecs import load_codec
from ra_core.data import Pictures, cifar10
from ra_core.errors import ParameterError


@pytest.fixture(scope="module")
def shipped() -> Pictures:
    return cifar10.load("shipped", "test")


def to_pillow(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def from_pillow(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def pillow_jpeg(image: torch.Tensor, **options) -> tuple[torch.Tensor, int]:
    """Return what Pillow's JPEG makes of a picture (3, H, W), and the bytes of its file."""
    buffer = io.BytesIO()
    to_pillow(image).save(buffer, "JPEG", **options)
    return from_pillow(Image.open(buffer)), len(buffer.getvalue())


def pillow_resize(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    resized = [to_pillow(image).resize((width, height), Image.Resampling.BICUBIC) for image in images]
    return torch.stack([from_pillow(image) for image in resized])


def is_8bit(images: torch.Tensor) -> bool:
    levels = images * 255
    return bool(images.min() >= 0 and images.max() <= 1 and (levels - levels.round()).abs().max() < 1e-4)


# --- sr


@pytest.mark.parametrize(("factor", "height"), [(2, 32), (3, 30), (4, 32), (4, 16), (8, 32)])
def test_sr_is_pillow_s_bicubic_to_the_bit(shipped, factor, height):
    width = 32 - 32 % factor
    images = shipped.batch(torch.arange(200))[0][..., :height, :width]
    channel = Downsample(factor)
    degraded = channel(images)
    assert torch.equal(degraded, pillow_resize(images, height // factor, width // factor)) and is_8bit(degraded)
    assert torch.equal(channel.enlarge(degraded), pillow_resize(degraded, height, width))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 9), st.integers(1, 6))
def test_sr_is_pillow_s_on_any_picture_and_size(seed, factor, height, width):
    generator = torch.Generator().manual_seed(seed)
    tall, wide = factor * height, factor * width
    images = torch.randint(0, 256, (2, 3, tall, wide), generator=generator).float() / 255
    channel = Downsample(factor)
    degraded = channel(images)
    # One axis at a time, as Pillow chooses its order by version and shape.
    assert torch.equal(degraded, pillow_resize(pillow_resize(images, tall, width), height, width))
    assert torch.equal(channel.enlarge(degraded), pillow_resize(degraded, tall, wide))


# --- dn


def test_evaluation_noise_is_that_of_the_picture_s_number(shipped):
    images, channel = torch.full((5, 3, 32, 32), 0.5), make_channel("dn")
    noisy = channel(images, indices=torch.tensor([3, 0, 1999, 7, 3]))
    for row, number in enumerate([3, 0, 1999, 7, 3]):
        torch.manual_seed(number)  # as the published code draws it
        assert torch.equal(noisy[row], (0.5 + 0.1 * torch.randn(3, 32, 32)).clamp(0, 1))
    assert torch.equal(noisy[0], noisy[4]) and not torch.equal(noisy[0], noisy[1])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    channel(images, indices=torch.arange(5))
    assert torch.equal(torch.rand(3), expected)  # torch's global generator is left alone


@pytest.mark.parametrize("sigma", [0.02, 0.1])
@pytest.mark.parametrize("how", ["evaluation", "training"])
def test_noise_is_white_gaussian_of_the_given_sigma(sigma, how):
    images = torch.full((40, 3, 32, 32), 0.5)
    fixed = {"indices": torch.arange(40)} if how == "evaluation" else {"generator": torch.Generator().manual_seed(0)}
    noise = (Noise(sigma)(images, **fixed) - 0.5).double() / sigma
    count = noise.numel()  # 122,880: each bound is five standard deviations wide
    assert abs(noise.mean()) < 5 / count**0.5
    assert abs(noise.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((noise.abs() < 1).double().mean() - 0.682689) < 5 * (0.2166 / count) ** 0.5
    for neighbour in (noise.roll(1, 0), noise.roll(1, 1), noise.roll(1, 2), noise.roll(1, 3)):
        assert abs((noise * neighbour).mean()) < 5 / count**0.5


def test_noise_is_clamped_and_not_rounded():
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 16, 16)
    noisy = make_channel("dn")(images, indices=torch.arange(2))
    assert noisy.min() == 0 and noisy.max() == 1
    clamped = ((noisy == 0) | (noisy == 1)).float().mean()
    assert 0.4 < clamped < 0.6 and not is_8bit(noisy)


# --- jpeg


@pytest.mark.parametrize("quality", [1, 10, 75, 100])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_jpeg_and_its_bytes_are_those_of_pillow_s_file(shipped, quality, subsampling):
    images, _ = shipped.batch(torch.arange(60))
    degraded, sizes = Jpeg(quality, subsampling).transmit(images)
    assert sizes.shape == (60,) and sizes.dtype == torch.int64
    options = {} if subsampling == "4:2:0" else {"subsampling": 0}  # Pillow's own choice is 4:2:0
    for image, coded, size in zip(images, degraded, sizes, strict=True):
        expected, length = pillow_jpeg(image, quality=quality, **options)
        assert torch.equal(coded, expected)
        assert size == length or (image == image[:1]).all()  # a grey picture is stored as grey


# --- real codecs, whose bytes are known

JPEG, WEBP = load_codec("jpeg"), load_codec("webp")


@pytest.mark.parametrize("name", ["jpeg-444-optimized", "webp"])
def test_any_codec_is_a_channel(shipped, name):
    codec, (images, _) = load_codec(name), shipped.batch(torch.arange(5))
    files = codec.encode(to_arrays(images), 40)
    decoded, sizes = Coded(codec, 40).transmit(images)
    assert sizes.tolist() == [len(file) for file in files] and is_8bit(decoded)
    assert torch.equal(decoded, from_arrays(codec.decode(files)))
    assert (Coded(codec, 90).transmit(images)[1] > sizes).all()


def test_downscale_then_code_pays_for_the_small_picture(shipped):
    images = shipped.batch(torch.arange(3))[0]
    decoded, sizes = Coded(WEBP, 50, shrink=2).transmit(images)
    small = Downsample(2)(images)
    inner, inner_sizes = Coded(WEBP, 50).transmit(small)
    assert torch.equal(sizes, inner_sizes) and (sizes < Coded(WEBP, 50).transmit(images)[1]).all()
    assert torch.equal(decoded, Downsample(2).enlarge(inner)) and decoded.shape == images.shape
    odd, sizes = images[..., :-1, :-3], []
    for factor, small in ((2, (16, 14)), (4 / 3, (23, 22)), (100, (1, 1))):
        decoded, size = Coded(WEBP, 50, shrink=factor).transmit(odd)
        assert decoded.shape == odd.shape and shrunk(odd, factor).shape[-2:] == small
        sizes.append(size.sum())
    assert sizes[1] > sizes[0] > sizes[2]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_arrays_and_pictures_are_the_same(seed, count, height, width):
    arrays = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    images = from_arrays(list(arrays))
    assert images.dtype == torch.float32
    assert torch.equal((images * 255).round().byte(), torch.from_numpy(arrays).permute(0, 3, 1, 2))
    back = to_arrays(images)
    assert np.array_equal(back, arrays) and all(a.dtype == np.uint8 and a.flags.c_contiguous for a in back)


def test_pictures_become_arrays_as_they_would_be_stored():
    values = torch.tensor([-0.2, 0.4 / 255, 0.5 / 255, 127.4 / 255, 254.6 / 255, 1.7])
    [array] = to_arrays(values.view(1, 1, 1, 6).expand(1, 3, 2, 6))
    assert array.shape == (2, 6, 3) and array[1, :, 2].tolist() == [0, 0, 1, 127, 255, 255]


# --- all of them

ALL = [make_channel(task) for task in TASKS] + [Downsample(2), Noise(0.3), Jpeg(50, "4:4:4")]
ALL += [Coded(JPEG, 10), Coded(WEBP, 30), Coded(JPEG, 75, shrink=2)]


@pytest.mark.parametrize("channel", ALL, ids=str)
def test_a_channel_degrades_each_picture_by_itself_and_tells_its_bytes_and_scale(shipped, channel):
    indices = torch.tensor([5, 0, 13, 8])
    images, _ = shipped.batch(indices)
    before = images.clone()
    degraded, sizes = channel.transmit(images, indices=indices)
    assert torch.equal(images, before) and torch.equal(degraded, channel(images, indices=indices))
    assert (sizes is not None) == isinstance(channel, Jpeg | Coded) and (sizes is None or (sizes > 100).all())
    assert degraded.dtype == torch.float32 and degraded.min() >= 0 and degraded.max() <= 1
    assert degraded.shape[-1] * channel.scale == 32
    enlarged = channel.enlarge(degraded)
    assert enlarged.shape == images.shape and not torch.equal(enlarged, images)
    single = [channel(images[i : i + 1], indices=indices[i : i + 1]) for i in range(4)]
    assert torch.equal(degraded, torch.cat(single))
    assert torch.equal(enlarged, torch.cat([channel.enlarge(picture) for picture in single]))


def test_parameters_reach_their_channel_only():
    given = {"factor": 2, "sigma": 0.3, "quality": 55}
    assert make_channel("sr", **given) == Downsample(2)
    assert make_channel("dn", **given) == Noise(0.3)
    assert make_channel("jpeg", **given) == Jpeg(55, "4:2:0")
    published = [make_channel(task) for task in ("sr", "dn", "jpeg")]
    assert published == [Downsample(4), Noise(0.1), Jpeg(10, "4:2:0")]


@pytest.mark.parametrize(
    ("make", "value"),
    [
        *[(Downsample, value) for value in (1, 0, -4, 17, 2.0, "4", None)],
        *[(Noise, value) for value in (0, -0.1, 1.01, float("nan"), "0.1", None, True)],
        *[(Jpeg, value) for value in (0, 101, -1, 10.0, "10", None)],
        (partial(Jpeg, 10), "4:1:1"),
        (make_channel, "blur"),
    ],
)
def test_an_impossible_strength_or_task_is_refused(make, value):
    assert repr(value) in refusal(ParameterError, make, value)


@pytest.mark.parametrize(
    ("channel", "given", "said"),
    [(Downsample(4), {}, "30 x 32"), (Noise(0.1), {}, "generator"), (Noise(0.1), {"indices": [0, 1]}, "2 indices")],
)
def test_pictures_that_a_channel_cannot_take_are_refused(channel, given, said):
    assert said in refusal(ParameterError, channel, torch.zeros(1, 3, 30, 32), **given)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_training_noise_is_drawn_where_the_pictures_are_and_follows_its_generator(device):
    images, generator = torch.full((16, 3, 32, 32), 0.5, device=device), torch.Generator().manual_seed(3)
    first, second = Noise(0.05)(images, generator), Noise(0.05)(images, generator)
    assert first.device.type == device and not torch.equal(first, second) and not torch.equal(first[0], first[1])
    assert torch.equal(Noise(0.05)(images, torch.Generator().manual_seed(3)), first)
    assert abs((first - images).std().item() - 0.05) < 1e-3 and abs((first - images).mean().item()) < 1e-3

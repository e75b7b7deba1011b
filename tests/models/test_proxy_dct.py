import io
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal
from torch.nn import functional as F

from ra_core.channels import Coded, to_arrays
from ra_core.codecs import load_codec
from ra_core.codecs.jpeg_files import block_bits
from ra_core.data import cifar10
from ra_core.errors import ParameterError
from ra_core.metrics import psnr, to_8bit
from ra_core.models.dct_rate import fit_weights, soft_count, soft_runs, soft_size
from ra_core.models.proxy_dct import TRANSFORMS, BlockDCT

QUALITIES = (10, 30, 75)
HEADER = 623  # bytes of any colour JPEG that Pillow writes with its usual tables


def coded(codec: str, images: torch.Tensor, quality: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a real codec makes of pictures, and the bits of each one's file."""
    decoded, sizes = Coded(load_codec(codec), quality).transmit(images)
    return decoded, 8.0 * sizes


def pieced(part: str, count: int, seed: int = 0) -> torch.Tensor:
    """CIFAR-10 pictures set together, 4 x 4, as they are and enlarged twice and four times: (count, 3, 128, 128)."""
    source = cifar10.load("shipped", part).images
    generator, made = torch.Generator().manual_seed(seed), []
    for i in range(count):
        across = (4, 2, 1)[i % 3]
        chosen = source[torch.randint(len(source), (across**2,), generator=generator)].float() / 255
        large = F.interpolate(chosen, scale_factor=4 // across, mode="bicubic").clamp(0, 1)
        rows = [torch.cat(list(large[r * across : (r + 1) * across]), 2) for r in range(across)]
        made.append(torch.cat(rows, 1))
    return to_8bit(torch.stack(made))


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Pictures that no weight was fitted to."""
    return pieced("test", 12)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a, b)[0, 1])


every = pytest.mark.parametrize("codec", TRANSFORMS)


# Against the real codec


@pytest.mark.parametrize("quality", QUALITIES)
def test_jpeg_is_decoded_as_pillow_decodes_it(pictures, quality):
    with torch.no_grad():
        ours = BlockDCT("jpeg", quality)(pictures)["pictures"]
    real = coded("jpeg", pictures, quality)[0]
    assert psnr(ours, real).min() > 40 and psnr(ours, real).mean() > 45
    assert (psnr(ours, real) > psnr(pictures, real) + 5).all()
    for height, width in ((1, 1), (17, 50), (40, 24)):
        part = pictures[1:4, :, :height, :width]
        assert psnr(BlockDCT("jpeg", 40)(part)["pictures"], coded("jpeg", part, 40)[0]).min() > 38


@pytest.mark.parametrize("quality", [*QUALITIES, 95])
def test_jpeg_rates_are_those_of_real_files(pictures, quality):
    with torch.no_grad():
        answer = BlockDCT("jpeg", quality)(pictures)
    real = coded("jpeg", pictures, quality)[1]
    assert correlation(answer["bits"], real) > 0.98
    for kind in range(3):  # and among pictures of one kind
        assert correlation(answer["bits"][kind::3], real[kind::3]) > 0.9
    assert ((answer["bits"] / real - 1).abs() < 0.05).all()
    assert (answer["bits_z"] / 8 == answer["bits_z"][0] / 8).all()
    assert answer["bits_z"][0] / 8 == pytest.approx(HEADER, rel=0.02)


def test_the_gradient_says_what_makes_real_files_smaller_and_how_much_a_blurred_part_saves(pictures):
    images = pictures[::3].clone().requires_grad_()  # those not enlarged, in which there is something to blur
    BlockDCT("jpeg", 30)(images)["bits"].sum().backward()
    step = images.grad / images.grad.square().mean((1, 2, 3), keepdim=True).sqrt() * 1.5 / 255
    before, down, up = (coded("jpeg", images.detach() + way * step, 30)[1] for way in (0, -1, 1))
    assert (down < before).all() and (down < up).all()  # against the gradient real files become smaller
    foreseen, real = [], []
    for y, x in itertools.product(range(0, 128, 32), repeat=2):
        part, change = (..., slice(y, y + 32), slice(x, x + 32)), torch.zeros_like(images)
        change[part] = (F.avg_pool2d(images, 3, 1, 1) - images)[part].detach() / 2
        foreseen.append((images.grad * change).sum((1, 2, 3)))
        more, less = (coded("jpeg", images.detach() + way * change, 30)[1] for way in (1, -1))
        real.append((more - less) / 2)
    foreseen, real = torch.stack(foreseen), torch.stack(real)
    assert F.cosine_similarity(foreseen, real, dim=0).min() > 0.95
    assert 0.5 < real.sum() / foreseen.sum() < 1.5


def test_the_weights_are_those_that_real_files_give():
    features, real = [], []
    for images in (pieced("train", 12, seed=1), cifar10.load("shipped", "train").images[:60] / 255):
        for quality in (8, 30, 85):
            with torch.no_grad():
                features.append(BlockDCT("jpeg", quality).rate_features(images))
            real.append(coded("jpeg", images, quality)[1])
    features, real = torch.cat(features), torch.cat(real)
    shipped, fitted = torch.tensor(TRANSFORMS["jpeg"].weights), fit_weights(features, real)
    for weights in (shipped, fitted):
        assert (features @ weights / real - 1).square().mean().sqrt() < 0.015
    assert fitted[-1] == pytest.approx(shipped[-1].item(), rel=0.02)  # what every file costs


@pytest.mark.parametrize("qp", [28, 34, 40])
def test_heic_rates_follow_those_of_real_files(pictures, qp):
    back, real = coded("heic", pictures, qp)
    with torch.no_grad():
        answer = BlockDCT("heic", qp)(pictures)
    assert correlation(answer["bits"], real) > 0.95 and ((answer["bits"] / real - 1).abs() < 0.15).all()
    lost = psnr(pictures, back)
    assert (psnr(answer["pictures"], pictures) - lost).abs().max() < 3  # about as good a picture for its bits


# Quantisation


def test_the_steps_are_those_of_pillows_files_and_of_hevc():
    images = torch.zeros(3, 3, 8, 8)
    for quality in (1, 10, 49, 50, 75, 95, 100):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
        tables = Image.open(buffer).quantization
        steps = BlockDCT("jpeg")._steps(quality, images)[..., 0]
        for ours, theirs in zip(steps.tolist(), (tables[0], tables[1]), strict=True):
            assert sorted(ours) == sorted(theirs) and ours[0] == theirs[0]
    luma, chroma = BlockDCT("heic")._steps(torch.tensor([4.0, 34.0, 40.0]), images)[:, 0]
    assert torch.allclose(luma, torch.tensor([1.0, 2**5, 2**6]))  # doubled every six QP, chroma finer at high QP
    assert torch.allclose(chroma, 2 ** ((torch.tensor([4.0, 33.0, 36.0]) - 4) / 6))


@every
def test_a_higher_quality_costs_more_and_looks_better(pictures, codec):
    qualities = (10, 30, 60, 90) if codec == "jpeg" else (44, 37, 30, 22)
    with torch.no_grad():
        answers = [BlockDCT(codec)(pictures[:6], q) for q in qualities]
    for worse, better in itertools.pairwise(answers):
        assert (better["bits"] > worse["bits"]).all()
        assert (psnr(better["pictures"], pictures[:6]) > psnr(worse["pictures"], pictures[:6])).all()


@every
def test_a_quality_for_each_picture_is_one_call_for_each(pictures, codec):
    qualities, images = torch.tensor([20.0, 35.0, 45.0]), pictures[:3]
    together = BlockDCT(codec, 30)(images, qualities)
    for i, quality in enumerate(qualities.tolist()):
        alone = BlockDCT(codec, quality)(images[i : i + 1])
        assert torch.allclose(alone["bits"], together["bits"][i : i + 1], rtol=1e-5)
        assert torch.allclose(alone["raw"], together["raw"][i : i + 1], atol=1e-5)


@every
def test_gradients_of_pixels_are_those_of_a_soft_staircase(pictures, codec):
    images, fine = (pictures[:2].clone().requires_grad_() for _ in range(2))
    (BlockDCT(codec, 40)(images)["raw"] * torch.rand_like(images)).sum().backward()
    assert images.grad.isfinite().all() and images.grad.abs().mean() > 0.05
    raw = BlockDCT(codec, 100 if codec == "jpeg" else 0)(fine)["raw"]
    (raw - fine).square().mean().backward()  # nearly the identity
    assert fine.grad.abs().max() < 1e-5


# Colour and rate


@every
def test_grey_pictures_pay_nothing_for_colour(pictures, codec):
    grey = to_8bit(pictures[:3].mean(1, keepdim=True)).expand(-1, 3, -1, -1)
    proxy = BlockDCT(codec, 40)
    features, coloured = proxy.rate_features(grey), proxy.rate_features(pictures[:3])
    assert torch.equal(features[:, 5:10], torch.zeros(3, 5))
    assert (coloured[:, 5:10].sum(1) > 1).all()
    raw = proxy(grey)["raw"]
    assert (raw - raw.mean(1, keepdim=True)).abs().max() < 1e-4


@every
def test_the_bits_of_all_blocks_are_those_of_the_picture(pictures, codec):
    for batch, quality in ((pictures, torch.linspace(20, 40, len(pictures))), (pictures[:2, :, :100, :77], 30)):
        proxy, side = BlockDCT(codec, quality=30), TRANSFORMS[codec].side
        bits, (height, width) = proxy.bit_map(batch, quality), batch.shape[-2:]
        assert bits.shape == (len(batch), math.ceil(height / side), math.ceil(width / side))
        if height % 32 == width % 32 == 0:
            assert bits.sum((1, 2)).tolist() == pytest.approx(proxy(batch, quality)["bits_y"].tolist(), rel=1e-4)


def test_the_bits_of_blocks_lie_where_a_real_file_has_them(pictures):
    foreseen = BlockDCT("jpeg").bit_map(pictures, 30)
    real = [block_bits(file) for file in load_codec("jpeg-optimized").encode(to_arrays(pictures), 30)]
    assert min(correlation(a.flatten(), torch.tensor(b.ravel())) for a, b in zip(foreseen, real, strict=True)) > 0.8


def test_soft_counts_and_sizes_have_no_slope_at_zero_and_grow():
    values = (torch.arange(-200.0, 201) / 10).requires_grad_()
    for function in (lambda v: soft_count(v, 0.6), soft_size):
        out = function(values)
        (slope,) = torch.autograd.grad(out.sum(), values)
        assert out[200] == 0 and slope[200] == 0 and torch.allclose(out, out.flip(0))
        assert (out[200:].diff() > -1e-6).all() and (slope[201:] > 0).all()
    assert soft_count(torch.tensor(0.6), 0.6) == 0.5 and soft_count(torch.tensor(2.0), 0.6) > 0.99
    large = torch.tensor([64.0, 128.0])
    assert soft_size(large).diff().item() == pytest.approx(1, abs=1e-2)  # one bit more for twice as much


def test_soft_runs_count_zeros_and_have_exact_gradients():
    counts = torch.tensor([0.0, 0, 1, 0, 0, 0, 1, 1, 0])
    assert soft_runs(counts).tolist() == [0, 1, 2, 0, 1, 2, 3, 0, 0]
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(soft_runs, torch.rand(7, 2, dtype=torch.float64, requires_grad=True))


def test_fitted_weights_are_found_again_and_never_negative():
    torch.manual_seed(0)
    features, truth = torch.rand(50, 4), torch.tensor([3.0, 0.0, 5.0, 100.0])
    features[:, 3] = 1
    assert torch.allclose(fit_weights(features, features @ truth), truth, atol=1e-3)
    found = fit_weights(features, features @ torch.tensor([3.0, -2.0, 5.0, 100.0]))
    assert (found >= 0).all() and found[1] == 0


def test_bad_calls_are_refused():
    images = torch.rand(2, 3, 16, 16)
    assert "'webp'" in refusal(ParameterError, BlockDCT, "webp")
    for codec, (low, high) in {"jpeg": (1, 100), "heic": (0, 51)}.items():
        for quality in (None, low - 1, high + 1, math.nan, torch.tensor([30.0, 200.0])):
            assert f"{codec} was given" in (said := refusal(ParameterError, BlockDCT(codec), images, quality))
            assert f"from {low} to {high}" in said

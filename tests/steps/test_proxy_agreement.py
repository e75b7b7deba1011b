import pandas as pd
import pytest
import tiny
import torch
from torch import nn

from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.metrics import mean_interval, psnr, to_8bit
from ra_core.models.proxies import make_proxy
from ra_core.params.coding import Ladder, Preprocessing
from ra_core.steps import proxy_agreement as module
from ra_core.steps.proxy_agreement import COLUMNS, STEP, agreement, agreements, bands, codec_slopes, proxy_slopes

IMAGES, _ = tiny.pictures(5).batch(torch.arange(5))
JPEG = load_codec("jpeg")


class Energy(nn.Module):
    """A proxy whose bits are the energy of each frequency times its number, and which returns half the picture."""

    def forward(self, images, quality=None):
        parts = bands(images)
        weights = torch.arange(1.0, len(parts) + 1).view(-1, 1)
        return {"pictures": images / 2, "bits": (weights * parts.square().sum((2, 3, 4))).sum(0)}


def test_bands_and_the_means_of_blocks_make_the_picture(monkeypatch):
    low = bands(IMAGES)
    monkeypatch.setattr(module, "HIGHEST", 14)
    means = nn.functional.avg_pool2d(IMAGES, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    parts = bands(IMAGES)
    assert parts.shape == (63, *IMAGES.shape) and torch.allclose(parts.sum(0) + means, IMAGES, atol=1e-5)
    assert abs((parts[3] * parts[40]).sum()) < 1e-3  # they have nothing in common
    places = [8 * u + v - 1 for u in range(8) for v in range(8) if 0 < u + v <= 6]
    assert low.shape == (27, *IMAGES.shape) and torch.allclose(low, parts[places], atol=1e-6)


def test_slopes_of_a_proxy_are_its_gradient_along_each_frequency():
    energy = bands(IMAGES).square().sum((2, 3, 4))
    expected = (2 * torch.arange(1.0, 28).view(27, 1) * energy).T
    assert torch.allclose(proxy_slopes(Energy(), IMAGES, bands(IMAGES), 10), expected, rtol=1e-3, atol=1e-4)


def test_slopes_of_a_codec_are_differences_of_its_files():
    stored = to_8bit(IMAGES)
    waves = bands(stored)
    slopes, change = codec_slopes(JPEG, stored, waves, 50), STEP * waves[7]
    sizes = [Coded(JPEG, 50).transmit(stored + sign * change)[1] * 8.0 for sign in (1, -1)]
    assert slopes.shape == (5, 27) and torch.allclose(slopes[:, 7], (sizes[0] - sizes[1]) / (2 * STEP))


def test_a_row_a_quality_and_proxy_with_the_numbers_of_both():
    proxies = {"energy": Energy(), "BlockDCT": make_proxy("BlockDCT")}
    table = agreement(proxies, JPEG, [30, 60.0], IMAGES)
    assert list(table.columns) == COLUMNS
    assert list(zip(table["proxy"], table["quality"], strict=True)) == [
        ("energy", 30), ("BlockDCT", 30), ("energy", 60), ("BlockDCT", 60),
    ]  # fmt: skip
    stored = to_8bit(IMAGES)
    decoded, sizes = Coded(JPEG, 30).transmit(stored)
    guess, row = Energy()(stored), table.iloc[0]
    assert row["rate_ratio"] == pytest.approx((guess["bits"] / (8 * sizes)).mean().item(), rel=1e-4)
    assert row["psnr"] == pytest.approx(psnr(to_8bit(stored / 2), decoded).mean().item(), abs=1e-3)
    both = torch.stack([guess["bits"].double(), sizes.double()])
    assert row["rate_correlation"] == pytest.approx(torch.corrcoef(both)[0, 1].item(), abs=1e-5)
    waves = bands(stored)
    slopes = proxy_slopes(Energy(), stored, waves, 30), codec_slopes(JPEG, stored, waves, 30)
    names = ["gradient_cosine", "gradient_cosine_low", "gradient_cosine_high"]
    assert list(row[names]) == pytest.approx(mean_interval(torch.cosine_similarity(*slopes, dim=1)), abs=1e-4)
    assert (table[names[1]] >= -1).all() and (table[names[2]] <= 1).all()


def test_every_codec_of_a_data_set_is_compared_with_all_its_proxies(monkeypatch):
    monkeypatch.setattr(module, "proxies_of", lambda profile, codec, images: {codec: profile})
    monkeypatch.setattr(
        module, "agreement", lambda *given: pd.DataFrame([{"proxies": given[0], "name": given[1].name, "at": given[2]}])
    )
    settings = Preprocessing(
        source="a", codecs={"jpeg": Ladder(curve=[5, 10, 20, 30, 40, 50])}, transfer={"webp": [20, 80]}
    )
    assert agreements("mine", settings, IMAGES).to_dict("records") == [
        {"proxies": {"jpeg": "mine"}, "name": "jpeg", "at": [5, 30, 50]},
        {"proxies": {"webp": "mine"}, "name": "webp", "at": [80]},
    ]

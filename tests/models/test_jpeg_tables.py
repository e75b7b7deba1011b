"""JPEG's tables of quantisation, those of the standard and learned ones: in the file, in the proxy, in a training."""

import io

import numpy as np
import pytest
import tiny
import torch
from fuzz_codec import picture
from PIL import Image

from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.codecs.jpeg import JpegCodec
from ra_core.metrics import psnr, to_8bit
from ra_core.models.jpeg_tables import GAIN, QuantTables
from ra_core.models.proxy_dct import BlockDCT
from ra_core.objectives import Preprocessing, Rung

LADDER = (Rung(5, 1.0, 0.125), Rung(20, 2.0, 0.25), Rung(60, 4.0, 0.5))
QUALITIES = torch.tensor([1.0, 3, 5, 9, 12, 20, 37, 50, 60, 83, 99, 100])


def rows(file: bytes) -> list[list[int]]:
    """Return the tables that a file holds, row by row."""
    return list(Image.open(io.BytesIO(file)).quantization.values())


def changed(seed: int = 0) -> QuantTables:
    tables = QuantTables(tuple(rung.quality for rung in LADDER))
    with torch.no_grad():
        tables.change.copy_(
            0.4 / GAIN * torch.randn(tables.change.shape, generator=torch.Generator().manual_seed(seed))
        )
    return tables


def pictures(count: int = 6, side: int = 64) -> torch.Tensor:
    arrays = np.stack([picture(side, side, seed) for seed in range(count)])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("quality", [1, 5, 20, 49, 50, 77, 100])
def test_untrained_tables_are_those_of_the_quality(quality):
    tables = QuantTables((5.0, 60.0)).at(quality)
    codec, array = load_codec("jpeg-optimized"), picture(40, 56)
    [usual] = codec.encode([array], quality)
    assert [list(table) for table in tables] == rows(usual)
    assert codec.with_tables(tables).encode([array], 33) == [usual]  # whatever it is called


def test_a_file_holds_learned_tables_and_any_decoder_reads_it():
    codec, array, tables = load_codec("jpeg"), picture(40, 56), changed().at(20)
    own = codec.with_tables(tables)
    [file] = own.encode([array], 20)
    assert rows(file) == [list(table) for table in tables] != rows(codec.encode([array], 20)[0])
    assert np.array_equal(own.decode([file])[0], np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))
    grey = np.repeat(array[..., :1], 3, axis=2)
    assert rows(own.encode([grey], 20)[0]) == [list(tables[0])]
    assert own.describe()["settings"]["qtables"] == [list(table) for table in tables] and own.name == "jpeg"
    assert repr(own) == repr(codec) and own != codec == JpegCodec()


def test_factors_are_those_of_a_rung_and_lie_between_two_of_them_in_the_logarithm():
    tables = QuantTables((20.0, 5.0, 60.0))
    with torch.no_grad():
        tables.change[:, 0, 3] = torch.log(torch.tensor([1.0, 2.0, 4.0])) / GAIN  # of 60, 20 and 5
    found = [tables.at(quality)[0][3] for quality in (60, 20, 10, 5, 95)]
    middle = 2 * 2 ** (np.log(500 / 250) / np.log(1000 / 250))
    assert found == [round(16 * 0.8), round(16 * 2.5 * 2), round(16 * 5 * middle), 255, round(16 * 0.1)]
    assert tables.at(20)[1] == QuantTables((20.0,)).at(20)[1]


def test_the_proxy_with_tables_of_its_own_stands_in_for_the_files_that_hold_them():
    proxy, tables, images = BlockDCT("jpeg"), changed(), to_8bit(pictures())
    usual = QuantTables((20.0,))(torch.full((6,), 20.0))
    for key, value in proxy(images, 20).items():
        assert torch.allclose(proxy(images, 20, tables=usual)[key], value, rtol=1e-6)
    quality = torch.full((6,), 20.0)
    decoded, sizes = Coded(load_codec("jpeg").with_tables(tables.at(20)), 20).transmit(images)
    guess = proxy(images, quality, tables=tables(quality))
    assert psnr(to_8bit(guess["pictures"]), decoded).min() > 40
    assert torch.allclose(guess["bits"], 8.0 * sizes, rtol=0.03)


def test_coarser_tables_cost_fewer_bits_and_the_gradient_says_so():
    proxy, tables, quality = BlockDCT("jpeg"), QuantTables((20.0,)), torch.full((6,), 20.0)
    bits = proxy(pictures(), quality, tables=tables(quality))["bits"].sum()
    [slope] = torch.autograd.grad(bits, tables.change)
    assert (slope <= 0).all() and (slope < 0).float().mean() > 0.5
    images, files = to_8bit(pictures()), []
    for change in (0.0, 0.1):
        coarser = QuantTables((20.0,))
        torch.nn.init.constant_(coarser.change, change)
        files.append(Coded(load_codec("jpeg").with_tables(coarser.at(20)), 20).transmit(images)[1].sum().item())
    assert files[1] < files[0]


def test_a_training_of_tables_codes_with_them_and_leaves_the_picture_alone():
    tables, judge = changed(), tiny.source()
    what = Preprocessing(load_codec("jpeg"), BlockDCT("jpeg"), judge, LADDER, "soft_labels")
    batch = what.prepare(pictures(), torch.zeros(6), torch.Generator().manual_seed(0))
    terms = what.terms({"tables": tables}, batch)
    decoded, sizes = zip(*(
        Coded(what.codec.with_tables(tables.at(quality)), quality).transmit(to_8bit(image[None]))
        for image, quality in zip(batch["images"], batch["quality"].tolist(), strict=True)
    ), strict=True)  # fmt: skip
    assert len(set(batch["quality"].tolist())) > 1 and terms["distortion"] == 0
    assert terms["bpp"].item() == pytest.approx(8 * torch.cat(sizes).double().mean().item() / 64**2, rel=1e-6)
    expected = judge.distance(torch.cat(decoded), batch["images"]).mean().item()
    assert terms["recognition"].item() == pytest.approx(expected, rel=1e-5)
    terms["loss"].backward()
    asked = {5.0: 2, 20.0: 1, 60.0: 0}
    for quality, place in asked.items():
        assert (tables.change.grad[place] != 0).any() == (quality in batch["quality"].tolist())

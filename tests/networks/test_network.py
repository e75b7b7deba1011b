"""A network by name on pictures of every form: what comes back, what is refused, and how much memory it takes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from applied import SRGB, array, coding_run, preprocessor_run, processor_run, saved
from PIL import Image
from refusal import refusal

import ra_core
from ra_core import metrics
from ra_core.apply import apply
from ra_core.chain import Chain
from ra_core.channels import Coded, from_arrays, to_arrays
from ra_core.codecs import load_codec
from ra_core.errors import DataError, ParameterError
from ra_core.export import export, main
from ra_core.models.preprocessors import preprocess
from ra_core.runs import AtStrength, shipped_names, write_params
from ra_core.runs.coding import STRENGTH

ROOT = Path(__file__).parents[2]
SR = "cifar10_narrow/sr/ra"
BIG = """
import sys
import numpy as np
from PIL import Image
import ra_core
from ra_core.runs.provenance import peak_memory_mb

picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8))
made = ra_core.load(sys.argv[1], "cpu")(picture)
assert made.size == picture.size and made.mode == "RGB"
print(peak_memory_mb())
"""


@pytest.fixture(scope="module")
def sr():
    return ra_core.load(SR, "cpu")


@pytest.fixture(scope="module")
def expected(sr):
    """What the bare network makes of `array(20, 30)`, as 8-bit levels."""
    with torch.inference_mode():
        return to_arrays(sr.nets["processor"](from_arrays([array(20, 30)])))[0]


def test_a_preprocessor_whose_pictures_are_sent_smaller_gives_those(tmp_path):
    net = preprocessor_run(tmp_path / "run")
    parameters = yaml.safe_load((tmp_path / "run" / "params.yaml").read_text())
    write_params(tmp_path / "run", parameters | {"shrink": 2})
    small, picture = ra_core.load(tmp_path / "run", "cpu"), array(40, 57)
    with torch.inference_mode():
        [whole] = to_arrays(net(from_arrays([picture])))
    expected = np.asarray(Image.fromarray(whole).resize((28, 20), Image.Resampling.BICUBIC))
    assert small.scale == 0.5 and np.array_equal(small(picture), expected)
    assert np.array_equal(np.asarray(small(Image.fromarray(picture))), expected)
    alpha = np.dstack([picture, np.full((40, 57), 255, np.uint8)])
    assert small(alpha).shape == (20, 28, 4) and np.array_equal(small(alpha)[..., :3], expected)
    said = refusal(ParameterError, export, small, tmp_path / "out.onnx")
    assert "2 times smaller" in said and "ra_core.load" in said and "ra_core.apply" in said
    saved(tmp_path / "in" / "a.png", picture)
    [row] = apply(tmp_path / "in", tmp_path / "out", run=tmp_path / "run")
    assert (tmp_path / "out/files/a.jpg").read_bytes() == load_codec("jpeg").encode([expected], 20)[0]
    images = from_arrays([picture])
    chain = Chain(Coded(load_codec("jpeg"), 20, 2), pre=AtStrength(net, 1.0))
    seen = chain(images, torch.tensor([0]))["stored"]
    assert (row["width"], row["height"]) == (28, 20) and row["bpp"] == round(8 * row["bytes"] / (40 * 57), 4)
    assert row["psnr"] == pytest.approx(metrics.psnr(seen, images).item(), abs=1e-3)


# --- forms


def test_one_picture_in_every_form(sr, expected):
    picture = array(20, 30)
    assert np.array_equal(np.asarray(sr(Image.fromarray(picture))), expected)
    assert np.array_equal(sr(picture), expected)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)
    assert np.array_equal(sr(tensor).permute(1, 2, 0), expected) and sr(tensor).is_contiguous()
    exact = sr(tensor / 255)
    assert exact.dtype == torch.float32 and np.array_equal(to_arrays(exact[None])[0], expected)
    deep = sr(picture.astype(np.uint16) * 257).astype(float)
    assert np.abs(deep / 65535 - exact.permute(1, 2, 0).numpy()).max() <= 0.6 / 65535
    assert np.array_equal(sr([picture, tensor])[0], expected) and isinstance(sr([picture, tensor])[1], torch.Tensor)


def test_a_batch_is_its_pictures_and_each_grey_one_stays_grey(sr, expected):
    grey = np.repeat(array(20, 30, seed=1)[..., :1], 3, axis=-1)
    made = sr(np.stack([array(20, 30), grey]))
    assert np.abs(made[0].astype(int) - expected).max() <= 1
    bare = np.array(Image.fromarray(to_arrays(sr.nets["processor"](from_arrays([grey])))[0]).convert("L"))
    assert all(np.abs(made[1, ..., channel].astype(int) - bare).max() <= 1 for channel in range(3))
    assert (made[1] == made[1, ..., :1]).all() and np.ptp(made[0].astype(int), axis=-1).max() > 3
    alone = sr(grey[..., 0])
    assert np.array_equal(alone, bare) and np.array_equal(alone, sr(grey[..., :1])[..., 0])
    assert np.array_equal(sr(Image.fromarray(grey[..., 0])), bare)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_is_brought_to_size_and_is_not_seen(sr, kind, channels):
    picture = array(20, 30, channels=4)[..., [0, 3] if channels == 2 else [0, 1, 2, 3]]
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[kind]
    picture = picture if kind is np.uint8 else (picture.astype(kind) * kind(257) if top > 1 else picture / kind(255))
    made, bare = sr(picture), sr(picture[..., : channels - 1])
    assert made.dtype == kind and np.array_equal(made[..., :-1], bare)
    large = Image.fromarray(picture[..., -1].astype(np.float32)).resize((120, 80), Image.Resampling.BICUBIC)
    assert np.abs(made[..., -1] - np.clip(large, 0, top)).max() <= (1.1 if top > 1 else 1e-6)


@pytest.mark.parametrize(
    ("mode", "given_back"),
    [("RGB", "RGB"), ("L", "L"), ("1", "L"), ("P", "RGB"), ("LA", "LA"), ("RGBA", "RGBA"), ("CMYK", "RGB"),
     ("I;16", "I;16"), ("I", "I;16"), ("F", "F")],
)  # fmt: skip
def test_pictures_come_back_in_their_mode(sr, mode, given_back):
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in deep:
        values = array(20, 30)[..., 0] / (1 if mode != "F" else 255)
        picture, seen = Image.fromarray(values.astype(deep[mode])), values.astype(np.float32)
        seen = seen if mode == "F" else seen / 65535
        expected = sr(seen)
    else:
        picture = Image.fromarray(array(20, 30)).convert(mode)
        expected = sr(np.asarray(picture.convert(given_back)))
    made = sr(picture)
    assert made.mode == given_back and made.size == (120, 80)
    tolerance = 1e-6 if mode == "F" else 1.1 / 65535 if mode in deep else 0
    assert np.abs(np.asarray(made) / (65535 if given_back == "I;16" else 1) - expected).max() <= tolerance


def test_a_picture_is_turned_upright_and_keeps_the_profile_of_its_colours(sr):
    picture = Image.fromarray(array(20, 30))
    picture.getexif()[0x0112], picture.info["icc_profile"] = 6, SRGB
    made = sr(picture)
    assert made.info["icc_profile"] == SRGB
    assert np.array_equal(made, sr(np.ascontiguousarray(np.rot90(array(20, 30), -1))))
    grey = picture.convert("L")  # to which the profile belongs no more
    assert grey.info["icc_profile"] == SRGB and "icc_profile" not in sr(grey).info


@pytest.mark.parametrize(
    "wrong",
    ["a.png", np.zeros(3), np.zeros((4, 4, 7)), np.zeros((4, 4), bool), np.zeros((4, 4), np.longdouble),
     np.full((4, 4), 2.0), np.full((4, 4), np.nan), np.zeros((0, 4, 3)), torch.zeros(1, 1, 3, 4, 4),
     Image.fromarray(np.full((4, 4), -1, np.int32)), Image.new("F", (0, 4))],
)  # fmt: skip
def test_what_is_no_picture_is_refused(sr, wrong):
    assert "give" in refusal(ParameterError, sr, wrong)


@pytest.mark.parametrize(("kind", "values", "white"), [(np.float32, [0, 255], "1"), (np.int32, [-1, 70_000], "65535")])
def test_deep_grey_of_pillow_beyond_white_is_refused_by_its_mode(sr, kind, values, white):
    picture = Image.fromarray(np.array([values], kind))
    said = refusal(ParameterError, sr, picture)
    assert f"mode {picture.mode} must hold 0 to {white}, and this one holds {values[0]} to {values[1]};" in said


@pytest.mark.parametrize("wrap", [lambda a: a, torch.from_numpy])
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_picture_larger_than_memory_is_one_sentence_with_its_size(sr, wrap):
    huge = np.broadcast_to(np.uint8(7), (10**7, 10**7))  # more than there are addresses, and one byte here
    said = refusal(DataError, sr, wrap(huge))
    assert "10000000 x 10000000" in said and "memory" in said and "pieces" in said


@pytest.mark.gpu
def test_a_gpu_gives_the_same_and_a_tensor_stays_where_it_is(expected):
    net, picture = ra_core.load(SR, "cuda"), torch.from_numpy(array(20, 30)).permute(2, 0, 1)
    for given in (picture, picture.cuda()):
        made = net(given)
        assert made.device == given.device
        assert np.abs(made.cpu().permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


# --- by name


def test_a_preprocessor_gives_the_picture_to_be_coded(tmp_path):
    net, picture = preprocessor_run(tmp_path / "run", "npp_qa", quality=None), from_arrays([array()])
    with torch.inference_mode():
        wanted = {strength: preprocess(net, picture, strength) for strength in (STRENGTH, 0.3)}
    assert torch.allclose(ra_core.load(tmp_path / "run", "cpu", quality=20)(picture), wanted[STRENGTH], atol=1e-6)
    assert torch.allclose(ra_core.load(tmp_path / "run", "cpu", strength=0.3)(picture), wanted[0.3], atol=1e-6)
    assert not torch.allclose(wanted[STRENGTH], wanted[0.3], atol=1e-3)
    for options in ({}, {"strength": 0}, {"strength": float("nan")}, {"strength": 1e300}, {"strength": 1e-320},
                    {"quality": 1000}):  # fmt: skip
        refusal(ParameterError, ra_core.load, tmp_path / "run", "cpu", **options)


def test_a_processor_takes_no_quality_and_a_transformer_only_where_it_has_one(tmp_path):
    processor_run(tmp_path / "run", "dn", "ra_transformer")
    assert list(ra_core.load(tmp_path / "run", "cpu", transformer=True).nets) == ["processor", "transformer"]
    for options in ({"quality": 20}, {"strength": 1.0}):
        refusal(ParameterError, ra_core.load, SR, "cpu", **options)
    assert "transformer" in refusal(ParameterError, ra_core.load, SR, "cpu", transformer=True)
    refusal(ParameterError, ra_core.load, SR, "abacus")


@pytest.mark.parametrize("name", ["tables-jpeg-optimized", "npp_tables-jpeg-optimized"])
def test_a_run_with_tables_is_left_to_apply(name, tmp_path, capsys):
    name = f"photos_coding/photos/{name}"
    said = refusal(ParameterError, ra_core.load, name, "cpu", quality=22)
    assert "tables of quantisation" in said and f"python -m ra_core.apply INPUT OUTPUT --run {name} --quality" in said
    assert main([name, str(tmp_path / "out.onnx"), "--quality", "22"]) == 1 and capsys.readouterr().err == said + "\n"


def test_a_network_behind_the_codec_is_refused(tmp_path):
    coding_run(tmp_path / "run", "post")
    assert "behind the codec" in refusal(ParameterError, ra_core.load, tmp_path / "run", "cpu", quality=20)


@pytest.mark.parametrize("name", [None, 3])
def test_what_is_no_name_is_refused(name):
    assert f"{name} holds no finished run; name a folder" in refusal(ParameterError, ra_core.load, name)


def test_a_name_that_does_not_ship_brings_the_nearest_one():
    assert f"did you mean {SR!r}" in refusal(ParameterError, ra_core.load, "cifar_narrow/sr/ra")
    assert "did you mean" not in refusal(ParameterError, ra_core.load, "#!")


def test_the_table_has_every_network_that_ships_and_what_it_learned_from():
    table = ra_core.models()
    assert list(table.index) == [name.removesuffix("/seed0") for name in shipped_names()]
    assert (table["pictures"] > 0).all() and table.loc[:, "task":"source"].notna().all(axis=None)
    assert "not stated" not in set(table["licence"])
    assert table.loc[SR, ["task", "mode", "scale", "parameters"]].tolist() == ["sr", "ra", 4, 154698]
    smaller = "photos_coding/photos/npp_qa-jpeg-optimized"
    assert table.loc[smaller, "scale"] == ra_core.load(smaller, "cpu", quality=22).scale == pytest.approx(3 / 4, 1e-4)
    assert table.loc[SR, "top1"] == pytest.approx(53.6) and table[["top1", "map50"]].notna().any(axis=1).all()


def test_torch_hub_finds_it_in_a_clone(sr, expected):
    net = torch.hub.load(str(ROOT), "restore", SR, "cpu", source="local")
    assert np.array_equal(net(array(20, 30)), expected)


# --- memory


@pytest.mark.slow
def test_a_picture_of_12_megapixels_needs_little_memory():
    """In a process of its own, with a network of the published size; in one piece this takes 10 GB."""
    command = [sys.executable, "-c", BIG, "photos/jpeg/ra_unsupervised"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert 1e6 * float(said.stdout) < 1.5e9

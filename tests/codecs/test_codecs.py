import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import fuzz_codec
import numpy as np
import pytest
import torch
from fuzz_codec import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import refusal

from ra_core.codecs import CODECS, base, jpeg_parts, load_codec
from ra_core.codecs.jpeg import JpegCodec
from ra_core.data import cifar10
from ra_core.errors import CodecError, DataError, ParameterError
from ra_core.models.proxies import make_proxy

IN_MEMORY = [name for name in CODECS if name != "bpg"]
# Best, usual and coarse, in each codec's own unit.
LEVELS = {
    "jpeg": (95, 50, 10),
    "webp": (95, 50, 5),
    "heic": (12, 30, 44),
    "avif": (95, 50, 10),
    "jpeg2000": (4, 20, 80),
    "jpegxl": (0.5, 3, 12),
}


def levels(name: str) -> tuple[float, ...]:
    return LEVELS[name.split("-")[0]]


def codec_or_skip(name: str) -> base.Codec:
    if not CODECS[name].codec.available():
        pytest.skip(f"{name} is not installed")
    return load_codec(name)


@pytest.fixture(params=IN_MEMORY)
def codec(request) -> base.Codec:
    return codec_or_skip(request.param)


@pytest.fixture(scope="module")
def mosaic() -> np.ndarray:
    """Return real pictures laid out as one of 96 x 128 pixels."""
    images, _ = cifar10.load("shipped", "test").batch(torch.arange(12))
    tiles = (images * 255).round().byte().view(3, 4, 3, 32, 32).permute(0, 3, 1, 4, 2)
    return tiles.reshape(96, 128, 3).numpy()


def pillow_jpeg(array: np.ndarray, **settings) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", **settings)
    return buffer.getvalue()


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b.astype(float)).mean())


# --- what every codec does


def test_pictures_of_any_size_come_back_in_order(codec):
    sides = [(1, 1), (1, 9), (17, 1), (33, 70), (64, 64)]
    pictures = [picture(*side) for side in sides]
    for array in pictures:
        array.flags.writeable = False
    for quality in levels(codec.name):
        files = codec.encode(pictures, quality)
        decoded = codec.decode(files)
        assert all(type(file) is bytes for file in files)
        assert [array.shape for array in decoded] == [(*side, 3) for side in sides]
        assert all(array.dtype == np.uint8 and array.flags.writeable for array in decoded)
    assert codec.encode([], quality) == [] and codec.decode([]) == []


def test_a_better_quality_costs_bytes_and_saves_error(codec, mosaic):
    unit = codec.qualities
    best, worst = (unit.high, unit.low) if unit.better == "up" else (unit.low, unit.high)
    files = [codec.encode([mosaic], quality)[0] for quality in (best, *levels(codec.name), worst)]
    errors = [error(codec.decode([file])[0], mosaic) for file in files]
    assert all(len(a) > len(b) for a, b in pairwise(files)) and all(a < b for a, b in pairwise(errors))
    assert errors[1] < 40 and errors[3] < 2000  # it is the same picture


def test_bytes_do_not_depend_on_threads_or_company(codec, mosaic):
    quality = levels(codec.name)[1]
    pictures = [np.roll(mosaic, 8 * shift, 1) for shift in range(5)]
    alone = [codec.encode([array], quality, threads=1)[0] for array in pictures]
    assert codec.encode(pictures, quality, threads=4) == alone
    assert codec.encode(np.stack(pictures), quality) == alone
    assert codec.encode([np.asfortranarray(array) for array in pictures], quality) == alone
    for one, other in zip(codec.decode(alone), codec.decode(alone, threads=3), strict=True):
        assert np.array_equal(one, other)


def test_codecs_are_values_that_describe_themselves(codec):
    again = pickle.loads(pickle.dumps(codec))
    assert len({load_codec(codec.name), codec, again}) == 1 and again.name == codec.name
    said = json.loads(json.dumps(codec.describe()))
    assert said["name"] == codec.name and said["suffix"] == codec.suffix and "quality" in json.dumps(said["settings"])
    assert said["versions"] and all(value and value != "unknown" for value in said["versions"].values())
    unit, entry = codec.qualities, CODECS[codec.name]
    assert unit.low < unit.high and entry.title and entry.milliseconds > 0
    if entry.stand_in:
        assert (unit.low, unit.high) == make_proxy("BlockDCT", codec=entry.stand_in).codec.qualities


@pytest.mark.parametrize("level", [1, 9])
def test_a_codec_of_one_s_own_states_how_one_picture_is_coded_and_decoded(monkeypatch, level):
    monkeypatch.setattr(CODECS, "_known", dict(CODECS))

    @base.register("Zip", milliseconds=1.5, level=level)
    @dataclass(frozen=True)
    class ZipCodec(base.Codec):
        level: int = 6
        name, suffix, qualities = "zip", ".zip", base.Qualities("Zip step", 1, 64, better="down")

        def _encode(self, picture, quality):
            return bytes(picture.shape[:2]) + zlib.compress((picture // quality * quality).tobytes(), self.level)

        def _decode(self, file):
            return np.frombuffer(zlib.decompress(file[2:]), np.uint8).reshape(*file[:2], 3)

    codec, pictures = load_codec("zip"), [picture(20, 30), picture(3, 4)]
    assert CODECS["zip"].title == "Zip" and codec == ZipCodec(level) != ZipCodec()
    for one, other in zip(codec.decode(codec.encode(pictures, 8)), pictures, strict=True):
        assert np.array_equal(one, other // 8 * 8)
    refusal(CodecError, codec.decode, [b"no file"])


# --- JPEG


@pytest.mark.parametrize("quality", [1, 10, 75, 100])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("memory_file", [True, False])
def test_jpeg_is_pillow_s_file_to_the_byte(mosaic, monkeypatch, quality, subsampling, optimize, memory_file):
    if not memory_file:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    pictures = [mosaic, picture(1, 1), picture(37, 219), picture(700, 300)]
    expected = [pillow_jpeg(array, quality=quality, subsampling=subsampling, optimize=optimize) for array in pictures]
    assert JpegCodec(subsampling, optimize).encode(pictures, quality) == expected
    for one, file in zip(JpegCodec().decode(expected), expected, strict=True):
        assert np.array_equal(one, np.asarray(Image.open(io.BytesIO(file))))


@settings(max_examples=30)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 100), st.booleans())
def test_a_jpeg_file_is_header_and_payload(height, width, quality, optimize):
    file = JpegCodec(optimize=optimize).encode([picture(height, width)], quality)[0]
    header, payload = jpeg_parts(file)
    assert header + payload == len(file) and payload > 2
    assert header < 623 if optimize else header == 623
    assert file[:header].rindex(b"\xff\xda") == header - 14


def test_a_small_jpeg_of_very_many_scans_is_refused():
    file = pillow_jpeg(picture(64, 64), progressive=True)
    last = file.rindex(b"\xff\xda")
    assert JpegCodec().decode([file])[0].shape == (64, 64, 3)
    bomb = file[:last] + file[last:-2] * 2**18 + b"\xff\xd9"
    assert "scans" in refusal(CodecError, JpegCodec().decode, [bomb])


# --- the others


@pytest.mark.parametrize("qp", [0, 22, 34, 51])
def test_heic_is_what_pillow_heif_saves_at_that_qp(mosaic, qp):
    codec = codec_or_skip("heic")
    import pillow_heif

    parameters = {"x265:qp": str(qp), "x265:ipratio": "1.0", "x265:wpp": "0", "x265:pools": "none"}
    parameters |= {"x265:frame-threads": "1", "preset": "medium"}
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(mosaic)).save(buffer, chroma=420, enc_params=parameters)
    assert codec.encode([mosaic], qp) == [buffer.getvalue()]
    assert np.array_equal(codec.decode([buffer.getvalue()])[0], np.asarray(pillow_heif.open_heif(buffer)))


# --- what they refuse


@pytest.mark.parametrize("name", IN_MEMORY)
def test_a_quality_out_of_range_is_refused_and_any_kind_of_number_in_it_is_taken(name):
    unit = CODECS[name].codec.qualities
    wrong = [unit.low - 1, unit.high + 1, float("nan"), float("inf"), "10", None, True, np.True_, 10 + 0j]
    for quality in wrong + [unit.low + 0.5, np.float32(unit.low + 0.5)] * unit.integer:
        message = refusal(ParameterError, unit.checked, quality)
        assert repr(quality) in message and f"{unit.low:g} to {unit.high:g}" in message
    for kind in (int, float, np.int64, np.float64, np.float32, Fraction):
        assert unit.checked(kind(unit.high)) == unit.high
        assert type(unit.checked(kind(unit.high))) is (int if unit.integer else float)


def test_a_picture_of_another_kind_is_refused():
    grey, alpha, nothing = np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8)
    huge, tensor = np.broadcast_to(np.uint8(0), (2**13 + 1, 2**13, 3)), torch.zeros(8, 8, 3, dtype=torch.uint8)
    for wrong in (grey, alpha, nothing, picture(8, 8) / 255, tensor, "it.png", huge):
        assert "picture 1" in refusal(DataError, JpegCodec().encode, [picture(8, 8), wrong], 50)


@pytest.mark.parametrize(("name", "package"), [("heic", "pillow-heif"), ("jpegxl", "imagecodecs")])
def test_a_missing_library_is_named(monkeypatch, name, package):
    monkeypatch.setattr("ra_core.codecs.base.find_spec", lambda module: None)
    assert package in refusal(ParameterError, load_codec, name)


def test_a_file_that_is_cut_off_anywhere_is_refused(codec):
    file = codec.encode([picture(40, 50)], levels(codec.name)[2])[0]
    lengths = range(len(file)) if codec.name != "heic" else range(0, len(file), 3)
    for length in [*lengths, len(file) - 1]:
        refusal(CodecError, codec.decode, [file[:length]])


@pytest.mark.parametrize("name", [name for name in IN_MEMORY if name != "jpegxl"])  # which declares no length
def test_a_file_with_more_behind_its_end_is_refused(name):
    codec = codec_or_skip(name)
    file, other = codec.encode([picture(40, 50), picture(8, 8)], levels(name)[1])
    assert codec.decode([file])[0].shape == (40, 50, 3)
    for more in (b"x", bytes(8), b"\0\0\0\x08free", bytes(1000)):
        refusal(CodecError, codec.decode, [file + more])
    if codec.suffix != ".jpg":
        refusal(CodecError, codec.decode, [file + other])


def test_another_s_file_is_refused_and_counted(codec):
    array = picture(40, 40)
    own = codec.encode([array], levels(codec.name)[1])[0]
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    for name in IN_MEMORY:
        other = codec_or_skip(name)
        if other.suffix != codec.suffix:
            foreign = other.encode([array], levels(name)[1])[0]
            assert "file 1" in refusal(CodecError, codec.decode, [own, foreign, own])
    for foreign in (buffer.getvalue(), b"", bytes(5000), own[::-1]):
        assert "file 2" in refusal(CodecError, codec.decode, [own, own, foreign])


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("optimize", [False, True])
def test_a_grey_picture_is_stored_as_a_grey_jpeg_and_decoded_as_from_a_coloured_one(mosaic, subsampling, optimize):
    codec = JpegCodec(subsampling, optimize)
    greys = [np.repeat(one[..., :1], 3, 2) for one in (mosaic, picture(33, 17), picture(1, 1), picture(500, 400))]
    for quality in (1, 30, 75, 100):
        settings = {"quality": quality, "optimize": optimize}
        files = codec.encode(greys, quality)
        assert files == [pillow_jpeg(grey[..., 0], **settings) for grey in greys]
        coloured = [pillow_jpeg(grey, subsampling=subsampling, **settings) for grey in greys]
        for a, b, grey in zip(codec.decode(files), codec.decode(coloured), greys, strict=True):
            assert a.shape == grey.shape and np.array_equal(a, b)
    nearly = greys[0].copy()
    nearly[-1, -1, 2] ^= 1
    assert codec.encode([nearly], 75) == [pillow_jpeg(nearly, subsampling=subsampling, **settings | {"quality": 75})]


@pytest.mark.parametrize(
    ("mode", "form", "name"), [("CMYK", "JPEG", "jpeg"), ("RGBA", "WEBP", "webp"), ("L", "AVIF", "avif")]
)
def test_grey_and_transparent_files_are_refused(mode, form, name):
    buffer = io.BytesIO()
    Image.new(mode, (8, 8)).save(buffer, form)
    refusal(CodecError, load_codec(name).decode, [buffer.getvalue()])


def declared(name: str, file: bytes, width: int, height: int) -> bytes:
    """Return `file`, which is of 128 x 64 pixels, with another declared size."""
    if name == "jpegxl":  # no eights, 30 bits a side, no ratio, all by default
        bits = 3 << 1 | (height - 1) << 3 | 3 << 36 | (width - 1) << 38 | 1 << 68
        return b"\xff\x0a" + bits.to_bytes(9, "little") + file[11:]
    if name.startswith("jpeg") and name != "jpeg2000":
        form, old, new = ">HH", (64, 128), (height, width)
    else:
        form, old, new = "<HH" if name == "webp" else ">II", (128, 64), (width, height)
    assert struct.pack(form, *old) in file
    return file.replace(struct.pack(form, *old), struct.pack(form, *new))


@pytest.mark.parametrize("sides", [(16383, 16383), (8193, 8192), (12000, 16000)])
def test_a_declared_size_is_checked_before_it_is_allocated(codec, sides):
    file = codec.encode([picture(64, 128)], levels(codec.name)[1])[0]
    message = refusal(CodecError, codec.decode, [declared(codec.name, file, *sides)])
    assert f"{sides[0]} x {sides[1]} pixels" in message


def test_damaged_files_are_refused_or_decoded_and_no_more(codec):
    counts = fuzz_codec.run(codec, 150)
    assert counts["decoded"] + counts["refused"] == 150 and counts["refused"] > 30


# --- slow


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_MEMORY)
def test_ten_thousand_damaged_files(name, tmp_path):
    codec_or_skip(name)
    trace = tmp_path / "case"
    command = [sys.executable, fuzz_codec.__file__, name, "10000", str(trace)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    assert run.returncode == 0, f"{name}, case {trace.read_text()}: {run.returncode}\n{run.stderr[-3000:]}"
    counts = json.loads(run.stdout)
    print(name, counts)
    assert counts["decoded"] + counts["refused"] == 10_000
    assert counts["slowest_s"] < 10
    assert all(megabytes < 3000 for megabytes in counts["grown_mb"].values())

import io
import os
import struct
import warnings
import zlib

import noise
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from refusal import refusal

from ra_core.apply.pictures import read_picture
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError


def opened(path):
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm", "tif"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_picture_of_8_bits_or_fewer_is_returned_as_it_is(tmp_path, ending, mode):
    stored = Image.fromarray(noise.array(7, 9)).convert(mode)
    assert np.array_equal(opened(str(noise.save(tmp_path / f"a.{ending}", stored))), np.asarray(stored.convert("RGB")))


def test_16_bit_grey_is_scaled_and_rounded_not_cut_off(tmp_path):
    array = np.array([[0, 128, 129, 257], [32767, 32896, 65406, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1], [127, 128, 254, 255]])
    for name, dtype in (("a.png", "<u2"), ("little.tif", "<u2"), ("big.tif", ">u2")):
        result = opened(noise.save(tmp_path / name, array.astype(dtype)))
        assert np.array_equal(result, np.repeat(expected[..., None], 3, axis=2)), name
    (tmp_path / "a.pgm").write_bytes(b"P5 4 2 65535\n" + array.astype(">u2").tobytes())
    assert np.array_equal(opened(tmp_path / "a.pgm")[..., 0], expected)
    inverted = noise.save(tmp_path / "white_is_zero.tif", 65535 - array, tiffinfo={262: 0})
    assert np.array_equal(opened(inverted)[..., 0], expected)


def test_the_transparent_value_of_16_bit_grey_lies_on_white(tmp_path):
    path = noise.save(tmp_path / "a.png", np.array([[300, 301, 65535]], "<u2"), transparency=301)
    assert opened(path)[0, :, 0].tolist() == [1, 255, 255]
    picture = read_picture(path)
    assert picture.colours[0, :, 0].tolist() == [1, 1, 255] and picture.alpha.tolist() == [[255, 0, 255]]


def tiff(tags: dict[int, int], pixels: bytes, below: dict[int, int] | None = None) -> bytes:
    """A TIFF file of one strip, and perhaps of a directory below it."""

    def directory(tags: dict[int, int]) -> bytes:
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
        return struct.pack("<H", len(tags)) + entries + bytes(4)

    count = 9 + len(tags.keys() - {256, 257, 258, 262, 277}) + bool(below)
    place = 8 + 6 + 12 * count
    usual = {257: 1, 258: 8, 259: 1, 262: 1, 273: place, 277: 1, 278: 1, 279: len(pixels)}
    tags = usual | tags | ({330: place + len(pixels)} if below else {})
    return b"II*\0" + struct.pack("<I", 8) + directory(tags) + pixels + (directory(below) if below else b"")


def test_what_pillow_would_show_as_another_picture_is_refused(tmp_path):
    path, grey = tmp_path / "a.tif", bytes([9, 8, 7, 6])
    for below, shown in (({256: 4000, 257: 3000}, False), ({256: 2, 257: 1}, True)):
        path.write_bytes(tiff({256: 4}, grey, below))
        if shown:  # a smaller copy below it does no harm
            assert opened(path)[0, :, 0].tolist() == [9, 8, 7, 6]
        else:
            assert "thumbnail" in refusal(DataError, open_picture, path)
    path.write_bytes(tiff({256: 4, 255: 2}, grey))
    assert "thumbnail" in refusal(DataError, open_picture, path)
    path.write_bytes(tiff({256: 1, 258: 16, 262: 2, 277: 3, 284: 2}, bytes(6)))  # planes of red, of green and of blue
    assert "side by side" in refusal(DataError, open_picture, path)


def test_12_bit_grey_is_scaled_from_its_own_white(tmp_path):
    values = np.array([0, 2047, 2048, 4095])
    packed = bytes([0, 7, 255, 128, 15, 255])  # two of 12 bits in three bytes
    path = tmp_path / "a.tif"
    path.write_bytes(tiff({256: 4, 258: 12}, packed))
    assert opened(path)[0, :, 0].tolist() == np.floor(values * 255 / 4095 + 0.5).tolist()


def test_float_grey_is_scaled_from_one(tmp_path):
    array = np.array([[0, 0.25, 0.5, 1]], np.float32)
    assert opened(noise.save(tmp_path / "a.tif", array))[0, :, 1].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("value", [np.float32(1.5), np.float32(-0.1), np.float32(np.nan), np.int32(70000)])
def test_deep_grey_of_an_unknown_range_is_refused(tmp_path, value):
    path = noise.save(tmp_path / "a.tif", np.array([[0, value]], value.dtype))
    assert str(path) in refusal(DataError, open_picture, path)


def test_transparent_pixels_lie_on_white(tmp_path):
    array = np.array([[[200, 10, 0, 0], [200, 10, 0, 255], [255, 0, 100, 128]]], np.uint8)
    result = opened(noise.save(tmp_path / "a.png", array)).astype(int)
    assert result[0, 0].tolist() == [255, 255, 255] and result[0, 1].tolist() == [200, 10, 0]
    assert np.abs(result[0, 2] - [255, 127, 177]).max() <= 1
    grey = Image.fromarray(np.array([[[50, 0], [50, 255]]], np.uint8), "LA")
    assert opened(noise.save(tmp_path / "grey.png", grey))[0, :, 0].tolist() == [255, 50]
    key = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    path = noise.save(tmp_path / "key.png", key, transparency=(1, 2, 3))
    assert opened(path).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    palette = Image.new("P", (3, 1))
    palette.putpalette([9, 8, 7, 60, 50, 40, 0, 255, 0])
    palette.putdata([0, 1, 2])
    path = noise.save(tmp_path / "palette.png", palette, transparency=1)
    assert opened(path).tolist() == [[[9, 8, 7], [255, 255, 255], [0, 255, 0]]]


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_cmyk_becomes_the_colours_it_prints(tmp_path, ending):
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, :16, 0] = inks[:, 16:32, 1] = inks[:, 32:, 3] = 255  # cyan, magenta, black
    result = opened(noise.save(tmp_path / f"a.{ending}", Image.fromarray(inks, "CMYK"), quality=100))
    assert np.abs(result[8, [8, 24, 40]].astype(int) - [[0, 255, 255], [255, 0, 255], [0, 0, 0]]).max() <= 6


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = (Image.new("RGB", (5, 5), colour) for colour in ("red", "blue"))
    path = noise.save(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert (opened(path) == [255, 0, 0]).all()


TURNED = {  # how a stored picture must be turned to stand upright, by the EXIF orientation
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_tag_is_applied_once(tmp_path, orientation):
    array, exif = noise.array(4, 6), Image.Exif()
    exif[0x0112] = orientation
    path = noise.save(tmp_path / "a.png", array, exif=exif)
    assert np.array_equal(opened(path), TURNED[orientation](array))
    again = noise.save(tmp_path / "again.png", open_picture(path))
    assert np.array_equal(opened(again), TURNED[orientation](array))
    grey = noise.save(tmp_path / "grey.tif", array[..., 0], tiffinfo={274: orientation})
    assert np.array_equal(opened(grey)[..., 0], TURNED[orientation](array[..., 0]))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_garbled_exif_block_does_not_cost_the_picture(tmp_path):
    path = noise.save(tmp_path / "a.png", noise.array(4, 6), exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff broken")
    assert np.array_equal(opened(path), noise.array(4, 6))


def test_what_is_no_picture_is_told_apart(tmp_path):
    (tmp_path / "notes.jpg").write_text("Dear diary, this is not a picture.")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    noise.save(tmp_path / "camera.tif", noise.array(4, 4), tiffinfo={254: 1})
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    (tmp_path / "canon.cr2").write_bytes(b"II*\0\x10\0\0\0CR\2\0\0\0\0\0" + struct.pack("<H", 9) + entries + bytes(4))
    words = {"notes": "known kind", "empty": "empty", "missing": "exist", "pipe": "plain"}
    words |= {"camera.tif": "thumbnail", "canon.cr2": "thumbnail"}
    for name, word in (words | {"": "folder"}).items():
        path = tmp_path / (name if "." in name or not name else f"{name}.jpg")
        said = refusal(DataError, open_picture, path)
        assert str(path) in said and word in said


def test_short_memory_is_not_called_damage(tmp_path, monkeypatch):
    path = noise.save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *given: bytearray(1 << 60))
    said = refusal(DataError, open_picture, path)
    assert "memory" in said and "damaged" not in said


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_truncated_picture_is_refused(tmp_path, ending, kept):
    path = noise.save(tmp_path / f"a.{ending}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert str(path) in refusal(DataError, open_picture, path)


@pytest.mark.parametrize("ending", ["jpeg", "png", "webp", "tiff", "gif"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_damaged_bytes_give_an_rgb_picture_or_one_sentence(tmp_path, ending, draw):
    buffer = io.BytesIO()
    Image.fromarray(noise.array(12, 10)).save(buffer, ending)
    content = bytearray(buffer.getvalue())
    for place in draw.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = draw.draw(st.integers(0, 255))
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content[: draw.draw(st.integers(1, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert open_picture(path).mode == "RGB"
        except DataError as error:
            assert "\n" not in str(error) and str(path) in str(error)


def png_that_claims(width, height):
    """A PNG with a header and no pixels: whoever tries to decode it finds it damaged, not large."""

    def chunk(kind, content):
        content = kind + content
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9000, 10000, 40000])
@pytest.mark.parametrize("strictness", ["ignore", "error"])
def test_a_far_too_large_picture_is_refused_before_it_is_decoded(tmp_path, side, strictness):
    path = tmp_path / "huge.png"
    path.write_bytes(png_that_claims(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter(strictness, Image.DecompressionBombWarning)
        assert "at most 80 megapixels" in refusal(DataError, open_picture, path)
    path.write_bytes(png_that_claims(100, 100))
    assert "damaged" in refusal(DataError, open_picture, path)


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory error when reading image file")])
def test_a_picture_that_memory_is_too_short_for_is_not_called_damaged(tmp_path, monkeypatch, error):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(error))
    said = refusal(DataError, open_picture, tmp_path / "a.png")
    assert "memory" in said and "damaged" not in said

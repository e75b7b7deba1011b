import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
import torch
from applied import SRGB, array, opened, saved
from PIL import Image

from ra_core import metrics
from ra_core.apply.pictures import Picture, picture_psnr, read_picture, write_pictures, write_png
from ra_core.codecs import load_codec
from ra_core.codecs.base import is_grey
from ra_core.data.decoding import open_picture


def grey_profile(gamma: float) -> bytes:
    """Return a profile of grey pixels: brightness is the value to the power of `gamma`."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(78) + bytes(1)
    tags, at, table = [(b"desc", text), (b"wtpt", white), (b"kTRC", curve)], 128 + 4 + 36, b""
    for kind, content in tags:
        table += kind + struct.pack(">II", at, len(content))
        at += len(content)
    body = struct.pack(">I", len(tags)) + table + b"".join(content for _, content in tags)
    head = struct.pack(">I4xI4s4s4s12x4s", 128 + len(body), 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head += bytes(68 - len(head)) + struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + body


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of these chunks; Pillow writes no colours of 16 bits."""
    parts = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
             for kind, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# --- reading


@pytest.mark.parametrize(("channels", "tag", "form"), [(3, 1, "png"), (4, 1, "png"), (4, 6, "png"), (4, 6, "tif")])
def test_colours_and_transparency_are_read_apart_and_upright(tmp_path, channels, tag, form):
    exif = Image.Exif()
    exif[0x0112] = tag
    pixels = saved(tmp_path / f"a.{form}", array(channels=channels), exif=exif)
    pixels = np.rot90(pixels, -1) if tag == 6 else pixels
    picture = read_picture(tmp_path / f"a.{form}")
    assert np.array_equal(picture.colours, pixels[..., :3]) and (picture.profile, picture.notes) == (b"", ())
    assert picture.alpha is None if channels == 3 else np.array_equal(picture.alpha, pixels[..., 3])


@pytest.mark.parametrize("damaged", [b"nonsense" * 20, SRGB[:200]])
def test_a_profile_of_rgb_is_kept_and_a_damaged_one_is_not(tmp_path, damaged):
    saved(tmp_path / "a.png", array(), icc_profile=SRGB)
    assert read_picture(tmp_path / "a.png").profile == SRGB
    saved(tmp_path / "b.png", array(), icc_profile=damaged)
    picture = read_picture(tmp_path / "b.png")
    assert picture.profile == b"" and "damaged" in picture.notes[0]


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_grey_with_a_profile_becomes_srgb(tmp_path, gamma):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    saved(tmp_path / "a.png", ramp, icc_profile=grey_profile(gamma))
    picture = read_picture(tmp_path / "a.png")
    assert is_grey(picture.colours) and picture.profile == b"" and "GRAY" in picture.notes[0]
    linear = (np.arange(256) / 255) ** gamma
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(picture.colours[..., 0].flatten() - srgb).max() < 0.6


def test_a_grey_profile_of_deep_pixels_is_left_out(tmp_path):
    saved(tmp_path / "a.png", np.full((4, 4), 257 * 99, np.uint16), icc_profile=grey_profile(1.0))
    picture = read_picture(tmp_path / "a.png")
    assert (picture.colours == 99).all() and "GRAY" in picture.notes[0]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_more_than_8_bits_are_lost_with_a_note(tmp_path, channels, bits):
    head = struct.pack(">IIBBBBB", 5, 6, bits, {1: 0, 3: 2}[channels], 0, 0, 0)
    rows = 6 * (b"\0" + 5 * channels * (bits // 8) * b"\x63")
    (tmp_path / "a.png").write_bytes(png((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    picture = read_picture(tmp_path / "a.png")
    assert picture.colours.shape == (6, 5, 3) and (picture.colours == 0x63).all()
    assert picture.notes == ("it has more than 8 bits a channel, which became 8",) * (bits > 8)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG", "MPO", "AVIF", "HEIF"])
def test_what_has_more_frames_than_one_says_so(tmp_path, form):
    pillow_heif.register_heif_opener()
    for count in (1, 3):
        first, *others = (Image.fromarray(array(seed=seed)) for seed in range(count))
        first.save(tmp_path / "a", form, save_all=True, append_images=others)
        picture = read_picture(tmp_path / "a")
        assert np.array_equal(picture.colours, np.asarray(open_picture(tmp_path / "a")))
        assert len(picture.notes) == (count > 1)


def test_a_damaged_further_frame_harms_nothing(tmp_path):
    first, second = (Image.fromarray(array(12, 9, seed=seed)) for seed in range(2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    whole, expected = (tmp_path / "a.gif").read_bytes(), np.asarray(open_picture(tmp_path / "a.gif"))
    (tmp_path / "a.gif").write_bytes(whole[: whole.rindex(b"!\xf9\x04") + 12])  # within the second one's header
    picture = read_picture(tmp_path / "a.gif")
    assert np.array_equal(picture.colours, expected) and len(picture.notes) == 1


# --- writing and comparing


@pytest.mark.parametrize(
    ("grey", "profile", "mode"), [(1, b"", "L"), (1, SRGB, "RGB"), (0, SRGB, "RGB"), (0, b"", "RGBA")]
)
def test_png_gives_back_what_was_written(tmp_path, grey, profile, mode):
    pixels = array(channels=4)
    colours = np.stack([pixels[..., 0]] * 3, axis=-1) if grey else pixels[..., :3]
    write_png(tmp_path / "a.png", Picture(colours, pixels[..., 3] if mode == "RGBA" else None, profile))
    again = read_picture(tmp_path / "a.png")
    assert np.array_equal(again.colours, colours) and again.profile == profile
    assert np.array_equal(again.alpha, pixels[..., 3]) if mode == "RGBA" else again.alpha is None
    assert Image.open(tmp_path / "a.png").mode == mode


def test_pictures_between_modules_are_written_by_number(tmp_path):
    write_pictures(tmp_path / "in", torch.tensor([0, 0.5, 1.5]).view(3, 1, 1, 1).expand(3, 3, 4, 5))
    found = {path.name: opened(path).tolist() for path in sorted((tmp_path / "in").iterdir())}
    assert found == {f"00{i}.png": np.full((4, 5), value).tolist() for i, value in enumerate((0, 128, 255))}


def test_the_psnr_is_that_of_the_metrics():
    picture, target = array(600, 31), array(600, 31, seed=1)
    images = [torch.from_numpy(a).permute(2, 0, 1)[None] / 255 for a in (picture, target)]
    assert picture_psnr(picture, target) == pytest.approx(metrics.psnr(*images).item(), abs=1e-3)
    assert picture_psnr(picture, picture) == metrics.IDENTICAL_DB


# --- colour profiles in coded files

PROFILES = {"usual": SRGB, "odd length": SRGB + b"x", "of several segments": SRGB + bytes(200_000)}
QUALITIES = {"jpeg": 50, "jpeg-444-optimized": 80, "webp": 50, "heic": 30, "avif": 50}


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("name", QUALITIES)
def test_a_profile_is_found_again_and_the_pixels_are_the_same(name, kind):
    codec, profile = load_codec(name), PROFILES[kind]
    [file] = codec.encode([array()], QUALITIES[name])
    [tagged] = codec.encode([array()], QUALITIES[name], icc_profile=profile)
    assert abs(len(tagged) - len(file) - len(profile)) < 100
    load = pillow_heif.open_heif if name == "heic" else Image.open
    before, after = load(io.BytesIO(file)), load(io.BytesIO(tagged))
    assert after.info["icc_profile"] == profile and not before.info.get("icc_profile")
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("name", ["jpeg2000", "jpegxl", "jpeg"])
def test_a_format_without_a_place_or_of_grey_pixels_gets_none(name):
    codec, grey = load_codec(name), np.full((8, 8, 3), 9, np.uint8)
    assert codec.encode([grey], 20, icc_profile=SRGB) == codec.encode([grey], 20)

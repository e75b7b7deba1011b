import io
import struct

import numpy as np
import pillow_heif
import pytest
import torch
from applied import array, opened, saved
from PIL import Image, ImageCms

from ra_core import metrics
from ra_core.apply.colour_profiles import embed
from ra_core.apply.picture_files import Picture, picture_psnr, read_picture, resize, to_grey, write_pictures, write_png
from ra_core.codecs import load_codec
from ra_core.codecs.base import is_grey
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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


# --- reading


def test_a_plain_picture_has_colours_only(tmp_path):
    pixels = saved(tmp_path / "a.png", array())
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.colours, pixels)
    assert (picture.alpha, picture.profile, picture.notes) == (None, b"", ())


def test_colours_beneath_transparent_pixels_are_kept_apart(tmp_path):
    pixels = saved(tmp_path / "a.png", array(channels=4))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.colours, pixels[..., :3]) and np.array_equal(picture.alpha, pixels[..., 3])


def test_a_picture_that_is_opaque_everywhere_has_no_transparency(tmp_path):
    saved(tmp_path / "a.png", Image.fromarray(array()).convert("RGBA"))
    assert read_picture(tmp_path / "a.png").alpha is None


def test_transparency_is_turned_with_the_colours(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = saved(tmp_path / "a.png", array(channels=4), exif=exif)
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(np.dstack([picture.colours, picture.alpha]), np.rot90(pixels, -1))


def test_a_profile_of_rgb_is_kept_and_a_damaged_one_is_not(tmp_path):
    saved(tmp_path / "a.png", array(), icc_profile=SRGB)
    assert read_picture(tmp_path / "a.png").profile == SRGB
    saved(tmp_path / "b.png", array(), icc_profile=b"nonsense" * 20)
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


def frames(path, form: str, count: int) -> None:
    first, *others = (Image.fromarray(array(seed=seed)) for seed in range(count))
    first.save(path, form, save_all=True, append_images=others)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG", "MPO", "AVIF", "HEIF"])
def test_what_has_more_frames_than_one_says_so(tmp_path, form):
    pillow_heif.register_heif_opener()
    for count in (1, 3):
        frames(tmp_path / "a", form, count)
        picture = read_picture(tmp_path / "a")
        assert np.array_equal(picture.colours, np.asarray(open_picture(tmp_path / "a")))
        assert picture.notes == ("it has several frames, of which one is used",) * (count > 1)


def test_a_damaged_second_frame_is_one_too_many_and_no_harm(tmp_path):
    frames(tmp_path / "a", "GIF", 1)
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:-1] + b"\x2c\0")  # another frame begins and ends
    picture = read_picture(tmp_path / "a")
    assert "frames" in picture.notes[0] and picture.colours.shape == (40, 56, 3)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match="not a picture"):
        read_picture(tmp_path / "a.png")


# --- writing and comparing


@pytest.mark.parametrize("channels", [3, 4])
def test_png_gives_back_what_was_written(tmp_path, channels):
    pixels = array(channels=channels)
    alpha = pixels[..., 3] if channels == 4 else None
    write_png(tmp_path / "a.png", Picture(pixels[..., :3], alpha, SRGB))
    again = read_picture(tmp_path / "a.png")
    assert np.array_equal(again.colours, pixels[..., :3]) and again.profile == SRGB
    assert again.alpha is None if alpha is None else np.array_equal(again.alpha, alpha)


def test_a_grey_png_has_one_channel_unless_its_profile_asks_for_three(tmp_path):
    grey = to_grey(array())
    for profile, mode in ((b"", "L"), (SRGB, "RGB")):
        write_png(tmp_path / "a.png", Picture(grey, None, profile))
        assert Image.open(tmp_path / "a.png").mode == mode
        assert np.array_equal(read_picture(tmp_path / "a.png").colours, grey)


def test_pictures_between_modules_are_written_by_number(tmp_path):
    images = torch.stack([torch.zeros(3, 4, 5), torch.full((3, 4, 5), 0.5), torch.full((3, 4, 5), 1.5)])
    write_pictures(tmp_path / "in", images)
    found = {path.name: opened(path).tolist() for path in sorted((tmp_path / "in").iterdir())}
    assert found == {f"00{i}.png": np.full((4, 5), value).tolist() for i, value in enumerate((0, 128, 255))}


def test_grey_is_the_brightness_in_all_channels():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]], np.uint8)
    assert not is_grey(colours) and is_grey(to_grey(colours))
    assert to_grey(colours)[0, :, 0].tolist() == [76, 150, 29, 9]


def test_the_psnr_is_that_of_the_metrics():
    picture, target = array(600, 31), array(600, 31, seed=1)
    images = [torch.from_numpy(a).permute(2, 0, 1)[None] / 255 for a in (picture, target)]
    assert picture_psnr(picture, target) == pytest.approx(metrics.psnr(*images).item(), abs=1e-4)
    assert picture_psnr(picture, picture) == metrics.IDENTICAL_DB


def test_a_layer_is_resized_only_where_it_must_be():
    layer = array()[..., 0]
    assert resize(layer, *layer.shape) is layer
    assert resize(layer, 80, 112).shape == (80, 112)


# --- colour profiles in coded files

PROFILES = {"usual": SRGB, "odd length": SRGB + b"x", "of several segments": SRGB + bytes(200_000)}
QUALITIES = {"jpeg": 50, "jpeg-444-optimized": 80, "webp": 50, "heic": 30, "avif": 50}


def coded(name: str, pixels: np.ndarray) -> tuple[bytes, str]:
    codec = load_codec(name)
    return codec.encode([pixels], QUALITIES[name])[0], codec.suffix


@pytest.mark.parametrize("kind", PROFILES)
@pytest.mark.parametrize("name", QUALITIES)
def test_a_profile_is_found_again_and_the_pixels_are_the_same(name, kind):
    file, suffix = coded(name, array())
    whole = embed(file, suffix, PROFILES[kind])
    assert len(PROFILES[kind]) < len(whole) - len(file) < len(PROFILES[kind]) + 100
    load = pillow_heif.open_heif if name == "heic" else Image.open
    before, after = load(io.BytesIO(file)), load(io.BytesIO(whole))
    assert after.info["icc_profile"] == PROFILES[kind] and not before.info.get("icc_profile")
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("suffix", [".j2k", ".jxl", ".bpg"])
def test_a_format_without_a_place_gets_none(suffix):
    assert embed(b"anything", suffix, SRGB) is None


def test_a_grey_jpeg_takes_no_profile_of_three_colours():
    grey, coloured = load_codec("jpeg").encode([np.zeros((8, 8, 3), np.uint8), array(8, 8)], 50)
    assert embed(grey, ".jpg", SRGB) is None and embed(coloured, ".jpg", SRGB) is not None


@pytest.mark.parametrize("name", ["webp", "heic", "avif"])
def test_a_file_of_another_layout_gets_none(name):
    file, suffix = coded(name, array())
    assert embed(b"nonsense" * 20, suffix, SRGB) is None
    assert all(embed(file[:length], suffix, SRGB) is None for length in range(0, 28))


def test_a_file_with_a_profile_can_be_saved_and_opened(tmp_path):
    file, suffix = coded("jpeg", array())
    (tmp_path / "a.jpg").write_bytes(embed(file, suffix, SRGB))
    assert read_picture(tmp_path / "a.jpg").profile == SRGB
    assert opened(tmp_path / "a.jpg").shape == array().shape

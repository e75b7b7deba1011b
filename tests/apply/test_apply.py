import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from applied import JPEG, array, opened, preprocessor_run, processor_run, saved, table, times, tree
from PIL import Image, ImageCms

from ra_core import metrics
from ra_core.apply import apply, find_files, main
from ra_core.apply.picture_jobs import COLUMNS, output_names
from ra_core.chain import Chain
from ra_core.channels import Coded, from_arrays, to_arrays
from ra_core.codecs import load_codec
from ra_core.coding import STRENGTH, AtStrength

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(images: torch.Tensor) -> np.ndarray:
    return to_arrays(images)[0]


# --- what is done to a picture


def test_a_preprocessor_run_is_the_chain_of_its_evaluation(tmp_path, source, target):
    net = preprocessor_run(tmp_path / "run")
    rows = apply(source, target, run=tmp_path / "run")
    pixels = array()
    chain = Chain(channel=Coded(load_codec("jpeg"), 20), pre=AtStrength(net, 1.0))
    images = from_arrays([pixels])
    out = chain(images, torch.tensor([0]))
    file = target / "files" / "a.jpg"
    assert file.stat().st_size == int(out["bytes"]) == rows[0]["bytes"]
    assert np.array_equal(opened(file), levels(out["stored"]))
    assert np.array_equal(opened(target / "pictures" / "a.png"), levels(out["stored"]))
    assert rows[0]["psnr"] == pytest.approx(metrics.psnr(out["stored"], images).item(), abs=1e-3)
    assert not np.array_equal(opened(file), opened_alone(tmp_path, source))


def opened_alone(tmp_path, source) -> np.ndarray:
    apply(source, tmp_path / "alone", **JPEG)
    return opened(tmp_path / "alone" / "files" / "a.jpg")


def test_without_a_run_it_is_the_codec_alone(source, target):
    rows = apply(source, target, codec="jpeg", quality=20)
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode([array()], 20)[0]
    assert rows[0]["bpp"] == pytest.approx(8 * rows[0]["bytes"] / (40 * 56), abs=1e-4)


def test_a_preprocessor_can_stand_before_another_codec_and_quality(tmp_path, source, target):
    net = preprocessor_run(tmp_path / "run")
    apply(source, target, run=tmp_path / "run", codec="webp", quality=50)
    with torch.inference_mode():
        sent = levels(net(from_arrays([array()])))
    assert (target / "files" / "a.webp").read_bytes() == load_codec("webp").encode([sent], 50)[0]


@pytest.mark.parametrize(
    ("chosen", "strength"),
    [
        ({"quality": 10}, STRENGTH * 0.5),
        ({"quality": 20.0}, STRENGTH),
        ({"quality": 15}, STRENGTH * 2**-0.5),
        ({"quality": 15, "strength": 0.7}, 0.7),
        ({"codec": "webp", "quality": 15, "strength": 0.3}, 0.3),
    ],
)
def test_an_adaptive_preprocessor_is_told_the_strength_of_the_quality(tmp_path, source, target, chosen, strength):
    net = preprocessor_run(tmp_path / "run", "npp_qa", quality=None)
    apply(source, target, run=tmp_path / "run", **chosen)
    with torch.inference_mode():
        sent = levels(net(from_arrays([array()]), strength))
    codec = load_codec(chosen.get("codec", "jpeg"))
    file = target / "files" / f"a{codec.suffix}"
    assert file.read_bytes() == codec.encode([sent], int(chosen["quality"]))[0]
    assert json.loads((target / "settings.json").read_text())["strength"] == pytest.approx(strength)


def test_a_processor_run_writes_png_of_its_size(tmp_path, source, target):
    net = processor_run(tmp_path / "run", "dn")["processor"]
    rows = apply(source, target, run=tmp_path / "run")
    with torch.inference_mode():
        expected = levels(net(from_arrays([array()])))
    assert np.array_equal(opened(target / "pictures" / "a.png"), expected)
    assert rows[0]["bytes"] == (target / "pictures" / "a.png").stat().st_size
    assert rows[0]["psnr"] > 0 and not (target / "files").exists()


def test_super_resolution_enlarges_and_has_no_psnr(tmp_path, target):
    saved(tmp_path / "in" / "a.png", array(channels=4))
    net = processor_run(tmp_path / "run", "sr")["processor"]
    rows = apply(tmp_path / "in", target, run=tmp_path / "run")
    with torch.inference_mode():
        expected = levels(net(from_arrays([array(channels=4)[..., :3]])))
    written = opened(target / "pictures" / "a.png")
    assert written.shape == (160, 224, 4) and np.array_equal(written[..., :3], expected)
    assert (rows[0]["width"], rows[0]["height"], rows[0]["psnr"]) == (224, 160, None)
    assert table(target / "pictures.csv")[0]["psnr"] == ""


def test_a_processor_can_be_followed_by_its_transformer_and_a_codec(tmp_path, source, target):
    networks = processor_run(tmp_path / "run", "dn", "ra_transformer")
    apply(source, target, run=tmp_path / "run", codec="jpeg", quality=90, transformer=True)
    with torch.inference_mode():
        stored = metrics.to_8bit(networks["processor"](from_arrays([array()])))
        seen = levels(networks["transformer"](stored))
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode([seen], 90)[0]


# --- what belongs to a picture


def test_names_and_folders_are_kept(tmp_path, target):
    for name in ("b/c d/é.bmp", "a.png", "b/a.webp"):
        saved(tmp_path / "in" / name, array(9, 8))
    rows = apply(tmp_path / "in", target, **JPEG)
    assert [row["file"] for row in rows] == ["a.png", "b/a.webp", "b/c d/é.bmp"]
    assert [row["output"] for row in rows] == ["files/a.jpg", "files/b/a.jpg", "files/b/c d/é.jpg"]
    assert tree(target) == sorted(
        ["contact_sheet.png", "pictures.csv", "settings.json", "skipped.csv"]
        + [f"{kind}/{name}" for kind, ending in (("files", "jpg"), ("pictures", "png"))
           for name in (f"a.{ending}", f"b/a.{ending}", f"b/c d/é.{ending}")]
    )  # fmt: skip
    assert tuple(table(target / "pictures.csv")[0]) == COLUMNS and table(target / "skipped.csv") == []


@pytest.mark.parametrize(
    "files",
    [
        ["a.png", "a.bmp"],
        ["a.png", "A.bmp"],
        ["a.png", "a.bmp", "a.png.bmp", "a.bmp.png", "b.png"],
        ["a", "a.png", "b"],
        ["x/a.png", "a.png", "x/a.a"],
        ["a.b.png", "a.c.png", "a.b"],
    ],
)
def test_no_two_outputs_have_one_name(files):
    names = output_names(files)
    assert len({name.casefold() for name in names.values()}) == len(files)
    assert all(os.path.dirname(names[file]) == os.path.dirname(file) for file in files)


def test_a_picture_that_lies_on_its_side_stands_upright(tmp_path, target):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = saved(tmp_path / "in" / "a.png", array(), exif=exif)
    rows = apply(tmp_path / "in", target, **JPEG)
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode([np.rot90(pixels, -1)], 20)[0]
    assert (rows[0]["width"], rows[0]["height"]) == (40, 56)
    for path in ("files/a.jpg", "pictures/a.png"):
        assert not Image.open(target / path).getexif()


def test_transparency_lies_in_the_png_and_beside_the_file(tmp_path, target):
    pixels = saved(tmp_path / "in" / "a.png", array(channels=4))
    rows = apply(tmp_path / "in", target, **JPEG)
    assert np.array_equal(opened(target / "pictures" / "a.png")[..., 3], pixels[..., 3])
    assert np.array_equal(opened(target / "files" / "a.alpha.png"), pixels[..., 3])
    assert rows[0]["alpha_bytes"] == (target / "files" / "a.alpha.png").stat().st_size
    bare = load_codec("jpeg").encode([np.ascontiguousarray(pixels[..., :3])], 20)[0]
    assert (target / "files" / "a.jpg").read_bytes() == bare and rows[0]["bytes"] == len(bare)


@pytest.mark.parametrize(
    ("codec", "quality", "kept"), [("jpeg", 20, True), ("avif", 50, True), ("jpeg2000", 20, False)]
)
def test_a_colour_profile_is_kept_where_there_is_a_place(tmp_path, target, codec, quality, kept):
    pixels = saved(tmp_path / "in" / "a.png", array(), icc_profile=SRGB)
    (row,) = apply(tmp_path / "in", target, codec=codec, quality=quality)
    assert Image.open(target / "pictures" / "a.png").info["icc_profile"] == SRGB
    assert (Image.open(target / row["output"]).info.get("icc_profile") == SRGB) == kept
    bare = len(load_codec(codec).encode([pixels], quality)[0])
    assert row["bytes"] == (target / row["output"]).stat().st_size == bare + row["profile_bytes"]
    assert (row["profile_bytes"] > 0) == kept and ("profile" in row["notes"]) != kept


def test_grey_stays_grey_behind_a_network_that_tints(tmp_path, target):
    net = preprocessor_run(tmp_path / "run")
    saved(tmp_path / "in" / "a.png", array()[..., 0])
    with torch.inference_mode():
        tinted = levels(net(from_arrays([np.stack([array()[..., 0]] * 3, axis=-1)])))
    assert np.ptp(tinted.astype(int), axis=-1).max() > 3
    apply(tmp_path / "in", target, run=tmp_path / "run", quality=95)
    assert Image.open(target / "pictures" / "a.png").mode == "L"
    assert Image.open(target / "files" / "a.jpg").mode == "L"


# --- any folder


def broken(folder) -> dict[str, str]:
    """Fill a folder with what cannot be used; return a word of each reason."""
    saved(folder / "cut.png", array())
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-300])
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    saved(folder / ("n" * 210 + ".png"), array(5, 5))
    Image.new("L", (10_000, 7_000)).save(folder / "huge.png")
    return {
        "cut.png": "cannot be read", "notes.txt": "not a picture", "empty.png": "empty", "gone.png": "link to nothing",
        "pipe.png": "no file", "n" * 210 + ".png": "name of more", "huge.png": "more than",
    }  # fmt: skip


def test_what_cannot_be_used_is_skipped_and_listed(source, target):
    reasons = broken(source)
    (source / ".hidden").write_text("not even tried")
    rows = apply(source, target, **JPEG)
    assert [row["file"] for row in rows] == ["a.png"]
    skipped = {row["file"]: row["reason"] for row in table(target / "skipped.csv")}
    assert skipped.keys() == reasons.keys()
    for file, word in reasons.items():
        assert word in skipped[file] and skipped[file].endswith(".") and "\n" not in skipped[file]


def test_a_picture_its_codec_cannot_hold_is_skipped(source, target):
    saved(source / "wide.png", np.zeros((1, 20_000, 3), np.uint8))
    rows = apply(source, target, codec="webp", quality=20)
    assert len(rows) == 1 and "could not be coded as webp" in table(target / "skipped.csv")[0]["reason"]


def test_a_picture_that_would_become_too_large_is_skipped(tmp_path, source, target):
    processor_run(tmp_path / "run", "sr")
    Image.new("L", (2_100, 2_100)).save(source / "large.png")
    apply(source, target, run=tmp_path / "run")
    assert "8400 x 8400 pixels" in table(target / "skipped.csv")[0]["reason"]


def test_names_that_are_no_unicode_are_spelt_out(source, target):
    os.rename(source / "a.png", os.fsencode(source) + b"/\xff\xe9.png")
    rows = apply(source, target, **JPEG)
    assert table(target / "pictures.csv")[0]["file"] == rows[0]["file"] == "\\xff\\xe9.png"
    assert os.path.exists(os.fsencode(target) + b"/files/\xff\xe9.jpg")
    before = times(target)
    apply(source, target, **JPEG)
    assert times(target) == before


def test_a_link_in_a_circle_is_not_followed(source):
    (source / "round").symlink_to(source, target_is_directory=True)
    assert find_files(source)[0] == ["a.png"]


@pytest.mark.parametrize("codec", ["heic", "avif", "webp", "jpeg2000"])
def test_pictures_of_other_formats_are_read(tmp_path, target, codec):
    coder = load_codec(codec)
    (tmp_path / "in").mkdir()
    (file,) = coder.encode([array()], 10)
    (tmp_path / "in" / f"a{coder.suffix}").write_bytes(file)
    apply(tmp_path / "in", target, **JPEG)
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode(coder.decode([file]), 20)[0]


@pytest.mark.parametrize("kind", ["preprocessor", "sr", "dn"])
def test_sizes_from_one_pixel_on(tmp_path, target, kind):
    sizes = [(1, 1), (1, 30), (30, 1), (2, 3), (7, 7), (17, 33)]
    for height, width in sizes:
        saved(tmp_path / "in" / f"{height}x{width}.png", array(height, width))
    run = tmp_path / "run"
    preprocessor_run(run) if kind == "preprocessor" else processor_run(run, kind)
    rows = apply(tmp_path / "in", target, run=run)
    scale = 4 if kind == "sr" else 1
    found = {row["file"]: (row["height"], row["width"]) for row in rows}
    assert found == {f"{height}x{width}.png": (scale * height, scale * width) for height, width in sizes}


def test_the_contact_sheet_shows_at_most_twelve_pictures(tmp_path, source, target):
    apply(source, target, **JPEG)
    assert Image.open(target / "contact_sheet.png").size == (464, 264)
    for number in range(20):
        saved(source / f"{number}.png", array(3 + number, 500, seed=number))
    apply(source, target, **JPEG)
    sheet = np.asarray(Image.open(target / "contact_sheet.png"))
    assert sheet.shape == (4 * 252 + 12, 3 * 452 + 12, 3)
    before, after = sheet[112:132, 12:232], sheet[112:132, 232:452]
    assert (before != 255).any() and (after != 255).any() and (before != after).any()


# --- the command


def test_the_command_says_what_it_did(source, target, capsys):
    (source / "notes.txt").write_text("no picture")
    assert main([str(source), str(target), "--codec", "jpeg", "--quality", "20", "--workers", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 pictures (1 of them now), 1 skipped: {target}"


def test_the_command_refuses_with_one_sentence(source, target, capsys):
    assert main([str(source), str(target), "--codec", "gif", "--quality", "20"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("codec 'gif' is unknown") and len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_a_picture_of_48_megapixels_needs_little_memory(tmp_path, target):
    """In a process of its own, whose memory the system counts; in one piece even this narrow network takes 4 GB."""
    preprocessor_run(tmp_path / "run")
    saved(tmp_path / "in" / "a.png", array(6000, 8000), compress_level=1)
    command = [sys.executable, "-m", "ra_core.apply", str(tmp_path / "in"), str(target)]
    subprocess.run([*command, "--run", str(tmp_path / "run")], check=True)
    assert opened(target / "files" / "a.jpg").shape == (6000, 8000, 3)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2.5e9

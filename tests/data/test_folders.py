import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ra_core import data
from ra_core.data import folders
from ra_core.data.folders import open_picture
from ra_core.errors import DataError, ParameterError


def random_array(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(path, array_or_picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = array_or_picture
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, **options)
    return path


def refusal(call, *arguments, error=DataError, **options):
    """Call what must be refused; return the message, checked to be one sentence."""
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 500
    return message


def opened(path):
    picture = open_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)


# --- one picture


@pytest.mark.parametrize("ending", ["png", "bmp", "ppm", "tif"])
def test_an_rgb_picture_is_returned_as_it_is(tmp_path, ending):
    array = random_array(7, 9)
    assert np.array_equal(opened(str(saved(tmp_path / f"a.{ending}", array))), array)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_grey_picture_gets_three_equal_channels(tmp_path, mode):
    array = random_array(6, 5)[..., 0]
    array = np.where(array > 127, 255, 0).astype(np.uint8) if mode == "1" else array
    result = opened(saved(tmp_path / "a.png", Image.fromarray(array).convert(mode)))
    assert np.array_equal(result, np.repeat(array[..., None], 3, axis=2))


def test_16_bit_grey_is_scaled_and_rounded_not_cut_off(tmp_path):
    array = np.array([[0, 128, 129, 257], [32767, 32896, 65406, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 1], [127, 128, 254, 255]])
    for name, dtype in (("a.png", "<u2"), ("little.tif", "<u2"), ("big.tif", ">u2")):
        result = opened(saved(tmp_path / name, array.astype(dtype)))
        assert np.array_equal(result, np.repeat(expected[..., None], 3, axis=2)), name
    (tmp_path / "a.pgm").write_bytes(b"P5 4 2 65535\n" + array.astype(">u2").tobytes())
    assert np.array_equal(opened(tmp_path / "a.pgm")[..., 0], expected)


def test_float_grey_is_scaled_from_one(tmp_path):
    array = np.array([[0, 0.25, 0.5, 1]], np.float32)
    assert opened(saved(tmp_path / "a.tif", array))[0, :, 1].tolist() == [0, 64, 128, 255]


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan])
def test_float_grey_of_an_unknown_range_is_refused(tmp_path, value):
    path = saved(tmp_path / "a.tif", np.array([[0, value]], np.float32))
    assert "grey values are not between 0 and 1" in refusal(open_picture, path)


def test_32_bit_grey_of_an_unknown_range_is_refused(tmp_path):
    path = saved(tmp_path / "a.tif", np.array([[0, 70000]], np.int32))
    assert "not between 0 and 65535" in refusal(open_picture, path)


def test_transparent_pixels_lie_on_white(tmp_path):
    array = np.array([[[200, 10, 0, 0], [200, 10, 0, 255], [255, 0, 100, 128]]], np.uint8)
    result = opened(saved(tmp_path / "a.png", array)).astype(int)
    assert result[0, 0].tolist() == [255, 255, 255] and result[0, 1].tolist() == [200, 10, 0]
    assert np.abs(result[0, 2] - [255, 127, 177]).max() <= 1


def test_grey_with_alpha_lies_on_white(tmp_path):
    array = np.array([[[50, 0], [50, 255]]], np.uint8)
    assert opened(saved(tmp_path / "a.png", Image.fromarray(array, "LA")))[0, :, 0].tolist() == [255, 50]


def test_a_palette_is_looked_up_and_its_transparent_entry_is_white(tmp_path):
    picture = Image.new("P", (3, 1))
    picture.putpalette([9, 8, 7, 60, 50, 40, 0, 255, 0])
    picture.putdata([0, 1, 2])
    assert opened(saved(tmp_path / "a.png", picture)).tolist() == [[[9, 8, 7], [60, 50, 40], [0, 255, 0]]]
    result = opened(saved(tmp_path / "b.png", picture, transparency=1))
    assert result.tolist() == [[[9, 8, 7], [255, 255, 255], [0, 255, 0]]]


def test_a_colour_key_is_white(tmp_path):
    array = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    path = saved(tmp_path / "a.png", array, transparency=(1, 2, 3))
    assert opened(path).tolist() == [[[255, 255, 255], [4, 5, 6]]]


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_cmyk_becomes_the_colours_it_prints(tmp_path, ending):
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, :16, 0] = inks[:, 16:32, 1] = inks[:, 32:, 3] = 255  # cyan, magenta, black
    path = saved(tmp_path / f"a.{ending}", Image.fromarray(inks, "CMYK"), quality=100)
    result = opened(path)[8, [8, 24, 40]].astype(int)
    assert np.abs(result - [[0, 255, 255], [255, 0, 255], [0, 0, 0]]).max() <= 6


TURNED = {  # how a stored picture must be turned to stand upright, by the EXIF orientation
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_tag_is_applied_once(tmp_path, orientation):
    array, exif = random_array(4, 6), Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.png", array, exif=exif)
    assert np.array_equal(opened(path), TURNED[orientation](array))
    again = saved(tmp_path / "again.png", open_picture(path))
    assert np.array_equal(opened(again), TURNED[orientation](array))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_garbled_exif_block_does_not_cost_the_picture(tmp_path):
    array = random_array(4, 6)
    path = saved(tmp_path / "a.png", array, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff broken")
    assert np.array_equal(opened(path), array)


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = (Image.new("RGB", (5, 5), colour) for colour in ("red", "blue"))
    path = saved(tmp_path / "a.gif", first, save_all=True, append_images=[second])
    assert (opened(path) == [255, 0, 0]).all()


def test_no_picture_empty_missing_and_folder_are_told_apart(tmp_path):
    (tmp_path / "notes.jpg").write_text("Dear diary, this is not a picture.")
    (tmp_path / "empty.jpg").touch()
    assert "notes.jpg is not a picture" in refusal(open_picture, tmp_path / "notes.jpg")
    assert "empty.jpg is an empty file" in refusal(open_picture, tmp_path / "empty.jpg")
    assert "missing.jpg does not exist" in refusal(open_picture, tmp_path / "missing.jpg")
    assert "is a folder" in refusal(open_picture, tmp_path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp"])
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_truncated_picture_is_refused(tmp_path, ending, kept):
    path = saved(tmp_path / f"a.{ending}", random_array(40, 40))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert str(path) in refusal(open_picture, path)


@pytest.mark.parametrize("ending", ["jpeg", "png", "webp", "tiff", "gif"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_damaged_bytes_give_an_rgb_picture_or_one_sentence(tmp_path, ending, draw):
    buffer = io.BytesIO()
    Image.fromarray(random_array(12, 10)).save(buffer, ending)
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
        assert "at most 80 megapixels are read" in refusal(open_picture, path)
    path.write_bytes(png_that_claims(100, 100))
    assert "damaged" in refusal(open_picture, path)


# --- a folder tree

SIZES = [(40, 30), (33, 51), (64, 64), (30, 70), (50, 41)]


@pytest.fixture
def tree(tmp_path):
    """Two parts of two classes with 2 and 3 pictures of different sizes."""
    root = tmp_path / "birds"
    for part in ("train", "val"):
        for i, (height, width) in enumerate(SIZES):
            name = f"{'crow' if i < 2 else 'wren'}/{i}.png"
            saved(root / part / name, random_array(height, width, seed=i))
    return root


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_classes_files_and_labels_are_sorted(tree):
    saved(tree / "train" / "crow" / "deeper" / "A.JPEG", random_array(40, 40))
    (tree / "train" / "crow" / "notes.txt").write_text("no picture")
    (tree / "train" / ".cache").mkdir()
    (tree / "train" / "crow" / "._0.png").write_bytes(b"left by a file manager")
    pictures = folders.load(tree, "train")
    assert pictures.files[:3] == ("crow/0.png", "crow/1.png", "crow/deeper/A.JPEG")
    assert pictures.files[3:] == ("wren/2.png", "wren/3.png", "wren/4.png")
    assert pictures.labels.tolist() == [0, 0, 0, 1, 1, 1] and pictures.labels.dtype == torch.int64
    assert (pictures.classes, pictures.name, len(pictures)) == (("crow", "wren"), "birds/train", 6)


def test_test_is_the_folder_val(tree):
    (tree / "val" / "wren" / "4.png").unlink()
    assert len(folders.load(tree, "test")) == len(folders.load(tree, "val")) == 4
    assert folders.load(str(tree), "test").name == "birds/test"


def test_a_batch_is_what_torchvision_gives(tree):
    from torchvision import datasets, transforms

    for resize, crop in ((24, 17), (256, 224), (31, 31)):
        steps = [transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor()]
        expected = datasets.ImageFolder(tree / "val", transforms.Compose(steps))
        images, labels = folders.load(tree, "val", resize, crop).batch(torch.tensor([4, 0, 3, 1, 2]))
        assert images.shape == (5, 3, crop, crop) and images.dtype == torch.float32
        for image, label, i in zip(images, labels.tolist(), [4, 0, 3, 1, 2], strict=True):
            assert torch.equal(image, expected[i][0]) and label == expected[i][1]


def test_the_published_sizes_are_the_defaults(tree):
    pictures = folders.load(tree, "val")
    assert (pictures.resize, pictures.crop) == (256, 224)


def test_a_training_batch_is_reproducible_from_its_generator(tree):
    pictures, indices = folders.load(tree, "train", 24, 16), torch.tensor([0, 3, 3, 1])
    first, labels = pictures.training_batch(indices, seeded(3))
    torch.rand(5)  # the global random state has no say
    again, _ = pictures.training_batch(indices, seeded(3))
    other, _ = pictures.training_batch(indices, seeded(4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[1], first[2])  # the same file, drawn twice
    assert labels.tolist() == [0, 1, 1, 0]


def test_a_training_batch_advances_its_generator_by_a_fixed_amount(tree):
    states = []
    for indices in ([0, 1], [3, 4]):  # of different sizes
        generator = seeded(3)
        folders.load(tree, "train", 24, 16).training_batch(torch.tensor(indices), generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_training_crops_reach_every_place_and_half_are_mirrored(tmp_path):
    rows, columns = np.mgrid[0:10, 0:12].astype(np.uint8)
    array = np.stack([columns, rows, np.zeros_like(rows)], axis=2)  # red tells the column, green the row
    for name in ("a", "b"):
        saved(tmp_path / "train" / name / "0.png", array)
    pictures = folders.load(tmp_path, "train", resize=10, crop=8)  # not resized: 3 places down, 5 across
    images, _ = pictures.training_batch(torch.zeros(600, dtype=torch.int64), seeded(0))
    assert images.dtype == torch.uint8
    images = images.int()
    mirrored = images[:, 0, 0, 0] > images[:, 0, 0, -1]
    images[mirrored] = images[mirrored].flip(-1)
    left, top = images[:, 0, 0, 0], images[:, 1, 0, 0]
    assert torch.equal(images[:, 0], (left[:, None, None] + torch.arange(8)).expand(-1, 8, -1).int())
    assert torch.equal(images[:, 1], (top[:, None, None] + torch.arange(8)[:, None]).expand(-1, -1, 8).int())
    places = torch.bincount(left + 5 * top, minlength=15)
    assert len(places) == 15 and places.min() > 15 and places.max() < 75  # 40 expected, 6 the deviation
    assert 240 < int(mirrored.sum()) < 360


def test_it_can_be_split_and_cut_like_pictures_in_memory(tree):
    pictures = folders.load(tree, "train", 24, 16)
    split = data.split_train(pictures, 1)
    assert split["validation"].files == ("crow/1.png", "wren/4.png")
    assert split["train"].files == ("crow/0.png", "wren/2.png", "wren/3.png")
    assert split["train"].name == "birds/train/train" and split["train"].crop == 16
    assert data.first_per_class(pictures, 2).files == ("crow/0.png", "crow/1.png", "wren/2.png", "wren/3.png")
    images, labels = split["validation"].batch(torch.tensor([1]))
    assert torch.equal(images, pictures.batch(torch.tensor([4]))[0]) and labels.tolist() == [1]


def test_the_fingerprint_follows_the_files_not_the_place_or_order(tree, tmp_path):
    pictures = folders.load(tree, "train")
    value = data.fingerprint(pictures)
    assert value == data.fingerprint(folders.load(tree.rename(tmp_path / "moved"), "train"))
    pictures = folders.load(tmp_path / "moved", "train")
    assert value == data.fingerprint(pictures.subset(torch.tensor([4, 2, 0, 1, 3]), "shuffled"))
    assert value != data.fingerprint(pictures.subset(torch.arange(4), "fewer"))
    path = tmp_path / "moved" / "train" / "crow" / "0.png"
    path.write_bytes(path.read_bytes() + b"longer")
    assert value != data.fingerprint(pictures)


def inverted(path):
    """Change every pixel of a BMP, and no byte of its header or its size."""
    array = np.asarray(Image.open(path).convert("RGB"))
    size = path.stat().st_size
    Image.fromarray(255 - array).save(path)
    assert path.stat().st_size == size


def test_the_fingerprint_follows_the_bytes_and_not_the_times(tree):
    for i in range(6):
        saved(tree / "train" / "wren" / f"{i}.bmp", random_array(9, 9, seed=i))
    pictures = folders.load(tree, "train")
    value = data.fingerprint(pictures)
    os.utime(tree / "train" / "wren" / "3.bmp", (1, 1))  # as a copy has other times
    assert data.fingerprint(pictures) == value
    inverted(tree / "train" / "wren" / "3.bmp")
    assert data.fingerprint(pictures) != value
    inverted(tree / "train" / "wren" / "3.bmp")
    assert data.fingerprint(pictures) == value


def test_of_many_files_a_fixed_part_is_read_for_the_fingerprint(tree, monkeypatch):
    read, content_of = [], folders.content_of
    monkeypatch.setattr(folders, "READ", 2)
    monkeypatch.setattr(folders, "content_of", lambda path: read.append(path.name) or content_of(path))
    pictures = folders.load(tree, "train")
    value = data.fingerprint(pictures)
    assert value == data.fingerprint(pictures.subset(torch.tensor([4, 2, 0, 1, 3]), "shuffled"))
    assert len(read) == 4 and set(read[:2]) == set(read[2:])
    path = next(tree.glob(f"train/*/{read[0]}"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert value != data.fingerprint(pictures)


def test_links_do_not_give_a_picture_twice(tree, tmp_path):
    folder = tree / "train" / "wren"
    (folder / "deeper").mkdir()
    saved(folder / "deeper" / "5.png", random_array(9, 9))
    saved(tmp_path / "elsewhere" / "6.png", random_array(9, 9))
    links = {"loop": folder, "up": tree, "deeper/back": folder, "again": folder / "deeper"}
    for name, target in (links | {"other": tmp_path / "elsewhere"}).items():
        (folder / name).symlink_to(target)
    names = ["2.png", "3.png", "4.png", "deeper/5.png", "other/6.png"]
    assert folders.picture_files(folder) == names
    assert folders.picture_files(tree / "train", "wren") == [f"wren/{name}" for name in names]


def test_a_broken_picture_in_the_tree_is_named(tree):
    (tree / "train" / "wren" / "3.png").write_bytes(b"broken")
    pictures = folders.load(tree, "train", 24, 16)
    assert str(Path("wren") / "3.png") in refusal(pictures.batch, torch.arange(5))
    assert pictures.batch(torch.tensor([0, 4]))[0].shape == (2, 3, 16, 16)


def test_a_strip_that_would_grow_without_bounds_is_refused(tree):
    saved(tree / "train" / "crow" / "0.png", Image.new("RGB", (1, 2000)))
    assert "256 x 512000 pixels" in refusal(folders.load(tree, "train").batch, torch.tensor([0]))


@pytest.mark.parametrize(("resize", "crop"), [(24, 25), (24, 0), (-3, -4)])
def test_an_impossible_crop_is_refused(tree, resize, crop):
    assert f"a crop of {crop}" in refusal(folders.load, tree, "train", resize, crop, error=ParameterError)


def test_an_unknown_part_is_refused(tree):
    message = refusal(folders.load, tree, "validation", error=ParameterError)
    assert "no part 'validation'; choose one of train, test" in message


def test_a_missing_root_and_a_missing_part_are_named(tree, tmp_path):
    assert "nowhere is not a folder" in refusal(folders.load, tmp_path / "nowhere")
    for file in sorted((tree / "val").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    (tree / "val").rmdir()
    assert f"{tree / 'val'} is not a folder" in refusal(folders.load, tree, "test")
    assert len(folders.load(tree, "train")) == 5


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_classes_are_refused(tmp_path, count):
    (tmp_path / "train").mkdir()
    saved(tmp_path / "train" / "loose.png", random_array(4, 4))
    if count:
        saved(tmp_path / "train" / "only" / "0.png", random_array(4, 4))
    assert f"has {count} class folders; at least 2" in refusal(folders.load, tmp_path)


def test_an_empty_class_is_named(tree):
    for part in ("train", "val"):
        (tree / part / "dodo").mkdir()
    (tree / "train" / "dodo" / "notes.txt").write_text("extinct")
    assert f"{tree / 'train' / 'dodo'} holds no pictures" in refusal(folders.load, tree)


def test_parts_with_different_classes_are_refused(tree):
    saved(tree / "train" / "dodo" / "0.png", random_array(4, 4))
    assert "differ in class 'dodo'" in refusal(folders.load, tree, "test")


def test_a_folder_that_may_not_be_read_is_named(tree, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "train cannot be read (Permission denied)" in refusal(folders.load, tree)

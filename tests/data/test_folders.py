"""Trees of class folders, and folders without: batches, parts that follow from the bytes, and tables of labels."""

import hashlib
import json
import os
from dataclasses import replace

import noise
import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import fingerprint, folders, is_labelled, listing
from ra_core.data.folders import FolderPictures, list_flat, list_unlabelled, load_flat, load_tree
from ra_core.errors import DataError

SHARES = (0.4, 0.2)
PARTS = ("train", "validation", "test")


@pytest.fixture
def tree(tmp_path):
    """Two parts of two classes with 2 and 3 pictures of different sizes."""
    for part in ("train", "val"):
        for i in range(5):
            noise.save(tmp_path / "birds" / part / ("crow" if i < 2 else "wren") / f"{i}.png", i)
    return tmp_path / "birds"


@pytest.fixture
def photos(tmp_path):
    """Twenty pictures of several sizes, some in folders."""
    for seed in range(20):
        noise.save(tmp_path / "photos" / ("" if seed % 3 else "holidays/sea") / f"{seed:02}.png", seed)
    return tmp_path / "photos"


@pytest.fixture
def table(photos):
    """The same with a table of three classes."""
    rows = [f"{name},{i % 3},{'abc'[i % 3]}" for i, name in enumerate(names_in(photos))]
    (photos / "labels.csv").write_text("\n".join(["file,index,name", *rows, ""]))
    return photos


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def rewrite(table, old, new):
    (table / "labels.csv").write_text((table / "labels.csv").read_text().replace(old, new))


def flat(root, shares=SHARES, resize=24, crop=16, memory=None):
    return load_flat(root, *shares, resize, crop, memory)


def files(parts):
    return {name: set(part.files) for name, part in parts.items()}


# --- a tree


def test_classes_files_and_labels_are_sorted(tree):
    noise.save(tree / "train" / "crow" / "deeper" / "A.JPEG")
    (tree / "train" / "crow" / "notes.txt").write_text("no picture")
    (tree / "train" / ".cache").mkdir()
    noise.save(tree / "train" / "lost.png")
    (tree / "train" / "crow" / "._0.png").write_bytes(b"left by a file manager")
    pictures = load_tree(tree, "train")
    assert pictures.files[:3] == ("crow/0.png", "crow/1.png", "crow/deeper/A.JPEG")
    assert pictures.files[3:] == ("wren/2.png", "wren/3.png", "wren/4.png")
    assert pictures.labels.tolist() == [0, 0, 0, 1, 1, 1] and pictures.labels.dtype == torch.int64
    assert (pictures.classes, pictures.name, len(pictures)) == (("crow", "wren"), "birds/train", 6)
    assert [name for name, _ in pictures.skipped] == ["train/.cache", "train/lost.png", "train/crow/._0.png"]
    assert "class folder" in pictures.skipped[1][1]
    assert len(load_tree(str(tree), "test")) == len(load_tree(tree, "val")) == 5
    assert load_tree(tree, "test").name == "birds/test"


def test_a_batch_is_what_torchvision_gives(tree):
    from torchvision import datasets, transforms

    for resize, crop in ((24, 17), (256, 224), (31, 31)):
        steps = [transforms.Resize(resize), transforms.CenterCrop(crop), transforms.ToTensor()]
        expected = datasets.ImageFolder(tree / "val", transforms.Compose(steps))
        images, labels = load_tree(tree, "val", resize, crop).batch(torch.tensor([4, 0, 3, 1, 2]))
        assert images.shape == (5, 3, crop, crop) and images.dtype == torch.float32
        for image, label, i in zip(images, labels.tolist(), [4, 0, 3, 1, 2], strict=True):
            assert torch.equal(image, expected[i][0]) and label == expected[i][1]


def test_training_crops_reach_every_place_and_half_are_mirrored(tmp_path):
    rows, columns = np.mgrid[0:10, 0:12].astype(np.uint8)
    array = np.stack([columns, rows, np.zeros_like(rows)], axis=2)  # red tells the column, green the row
    for name in ("a", "b"):
        noise.save(tmp_path / "train" / name / "0.png", array)
    pictures = load_tree(tmp_path, "train", resize=10, crop=8)  # not resized: 3 places down, 5 across
    images, _ = pictures.training_batch(torch.zeros(600, dtype=torch.int64), torch.Generator().manual_seed(0))
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


def test_the_fingerprint_follows_files_and_bytes_not_place_order_or_times(tree, tmp_path):
    noise.save(tree / "train" / "wren" / "5.bmp", noise.array(9, 9))
    value = fingerprint(load_tree(tree, "train"))
    pictures = load_tree(tree.rename(tmp_path / "moved"), "train")
    assert value == fingerprint(pictures) == fingerprint(pictures.subset(torch.tensor([4, 2, 5, 0, 1, 3]), "shuffled"))
    assert value != fingerprint(pictures.subset(torch.arange(5), "fewer"))
    path = pictures.folder / "wren" / "5.bmp"
    whole = path.read_bytes()
    for content, same in ((whole, True), (whole[:-1] + b"?", False), (whole + b"longer", False)):
        path.write_bytes(content)
        os.utime(path, (1, 1))  # as a copy has other times
        assert (fingerprint(pictures) == value) == same
    path.unlink()
    assert "5.bmp" in refusal(DataError, fingerprint, pictures)


def test_of_a_large_set_the_fingerprint_reads_the_same_few_files(tree, monkeypatch):
    read, content_of = [], folders.content_of
    monkeypatch.setattr(folders, "READ", 2)
    monkeypatch.setattr(folders, "content_of", lambda path: read.append(path) or content_of(path))
    pictures = load_tree(tree, "train")
    value = fingerprint(pictures)
    assert value == fingerprint(pictures.subset(torch.tensor([3, 1, 4, 0, 2]), "shuffled"))
    assert len(read) == 4 and set(read[:2]) == set(read[2:])
    read[0].write_bytes(read[0].read_bytes()[:-1] + b"?")
    assert value != fingerprint(pictures)


def test_a_broken_picture_in_the_tree_is_named(tree):
    (tree / "train" / "wren" / "3.png").write_bytes(b"broken")
    pictures = load_tree(tree, "train", 24, 16)
    said = refusal(DataError, pictures.batch, torch.arange(5))
    assert "wren/3.png" in said and f"ra_core.data.check {pictures.folder}" in said


def test_a_tree_that_is_none_is_refused(tree, tmp_path):
    noise.save(tree / "train" / "dodo" / "0.png")
    for step in (lambda: None, (tree / "val" / "dodo").mkdir):  # the parts differ; it is empty
        step()
        assert "dodo" in refusal(DataError, load_tree, tree, "test")
    (tree / "val").rename(tmp_path / "away")
    assert str(tree / "val") in refusal(DataError, load_tree, tree, "test")
    for name in ("crow", "dodo"):
        (tree / "train" / name).rename(tmp_path / name)
    assert "1 class" in refusal(DataError, load_tree, tree, "train")


# --- which part of a folder without a tree


def test_every_picture_is_in_the_part_that_the_hash_of_its_bytes_says(photos):
    parts = files(flat(photos))
    assert set(parts) == set(PARTS) and sum(map(len, parts.values())) == 20
    for name, found in parts.items():
        for file in found:
            place = int(hashlib.sha256((photos / file).read_bytes()).hexdigest()[:16], 16) / 2**64
            assert name == ("test" if place < 0.4 else "validation" if place < 0.6 else "train")


def test_a_part_without_pictures_is_refused(photos, tmp_path):
    for shares, part in (((1e-9, 0.5), "test"), ((0.5, 1e-9), "validation"), ((0.5, 0.5 - 1e-9), "train")):
        assert f"part {part}" in refusal(DataError, flat, photos, shares)
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refusal(DataError, flat, tmp_path / "empty")


# --- pictures alone


def test_what_is_no_whole_picture_is_skipped_and_listed_until_it_is_mended(photos):
    whole = files(flat(photos))
    (photos / "diary.jpg").write_text("Dear diary, this is not a picture.")
    (photos / "empty.png").touch()
    (photos / "holidays" / "half.png").write_bytes((photos / "01.png").read_bytes()[:900])
    (photos / "phone.heic").write_bytes(b"a picture of another kind")
    noise.save(photos / "strip.png", Image.new("RGB", (1, 9000)))  # brought to size it would grow without bounds
    parts = load_flat(photos, *SHARES, 256, 224)
    assert files(parts) == whole and not is_labelled(parts["train"])
    skipped = dict(parts["train"].skipped)
    assert list(skipped) == ["diary.jpg", "empty.png", "holidays/half.png", "phone.heic", "strip.png"]
    assert "known kind" in skipped["diary.jpg"] and "damaged" in skipped["holidays/half.png"]
    assert all(part.skipped == parts["train"].skipped for part in parts.values())
    noise.save(photos / "diary.jpg", 77)
    assert "diary.jpg" not in dict(flat(photos)["train"].skipped)


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are decoded or hashed, as they are."""
    read, check, content_of = [], FolderPictures.check, listing.content_of
    monkeypatch.setattr(FolderPictures, "check", lambda *a: read.append(a[1].rpartition("/")[2]) or check(*a))
    monkeypatch.setattr(listing, "content_of", lambda path: read.append(path.name) or content_of(path))
    return read


def test_a_file_is_read_once_for_all_processes_until_it_changes(photos, tmp_path, read, monkeypatch):
    memory = tmp_path / "runs" / "checked.json"
    (photos / "bad.png").write_text("no picture")

    def parts(crop=16):
        read.clear()
        return flat(photos, crop=crop, memory=memory)

    monkeypatch.setenv("RANK", "1")
    first = parts()
    monkeypatch.setenv("RANK", "0")
    assert not memory.exists() and len(read) == 2 * 20 + 1  # each to look, each whole one for its bytes
    parts()
    again = parts()
    assert set(read) == {"bad.png"} and files(again) == files(first)
    assert again["train"].skipped == first["train"].skipped
    assert all(fingerprint(again[part]) == fingerprint(first[part]) for part in PARTS)
    noise.save(photos / "bad.png", 77)
    assert parts()["train"].skipped == () and set(read) == {"bad.png"}
    parts(crop=12)
    assert len(read) == 2 * 21  # what is too large to be brought to one size may not be for another
    known = json.loads(memory.read_text())
    garbled = known | {"files": {file: [state, 3] for file, (state, _) in known["files"].items()}}
    for damaged in ("{", "[]", json.dumps(garbled)):
        memory.write_text(damaged)
        parts(crop=12)
        assert len(read) == 2 * 21
    (tmp_path / "file").touch()  # a memory that cannot be written is done without
    assert files(flat(photos, memory=tmp_path / "file" / "checked.json")) == files(parts())


def test_listing_opens_no_picture(table, read):
    (table / "diary.jpg").write_text("Dear diary, this is not a picture.")
    pictures = list_flat(table)
    assert len(pictures) == 20 and pictures.classes == ("a", "b", "c")
    assert [name for name, _ in pictures.skipped] == ["diary.jpg"] and "labels.csv" in pictures.skipped[0][1]
    (table / "labels.csv").unlink()
    assert len(list_flat(table)) == 21 and not read


def test_pictures_alone_lie_in_any_folders_and_are_of_one_class(photos, tmp_path):
    pictures = list_unlabelled(photos, 24, 24, ("thing",))
    assert pictures.files == tuple(names_in(photos)) and pictures.name == "photos"
    assert pictures.classes == ("thing",) and not pictures.labels.any()
    (tmp_path / "few").mkdir()
    for name in ("few", "nowhere"):
        assert str(tmp_path / name) in refusal(DataError, list_unlabelled, tmp_path / name)


# --- a table of labels


def test_labels_are_those_of_the_table_whose_order_means_nothing(table):
    parts = flat(table)
    assert all(part.classes == ("a", "b", "c") for part in parts.values())
    names = names_in(table)
    for part in parts.values():
        assert [names.index(file) % 3 for file in part.files] == part.labels.tolist()
    assert sum(map(len, parts.values())) == 20
    heading, *rows = (table / "labels.csv").read_text().splitlines()
    (table / "labels.csv").write_text("\n".join([heading, *rows[::-1]]))
    for name, part in flat(table).items():
        assert part.files == parts[name].files and torch.equal(part.labels, parts[name].labels)
    rewrite(table, ",0,a", ",4,")
    part = flat(table)["train"]
    known, content = fingerprint(parts["train"]), ("0" * 64, *parts["train"].contents[1:])
    assert len({known, fingerprint(part), fingerprint(replace(parts["train"], contents=content))}) == 3
    assert part.classes == ("class 0", "b", "c", "class 3", "class 4")


def test_pictures_may_lie_in_a_folder_of_their_own_and_be_imagenet_s(table):
    inside = [path for path in table.iterdir() if path.name != "labels.csv"]
    (table / "pictures").mkdir()
    for path in inside:
        path.rename(table / "pictures" / path.name)
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text.replace("index", "imagenet_index"), encoding="utf-8-sig")
    part = flat(table)["test"]
    assert len(part.classes) == 1000 and part.classes[:2] == ("tench", "goldfish")
    assert part.batch(torch.tensor([0]))[0].shape == (1, 3, 16, 16)


UNUSABLE = [
    ("file,", "path,", "path, index, name"), ("index", "number", "file, number, name"), (",1,b", ",-1,b", "'-1'"),
    (",1,b", ",,b", "''"), (",1,b", ",999999999,b", "999999999"), ("01.png", "gone.png", "'gone.png'"),
    ("file,index,name\n", "file,imagenet_index,name\n01.png,1000,b\n", "'1000'"),
    ("01.png", "../tree.png", "'../tree.png'"), ("01.png", "02.png", "'02.png'"), ("01.png", "./02.png", "'02.png'"),
    ("02.png,1,b", "02.png,1,dog", "'dog'"), ("index,name", "index,index", "column stands twice"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "named"), UNUSABLE)
def test_a_table_that_cannot_be_used_is_one_sentence(table, old, new, named):
    noise.save(table.parent / "tree.png")
    rewrite(table, old, new)
    assert named in refusal(DataError, flat, table)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00file"])
def test_a_table_that_is_none_is_one_sentence(table, content):
    (table / "labels.csv").write_bytes(content)
    assert "labels.csv" in refusal(DataError, flat, table)


def test_a_table_that_is_a_pipe_or_a_link_to_nothing_is_not_passed_over(table):
    for make in (os.mkfifo, lambda path: path.symlink_to("nowhere")):
        (table / "labels.csv").unlink()
        make(table / "labels.csv")
        assert "labels.csv" in refusal(DataError, flat, table)


def test_a_class_has_the_name_that_any_of_its_rows_gives(table):
    rewrite(table, ",2,c", ",2,")
    (table / "labels.csv").write_text((table / "labels.csv").read_text().replace(",2,", ",2,c", 1))
    assert list_flat(table).classes == ("a", "b", "c")


def test_a_broken_picture_that_a_table_names_is_skipped_with_its_label(table):
    before = flat(table)["train"]
    (table / before.files[0]).write_text("no picture")
    part = flat(table)["train"]
    assert [file for file, _ in part.skipped] == [before.files[0]]
    assert part.files == before.files[1:] and torch.equal(part.labels, before.labels[1:])

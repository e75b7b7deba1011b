"""Folders without class folders: parts that follow from the bytes, tables of labels, and files that are no pictures."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import fingerprint, flat_folders, is_labelled
from ra_core.data.flat_folders import PARTS, is_flat, load
from ra_core.errors import DataError

SIZES = [(40, 30), (33, 51), (64, 64), (30, 70), (50, 41)]
SHARES = (0.4, 0.2)


def save(path, seed):
    height, width = SIZES[seed % len(SIZES)]
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def photos(tmp_path):
    """Twenty pictures of several sizes, some in folders."""
    root = tmp_path / "photos"
    for seed in range(20):
        save(root / ("" if seed % 3 else "holidays/sea") / f"{seed:02}.png", seed)
    return root


@pytest.fixture
def table(photos):
    """The same with a table of three classes."""
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    rows = [f"{name},{i % 3},{'abc'[i % 3]}" for i, name in enumerate(names)]
    (photos / "labels.csv").write_text("\n".join(["file,index,name", *rows, ""]))
    return photos


def loaded(root, shares=SHARES, resize=24, crop=16):
    return load(root, *shares, resize, crop)


def files(parts):
    return {name: set(part.files) for name, part in parts.items()}


# --- which part


def test_every_picture_is_in_the_part_that_its_hash_says(photos):
    parts = files(loaded(photos))
    assert list(parts) == list(PARTS) and sum(map(len, parts.values())) == 20
    for name, found in parts.items():
        for file in found:
            place = int(hashlib.sha256((photos / file).read_bytes()).hexdigest()[:16], 16) / 2**64
            assert name == ("test" if place < 0.4 else "validation" if place < 0.6 else "train")


def test_parts_stay_when_files_are_renamed_or_added_and_copies_stay_together(photos):
    before = files(loaded(photos))
    save(photos / "new.png", 99)
    assert all(before[name] <= found for name, found in files(loaded(photos)).items())
    (photos / "01.png").rename(photos / "renamed.png")
    (photos / "copy.png").write_bytes((photos / "02.png").read_bytes())
    after = files(loaded(photos))
    for name in PARTS:
        assert ("renamed.png" in after[name]) == ("01.png" in before[name])
        assert ("copy.png" in after[name]) == ("02.png" in before[name])


def test_a_part_without_pictures_is_refused(photos):
    for shares, part in (((1e-9, 0.5), "test"), ((0.5, 1e-9), "validation"), ((0.5, 0.5 - 1e-9), "train")):
        assert f"into the part {part}; put in more" in refusal(DataError, loaded, photos, shares)


def test_a_tree_of_class_folders_is_not_flat(photos):
    assert is_flat(photos) and not is_flat(photos / "nowhere")
    for name in ("train", "val"):
        (photos / name).mkdir()
        assert not is_flat(photos)
        (photos / name).rmdir()


# --- pictures alone


def test_pictures_of_any_size_make_batches(photos):
    part = loaded(photos)["train"]
    assert part.name == "photos/train" and part.classes == ("unlabelled",) and not is_labelled(part)
    images, labels = part.training_batch(torch.arange(len(part)), torch.Generator().manual_seed(0))
    assert images.shape == (len(part), 3, 16, 16) and images.dtype == torch.uint8 and not labels.any()
    assert part.batch(torch.arange(2))[0].dtype == torch.float32


def test_what_is_no_whole_picture_is_skipped_and_listed(photos):
    whole = files(loaded(photos))
    (photos / "diary.jpg").write_text("Dear diary, this is not a picture.")
    (photos / "empty.png").touch()
    (photos / "holidays" / "half.png").write_bytes((photos / "01.png").read_bytes()[:900])
    save(photos / "strip.png", 0)
    Image.new("RGB", (1, 9000)).save(photos / "strip.png")  # brought to size it would grow without bounds
    parts = load(photos, *SHARES, 256, 224)
    assert files(parts) == whole
    skipped = dict(parts["train"].skipped)
    assert list(skipped) == ["diary.jpg", "empty.png", "holidays/half.png", "strip.png"]
    assert "is not a picture" in skipped["diary.jpg"] and "damaged" in skipped["holidays/half.png"]
    assert all(part.skipped == parts["train"].skipped for part in parts.values())


def test_a_mended_file_is_seen(photos):
    (photos / "bad.png").write_text("no picture")
    assert len(loaded(photos)["train"].skipped) == 1
    save(photos / "bad.png", 77)
    assert loaded(photos)["train"].skipped == ()


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are decoded or hashed, as they are."""
    read, check, content_of = [], flat_folders.FolderPictures.check, flat_folders.content_of
    monkeypatch.setattr(
        flat_folders.FolderPictures, "check", lambda *a: read.append(a[1].rpartition("/")[2]) or check(*a)
    )
    monkeypatch.setattr(flat_folders, "content_of", lambda path: read.append(path.name) or content_of(path))
    return read


def test_a_file_is_read_once_for_all_processes_until_it_changes(photos, tmp_path, read):
    memory = tmp_path / "runs" / "checked.json"
    (photos / "bad.png").write_text("no picture")
    (photos / "gone.png").symlink_to(tmp_path / "nowhere")

    def parts(crop=16, remember=True):
        read.clear()
        return load(photos, *SHARES, 24, crop, memory, remember)

    first = parts(remember=False)
    assert not memory.exists() and len(read) == 2 * 20 + 2  # each to look, each whole one for its bytes
    assert "does not exist" in dict(first["train"].skipped)["gone.png"]
    parts()
    again = parts()
    assert (
        set(read) == {"bad.png", "gone.png"}
        and files(again) == files(first)
        and again["train"].skipped == first["train"].skipped
    )
    assert all(fingerprint(again[part]) == fingerprint(first[part]) for part in PARTS)
    save(photos / "bad.png", 77)
    assert parts()["train"].skipped[0][0] == "gone.png" and set(read) == {"bad.png", "gone.png"}
    parts(crop=12)
    assert len(read) == 2 * 21 + 1  # what is too large to be brought to one size may not be for another
    memory.write_text("{")
    parts()
    assert len(read) == 2 * 21 + 1


def test_a_memory_that_cannot_be_written_is_done_without(photos, tmp_path):
    (tmp_path / "file").touch()
    assert files(load(photos, *SHARES, 24, 16, tmp_path / "file" / "checked.json")) == files(loaded(photos))


def test_listing_opens_no_picture(table, read):
    (table / "diary.jpg").write_text("Dear diary, this is not a picture.")
    assert len(flat_folders.listed(table)) == 20 and flat_folders.listed(table).classes == ("a", "b", "c")
    (table / "labels.csv").unlink()
    assert len(flat_folders.listed(table)) == 21 and not read


def test_a_folder_without_pictures_is_refused(tmp_path):
    assert f"{tmp_path} holds no pictures" in refusal(DataError, loaded, tmp_path)


# --- a table of labels


def test_labels_are_those_of_the_table(table):
    parts = loaded(table)
    assert all(part.classes == ("a", "b", "c") and is_labelled(part) for part in parts.values())
    names = sorted(path.relative_to(table).as_posix() for path in table.rglob("*.png"))
    for part in parts.values():
        assert [names.index(file) % 3 for file in part.files] == part.labels.tolist()
    assert sum(map(len, parts.values())) == 20


def test_pictures_may_lie_in_a_folder_of_their_own_and_be_imagenet_s(table):
    inside = [path for path in table.iterdir() if path.name != "labels.csv"]
    (table / "pictures").mkdir()
    for path in inside:
        path.rename(table / "pictures" / path.name)
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text.replace("index", "imagenet_index"), encoding="utf-8-sig")
    part = loaded(table)["test"]
    assert len(part.classes) == 1000 and part.classes[:2] == ("tench", "goldfish")
    assert part.batch(torch.tensor([0]))[0].shape == (1, 3, 16, 16)


def test_the_fingerprint_follows_the_bytes_and_not_the_times(table):
    part = loaded(table)["train"]
    assert fingerprint(replace(part, contents=("0" * 64, *part.contents[1:]))) != fingerprint(part)
    for i, file in enumerate(part.files):
        content = (table / file).read_bytes()
        assert part.contents[i] == hashlib.sha256(content).hexdigest()
        os.utime(table / file, (i, i))  # as a copy has other times
    assert fingerprint(loaded(table)["train"]) == fingerprint(part)


def test_the_order_of_a_table_means_nothing(table):
    before = loaded(table)
    heading, *rows = (table / "labels.csv").read_text().splitlines()
    (table / "labels.csv").write_text("\n".join([heading, *rows[::-1]]))
    for name, part in loaded(table).items():
        assert part.files == before[name].files and torch.equal(part.labels, before[name].labels)


def test_the_fingerprint_knows_the_labels(table):
    before = fingerprint(loaded(table)["train"])
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text.replace(",0,a", ",1,b"))
    assert fingerprint(loaded(table)["train"]) != before


def test_classes_without_a_picture_have_a_number(table):
    lines = (table / "labels.csv").read_text().splitlines()
    (table / "labels.csv").write_text("\n".join([lines[0], *(line.replace(",2,c", ",4,") for line in lines[1:])]))
    assert loaded(table)["train"].classes == ("a", "b", "class 2", "class 3", "class 4")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("file,", "path,", "has the columns path, index, name; it needs file, and index or imagenet_index"),
        ("index", "number", "it needs file, and index"),
        (",1,b", ",-1,b", "has index = '-1' for"),
        (",1,b", ",,b", "give a whole number from 0 to 999999"),
        (",1,b", ",999999999,b", "give a whole number from 0 to 999999"),
        ("index", "imagenet_index", None),
        ("01.png", "gone.png", "names 'gone.png', which is not in"),
        ("01.png", "02.png", "names '02.png' twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(table, old, new, said):
    text = (table / "labels.csv").read_text()
    (table / "labels.csv").write_text(text.replace(old, new))
    if said is None:
        text = (table / "labels.csv").read_text()
        (table / "labels.csv").write_text(text.replace(",1,b", ",1000,b"))
        said = "has imagenet_index = '1000'"
    assert said in refusal(DataError, loaded, table)


def test_an_empty_table_and_one_that_is_no_text_are_refused(table):
    (table / "labels.csv").write_text("")
    assert "has the columns none" in refusal(DataError, loaded, table)
    (table / "labels.csv").write_bytes(b"\xff\xfe\x00file")
    assert "write it as CSV in UTF-8" in refusal(DataError, loaded, table)


def test_a_broken_picture_that_a_table_names_is_skipped(table):
    before = loaded(table)["train"]
    (table / before.files[0]).write_text("no picture")
    parts = loaded(table)
    assert [file for file, _ in parts["train"].skipped] == [before.files[0]]
    assert parts["train"].files == before.files[1:] and torch.equal(parts["train"].labels, before.labels[1:])


def test_a_picture_that_a_table_names_and_that_breaks_later_is_named(table):
    part = loaded(table)["train"]
    (table / part.files[0]).write_text("no picture")
    assert part.files[0] in refusal(DataError, part.batch, torch.tensor([0]))

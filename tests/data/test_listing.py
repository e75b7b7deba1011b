import os
from pathlib import Path

import noise
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from ra_core.data import listing
from ra_core.data.listing import is_inside, kind_of, list_pictures, split_by_hash, whole_files
from ra_core.errors import DataError


def test_links_do_not_give_a_picture_twice(tmp_path):
    tree, elsewhere = tmp_path / "birds", tmp_path / "elsewhere"
    for name in ("train/wren/2.png", "train/wren/deeper/5.PNG"):
        noise.save(tree / name)
    noise.save(elsewhere / "6.png")
    folder = tree / "train" / "wren"
    links = {"loop": folder, "up": tree, "deeper/back": folder, "again": folder / "deeper", "other": elsewhere}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    names = ["2.png", "deeper/5.PNG", "other/6.png"]
    assert list_pictures(folder) == (names, [])
    assert list_pictures(tree / "train", "wren") == ([f"wren/{name}" for name in names], [])


def test_all_that_is_left_out_is_listed_with_its_reason(tmp_path):
    for name in ("a.png", "deep/b.JPEG"):
        noise.save(tmp_path / name)
    for name in ("c.heic", "deep/d.gif", "._a.png", ".thumbnails/a.png", "notes.txt", "labels.csv", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ring").symlink_to("ring")
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb"):
        pass
    files, left_out = list_pictures(tmp_path)
    assert files == ["a.png", "deep/b.JPEG"]
    words = {
        "._a.png": "hidden", ".thumbnails": "hidden", "c.heic": ".jpeg", "caf\\xe9.png": "UTF-8", "deep/d.gif": ".jpeg",
        "gone.jpg": "nothing", "pipe.jpg": "plain", "ring": ".jpeg",
    }  # fmt: skip
    assert [name for name, _ in left_out] == list(words)
    assert all(words[name] in reason for name, reason in left_out)


def test_a_folder_that_may_not_be_read_is_listed_or_at_the_top_refused(tmp_path, monkeypatch):
    noise.save(tmp_path / "a.png")
    noise.save(tmp_path / "closed" / "b.png")
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    files, ((name, reason),) = list_pictures(tmp_path)
    assert (files, name) == (["a.png"], "closed") and "Permission denied" in reason
    assert "Permission denied" in refusal(DataError, list_pictures, tmp_path / "closed")


@pytest.mark.parametrize("kind", ["a folder", "a file"])
def test_what_may_not_be_entered_is_one_sentence(tmp_path, monkeypatch, kind):
    """A folder that may be listed and not entered, or not even listed."""
    noise.save(tmp_path / "a.png")
    stat = Path.stat

    def refuse(path, **options):
        if path.suffix == ".png":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    if kind == "a file":
        monkeypatch.setattr(Path, "stat", refuse)
        found, [(name, reason)] = whole_files(tmp_path, ["a.png"], lambda file: "", None, {})
        assert (found, name) == ({}, "a.png") and "Permission denied" in reason
    else:
        monkeypatch.setattr(Path, "iterdir", lambda path: refuse(path / "x.png"))
        assert str(tmp_path) in refusal(DataError, kind_of, tmp_path)


def test_names_in_tables_lie_inside_their_folder(tmp_path):
    noise.save(tmp_path / "in" / "sub" / "a.png")
    noise.save(tmp_path / "b.png")
    assert is_inside(tmp_path / "in", "sub/a.png")
    for name in ("b.png", "../b.png", str(tmp_path / "b.png"), "sub", "", "a\0.png", "caf\udce9.png"):
        assert not is_inside(tmp_path / "in", name), name


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["annotations/a.xml", "images/a.png"], "voc"),
        (["Annotations/instances_val.json", "train/a.png"], "coco"),
        (["instances.json", "a.png"], "coco"),
        (["val/a/1.png"], "tree"),
        (["labels.csv", "notes.json"], "flat"),
        (["a.png"], "flat"),
    ],
)
def test_kinds_of_folders(tmp_path, files, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == kind


DIGESTS = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=30)


@given(digests=DIGESTS, more=DIGESTS)
def test_a_part_follows_from_the_hash_alone_and_stays_when_pictures_are_added(digests, more):
    parts = split_by_hash(digests, 0.3, 0.2)
    assert torch.cat(list(parts.values())).sort().values.tolist() == list(range(len(digests)))
    for name, found in parts.items():
        for i in found.tolist():
            place = int(digests[i][:16], 16) / 2**64
            assert name == ("test" if place < 0.3 else "validation" if place < 0.5 else "train")
    wider = split_by_hash(digests + more, 0.3, 0.2)
    assert all([i for i in wider[name].tolist() if i < len(digests)] == parts[name].tolist() for name in parts)
    assert not len(split_by_hash(digests, 0.0, 0.0)["test"])

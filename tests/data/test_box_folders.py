import hashlib

import boxed
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import box_folders
from ra_core.data.box_folders import load_parts
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError


def parts_of(root, names=(), parts=(), test_share=0.3, validation_share=0.2, resize=0):
    return load_parts(root, resize, tuple(names), tuple(parts), test_share, validation_share)


def place(file: str) -> float:
    return int(hashlib.sha256(file.encode()).hexdigest()[:16], 16) / 2**64


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_parts_follow_from_the_names_of_the_files(tmp_path, kind):
    found = parts_of(boxed.folder(tmp_path / "many", kind, 40))
    for low, high, part in ((0, 0.3, "test"), (0.3, 0.5, "validation"), (0.5, 1, "train")):
        wanted = {f"square{i}.png" for i in range(40) if low <= place(f"square{i}.png") < high}
        assert {key[0] for key in found[part].keys} == wanted and len(wanted) > 2
        assert found[part].name == f"many/{part}" and len(set(found[part].sizes)) > 1


def test_parts_are_those_that_the_folder_names(tmp_path):
    root = boxed.folder(tmp_path / "named", "voc", 24)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for name, numbers in (("mine", range(15)), ("theirs", range(15, 24))):
        listing = "".join(f"square{i}\n" for i in numbers)
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(listing)
    found = parts_of(root, parts={"train": "mine", "test": "theirs"}.items())
    assert len(found["train"]) + len(found["validation"]) == 15 and len(found["test"]) == 9
    assert all(place(key[0]) < 0.2 for key in found["validation"].keys)
    assert len({pictures.classes for pictures in found.values()}) == 1
    three = parts_of(root, parts={"train": "mine", "validation": "theirs", "test": "theirs"}.items())
    assert [len(three[part]) for part in ("train", "validation", "test")] == [15, 9, 9]


def test_a_part_without_boxes_is_refused(tmp_path):
    root = boxed.folder(tmp_path / "few", "voc", 4)
    assert "part validation" in refusal(DataError, parts_of, root, test_share=0.001)


def test_classes_get_other_names_or_none(tmp_path):
    root = boxed.folder(tmp_path / "renamed", "coco", 40)
    found = parts_of(root, names={"red": "Green", "blue": None}.items())
    assert found["train"].classes == ("Green",)
    every = [target["labels"].tolist() for p in found.values() for target in p.all_targets()]
    assert sorted(map(len, every)) == [0] * 13 + [1] * 27


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_a_picture_that_is_cut_off_is_left_out_and_listed(tmp_path, monkeypatch, kind):
    root = boxed.folder(tmp_path / "cut", kind, 40)
    for name in ("square0.png", "square1.png"):
        path = next(root.rglob(name))
        Image.open(path).save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:-300])  # its header is whole
    shares = {"test_share": 0.3, "validation_share": 0.2}
    found = load_parts(root, 0, (), (), **shares, memory=tmp_path / "memory")
    names = {key[0] for pictures in found.values() for key in pictures.keys}
    assert names == {f"square{i}.png" for i in range(2, 40)}
    for pictures in found.values():
        assert [name for name in ("square0.png", "square1.png") if any(name in said for said in pictures.skipped)]
        pictures.batch(torch.tensor([0]))
    load_parts.cache_clear()
    read = []
    monkeypatch.setattr(box_folders, "open_picture", lambda path, side: read.append(path.name) or open_picture(path))
    again = load_parts(root, 0, (), (), **shares, memory=tmp_path / "memory")
    assert {name: p.keys for name, p in again.items()} == {name: p.keys for name, p in found.items()}
    assert sorted(read) == ["square0.png", "square1.png"]  # whole ones are remembered

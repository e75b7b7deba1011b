"""A folder of boxed pictures is divided by the names of its files, or as it says itself."""

import hashlib

import boxed
import pytest
from refusal import refusal

from ra_core.data.box_parts import load_parts, place
from ra_core.errors import DataError


def parts_of(root, names=(), parts=(), test_share=0.3, validation_share=0.2, resize=0):
    return load_parts(root, resize, tuple(names), tuple(parts), test_share, validation_share)


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_parts_follow_from_the_names_of_the_files(tmp_path, kind):
    found = parts_of(boxed.folder(tmp_path / "many", kind, 40))
    for low, high, part in ((0, 0.3, "test"), (0.3, 0.5, "validation"), (0.5, 1, "train")):
        wanted = {f"square{i}.png" for i in range(40) if low <= place(f"square{i}.png") < high}
        assert {key[0] for key in found[part].keys} == wanted and len(wanted) > 2
        assert found[part].name == f"many/{part}" and len(set(found[part].sizes)) > 1
    assert place("images/square0.png") == place("square0.png")
    first = hashlib.sha256(b"square0.png").hexdigest()[:16]
    assert place("square0.png") == int(first, 16) / 2**64


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


def test_classes_get_other_names_or_none(tmp_path):
    root = boxed.folder(tmp_path / "renamed", "coco", 40)
    found = parts_of(root, names={"red": "Green", "blue": None}.items())
    assert found["train"].classes == ("Green",)
    every = [target["labels"].tolist() for p in found.values() for target in p.all_targets()]
    assert sorted(map(len, every)) == [0] * 13 + [1] * 27


def test_a_part_without_boxes_is_refused(tmp_path):
    root = boxed.folder(tmp_path / "few", "voc", 4)
    said = refusal(DataError, parts_of, root, test_share=0.001)
    assert f"{root} has 0 pictures in its part validation and no box that counts in them" in said

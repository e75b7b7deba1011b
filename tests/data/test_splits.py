"""What a profile loads: splits of CIFAR-10 and of folders, parts of data sets for codecs, and lists of what is not."""

import csv
import os
from dataclasses import replace

import boxed
import noise
import pytest
import tiny
import torch
from refusal import refusal

from ra_core.data import DATASETS, cifar10, fingerprint, load_part, load_splits, split_train
from ra_core.errors import DataError
from ra_core.params import BoxFolder, Data

PARTS = ("train", "validation", "test")
FOLDER = {"kind": "folder", "source": "mine", "resize": 24, "crop": 16}


@pytest.fixture
def photos(tmp_path):
    """Thirty pictures, and two files that are none."""
    for seed in range(30):
        noise.save(tmp_path / "mine" / f"{seed:02}.png", seed)
    (tmp_path / "mine" / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    (tmp_path / "mine" / "diary.png").write_text("no picture")
    return tmp_path


def skipped(folder):
    with open(folder / "skipped.csv", newline="") as file:
        return [(row["file"], row["reason"]) for row in csv.DictReader(file)]


def test_splits_of_cifar10(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cifar10, "load", lambda *given: asked.append(given) or tiny.load(*given))
    data = Data(source="here", train_per_class=4, validation_per_class=2, test_per_class=3)
    splits = load_splits(data, ("test", "train", "validation"), tmp_path, tmp_path)
    assert list(splits) == ["test", "train", "validation"]
    for part, per_class in (("train", 4), ("validation", 2), ("test", 3)):
        assert torch.bincount(splits[part].labels).tolist() == [per_class] * 3
    assert sorted(asked) == [("here", "test", tmp_path), ("here", "train", tmp_path)]
    whole = split_train(tiny.load("here", "train"), 2)
    assert fingerprint(splits["validation"]) == fingerprint(whole["validation"])
    assert not set(splits["train"].digests()) & set(splits["validation"].digests())
    assert list(load_splits(data, ("test",), tmp_path, tmp_path)) == ["test"] and asked[2:] == [asked[0]]


def test_splits_of_a_tree(tmp_path, monkeypatch):
    for part in ("train", "val"):
        for i in range(10):
            noise.save(tmp_path / "mine" / part / "ab"[i % 2] / f"{i}.png", i)
        (tmp_path / "mine" / part / "a" / "phone.heic").touch()
    data = Data(**FOLDER, validation_per_class=2, test_per_class=1)
    splits = load_splits(data, PARTS, tmp_path, tmp_path / "runs")
    assert {part: len(p) for part, p in splits.items()} == {"train": 6, "validation": 4, "test": 2}
    assert splits["train"].batch(torch.arange(2))[0].shape == (2, 3, 16, 16)
    assert [name for name, _ in skipped(tmp_path / "runs")] == ["train/a/phone.heic", "val/a/phone.heic"]
    elsewhere = data.model_copy(update={"source": str(tmp_path / "mine")})
    assert len(load_splits(elsewhere, ("test",), tmp_path / "notebooks", tmp_path / "other")["test"]) == 2
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["checked-test.json"]
    for key in ("source", "test"):
        gone = data.model_copy(update={key: "gone"})
        said = refusal(DataError, load_splits, gone, ("train", "test"), tmp_path, tmp_path)
        assert said.startswith(f"the folder {tmp_path / 'gone'} is missing")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        assert str(tmp_path / "mine") in refusal(DataError, load_splits, elsewhere, ("train",), tmp_path, tmp_path)


def test_splits_of_a_flat_folder_and_the_list_of_what_was_skipped(photos, capsys, monkeypatch):
    data, runs = Data(**FOLDER), photos / "runs"
    monkeypatch.setenv("RANK", "1")
    first = load_splits(data, PARTS, photos, runs)
    assert not runs.exists() and capsys.readouterr().out == ""
    monkeypatch.setenv("RANK", "0")
    splits = load_splits(data, PARTS, photos, runs)
    assert sum(map(len, splits.values())) == 30
    assert all(fingerprint(splits[part]) == fingerprint(first[part]) for part in PARTS)
    assert [name for name, _ in skipped(runs)] == ["diary.png", "half.jpg"] and "known kind" in skipped(runs)[0][1]
    assert "2 files of mine" in capsys.readouterr().out and (runs / "checked.json").exists()
    for name in ("diary.png", "half.jpg"):
        (photos / "mine" / name).unlink()
    load_splits(data, ("train",), photos, runs)
    assert not (runs / "skipped.csv").exists()
    said = refusal(DataError, load_splits, Data(**FOLDER, test_per_class=2), ("test",), photos, runs)
    assert "test_per_class" in said


@pytest.mark.parametrize("tree", [False, True])
def test_another_folder_may_be_the_test(photos, tree):
    for seed in range(9):
        noise.save(photos / "other" / f"{seed}.png", 100 + seed)
    (photos / "other" / "half.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    if tree:
        for seed in range(8):
            noise.save(photos / "mine" / "train" / "ab"[seed % 2] / f"{seed}.bmp", seed)
    usual = Data(**FOLDER, validation_per_class=1)
    apart = usual.model_copy(update={"test": "other"})
    found = load_splits(apart, ("test", "train", "validation"), photos, photos / "runs")
    assert list(found) == ["test", "train", "validation"] and len(found["test"]) == 9
    assert [name for name, _ in skipped(photos / "runs" / "test")] == ["half.jpg"]
    learnt = load_splits(usual, ("train", "validation"), photos, photos / "again")
    assert {part: fingerprint(found[part]) for part in learnt} == {p: fingerprint(s) for p, s in learnt.items()}
    alone = load_splits(apart, ("test",), photos, photos / "alone")
    assert list(alone) == ["test"] and fingerprint(alone["test"]) == fingerprint(found["test"])
    assert not (photos / "alone" / "checked.json").exists()  # the others are not opened for it


def test_parts_of_what_ships_for_codecs(tmp_path, monkeypatch):
    asked, pictures = [], tiny.pictures(name="test")

    def scenes(part, count):
        asked.append((part, count))
        return boxed.pictures(count or 9)

    fakes = {"cells": lambda part: tiny.pictures(name=part), "scenes": scenes}
    known = {name: replace(DATASETS[name], load=fake) for name, fake in fakes.items()}
    monkeypatch.setattr(DATASETS, "_known", dict(DATASETS) | known)
    for count, chosen in ((0, range(12)), (5, [0, 2, 4, 7, 9]), (99, range(12))):
        found = load_part("cells", "test", count, None, tmp_path, tmp_path)
        assert torch.equal(found.images, pictures.images[list(chosen)]) and found.name == "test"
    assert len(load_part("scenes", "test", 7, None, tmp_path, tmp_path)) == 7
    assert len(load_part("scenes", "validation", 0, None, tmp_path, tmp_path)) == 9
    assert asked == [("test", 7), ("validation", 0)] and not list(tmp_path.iterdir())


def test_parts_of_a_folder_of_boxed_pictures(tmp_path, monkeypatch):
    root = boxed.folder(tmp_path / "street", "voc", 40)
    (root / "JPEGImages" / "unknown.gif").touch()
    data, runs = BoxFolder(folder="street", resize=32, names={"red": None}), tmp_path / "runs"
    whole = load_part("mine", "test", 0, data, tmp_path, runs)
    assert whole.name == "street/test" and whole.classes == ("blue", "green")
    some = load_part("mine", "test", 5, data, tmp_path, runs)
    assert some.keys == tuple(whole.keys[i * len(whole) // 5] for i in range(5))
    assert (runs / "skipped.txt").read_text().startswith("unknown.gif: ")


def test_a_broken_picture_with_boxes_is_left_out_of_a_test_and_listed(tmp_path):
    root = boxed.folder(tmp_path / "street", "voc", 6)
    path = root / "JPEGImages" / "square3.png"
    path.write_bytes(path.read_bytes()[:-30])
    found = load_splits(Data(kind="boxes", source="street"), ("test",), tmp_path, tmp_path / "runs")["test"]
    assert [key[0] for key in found.keys] == [f"square{number}.png" for number in (0, 1, 2, 4, 5)]
    assert "square3.png" in (tmp_path / "runs" / "skipped.txt").read_text()


def test_a_broken_picture_in_a_tree_is_found_before_the_first_step_listed_and_left_out(tmp_path):
    for part in ("train", "val"):
        for i in range(10):
            noise.save(tmp_path / "mine" / part / "ab"[i % 2] / f"{i}.png", i)
    data = Data(**FOLDER, validation_per_class=2)
    before = load_splits(data, PARTS, tmp_path, tmp_path / "runs")
    half = noise.save(tmp_path / "mine" / "train" / "a" / "half.png", 3)
    half.write_bytes(half.read_bytes()[:-500])
    (tmp_path / "mine" / "val" / "b" / "diary.png").write_text("no picture")
    after = load_splits(data, PARTS, tmp_path, tmp_path / "runs")
    assert {part: fingerprint(found) for part, found in after.items()} == {p: fingerprint(f) for p, f in before.items()}
    assert [name for name, _ in skipped(tmp_path / "runs")] == ["train/a/half.png", "val/b/diary.png"]
    assert "damaged" in skipped(tmp_path / "runs")[0][1] and "known kind" in skipped(tmp_path / "runs")[1][1]

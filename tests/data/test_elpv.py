from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import noise
import numpy as np
import pytest
import torch
from refusal import refusal

from ra_core.data import Pictures, elpv, fingerprint
from ra_core.errors import DataError

installed = pytest.mark.skipif(find_spec("elpv_dataset") is None, reason="elpv-dataset is not installed")
KINDS = [(p, kind) for kind in ("mono", "poly") for p in ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")]
CELLS = 9 * len(KINDS)  # nine of each kind, so that one begins the second eight
TINY_PARTS = {"train": (0, 1, 2, 4, 5, 8), "validation": (6,), "test": (3, 7)}  # places within a kind


def cell(number: int) -> np.ndarray:
    """Return a cell whose centre is its number, with something else in the border of two pixels."""
    grey = np.full((300, 300), number, np.uint8)
    grey[:2] = grey[-2:] = grey[:, :2] = grey[:, -2:] = 200
    grey[2, 2] = 7  # the corner that is kept
    return grey


def expected(part: str) -> Pictures:
    numbers = [n for n in range(CELLS) if n // len(KINDS) in TINY_PARTS[part]]
    grey = torch.from_numpy(np.stack([cell(n)[2:-2, 2:-2] for n in numbers]))
    labels = torch.tensor([n % 4 >= 2 for n in numbers]).long()
    return Pictures(grey[:, None].repeat(1, 3, 1, 1), labels, ("functional", "defective"), f"elpv/{part}")


@pytest.fixture
def copy(monkeypatch, tmp_path) -> Path:
    """A small copy that is what `load` expects, ready to be broken."""
    rows = []
    for number in range(CELLS):
        probability, kind = KINDS[number % len(KINDS)]  # kinds in turn, so a place is number // 8
        noise.save(tmp_path / f"images/cell{number:04d}.png", cell(number), compress_level=1)
        rows.append(f"images/cell{number:04d}.png  {probability}{' ' * 5}{kind}\n")
    (tmp_path / "labels.csv").write_text("".join(rows))
    monkeypatch.setattr(elpv, "_folder", lambda: tmp_path)
    monkeypatch.setattr(elpv, "FINGERPRINTS", {part: fingerprint(expected(part)) for part in elpv.PARTS})
    return tmp_path


@pytest.mark.parametrize("part", elpv.PARTS)
def test_a_part_is_the_centre_of_its_cells(copy, part):
    found, wanted = elpv.load(part), expected(part)
    assert torch.equal(found.images, wanted.images) and torch.equal(found.labels, wanted.labels)
    assert (found.classes, found.name) == (wanted.classes, wanted.name)
    assert found.images.shape[1:] == (3, 296, 296) and found.images.dtype == torch.uint8


def test_a_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(elpv, "find_spec", lambda name: None)
    assert "elpv-dataset" in refusal(DataError, elpv.load, "test")


EDITS = [("images/cell0000.png", "\n"), ("poly", "poly x"), (" 1.0 ", " much "), (" 1.0 ", " 0.4 "), ("0", "\udcff")]


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_a_broken_list_is_refused(copy, old, new):
    text = (copy / "labels.csv").read_text().replace(old, new)
    (copy / "labels.csv").write_text(text, errors="surrogateescape")
    assert str(copy) in refusal(DataError, elpv.load, "test")


@pytest.mark.parametrize("change", ["nothing", "size", "pixel"])
def test_a_broken_picture_is_refused(copy, change):
    path, picture = copy / "images" / f"cell{3 * len(KINDS):04d}.png", cell(3 * len(KINDS))
    path.unlink()
    picture[150, 150] ^= 1
    noise.save(path, picture if change == "pixel" else picture[:, :299])
    if change == "nothing":
        path.write_bytes(b"")
    assert "elpv-dataset" in refusal(DataError, elpv.load, "test")


# The parts, on the real list


@installed
def test_the_parts_are_disjoint_complete_and_have_their_share_of_every_kind():
    rows = elpv._labels(elpv._folder())
    parts = {part: elpv._members(rows, part) for part in elpv.PARTS}
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [1644, 326, 654]
    assert sorted(row for members in parts.values() for row in members) == sorted(rows) and len(set(rows)) == 2624
    kinds = Counter(row[1:] for row in rows)
    assert len(kinds) == 8
    for part, places in elpv.PARTS.items():
        found = Counter(row[1:] for row in parts[part])
        assert all(abs(found[kind] - count * len(places) / 8) < 1.5 for kind, count in kinds.items())


@installed
@pytest.mark.parametrize(
    ("part", "counts"),
    [("validation", [224, 102])]
    + [pytest.param(*known, marks=pytest.mark.slow) for known in (("train", [1129, 515]), ("test", [450, 204]))],
)
def test_each_part_is_the_known_one(part, counts):
    pictures = elpv.load(part)  # checks the fingerprint
    assert pictures.images.shape == (sum(counts), 3, 296, 296)
    assert torch.bincount(pictures.labels).tolist() == counts


@installed
@pytest.mark.slow
def test_pixels_and_labels_are_those_of_the_package_s_own_loader():
    from elpv_dataset.utils import load_dataset

    images, probabilities, kinds = load_dataset()
    found, members = elpv.load("test"), elpv._members(elpv._labels(elpv._folder()), "test")
    places = [int(Path(name).stem.removeprefix("cell")) - 1 for name, _, _ in members]
    assert np.array_equal(found.images[:, 0].numpy(), images[places, 2:-2, 2:-2])
    assert (found.labels.numpy() == (np.asarray(probabilities)[places] > 0.5)).all()
    assert [kind for _, _, kind in members] == [str(kind) for kind in np.asarray(kinds)[places]]

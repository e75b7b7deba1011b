from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import Pictures, elpv, fingerprint
from ra_core.errors import DataError, ParameterError

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


def write(folder: Path) -> None:
    (folder / "images").mkdir()
    rows = []
    for number in range(CELLS):
        probability, kind = KINDS[number % len(KINDS)]  # kinds in turn, so a place is number // 8
        name = f"images/cell{number:04d}.png"
        Image.fromarray(cell(number)).save(folder / name, compress_level=1)
        rows.append(f"{name}  {probability}{' ' * 5}{kind}\n")
    (folder / "labels.csv").write_text("".join(rows))


def expected(part: str) -> Pictures:
    numbers = [n for n in range(CELLS) if n // len(KINDS) in TINY_PARTS[part]]
    grey = torch.from_numpy(np.stack([cell(n)[2:-2, 2:-2] for n in numbers]))
    labels = torch.tensor([n % 4 >= 2 for n in numbers]).long()
    return Pictures(grey[:, None].repeat(1, 3, 1, 1), labels, ("functional", "defective"), f"elpv/{part}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("elpv")
    write(folder)
    return folder


@pytest.fixture
def known(monkeypatch, whole) -> Path:
    """A small copy that is what `load` expects."""
    monkeypatch.setattr(elpv, "_folder", lambda: whole)
    monkeypatch.setattr(elpv, "COUNT", CELLS)
    monkeypatch.setattr(elpv, "FINGERPRINTS", {part: fingerprint(expected(part)) for part in elpv.PARTS})
    return whole


@pytest.fixture
def broken(monkeypatch, known, tmp_path) -> Path:
    """A copy of it to break; its pictures are links."""
    (tmp_path / "images").mkdir()
    for path in (known / "images").iterdir():
        (tmp_path / "images" / path.name).symlink_to(path)
    (tmp_path / "labels.csv").write_text((known / "labels.csv").read_text())
    monkeypatch.setattr(elpv, "_folder", lambda: tmp_path)
    return tmp_path


# A small copy


@pytest.mark.parametrize("part", elpv.PARTS)
def test_a_part_is_the_centre_of_its_cells(known, part):
    found, wanted = elpv.load(part), expected(part)
    assert torch.equal(found.images, wanted.images) and torch.equal(found.labels, wanted.labels)
    assert (found.classes, found.name) == (wanted.classes, wanted.name)
    assert found.images.shape[1:] == (3, 296, 296) and found.images.dtype == torch.uint8
    images, labels = found.batch(torch.tensor([0, 2]))
    assert images.shape == (2, 3, 296, 296) and images[0, 0, 0, 0] == pytest.approx(7 / 255)
    assert torch.equal(labels, wanted.labels[[0, 2]])


def test_unknown_parts_and_a_missing_package_are_refused(monkeypatch):
    assert "'all'" in refusal(ParameterError, elpv.load, "all")
    monkeypatch.setattr(elpv, "find_spec", lambda name: None)
    assert "elpv-dataset" in refusal(DataError, elpv.load, "test")


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def spoil_pixel(path: Path) -> None:
    grey = np.asarray(Image.open(path)).copy()
    grey[150, 150] ^= 1
    path.unlink()
    Image.fromarray(grey).save(path)


def edit(change):
    """Return what breaks a copy by changing the lines of its list."""

    def breaks(folder: Path) -> None:
        path = folder / "labels.csv"
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return breaks


def picture(change):
    """Return what breaks a copy by changing the first picture of part `test`."""
    return lambda folder: change(folder / "images" / f"cell{3 * len(KINDS):04d}.png")


def of_size(*shape: int):
    return lambda path: (path.unlink(), Image.fromarray(np.zeros(shape, np.uint8)).save(path))


BREAKS = {
    "no picture": picture(Path.unlink),
    "empty": picture(lambda path: replace(path, b"")),
    "cut off": picture(lambda path: replace(path, path.read_bytes()[:150])),
    "another size": picture(of_size(300, 299)),
    "all of another size": lambda folder: [of_size(8, 8)(path) for path in (folder / "images").iterdir()],
    "another pixel": picture(spoil_pixel),
    "no list": lambda folder: (folder / "labels.csv").unlink(),
    "short list": edit(lambda rows: rows[:-1]),
    "four columns": edit(lambda rows: [f"{rows[0]} x", *rows[1:]]),
    "no number": edit(lambda rows: [row.replace(" 1.0 ", " much ") for row in rows]),
    "another label": edit(lambda rows: [row.replace(" 1.0 ", " 0.4 ") for row in rows]),
    "no text": lambda folder: (folder / "labels.csv").write_bytes(b"\xff\xfe" * 40),
    "nulls": lambda folder: (folder / "labels.csv").write_bytes(b"\0" * 200_000),
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
def test_a_broken_copy_is_one_sentence(broken, change):
    change(broken)
    found = refusal(DataError, elpv.load, "test")
    assert str(broken) in found and "elpv-dataset" in found


def test_any_damaged_picture_is_refused(broken):
    path = broken / "images" / f"cell{3 * len(KINDS):04d}.png"
    sound, generator = path.read_bytes(), np.random.default_rng(0)
    for place in generator.choice(len(sound), 60, replace=False):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << generator.integers(8)
        replace(path, bytes(damaged))
        try:
            assert torch.equal(elpv.load("test").images, expected("test").images)  # a bit that means nothing
        except DataError as error:
            assert "install" in str(error)


# The parts, on the real list


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, str]]:
    return elpv._labels(elpv._folder())


@installed
def test_the_parts_are_disjoint_and_leave_nothing_out(rows):
    parts = {part: elpv._members(rows, part) for part in elpv.PARTS}
    assert {part: len(members) for part, members in parts.items()} == {
        "train": 1644, "validation": 326, "test": 654,
    }  # fmt: skip
    together = [row for members in parts.values() for row in members]
    assert len(set(together)) == len(together) == len(rows) == 2624
    assert sorted(together) == sorted(rows)


@installed
def test_every_part_has_its_share_of_every_kind(rows):
    kinds = Counter(row[1:] for row in rows)
    assert len(kinds) == 8
    for part, places in elpv.PARTS.items():
        found = Counter(row[1:] for row in elpv._members(rows, part))
        for kind, count in kinds.items():
            assert abs(found[kind] - count * len(places) / 8) < 1.5, (part, kind)
        defective = sum(n for (probability, _), n in found.items() if float(probability) > 0.5)
        assert defective / sum(found.values()) == pytest.approx(821 / 2624, abs=0.005)


@installed
def test_the_validation_part_is_the_known_one():
    pictures = elpv.load("validation")
    assert pictures.images.shape == (326, 3, 296, 296) and torch.bincount(pictures.labels).tolist() == [224, 102]
    assert (pictures.images[:, 0] == pictures.images[:, 2]).all()
    assert 60 < pictures.images[:50, 0].float().mean() < 200


@installed
@pytest.mark.slow
@pytest.mark.parametrize(("part", "count", "defective"), [("train", 1644, 515), ("test", 654, 204)])
def test_the_other_parts_are_the_known_ones(part, count, defective):
    pictures = elpv.load(part)
    assert pictures.images.shape == (count, 3, 296, 296) and int(pictures.labels.sum()) == defective


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

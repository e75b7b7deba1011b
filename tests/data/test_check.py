import boxed
import noise
import pytest
from refusal import refusal

from ra_core.data.check import left_out, main
from ra_core.errors import DataError


@pytest.fixture
def tree(tmp_path):
    """Four pictures in two classes, one of which is cut off, and two files that are none."""
    for number in range(4):
        noise.save(tmp_path / "train" / "ab"[number % 2] / f"{number}.png", number)
    whole = (tmp_path / "train/b/3.png").read_bytes()
    (tmp_path / "train/b/3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train/a/notes.jpg").write_text("no picture")
    (tmp_path / "train/a/phone.heic").write_text("of another kind")
    return tmp_path


@pytest.mark.parametrize("below", [".", "train"])
def test_every_file_that_is_left_out_or_broken_is_listed_with_its_reason(tree, capsys, below):
    found = left_out(tree / below)
    for line, name, word in zip(
        found, ("phone.heic", "notes.jpg", "3.png"), (".jpeg", "known", "damaged"), strict=True
    ):
        assert name in line and word in line
    assert main([str(tree / below)]) == 1
    assert capsys.readouterr().err.splitlines()[:-1] == found


def test_a_folder_of_whole_pictures(tree, capsys):
    for name in ("b/3.png", "a/notes.jpg", "a/phone.heic"):
        (tree / "train" / name).unlink()
    noise.save(tree / "train" / "b" / "3.png")
    assert left_out(tree) == [] and main([str(tree)]) == 0
    assert str(tree) in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_boxed_pictures_are_checked_with_their_annotations(tmp_path, kind):
    root = boxed.folder(tmp_path / "zoo", kind, 6)
    assert left_out(root) == []
    first, second = sorted(root.rglob("*.png"))[:2]
    first.unlink()
    second.write_bytes(second.read_bytes()[:-30])  # its header is whole
    gone, damaged = left_out(root)
    assert first.stem in gone and second.name in damaged


def test_a_folder_without_pictures_is_refused(tmp_path):
    assert str(tmp_path) in refusal(DataError, left_out, tmp_path)

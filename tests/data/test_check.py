import pytest
from PIL import Image
from refusal import refusal

from ra_core.data import check
from ra_core.errors import DataError


@pytest.fixture
def tree(tmp_path):
    """Four pictures in two classes, one of which is cut off, and a file that is none."""
    for number in range(4):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 20), 50).save(path)
    whole = (tmp_path / "train/b/3.png").read_bytes()
    (tmp_path / "train/b/3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train/a/notes.jpg").write_text("no picture")
    return tmp_path


def test_every_broken_file_is_listed_with_its_reason(tree, capsys):
    first, second = check.broken(tree)
    assert "a/notes.jpg is not a picture of a known kind" in first and "b/3.png cannot be read" in second
    assert check.main([str(tree)]) == 1
    assert capsys.readouterr().err.splitlines() == [first, second, f"2 files of {tree} are to be mended or removed."]


def test_a_folder_of_whole_pictures(tree, capsys):
    for name in ("train/b/3.png", "train/a/notes.jpg"):
        (tree / name).unlink()
    assert check.broken(tree) == [] and check.main([str(tree)]) == 0
    assert "all picture files of" in capsys.readouterr().out


def test_a_folder_without_pictures_is_refused(tmp_path):
    assert "holds no pictures" in refusal(DataError, check.broken, tmp_path)

"""The README's picture and tables say what the committed results say."""

import drawn
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ra_book import front
from ra_book.figures import look
from ra_book.figures.look import RIGHT, WRONG
from ra_core.data.folders import imagenet_classes
from ra_core.paths import project_root

README = (project_root() / "README.md").read_text(encoding="utf-8")


def test_intervals_cover_pictures_and_seeds():
    rows = [{"task": "sr", "mode": "ra", "seed": s, "role": "source", "difference": 10.0 + s, "low": 9.0 + s,
             "high": 11.0 + s, "recognizer": "r", "n": 9} for s in range(3)]  # fmt: skip
    gain, low, high = front.gains(pd.DataFrame(rows)).loc[("sr", "source")]
    half = np.hypot(1, 4.30265 / np.sqrt(3))
    assert (gain, low, high) == pytest.approx((11, 11 - half, 11 + half), rel=1e-4)


def test_the_readme_is_short_and_its_picture_is_small():
    assert len(README.splitlines()) <= 120
    assert (project_root() / "book" / "drawings" / "front.png").stat().st_size < 600_000


SAID = ("Egyptian cat", "espresso", "drilling platform")  # by every recognizer of every version


class Recognizer:
    """One that says the same to every three pictures, of which it is rather sure."""

    def __call__(self, pictures):
        assert pictures.shape == (3, 3, 224, 224)
        logits = torch.zeros(3, 1000)
        logits[range(3), [imagenet_classes().index(name) for name in SAID]] = 9.0
        return logits


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Pictures in place of those of scikit-image, which tests do not need, and made-up gains."""
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for name in front.SHOWN:
        Image.fromarray(rng.integers(0, 256, (256, 300, 3), dtype=np.uint8)).save(tmp_path / "data" / name)
    judges = {"lite": "source", "phone": "unseen"}
    accuracy = drawn.make_accuracy(modes=["plain", "ra", "ra_unsupervised"], recognizers=judges)
    accuracy["psnr"] -= 0.5 * (accuracy["mode"] == front.MODE)
    paired = drawn.make_paired(accuracy)
    kinds = [("lite", "source", "Lite", False, 80.0), ("phone", "unseen", "Mobile", True, 70.0)]
    recognizers = pd.DataFrame(kinds, columns=["recognizer", "role", "family", "black_box", "top1"])
    monkeypatch.setattr(front, "package_folder", lambda *_: tmp_path)
    monkeypatch.setattr(front, "load_judge", lambda name: Recognizer())
    tables = {"paired": paired, "recognizers": recognizers, "accuracy": accuracy}
    monkeypatch.setattr(front, "kept", lambda table, profile: tables[table])
    return paired


def test_the_picture_shows_photographs_first_and_every_answer(photographs):
    shown = front.restored()
    assert {name: tuple(pictures.shape[1:]) for name, pictures in shown.items()} == {
        "input": (3, 56, 56), "plain": (3, 224, 224), front.MODE: (3, 224, 224), "clean": (3, 224, 224),
    }  # fmt: skip
    axes = front.front().axes[0]
    sizes = [image.get_array().shape[0] for image in axes.images]
    assert sizes == 3 * [56] + 9 * [224]
    clean = np.asarray(axes.images[9].get_array())
    assert np.allclose(clean, shown["clean"][0].permute(1, 2, 0).numpy())
    said = [(text.get_text(), text.get_color()) for text in axes.texts if text.get_text()[0] in "✓✗"]
    each = [("✓ Egyptian cat 89%", RIGHT), ("✓ espresso 89%", RIGHT), ("✗ drilling pl… 89%", WRONG)]
    assert said == [answer for answer in each for _ in range(3)] * 4


def test_the_picture_has_the_gains_of_one_mode_on_every_judge_in_every_task(photographs):
    _, *panels = front.front().axes
    colour = look(front.MODE).colour
    for axes, task in zip(panels, ("sr", "dn", "jpeg"), strict=True):
        rows = photographs.query(f"task == '{task}' and mode == '{front.MODE}'")[["difference", "low", "high"]]
        found = drawn.points(axes)
        assert set(found) == {(colour, True), (colour, False)}
        assert [found[colour, full][0][::2] for full in (True, False)] == [
            pytest.approx((row.difference, row.low)) for row in rows.itertuples()
        ]


def test_the_table_says_gains_with_intervals_and_what_they_cost(photographs):
    head, line, *rows = front.table().splitlines()
    assert "on 1 unseen ones" in head and line == "|---|---|---|---|" and len(rows) == 3
    assert rows[0] == (
        "| enlarging 4 × | +12.0 [+10.5, +14.5], from 40.0 to 52.0 % | +12.0 [+10.5, +14.5], from 41.2 to 53.2 % | "
        "−0.25 dB |"
    )
    assert [row.split(" |")[0] for row in rows] == ["| enlarging 4 ×", "| denoising", "| JPEG restoration"]


def test_the_command_renews_picture_and_table(photographs, tmp_path, monkeypatch, capsys):
    (tmp_path / "book" / "drawings").mkdir(parents=True)
    readme = tmp_path / "README.md"
    readme.write_text("# One\n\n| task | old |\n|---|---|\n| sr | 1 |\n\nWords.\n\n| task | kept |\n\nEnd.\n")
    monkeypatch.setattr(front, "project_root", lambda: tmp_path)
    assert front.main() == 0
    assert readme.read_text() == f"# One\n\n{front.table()}\n\nWords.\n\n| task | kept |\n\nEnd.\n"
    assert Image.open(tmp_path / "book" / "drawings" / "front.png").width == 1200
    assert capsys.readouterr().out.split() == [str(tmp_path / "book/drawings/front.png"), str(readme)]


def test_the_readme_says_what_the_results_on_photographs_say():
    assert front.table() in README
    kinds = front.kept("recognizers", "photos").set_index("recognizer")["black_box"]
    rows = front.kept("paired", "photos").query("mode == @front.MODE")
    rows = rows.assign(black_box=rows["recognizer"].map(kinds))
    assert f"Of {len(kinds)} judges {kinds.sum()} are" in README.replace("\n", " ")
    counted = [(task, mine["low"] > 0, mine["black_box"]) for task, mine in rows.groupby("task")]
    said = {task: f"{above.sum()} ({(above & black).sum()}) in {front.TASKS[task]}" for task, above, black in counted}
    accuracy = (
        front.kept("accuracy", "photos").query("role == 'source'").pivot(index="task", columns="mode", values="top1")
    )
    left, ours, plain = (accuracy.loc[["sr", "dn", "jpeg"], mode] for mode in ("unprocessed", front.MODE, "plain"))
    assert "{:.1f}, {:.1f} and {:.1f} %; `plain` does not".format(*left) in README.replace("\n", " ")
    assert (ours > left).all() and (plain < left).all()
    sentence = f"{said['sr']}, {said['dn']} and {said['jpeg']}."
    assert sentence.replace(" 4 ×", "") in README.replace("\n", " ")


def test_the_readme_says_what_the_results_on_cifar10_say():
    found = front.gains(front.kept("paired", "cifar10_narrow"))["value"]
    paragraph = next(part for part in README.split("\n\n") if "complete CIFAR-10" in part)
    for task in ("sr", "dn", "jpeg"):
        for role in ("source", "unseen"):
            assert f"+{found[task, role]:.1f}" in paragraph

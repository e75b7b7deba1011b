"""The README's picture and table say what the committed results say."""

import re

import numpy as np
import pandas as pd
import pytest

from ra_book import front
from ra_core.paths import project_root


def test_intervals_cover_pictures_and_seeds():
    rows = [{"task": "sr", "mode": "ra", "seed": s, "role": "source", "difference": 10.0 + s, "low": 9.0 + s,
             "high": 11.0 + s, "recognizer": "r", "n": 9} for s in range(3)]  # fmt: skip
    gain, low, high = front.gains(pd.DataFrame(rows)).loc[("sr", "source")]
    half = np.hypot(1, 4.30265 / np.sqrt(3))
    assert (gain, low, high) == pytest.approx((11, 11 - half, 11 + half), rel=1e-4)


def test_the_table_of_the_readme_is_that_of_the_results():
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| (enlarging|denoising|JPEG rest)", line)]
    accuracy = front.read("accuracy")
    psnr = accuracy[accuracy["role"] == "source"].groupby(["task", "mode"])["psnr"].mean()
    top1 = accuracy.groupby(["task", "mode", "role"])["top1"].mean()
    gains = front.gains(front.read("paired"))
    for task, row in zip(("sr", "dn", "jpeg"), rows, strict=True):
        for role in ("source", "unseen"):
            gain, low, high = gains.loc[(task, role)]
            assert f"+{gain:.1f} [{low:.1f}, {high:.1f}]" in row
            assert f"from {top1[task, 'plain', role]:.1f} to {top1[task, 'ra', role]:.1f} %" in row
        difference = round(psnr[task, "ra"] - psnr[task, "plain"], 2) + 0.0
        assert f"{difference:.2f} dB".replace("-", "−") in row


def test_the_readme_is_short_and_its_picture_is_small():
    root = project_root()
    assert len((root / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    assert (root / "book" / "drawings" / "front.png").stat().st_size < 200_000


def test_the_picture_can_be_drawn_again():
    shown = front.restored()
    assert {name: tuple(p.shape[1:]) for name, p in shown.items()} == {
        "input": (3, 8, 8), "plain": (3, 32, 32), "ra": (3, 32, 32), "clean": (3, 32, 32),
    }  # fmt: skip
    figure = front.front()
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "+31.1" in words and "RA\n38 % right" in words

"""The gains of judges by family: heights, intervals, marks of black boxes, and the same in a table."""

import drawn
import numpy as np
import pandas as pd
import pytest
from drawn import colour, make_accuracy, points

from ra_book import figures
from ra_book.figures.judges import by_family

JUDGES = {"lite0": "source", "phone": "unseen", "lite1": "unseen", "camera": "unseen"}
KINDS = {"lite0": ("Lite", False), "phone": ("Mobile", True), "lite1": ("Lite", False), "camera": ("Mobile", True)}
PAIRED = drawn.make_paired(make_accuracy(("sr", "jpeg"), ["plain", "ra", "ra_unsupervised"], JUDGES))
RECOGNIZERS = pd.DataFrame(
    [(name, JUDGES[name], *kind, 80.0 + k) for k, (name, kind) in enumerate(KINDS.items())],
    columns=["recognizer", "role", "family", "black_box", "top1"],
)
LABELS = ["Lite", "lite0 (source)", "lite1", "Mobile", "phone", "camera"]


def gains(mode: str, task: str) -> pd.DataFrame:
    rows = PAIRED[(PAIRED["task"] == task) & (PAIRED["mode"] == mode)]
    return rows.set_index("recognizer")[["difference", "low", "high"]]


def test_judges_stand_beneath_their_family_that_of_the_source_first():
    cells, labels = by_family(PAIRED.iloc[::-1], RECOGNIZERS)
    assert labels == {label: y for y, label in enumerate(LABELS)}
    assert dict(zip(cells["recognizer"], cells["y"], strict=True)) == {"lite0": 1, "lite1": 2, "phone": 4, "camera": 5}
    _, labels = by_family(PAIRED[~PAIRED["recognizer"].isin(["phone", "camera"])], RECOGNIZERS)
    assert [*labels] == LABELS[:3]  # who did not judge has no row


def test_every_judge_has_its_gain_its_interval_and_its_mark():
    figure = figures.judge_gains(PAIRED, RECOGNIZERS)
    assert [axes.get_title() for axes in figure.axes] == ["Super-resolution", "JPEG restoration"]
    for axes, task in zip(figure.axes, ("sr", "jpeg"), strict=True):
        for mode in ("ra", "ra_unsupervised"):
            for full, names in ((True, ["lite0", "lite1"]), (False, ["phone", "camera"])):
                found = sorted(points(axes)[figures.look(mode).colour, full], key=lambda point: point[1])
                assert np.allclose([(x, low, high) for x, _, low, high in found], gains(mode, task).loc[names])
                assert [round(y) for _, y, *_ in found] == ([1, 2] if full else [4, 5])
        assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
        bottom, top = axes.get_ylim()
        assert bottom > 5 and top < 0  # the first family's name on top, the last judge at the bottom


def test_names_of_families_are_bold_and_black_boxes_are_explained():
    figure = figures.judge_gains(PAIRED, RECOGNIZERS)
    shown = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in shown] == LABELS
    assert [label.get_text() for label in shown if label.get_fontweight() == "bold"] == ["Lite", "Mobile"]
    assert "2000 pictures" in figure.legends[0].get_title().get_text().replace(",", "")
    assert "hollow" in figure.legends[0].get_title().get_text()


def test_the_alternative_text_counts_intervals_above_zero():
    rows = PAIRED.assign(low=PAIRED["low"].where(PAIRED["recognizer"] != "phone", -1.0))
    alt = figures.judge_gains(rows, RECOGNIZERS).alt
    assert "Super-resolution: RA +12.0 [+10.5, +14.5] on lite0 (source)" in alt
    assert "from +12.0 to +12.0 on 2 black boxes, 1 of their intervals above zero" in alt


def test_colours_of_both_modes_are_those_of_the_book():
    found = {key for key, _ in points(figures.judge_gains(PAIRED, RECOGNIZERS).axes[0])}
    assert found == {colour(figures.look(mode).colour) for mode in ("ra", "ra_unsupervised")}


def test_the_table_has_every_judge_and_every_gain():
    table = figures.judge_table(PAIRED, RECOGNIZERS)
    assert list(table.index) == [
        ("Lite", "lite0 (source)", ""), ("Lite", "lite1", ""), ("Mobile", "phone", "yes"), ("Mobile", "camera", "yes"),
    ]  # fmt: skip
    assert list(table.columns)[:3] == ["clean, top-1 in %", "super-resolution, RA", "super-resolution, RA unsupervised"]
    row = table.loc[("Mobile", "phone", "yes")]
    low, high = gains("ra", "jpeg").loc["phone", ["low", "high"]]
    assert row["JPEG restoration, RA"] == f"+12.0 [{low:+.1f}, {high:+.1f}]" and row["clean, top-1 in %"] == "81.0"


@pytest.mark.parametrize("tasks", [["sr"], ["sr", "dn", "jpeg"]])
def test_any_number_of_tasks_can_be_shown(tasks):
    paired = drawn.make_paired(make_accuracy(tasks, ["plain", "ra"], JUDGES))
    assert len(figures.judge_gains(paired, RECOGNIZERS).axes) == len(tasks)

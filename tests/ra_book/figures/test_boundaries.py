import numpy as np
import pandas as pd

from ra_book import figures

NAMES = ("resnet20", "vgg8", "mobilenet")


def boundaries() -> pd.DataFrame:
    rows = [
        {"profile": "p", "task": "sr", "source": a, "recognizer": b, "role": "source" if a == b else "unseen", "n": 9}
        | {f"{name}{end}": value + shift for name, value in (
            ("agreement", 60.0), ("cosine", 0.25), ("crossed", 40.0), ("crossed_random", 7.0), ("nearer", 80.0),
            ("gain", 10.0 + 5 * (a == b)),
        ) for end, shift in (("", 0), ("_low", -1), ("_high", 1))}
        for a in NAMES for b in NAMES
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_planes_show_whether_an_answer_is_right_that_after_plain_or_another():
    a, b = np.array([0.0, 1.0]), np.array([-1.0, 0.0])
    answers = {"resnet20": np.array([[[7, 7], [3, 5]]]), "vgg8": np.array([[[5, 5], [5, 5]]])}
    figure = figures.planes(answers, np.array([5]), ["a frog"], a, b)
    shown = [axes.collections[0].get_array().reshape(2, 2).tolist() for axes in figure.axes]
    assert shown == [[[2, 2], [1, 0]], [[0, 0], [0, 0]]]
    assert "25.0 % for resnet20 and 100.0 % for vgg8" in figure.alt


def test_a_line_of_the_table_is_a_pair():
    table = figures.boundary_table(boundaries(), "sr")
    assert list(table.index) == [(a, b) for a in NAMES for b in NAMES]
    assert table.loc[("resnet20", "vgg8")].tolist() == [
        "60.0 [59.0, 61.0]", "0.25 [−0.75, 1.25]", "40.0 [39.0, 41.0]", "7.0 [6.0, 8.0]", "80.0 [79.0, 81.0]",
        "+10.0 [+9.0, +11.0]",
    ]  # fmt: skip


def test_a_point_is_an_unseen_recognizer_beside_a_source():
    found = pd.DataFrame(
        {"profile": "p", "task": "sr", "predictor": name, "pairs": 6, "rho": 0.5, "low": -0.125, "high": 0.75}
        for name in ("agreement", "cosine", "crossed")
    )
    figure = figures.prediction(boundaries(), found, "sr")
    assert len(figure.axes) == 3
    for axes, values in zip(figure.axes, (60, 0.25, 40), strict=True):
        assert [len(line.get_xdata()) for line in axes.lines] == [2, 2, 2]
        assert all((line.get_xdata() == values).all() and (line.get_ydata() == 10).all() for line in axes.lines)
    assert "6 pairs" in figure.alt and figure.alt.count("0.50 [−0.12, 0.75]") == 3

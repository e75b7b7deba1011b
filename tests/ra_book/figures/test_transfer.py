"""Figures and tables of what transfers: their numbers are those of the rows, and what is own is framed."""

import itertools

import drawn
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from scipy.stats import t as student

from ra_book import figures
from ra_book.figures.look import look, method_rank
from ra_book.figures.transfer import per_objective

NAMES = ["resnet20", "vgg8", "mobilenet"]
OBJECTIVES = ["ra", "ra_transformer", "ra_unsupervised", "ra_kl", "ra_logits", "ra_features", "ra_diverse"]
ENDS = {"": 0, "_low": -1, "_high": 2}


def paired() -> pd.DataFrame:
    """`ra` from each of three sources, beside an ensemble and a mode that are no rows of the matrix."""
    rows = []
    for k, (mode, own) in enumerate({"ra": "resnet20", "ra@vgg8": "vgg8", "ra@mobilenet": "mobilenet"}.items()):
        for j, name in enumerate(NAMES):
            value = 20.0 + k if name == own else 3.0 * k - j
            rows.append((mode, name, "source" if name == own else "unseen", value))
    rows += [("ra@resnet20+vgg8", name, "source", 50.0) for name in NAMES] + [("ra_kl", "vgg8", "unseen", 60.0)]
    found = pd.DataFrame(rows, columns=["mode", "recognizer", "role", "difference"])
    low, high = found["difference"] - 2, found["difference"] + 2
    return found.assign(profile="test", task="sr", seed=0, n=2000, low=low, high=high)


def test_the_matrix_has_a_row_a_source_and_frames_its_own():
    figure = figures.source_matrix(paired(), "sr")
    axes = figure.axes[0]
    texts = [text.get_text().split("\n")[0] for text in axes.texts]
    assert texts == ["+20.0", "−2.0", "−1.0", "+6.0", "+22.0", "+5.0", "+3.0", "+1.0", "+21.0"]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [patch.get_xy() for patch in frames] == [(0, 0), (1, 1), (2, 2)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["from resnet20", "from mobilenet", "from vgg8"]
    assert "mean +21.0" in figure.alt and "+50" not in figure.alt


def test_many_judges_are_rows():
    others = [f"judge{k}" for k in range(7)]
    more = pd.concat([
        paired().query("mode == 'ra'").assign(recognizer=name, role="unseen", difference=100.0 + k)
        for k, name in enumerate(others)
    ]).drop_duplicates("recognizer")  # fmt: skip
    axes = figures.source_matrix(pd.concat([paired(), more]), "sr").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["resnet20", "mobilenet", "vgg8", *others]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["from resnet20", "from mobilenet", "from vgg8"]
    texts = np.array([text.get_text().split("\n")[0] for text in axes.texts]).reshape(10, 3)
    assert texts[:3].diagonal().tolist() == ["+20.0", "+22.0", "+21.0"] and texts[3:, 0].tolist() == [
        f"+{100 + k}.0" for k in range(7)
    ]
    assert (texts[3:, 1:] == "").all()


def transfer() -> pd.DataFrame:
    rows = [
        {"profile": "few", "mode": mode, "task": "sr", "seed": 0, "n": 2000, "psnr_loss": 0.1 + 0.05 * k}
        | {"sources": "resnet20"}
        | {name + end: 10.0 * k + apart for name in ("own", "unseen", "beyond") for end, apart in ENDS.items()}
        | {"share": np.nan, "share_low": np.nan, "share_high": np.nan}
        for k, mode in enumerate(["ra", "ra_kl@0.01", "ra@resnet20+vgg8@0.001"])
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_objectives_stand_at_their_cost_and_gain():
    figure = figures.objectives_at_cost(transfer(), "sr")
    for axes in figure.axes:
        points = [line.get_xydata()[0].tolist() for line in axes.lines if len(line.get_xdata()) == 1]
        assert {(round(x, 3), y) for x, y in points} >= {(0.1, 0.0), (0.15, 10.0), (0.2, 20.0)}
    assert "RA from resnet20 + vgg8, λ 0.001 +20.0 on its own" in figure.alt
    table = figures.objectives_table(transfer(), "sr")
    assert list(table.index) == ["RA", "RA from resnet20 + vgg8, λ 0.001", "RA, KL, λ 0.01"]
    assert table.loc["RA, KL, λ 0.01", "on the unseen"] == "+10.0 [+9.0, +12.0]" and table["share, %"].iloc[0] == "–"


def test_levels_of_an_objective_are_rows_of_their_own_and_joined_in_the_drawing():
    dearer = transfer().assign(profile="dear")
    dearer["psnr_loss"] += 0.2
    dearer[["own", "own_low", "own_high"]] += 5
    both = pd.concat([transfer(), dearer])
    rows = per_objective(both, "sr").set_index(["method", "profile"])["own"]
    assert rows["ra", "few"] == 0 and rows["ra", "dear"] == 5
    figure = figures.objectives_at_cost(both, "sr")
    joined = [line.get_xydata().round(3).tolist() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert [[0.1, 0.0], [0.3, 5.0]] in joined
    table = figures.objectives_table(both, "sr").reset_index()
    assert list(table["profile"]) == ["few", "dear"] * 3 and "profile" not in figures.objectives_table(transfer(), "sr")


def test_seeds_of_an_objective_are_one_row_with_an_interval_that_covers_them():
    one = transfer()
    other = one.assign(seed=1, psnr_loss=one["psnr_loss"] + 0.1, unseen=one["unseen"] + 4, beyond=np.nan)
    for name in ("unseen_low", "unseen_high"):
        other[name] += 4
    rows = per_objective(pd.concat([one, other]), "sr").set_index("method")
    assert rows["psnr_loss"].round(3).tolist() == [0.15, 0.25, 0.2] and rows["unseen"].tolist() == [2, 22, 12]
    assert rows["beyond"].isna().all()  # one of two seeds has none
    spread = student.ppf(0.975, 1) * np.std([0, 4], ddof=1) / np.sqrt(2)
    assert rows.loc["ra", "unseen_low"] == 2 - np.hypot(1, spread)
    assert rows.loc["ra", "unseen_high"] == 2 + np.hypot(2, spread)
    assert rows.loc["ra", "own_low"] == -1 and rows.loc["ra", "own_high"] == 2  # seeds that agree add nothing
    assert "mean of 2 seeds" in "".join(
        text.get_text() for text in figures.objectives_at_cost(pd.concat([one, other]), "sr").findobj(Text)
    )


def test_gains_after_a_change_are_means_of_a_role():
    rows = drawn.make_paired(drawn.make_accuracy(tasks=("sr",)))
    later = pd.concat([rows.assign(change=name, psnr=21.0 + k, difference=rows["difference"] - k,
                                   low=rows["low"] - k, high=rows["high"] - k)
                       for k, name in enumerate(("as restored", "coded as JPEG 75"))])  # fmt: skip
    table = figures.later_table(later, "sr")
    unseen = rows[(rows["mode"] == "ra") & (rows["role"] == "unseen")]["difference"].mean()
    line = table.xs("RA").reset_index().set_index("on").loc["unseen"]
    assert line["as restored"].startswith(f"+{unseen:.1f}") and line["coded as JPEG 75"].startswith(
        f"+{unseen - 1:.1f}"
    )
    other = later.assign(task="jpeg", psnr=30.0)
    assert set(figures.later_table(pd.concat([later, other]), "jpeg").reset_index()["PSNR, dB"]) == {"30.00"}
    figure = figures.later_gains(later, "sr")
    assert len(figure.axes) == 2 and f"coded as JPEG 75: RA +{rows['difference'].iloc[0] - 1:.1f}" in figure.alt


def test_five_sentences_say_what_the_tables_say():
    beyond = transfer().assign(sources=["resnet20", "resnet20", "resnet20+vgg8"], beyond=[np.nan, 10.0, 20.0])
    other = beyond.iloc[[1]].assign(mode="ra@vgg8", sources="vgg8", beyond=70.0)  # no objective of its own
    beyond = pd.concat([beyond, other], ignore_index=True)
    later = drawn.make_paired(drawn.make_accuracy(tasks=("sr",)))
    fallen = later.assign(change="resized", difference=later["difference"] - 5)
    later = pd.concat([later.assign(change="as restored"), fallen, later.assign(change="coded")]).assign(psnr=21.0)
    said = figures.what_it_says({"paired": paired(), "later": later}, beyond, "sr").split("\n")
    assert len(said) == 5
    assert "10 %" in said[0] and "of 6 pairs 3 surely gain and 0 surely lose" in said[0]  # 2 of 21 points
    assert "From `mobilenet` the others gain +5.5 points; it matters" in said[1] and "from `resnet20` −1.5" in said[1]
    assert "the best of 1 is RA from resnet20 + vgg8, λ 0.001, +20.0 [+19.0, +22.0]" in said[2]
    assert "for 0.20 dB" in said[2]
    assert "the best of 1 is RA, KL, λ 0.01, +10.0" in said[3]
    assert "was resized: RA +12.0 before and +7.0 after" in said[4]
    said = figures.what_it_says({"paired": paired(), "later": later}, beyond.assign(beyond=np.nan), "sr").split("\n")
    assert "none was measured beside an RA that costs as much" in said[2]
    alone = paired().query("mode == 'ra@vgg8'")
    said = figures.what_it_says({"paired": alone, "later": later}, beyond, "sr").split("\n")
    assert said[1].endswith("points.") and "From `vgg8`" in said[1]


def test_objectives_are_told_apart_by_name_marker_and_every_eye():
    looks = [look(name) for name in OBJECTIVES]
    assert len({each.label for each in looks}) == len({each.marker for each in looks}) == len(looks)
    for eye in drawn.EYES.values():
        seen = [drawn.lab(np.array(eye) @ np.array(to_rgb(each.colour)) ** 2.2) for each in looks]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 8


def test_modes_with_sources_stand_behind_their_base():
    modes = ["ra@vgg8", "ra_kl", "ra@resnet20+vgg8", "ra@0.01", "plain", "ra"]
    assert sorted(modes, key=method_rank) == ["plain", "ra", "ra@0.01", "ra@vgg8", "ra@resnet20+vgg8", "ra_kl"]
    assert look("ra@vgg8").label == "RA from vgg8" and look("ra@vgg8").colour != look("ra").colour

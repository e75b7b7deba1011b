"""Figures of results say what the data say: heights, ends of intervals, texts, colours."""

import numpy as np
import pytest
from drawn import MODES, RECOGNIZERS, TRAINED, make_accuracy, make_paired, make_published, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from ra_book import figures
from ra_core.errors import ParameterError

TASK_FIGURES = [figures.accuracy_heatmap, figures.accuracy_bars, figures.accuracy_against_psnr]


ACCURACY = make_accuracy()


PAIRED = make_paired(ACCURACY)


def value(mode: str, recognizer: str, column: str = "top1", task: str = "sr") -> float:
    rows = ACCURACY[(ACCURACY["task"] == task) & (ACCURACY["mode"] == mode)]
    return rows.loc[rows["recognizer"] == recognizer, column].item()


def bars(axes) -> dict[str, list[tuple[float, float, float]]]:
    """Return (height, lower end, upper end) of the bars by colour, from left to right."""
    found = {}
    for container in axes.containers:
        if hasattr(container, "patches") and container.patches:
            ends = [segment[:, 1] for segment in container.errorbar.lines[2][0].get_segments()]
            heights = [patch.get_height() for patch in container.patches]
            colour = to_hex(container.patches[0].get_facecolor()).upper()
            found[colour] = [(h, *sorted(e)) for h, e in zip(heights, ends, strict=True)]
    return found


def points(axes) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return (x, y, first end, last end) of the points with horizontal or vertical intervals, by colour."""
    found = {}
    for line, _, (interval,) in (container.lines for container in axes.containers):
        ends = interval.get_segments()
        axis = 0 if np.ptp(ends[0][:, 0]) else 1
        found[to_hex(line.get_color()).upper()] = [
            (x, y, *sorted(end[:, axis])) for (x, y), end in zip(line.get_xydata(), ends, strict=True)
        ]
    return found


def test_heat_map_holds_every_top1_and_its_gain():
    figure = figures.accuracy_heatmap(ACCURACY, "sr")
    axes = figure.axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    expected = np.array([[value(mode, name) for name in RECOGNIZERS] for mode in MODES])
    assert np.array_equal(drawn, expected)
    first_line = [float(text.split("\n")[0]) for text in texts(figure)]
    assert first_line == [float(f"{top1:.1f}") for top1 in expected.flat]
    assert f"{value('ra', 'vgg8'):.1f}\n(+12.0)" in texts(figure)
    assert sum("(" in text for text in texts(figure)) == 3 * len(RECOGNIZERS)
    assert axes.get_xticklabels()[0].get_text() == "resnet20\nsource"
    assert [label.get_text() for label in axes.get_yticklabels()] == [figures.look(mode).label for mode in MODES]


def test_bars_have_the_heights_and_ends_of_the_data():
    found = bars(figures.accuracy_bars(ACCURACY, "jpeg").axes[0])
    assert list(found) == [figures.look(mode).colour for mode in MODES]
    for mode in MODES:
        columns = ("top1", "top1_low", "top1_high")
        expected = [[value(mode, name, column, "jpeg") for column in columns] for name in RECOGNIZERS]
        assert np.allclose(found[figures.look(mode).colour], expected)


def test_the_source_comes_first_wherever_it_stands_in_the_table():
    reversed_rows = ACCURACY.iloc[::-1]
    labels = [t.get_text() for t in figures.accuracy_bars(reversed_rows, "sr").axes[0].get_xticklabels()]
    assert labels == ["resnet20\nsource", "mobilenet\nunseen", "vgg8\nunseen"]


def test_several_seeds_are_averaged_and_shown_as_dots():
    accuracy = make_accuracy(seeds=3)
    axes = figures.accuracy_bars(accuracy, "sr").axes[0]
    assert bars(axes)[figures.look("ra").colour][0][0] == pytest.approx(value("ra", "resnet20") + 0.5)
    assert bars(axes)[figures.look("oracle").colour][0][0] == pytest.approx(value("oracle", "resnet20"))
    dots = axes.collections[-1].get_offsets()
    assert len(dots) == len(TRAINED) * len(RECOGNIZERS) * 3
    rows = accuracy[(accuracy["task"] == "sr") & accuracy["mode"].isin(TRAINED)]
    assert sorted(dots[:, 1]) == pytest.approx(sorted(rows["top1"]))
    bars_x = [patch.get_x() + patch.get_width() / 2 for patch in axes.patches]
    assert all(min(abs(x - bar) for bar in bars_x) < 1e-9 for x in dots[:, 0])


def test_accuracy_against_psnr_draws_source_and_mean_of_the_unseen():
    figure = figures.accuracy_against_psnr(ACCURACY, "sr")
    source, unseen = (points(axes) for axes in figure.axes)
    for mode in MODES[1:]:
        colour, psnr = figures.look(mode).colour, value(mode, "vgg8", "psnr")
        means = [(value(mode, "vgg8", c) + value(mode, "mobilenet", c)) / 2 for c in ("top1", "top1_low", "top1_high")]
        assert unseen[colour] == [pytest.approx((psnr, *means))]
        top1 = [value(mode, "resnet20", column) for column in ("top1", "top1_low", "top1_high")]
        assert source[colour] == [pytest.approx((psnr, *top1))]
    assert figures.look("oracle").colour not in source
    assert f"clean (oracle) {value('oracle', 'resnet20'):.1f}" in texts(figure)


def test_forest_has_the_values_the_ends_and_the_zero_line():
    figure = figures.paired_forest(PAIRED, "sr")
    axes = figure.axes[0]
    for mode in TRAINED[1:]:
        rows = PAIRED[(PAIRED["task"] == "sr") & (PAIRED["mode"] == mode)]
        found = points(axes)[figures.look(mode).colour]
        assert np.allclose([(x, low, high) for x, _, low, high in found], rows[["difference", "low", "high"]])
        assert [round(y) for _, y, _, _ in found] == list(range(len(RECOGNIZERS)))
    assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
    assert texts(figure).count("+12.0 [+10.5, +14.5]") == len(RECOGNIZERS)
    bottom, top = axes.get_ylim()
    assert bottom > top  # so that the source stands on top


def test_headline_has_a_panel_for_each_task_with_source_and_unseen():
    figure = figures.headline(ACCURACY)
    assert [axes.get_title() for axes in figure.axes] == ["Super-resolution", "Denoising", "JPEG restoration"]
    for axes, task in zip(figure.axes, ("sr", "dn", "jpeg"), strict=True):
        for mode in MODES:
            source, unseen = bars(axes)[figures.look(mode).colour]
            assert source[0] == pytest.approx(value(mode, "resnet20", task=task))
            assert unseen[0] == pytest.approx(
                (value(mode, "vgg8", task=task) + value(mode, "mobilenet", task=task)) / 2
            )


def test_the_paper_stands_beside_with_its_own_gains_and_name():
    figure = figures.against_the_paper(PAIRED, make_published())
    ours, theirs = figure.axes[:2]
    assert (ours.get_title(), theirs.get_title()) == ("CIFAR-10, this book", "ImageNet, published")
    assert [x for x, *_ in points(ours)[figures.look("ra").colour]] == pytest.approx([12.0] * 3)
    assert figures.look("ra_transformer").colour not in points(ours)
    gains = {to_hex(c.lines[0].get_color()).upper(): list(c.lines[0].get_xdata()) for c in theirs.containers}
    assert gains[figures.look("ra").colour] == pytest.approx([9.5, 6.0, 7.0])
    assert gains[figures.look("ra_unsupervised").colour] == pytest.approx([-1.0, 0.0, 3.0])
    assert [t.get_text() for t in theirs.get_yticklabels()] == ["resnet18 (source)", "resnet50", "vgg16_bn"]
    assert "this book, denoising: RA +12.0" in figure.alt and "RA unsupervised \N{MINUS SIGN}1.0" in figure.alt


@pytest.mark.parametrize("draw", [*TASK_FIGURES, figures.accuracy_table])
def test_an_unknown_task_is_one_clear_sentence(draw):
    with pytest.raises(ParameterError, match="task 'blur' is not in these results, which hold dn, jpeg, sr: choose"):
        draw(ACCURACY, "blur")
    with pytest.raises(ParameterError, match="no column for recognizer, role"):
        draw(ACCURACY.drop(columns=["recognizer", "role"]), "sr")


@settings(max_examples=10)
@given(
    modes=st.sets(st.sampled_from(MODES), min_size=1),
    names=st.sets(st.sampled_from(list(RECOGNIZERS)), min_size=1),
    tasks=st.sets(st.sampled_from(["sr", "dn", "blur"]), min_size=1),
    seeds=st.integers(1, 3),
)
def test_any_part_of_the_table_can_be_shown(modes, names, tasks, seeds):
    """Whatever modes, recognizers, tasks and seeds a profile has: figures and tables show exactly those."""
    recognizers = {name: role for name, role in RECOGNIZERS.items() if name in names}
    accuracy = make_accuracy(sorted(tasks), [m for m in MODES if m in modes], recognizers, seeds)
    paired = make_paired(accuracy) if "plain" in modes else PAIRED.iloc[:0]
    task = min(tasks)
    labels = [figures.look(mode).label for mode in MODES if mode in modes]

    for draw in TASK_FIGURES:
        assert all(f"{label} " in draw(accuracy, task).alt for label in labels)
    assert len(figures.headline(accuracy).axes) == len(tasks)
    assert list(figures.accuracy_table(accuracy, task).index) == labels
    assert figures.accuracy_table(accuracy, task).shape[1] == len(names) + 2
    assert len(figures.headline_table(accuracy, paired)) == len(tasks) * len(modes)
    compared = modes & {"plain", "ra", "ra_unsupervised"}
    assert len(figures.paper_table(accuracy, make_published())) == len(tasks) * len(compared)
    if not paired.empty:
        assert len(figures.paired_table(paired, task)) == len(modes & set(TRAINED[1:]))
        assert len(figures.paired_forest(paired, task).axes[0].get_yticks()) == len(names)
        assert len(figures.against_the_paper(paired, make_published()).axes) == 2 * len(tasks)

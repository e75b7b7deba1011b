"""Figures of restoration say what the data say: heights, ends of intervals, texts, colours."""

import drawn
import numpy as np
import pytest
from drawn import MODES, RECOGNIZERS, TRAINED, bars, colour, make_accuracy, points, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_book import figures
from ra_core.errors import ParameterError

TASK_FIGURES = [figures.accuracy_heatmap, figures.accuracy_against_psnr]
ACCURACY = make_accuracy()
PAIRED = drawn.make_paired(ACCURACY)
COLUMNS = ["top1", "top1_low", "top1_high"]


def value(mode: str, recognizer: str, columns="top1", task: str = "sr"):
    rows = ACCURACY[(ACCURACY["task"] == task) & (ACCURACY["mode"] == mode)]
    return rows.set_index("recognizer").loc[recognizer, columns]


def unseen(mode: str, columns="top1", task: str = "sr"):
    return (value(mode, "vgg8", columns, task) + value(mode, "mobilenet", columns, task)) / 2


def test_heat_map_holds_every_top1_and_its_gain():
    figure = figures.accuracy_heatmap(ACCURACY.iloc[::-1], "sr")  # the source comes first wherever it stands
    axes, names = figure.axes[0], ["resnet20", "mobilenet", "vgg8"]
    expected = np.array([[value(mode, name) for mode in MODES] for name in names])
    assert np.array_equal(np.asarray(axes.collections[0].get_array()).reshape(expected.shape), expected)
    assert [float(text.split(" ")[0]) for text in texts(figure)] == [float(f"{top1:.1f}") for top1 in expected.flat]
    assert f"{value('ra', 'vgg8'):.1f} (+12.0)" in texts(figure)
    assert sum("(" in text for text in texts(figure)) == 3 * len(RECOGNIZERS)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["resnet20 (source)", "mobilenet", "vgg8"]
    labels = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    assert labels == [figures.look(mode).label for mode in MODES]


def test_bars_have_the_heights_and_ends_of_the_data():
    found = bars(figures.headline(ACCURACY[ACCURACY["task"] == "jpeg"]).axes[0])
    assert list(found) == [figures.look(mode).colour for mode in MODES]
    for mode in MODES:
        expected = [value(mode, "resnet20", COLUMNS, "jpeg"), unseen(mode, COLUMNS, "jpeg")]
        assert np.allclose(found[figures.look(mode).colour], expected)


def test_seeds_are_averaged_and_the_interval_covers_them():
    figure = figures.headline(make_accuracy(seeds=3).query("task == 'sr'"))
    height, low, high = bars(figure.axes[0])[figures.look("ra").colour][0]
    assert height == pytest.approx(value("ra", "resnet20") + 0.5)
    spread = 4.3027 * 0.5 / 3**0.5  # seeds differ by 0, 0.5 and 1
    assert (height - low, high - height) == pytest.approx((np.hypot(2.1, spread), np.hypot(1.9, spread)), rel=1e-4)
    assert bars(figure.axes[0])[figures.look("oracle").colour][0] == pytest.approx(value("oracle", "resnet20", COLUMNS))
    title = figure.legends[0].get_title().get_text()
    assert "mean of 3 seeds, 95 % intervals over pictures and seeds" in title


def test_accuracy_against_psnr_draws_source_and_mean_of_the_unseen():
    figure = figures.accuracy_against_psnr(ACCURACY, "sr")
    drawn = [{}, {}]
    for axes, found in zip(figure.axes, drawn, strict=True):
        for line, _, (interval,) in (each.lines for each in axes.containers):
            found[colour(line.get_color())] = (*line.get_xydata()[0], *sorted(interval.get_segments()[0][:, 1]))
    for mode in MODES[1:]:
        shade, psnr = figures.look(mode).colour, value(mode, "vgg8", "psnr")
        assert drawn[0][shade] == pytest.approx((psnr, *value(mode, "resnet20", COLUMNS)))
        assert drawn[1][shade] == pytest.approx((psnr, *unseen(mode, COLUMNS)))
    assert figures.look("oracle").colour not in drawn[0]
    assert f"clean (oracle) {value('oracle', 'resnet20'):.1f}" in texts(figure)


def test_forest_has_the_values_the_ends_and_the_zero_line():
    figure = figures.paired_forest(PAIRED, "sr")
    axes = figure.axes[0]
    for mode in TRAINED[1:]:
        rows = PAIRED[(PAIRED["task"] == "sr") & (PAIRED["mode"] == mode)]
        found = points(axes)[figures.look(mode).colour, True]
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
            first, second = bars(axes)[figures.look(mode).colour]
            assert first == pytest.approx(value(mode, "resnet20", COLUMNS, task))
            assert second == pytest.approx(unseen(mode, COLUMNS, task))


def test_the_paper_stands_beside_with_its_own_gains_and_name():
    figure = figures.against_the_paper(PAIRED, drawn.make_published())
    ours, theirs = figure.axes[:2]
    assert (ours.get_title(), theirs.get_title()) == ("CIFAR-10, this book", "ImageNet, published")
    ra, unsupervised = ((figures.look(mode).colour, True) for mode in ("ra", "ra_unsupervised"))
    assert [x for x, *_ in points(ours)[ra]] == pytest.approx([12.0] * 3)
    assert set(points(ours)) == set(points(theirs)) == {ra, unsupervised}
    assert [x for x, *_ in points(theirs)[ra]] == pytest.approx([9.5, 6.0, 7.0])
    assert [x for x, *_ in points(theirs)[unsupervised]] == pytest.approx([-1.0, 0.0, 3.0])
    assert [t.get_text() for t in theirs.get_yticklabels()] == ["resnet18 (source)", "resnet50", "vgg16_bn"]
    assert "this book, denoising: RA +12.0" in figure.alt and "RA unsupervised \N{MINUS SIGN}1.0" in figure.alt


@pytest.mark.parametrize("draw", [*TASK_FIGURES, figures.accuracy_table])
def test_an_unknown_task_or_a_missing_column_is_refused(draw):
    with pytest.raises(ParameterError, match=r"'blur'.*dn, jpeg, sr"):
        draw(ACCURACY, "blur")
    with pytest.raises(ParameterError, match="recognizer, role"):
        draw(ACCURACY.drop(columns=["recognizer", "role"]), "sr")


@settings(max_examples=5)
@given(
    modes=st.sets(st.sampled_from([*MODES, "mine"]), min_size=1),
    names=st.sets(st.sampled_from(list(RECOGNIZERS)), min_size=1),
    tasks=st.sets(st.sampled_from(["sr", "dn", "blur"]), min_size=1),
    seeds=st.integers(1, 3),
)
def test_any_part_of_the_table_can_be_shown(modes, names, tasks, seeds):
    """Whatever modes, recognizers, tasks and seeds a profile has: figures and tables show exactly those."""
    recognizers = {name: role for name, role in RECOGNIZERS.items() if name in names}
    accuracy = make_accuracy(sorted(tasks), [m for m in [*MODES, "mine"] if m in modes], recognizers, seeds)
    paired = drawn.make_paired(accuracy) if "plain" in modes else PAIRED.iloc[:0]
    task, labels = min(tasks), [figures.look(mode).label for mode in [*MODES, "mine"] if mode in modes]
    for draw in TASK_FIGURES:
        alt = draw(accuracy, task).alt
        assert all(f"{label} " in alt for label in labels)
    assert len(figures.headline(accuracy).axes) == len(tasks)
    table = figures.accuracy_table(accuracy, task)
    assert list(table.columns) == labels and len(table) == len(names) + 2
    assert len(figures.headline_table(accuracy, paired)) == len(tasks) * len(modes)
    compared = modes & {"plain", "ra", "ra_unsupervised"}
    assert len(figures.paper_table(accuracy, drawn.make_published())) == len(tasks) * len(compared)
    if not paired.empty:
        assert figures.paired_table(paired, task).shape == (len(names), len(modes & set(TRAINED[1:])))
        assert len(figures.paired_forest(paired, task).axes[0].get_yticks()) == len(names)
    published = drawn.make_published()
    compared = len(tasks) if len(paired) else published["task"].nunique()
    assert len(figures.against_the_paper(paired, published).axes) == 2 * compared


def test_of_detectors_the_figures_name_mean_average_precision():
    detectors = ACCURACY.assign(top5=float("nan"))
    assert figures.accuracy_heatmap(ACCURACY, "sr").get_suptitle().startswith("Super-resolution: top-1 accuracy in %")
    assert figures.accuracy_heatmap(detectors, "sr").get_suptitle().startswith("Super-resolution: mAP@0.5 in %")
    assert figures.headline(detectors).axes[0].get_ylabel() == "mAP@0.5, %"
    assert "<caption>mAP@0.5 in %" in figures.accuracy_table(detectors, "sr")._repr_html_()
    for draw in TASK_FIGURES:
        assert "mAP@0.5" in draw(detectors, "sr").alt and "mAP" not in draw(ACCURACY, "sr").alt

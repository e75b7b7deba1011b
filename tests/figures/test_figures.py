"""Figures and tables say what the data say: heights, ends of intervals, texts, colours, and stable files."""

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from drawn import (
    EYES,
    MODES,
    RECOGNIZERS,
    TRAINED,
    lab,
    make_accuracy,
    make_log,
    make_paired,
    make_panel,
    texts,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb

from ra_core import figures
from ra_core.errors import OutputError, ParameterError
from ra_core.figures import rows

TASK_FIGURES = [figures.accuracy_heatmap, figures.accuracy_bars, figures.accuracy_against_psnr]


def make_published() -> pd.DataFrame:
    values = {"plain": [50.0, 60.0, 40.0], "ra": [59.5, 66.0, 47.0], "ra_unsupervised": [49.0, 60.0, 43.0]}
    names = ("resnet18", "resnet50", "vgg16_bn")
    rows = [
        {"task": task, "mode": mode, "recognizer": name, "top1": top1, "source": "a citation"}
        for task, (mode, numbers) in itertools.product(("sr", "dn", "jpeg"), values.items())
        for name, top1 in zip(names, numbers, strict=True)
    ]
    return pd.DataFrame(rows)


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
        ends = [
            segment[np.ptp(segment, axis=0) > 0 if False else slice(None)]
            for segment in interval.get_segments()
        ]
        axis = 0 if np.ptp(ends[0][:, 0]) else 1
        found[to_hex(line.get_color()).upper()] = [
            (x, y, *sorted(end[:, axis])) for (x, y), end in zip(line.get_xydata(), ends, strict=True)
        ]
    return found


# ---- the look


def test_every_mode_has_one_colour_and_one_marker_of_its_own():
    looks = [figures.look(mode) for mode in MODES]
    assert MODES == ["oracle", "unprocessed", "plain", "ra", "ra_transformer", "ra_unsupervised"]
    for field in ("label", "colour", "marker"):
        assert len({getattr(each, field) for each in looks}) == len(looks)


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_colours_apart(eye):
    seen = [lab(np.array(EYES[eye]) @ np.array(to_rgb(figures.look(mode).colour)) ** 2.2) for mode in MODES]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_an_unknown_mode_is_one_clear_sentence():
    with pytest.raises(
        ParameterError, match=r"mode 'magic' has no colour; the figures know oracle, .*: add it"
    ):
        figures.look("magic")
    with pytest.raises(ParameterError, match="magic"):
        figures.headline(ACCURACY.replace({"mode": {"ra": "magic"}}))


def test_style_leaves_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.headline(ACCURACY)
    assert dict(matplotlib.rcParams) == before
    with figures.style():
        assert matplotlib.rcParams["svg.hashsalt"] == "ra_core"
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported():
    code = "import sys, ra_core.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_saved_files_are_the_same_every_time(tmp_path):
    for suffix, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        paths = [tmp_path / f"{name}.{suffix}" for name in "abc"]
        first = figures.accuracy_bars(ACCURACY, "sr")
        for figure, path in zip((first, first, figures.accuracy_bars(ACCURACY, "sr")), paths, strict=True):
            figures.save(figure, path)
        contents = {path.read_bytes() for path in paths}
        assert len(contents) == 1
        assert contents.pop().startswith(start)
    svg = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(svg)
    assert "<dc:date>" not in svg and "Bars of top-1 accuracy" in svg
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{n}.{s}" for n in "abc" for s in ("png", "svg")
    )


def test_a_figure_that_cannot_be_saved_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("kept")
    figure = figures.recognizer_overview([{"name": "net", "parameters": 1000, "test_top1": 90.0}])
    with pytest.raises(ParameterError, match="cannot be saved as 'jpg': name its file"):
        figures.save(figure, tmp_path / "figure.jpg")
    with pytest.raises(OutputError):
        figures.save(figure, tmp_path / "file" / "figure.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_notebook_shows_a_figure_with_its_alternative_text():
    figure = figures.picture_grid([np.zeros((3, 2, 2))], ["one"], ["two"], alt='black & "square"')
    shown = figure._repr_html_()
    assert shown.startswith('<img alt="black &amp; &quot;square&quot;" src="data:image/svg+xml;base64,')


# ---- results


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
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        figures.look(mode).label for mode in MODES
    ]


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
        means = [
            (value(mode, "vgg8", c) + value(mode, "mobilenet", c)) / 2
            for c in ("top1", "top1_low", "top1_high")
        ]
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
    assert (
        "this book, denoising: RA +12.0" in figure.alt and "RA unsupervised \N{MINUS SIGN}1.0" in figure.alt
    )


@pytest.mark.parametrize("draw", [*TASK_FIGURES, figures.accuracy_table])
def test_an_unknown_task_is_one_clear_sentence(draw):
    with pytest.raises(
        ParameterError, match="task 'blur' is not in these results, which hold dn, jpeg, sr: choose"
    ):
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


# ---- networks


def test_training_curves_draw_the_log():
    logs = {"ra": make_log(True), "plain": make_log(False)}
    distortion, recognition, psnr, top1 = figures.training_curves(logs, "sr").axes
    colours = [figures.look("plain").colour, figures.look("ra").colour]
    assert [line.get_color() for line in distortion.lines] == colours
    assert distortion.lines[0].get_xydata().tolist() == [[s, 0.5 / s] for s in (10, 20, 30, 40)]
    assert [line.get_color() for line in recognition.lines] == colours[1:]
    assert recognition.lines[0].get_ydata().tolist() == [2.0, 1.0, 20 / 30, 0.5]
    assert psnr.lines[1].get_xydata().tolist() == [[40, 21.5]]
    assert top1.lines[1].get_xydata().tolist() == [[40, 48.5]]


def test_training_curves_of_plain_alone_say_that_there_is_no_recognition_term():
    figure = figures.training_curves({"plain": make_log(False), "ra": []}, "sr")
    assert texts(figure) == ["none in these runs"]
    assert figure.alt.endswith(
        "plain in super-resolution; top-1 on the validation pictures ends at plain 48.5 %."
    )
    with pytest.raises(ParameterError, match="no log line of task 'sr'"):
        figures.training_curves({"plain": []}, "sr")


def test_recognizer_overview_places_each_recognizer():
    sidecars = [
        {"name": "a", "parameters": 300_000, "test_top1": 90.25},
        {"name": "b", "parameters": 9, "seed": 0},
    ]
    figure = figures.recognizer_overview(sidecars, source="a")
    axes = figure.axes[0]
    assert {tuple(line.get_xydata()[0]) for line in axes.lines} == {(300_000, 90.25)}
    assert texts(figure) == ["a (source) 90.2"]
    assert texts(figures.recognizer_overview(sidecars[1:])) == [
        "no test accuracy is recorded for these recognizers"
    ]


def test_confusion_is_in_percent_of_each_class():
    figure = figures.confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"], "net")
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[75, 25], [0, 0]]
    assert texts(figure) == ["75", "25", "", ""]
    assert "75.0 % of the answers are right; dog is recognized least often" in figure.alt


# ---- pictures


def test_pictures_are_drawn_with_their_own_pixels():
    eight_bit = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    floats = np.array([-1, 0, 0.5, 2.0, *[0.25] * 8]).reshape(3, 2, 2)
    figure = figures.picture_grid([eight_bit, floats], ["row"], ["8-bit", "float"], titles=["one", "two"])
    first, second = figure.axes[0].images
    assert np.array_equal(first.get_array(), eight_bit.transpose(1, 2, 0))
    assert np.asarray(second.get_array())[..., 0].tolist() == [[0, 0], [128, 255]]
    assert first.get_interpolation() == "none"
    left, right, bottom, top = first.get_extent()
    assert right - left == pytest.approx(bottom - top)
    assert {"row", "8-bit", "float", "one", "two"} == set(texts(figure))


def test_enlarging_keeps_every_pixel_a_plain_square(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (3, 4, 4), dtype=np.uint8)
    figures.save(figures.picture_grid([picture], ["a"], ["b"]), tmp_path / "grid.png")
    from matplotlib.image import imread

    drawn = (imread(tmp_path / "grid.png")[..., :3] * 255).round().astype(np.uint8)
    inside = drawn[80:-30, 80:-30].reshape(-1, 3)
    colours = {tuple(pixel) for pixel in picture.reshape(3, -1).T}
    assert {tuple(pixel) for pixel in np.unique(inside, axis=0)} <= colours | {(255, 255, 255)}
    assert len({tuple(pixel) for pixel in np.unique(inside, axis=0)} & colours) == len(colours)


def test_a_grid_with_a_missing_picture_or_a_grey_one_is_refused():
    with pytest.raises(ParameterError, match="1 pictures with 0 titles do not fill 1 rows and 2 columns"):
        figures.picture_grid([np.zeros((3, 2, 2))], ["a"], ["b", "c"])
    with pytest.raises(ParameterError, match=r"the shape \(3, H, W\), not \(1, 2, 2\)"):
        figures.picture_grid([np.zeros((1, 2, 2))], ["a"], ["b"])


def test_degradations_put_the_clean_pictures_on_top():
    clean, small = np.ones((2, 3, 8, 8)), np.zeros((2, 3, 2, 2))
    figure = figures.degradations(clean, {"sr": small, "jpeg": clean}, ["cat", "dog"])
    assert [image.get_array().shape[0] for image in figure.axes[0].images] == [8, 8, 2, 2, 8, 8]
    assert "super-resolution and JPEG restoration" in figure.alt


@pytest.mark.parametrize("recognizers", [1, 5])
def test_panel_marks_every_answer(recognizers):
    panel = make_panel(recognizers=recognizers)
    figure = figures.picture_panel(panel)
    order = [1, 2, 3, 0]  # unprocessed, plain, ra, clean
    drawn = [np.asarray(image.get_array()).transpose(2, 0, 1) for image in figure.axes[0].images]
    assert np.array_equal(drawn, panel["images"][order].reshape(-1, 3, 32, 32))
    answers = [text for text in figure.axes[0].texts if text.get_text()[0] in "✓✗"]
    expected = panel["answers"][order]
    assert len(answers) == expected.size
    right = expected == panel["labels"]
    for text, ok, answer, sure in zip(
        answers, right.flat, expected.flat, panel["confidences"][order].flat, strict=True
    ):
        words, name = text.get_text(), str(panel["classes"][answer])
        assert words[0] == ("✓" if ok else "✗")
        assert words.endswith(f" {100 * sure:.0f}%")
        assert words[2:].startswith(name if len(name) < 10 else name[:8])
        assert text.get_color() == answers[list(right.flat).index(ok)].get_color()
    assert len({text.get_color() for text in answers}) == 2
    assert f"RA {right[2].sum()} of {right[2].size} and clean (oracle) {right[3].sum()} of" in figure.alt


def test_panel_reads_the_file_and_the_other_words_for_its_versions(tmp_path):
    np.savez(tmp_path / "panel.npz", **make_panel(("clean", "mine", "ra", "degraded")))
    figure = figures.picture_panel(np.load(tmp_path / "panel.npz"))
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    assert bold[3:] == ["unprocessed", "RA", "mine", "clean\n(oracle)"]


# ---- tables


def read_markdown(text: str) -> list[list[str]]:
    """Return the cells of a pipe table, its second line left out."""
    lines = [line.replace("\\|", "\0").strip("| \n").split(" | ") for line in text.splitlines()]
    assert all(cell in (":--", "--:") for cell in lines[1])
    return [[cell.replace("\0", "|") for cell in line] for i, line in enumerate(lines) if i != 1]


def test_markdown_round_trip():
    table = pd.DataFrame(
        {"mode": ["RA", "a|b"], "top-1 in %": ["49.0 [46.8, 51.2]", "–"], "n": [3, 4]}
    ).set_index("mode")
    assert read_markdown(figures.to_markdown(table)) == [
        ["mode", "top-1 in %", "n"], ["RA", "49.0 [46.8, 51.2]", "3"], ["a|b", "–", "4"]
    ]  # fmt: skip
    for table in (figures.accuracy_table(ACCURACY, "sr"), figures.headline_table(ACCURACY, PAIRED)):
        header, *lines = read_markdown(figures.to_markdown(table))
        assert header == [*table.index.names, *table.columns]
        assert lines == table.reset_index().to_numpy().tolist()


def test_accuracy_table_gives_top1_interval_psnr_and_ssim():
    table = figures.accuracy_table(ACCURACY, "sr")
    assert list(table.columns) == [
        "resnet20 (source), top-1 in %", "vgg8 (unseen), top-1 in %", "mobilenet (unseen), top-1 in %",
        "PSNR in dB", "SSIM",
    ]  # fmt: skip
    assert list(table.index) == [figures.look(mode).label for mode in MODES]
    top1, low, high = (value("ra", "vgg8", column) for column in ("top1", "top1_low", "top1_high"))
    assert table.loc["RA", "vgg8 (unseen), top-1 in %"] == f"{top1:.1f} [{low:.1f}, {high:.1f}]"
    assert table.loc["clean (oracle)", "PSNR in dB"] == "–"
    assert table.loc["RA", "PSNR in dB"] == f"{value('ra', 'vgg8', 'psnr'):.2f}"
    assert table.loc["RA", "SSIM"] == "0.625"


def test_paired_and_headline_tables_give_gains_with_sign_and_interval():
    worse = PAIRED.assign(difference=-PAIRED["difference"], low=-PAIRED["high"], high=-PAIRED["low"])
    assert figures.paired_table(PAIRED, "sr").loc["RA", "resnet20 (source), points"] == "+12.0 [+10.5, +14.5]"
    assert figures.paired_table(worse, "sr").loc["RA", "vgg8 (unseen), points"] == "−12.0 [−14.5, −10.5]"
    table = figures.headline_table(ACCURACY, PAIRED)
    row = table.loc[("Denoising", "RA unsupervised")]
    assert row["source (resnet20): gain on plain in points"] == "+36.0 [+34.5, +38.5]"
    unseen = (
        value("ra_unsupervised", "vgg8", task="dn") + value("ra_unsupervised", "mobilenet", task="dn")
    ) / 2
    assert row["mean of 2 unseen: top-1 in %"] == f"{unseen:.1f}"
    assert table.loc[("Denoising", "plain"), "source (resnet20): gain on plain in points"] == "–"
    assert list(table.index.get_level_values(0).unique()) == [
        "Super-resolution",
        "Denoising",
        "JPEG restoration",
    ]


def test_paper_table_keeps_the_two_data_sets_apart():
    table = figures.paper_table(ACCURACY, make_published())
    titles = [
        f"{name}, {role}" for name in ("CIFAR-10", "ImageNet (published)") for role in ("source", "unseen")
    ]
    assert [column.split(":")[0] for column in table.columns] == titles
    top1 = f"{value('ra', 'resnet20'):.1f} (+12.0)"
    assert list(table.loc[("Super-resolution", "RA")])[::2] == [top1, "59.5 (+9.5)"]
    assert table.loc[("Super-resolution", "RA unsupervised")].iloc[2] == "49.0 (−1.0)"
    assert table.loc[("Super-resolution", "plain")].iloc[3] == "50.0"


def test_recognizer_table_shows_what_is_known():
    sidecar = {
        "name": "net", "parameters": 272_474, "test_top1": 89.5, "test_pictures": 10_000,
        "train_pictures": 50_000,
        "recipe": {"epochs": 14}, "seconds": 901,
    }  # fmt: skip
    table = figures.recognizer_table([sidecar, {"name": "other", "parameters": 1000}])
    assert list(table.loc["net"]) == ["272,474", "89.50", "10,000", "50,000", "14", "901"]
    assert list(table.loc["other"]) == ["1,000", *["–"] * 5]


def test_status_table_sorts_the_runs_and_marks_changes():
    run = {
        "task": "jpeg", "mode": "ra", "seed": 1, "git": {"commit": "abcdef0123456789", "dirty": True},
        "device": "cpu",
        "wall_seconds": 123.4, "peak_memory_mb": 1234.5, "images_per_s": 400.2,
        "parameters": {"processor": 24_000, "transformer": 1000}, "metrics": {"psnr": 21.404, "top1": 49.04},
        "started": "2025-01-01T10:00:00",
    }  # fmt: skip
    runs = [
        run,
        {**run, "mode": "plain"},
        {"task": "sr", "mode": "ra", "seed": 0},
        {**run, "seed": 0, "git": {}},
    ]
    table = figures.status_table(json.loads(json.dumps(runs)))
    assert list(table.index) == [
        ("sr", "ra", "0"),
        ("jpeg", "plain", "1"),
        ("jpeg", "ra", "0"),
        ("jpeg", "ra", "1"),
    ]
    assert list(table.loc[("jpeg", "ra", "1")]) == [
        "cpu", "25,000", "123.4", "1,234", "400", "21.40", "49.0", "abcdef0+", "2025-01-01 10:00"
    ]  # fmt: skip
    assert set(table.loc[("sr", "ra", "0")]) == {"–"}
    alike = figures.status_table(
        [run, {**run, "mode": "plain"}]
    )  # from one commit and device, which the page names
    assert not {"device", "commit"} & set(alike) and {"device", "commit"} < set(table)


def test_what_rounds_to_zero_has_no_minus():
    assert [rows.signed(value) for value in (-0.04, 0.0, -0.06)] == ["+0.0", "+0.0", f"{rows.MINUS}0.1"]


def test_long_tables_are_shown_whole():
    records = [{"name": f"row {number}", "value": str(number)} for number in range(200)]
    shown = figures.tables.records_table(records, ["name"])._repr_html_()
    assert all(f"row {number}<" in shown for number in range(200))

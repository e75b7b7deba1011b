"""Pictures are shown with their own pixels, every answer to them, their bytes and what is found in them."""

import numpy as np
import pytest
from drawn import make_answers, make_detections, make_pictures, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_hex

from ra_book import figures
from ra_book.figures.coding_pictures import amplified, matched
from ra_book.figures.look import WRONG
from ra_core.errors import ParameterError


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
    with pytest.raises(ParameterError, match=r"1 pictures.*2 columns"):
        figures.picture_grid([np.zeros((3, 2, 2))], ["a"], ["b", "c"])
    with pytest.raises(ParameterError, match=r"\(1, 2, 2\)"):
        figures.picture_grid([np.zeros((1, 2, 2))], ["a"], ["b"])


def test_degradations_put_the_clean_pictures_on_top():
    clean, small = np.ones((2, 3, 8, 8)), np.zeros((2, 3, 2, 2))
    figure = figures.degradations(clean, {"sr": small, "jpeg": clean}, ["cat", "dog"])
    assert [image.get_array().shape[0] for image in figure.axes[0].images] == [8, 8, 2, 2, 8, 8]
    assert "super-resolution and JPEG restoration" in figure.alt


@pytest.mark.parametrize("most", [1, 5])
def test_panel_marks_every_answer(most):
    said, chosen = make_answers(recognizers=5), [5, 0, 3]
    images = {v: np.random.default_rng(1).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8) for v in said["versions"]}
    figure = figures.picture_panel(images, said, chosen, most)
    order = [1, 2, 3, 0]  # unprocessed, plain, ra, clean
    drawn = [np.asarray(image.get_array()).transpose(2, 0, 1) for image in figure.axes[0].images]
    assert np.array_equal(drawn, np.concatenate([images[said["versions"][v]] for v in order]))
    answers = [text for text in figure.axes[0].texts if text.get_text()[0] in "✓✗"]
    expected, sure = (said[what][order, :most][:, :, chosen] for what in ("answers", "confidences"))
    assert len(answers) == expected.size
    right = expected == said["labels"][chosen]
    for text, ok, answer, confidence in zip(answers, right.flat, expected.flat, sure.flat, strict=True):
        words, name = text.get_text(), str(said["classes"][answer])
        assert words[0] == ("✓" if ok else "✗")
        assert words.endswith(f" {100 * confidence:.0f}%")
        assert words[2:].startswith(name if len(name) < 10 else name[:8])
        assert text.get_color() == answers[list(right.flat).index(ok)].get_color()
    assert len({text.get_color() for text in answers}) == 2
    assert f"RA {right[2].sum()} of {right[2].size} and clean (oracle) {right[3].sum()} of" in figure.alt


def test_panel_reads_the_file_and_shows_what_it_is_given(tmp_path):
    np.savez(tmp_path / "answers.npz", **make_answers(("oracle", "mine", "ra", "plain", "unprocessed")))
    images = dict.fromkeys(("oracle", "mine", "ra", "unprocessed"), np.zeros((2, 3, 4, 4)))
    figure = figures.picture_panel(images, np.load(tmp_path / "answers.npz"), [0, 1])
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    assert bold[2:] == ["unprocessed", "RA", "mine", "clean\n(oracle)"]


def test_both_ends_panel_draws_every_picture_with_its_bytes():
    clean = np.random.default_rng(0).random((2, 3, 8, 8))
    figure = figures.both_ends_panel(clean, {"codec": (1 - clean, [1200, 800]), "both": (clean / 2, [700, 500])}, "01")
    assert len(figure.axes[0].images) == 6
    assert {"clean", "codec alone", "both ends", "1,200 bytes", "800 bytes", "700 bytes", "500 bytes"} <= set(
        texts(figure)
    )
    assert figure.alt.endswith("bytes on average: codec alone 1,000 and both ends 600.")


def test_coding_panel_draws_every_picture_and_its_difference(tmp_path):
    panel = make_pictures()
    np.savez(tmp_path / "panel.npz", **panel)
    figure = figures.coding_panel(np.load(tmp_path / "panel.npz"))
    images = figure.axes[0].images
    difference, factor = amplified(panel["clean"], panel["sent"])
    assert factor == 32
    rows = [panel["clean"], panel["sent"], difference, panel["alone"], panel["decoded"]]
    drawn = np.stack([np.asarray(image.get_array()) for image in images])
    assert np.array_equal(drawn, np.concatenate(rows).transpose(0, 2, 3, 1))
    for image in images:
        left, right, bottom, top = image.get_extent()
        assert (right - left) / (bottom - top) == pytest.approx(24 / 16)
    edges = [image.get_extent()[3] for image in images[::3]]
    assert edges == sorted(edges) and len(set(edges)) == 5
    found = texts(figure)
    sizes = ["4,000 bytes", "3,000 bytes", "2,000 bytes", "3,000 bytes", "2,500 bytes", "1,250 bytes"]
    assert [text for text in found if text.endswith("bytes")] == sizes
    said = ["✓ sound", "✗ sound", "✗ sound", "✗ defective", "✓ defective", "✓ defective"]
    assert [text for text in found if text[0] in "✓✗"] == said
    assert "difference\n× 32" in found and found[:3] == ["sound", "defective", "defective"]
    assert figure.alt.endswith("and 2,250 preprocessed (−25.0 %); right answers 1 and 2 of 3.")


def test_bit_panel_draws_both_maps_on_one_scale():
    panel = make_pictures() | {"quality_alone": 40, "quality_sent": 12.5}
    figure = figures.bit_panel(panel)
    images = figure.axes[0].images
    assert len(images) == 9 and np.array_equal(images[0].get_array(), panel["clean"][0].transpose(1, 2, 0))
    bits = np.concatenate([panel["bits_alone"], panel["bits_sent"]])
    assert np.array_equal(np.stack([np.asarray(image.get_array()) for image in images[3:]]), bits)
    assert {image.get_clim() for image in images[3:]} == {(0, bits.max())}  # so that both rows can be compared
    assert figure.axes[1].get_ylabel() == "bits a block, by hand"
    found = texts(figure)
    assert {"codec alone\nat 40", "preprocessed\nat 12.5", "4,000 bytes", "1,250 bytes"} <= set(found)
    assert f"on average {panel['bits_alone'].mean():.1f} with the codec alone" in figure.alt


def test_panels_say_what_is_compared_and_do_without_answers():
    words = "All 656 test pictures. " + "On average as many bytes as there are words in a long line. " * 3
    panel = make_pictures() | {"compared": words, "quality_alone": 40.0, "quality_sent": 60}
    for draw in (figures.coding_panel, figures.bit_panel):
        lines = [text for text in texts(draw(panel)) if text in words]
        assert len(lines) > 1 and " ".join(lines) == words.strip()
    for key in ("labels", "answers", "answers_alone"):
        del panel[key]
    figure = figures.coding_panel(panel)
    found = texts(figure)
    assert "picture 1" in found and "picture 3" in found and not [text for text in found if text[0] in "✓✗"]
    assert "decoded,\ncodec alone\nat 40" in found and "decoded,\npreprocessed\nat 60" in found
    assert figure.alt.endswith("2,250 preprocessed (−25.0 %).")


@settings(max_examples=30)
@given(clean=arrays(np.uint8, (1, 3, 4, 4)), sent=arrays(np.uint8, (1, 3, 4, 4)), near=st.integers(0, 127))
def test_an_enlarged_difference_can_be_read_back(clean, sent, near):
    """Grey is no change; where nothing is cut off, the enlarged difference over its factor is the difference."""
    assert (amplified(clean, clean)[0] == 128).all()
    sent = np.clip(sent, clean - np.minimum(clean, near), clean + np.minimum(255 - clean, near)).astype(np.uint8)
    shown, factor = amplified(clean, sent)
    difference = sent.astype(int) - clean
    inside = np.abs(factor * difference) < 128
    assert factor in (1, 2, 4, 8, 16, 32)
    assert inside.mean() >= 0.9
    assert np.array_equal((shown.astype(int) - 128)[inside], (factor * difference)[inside])


def test_a_true_box_is_found_once_by_the_surest_of_its_class():
    true, boxes = ([[0, 0, 10, 10], [20, 0, 30, 10]], [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [0, 5, 10, 15]])
    right, found = matched(boxes, np.array([1, 1, 2, 1]), np.array([0.6, 0.9, 0.8, 0.7]), true, [1, 1])
    assert right.tolist() == [False, True, False, False]
    assert found.tolist() == [True, False]
    assert matched(np.zeros((0, 4)), [], [], true, [1, 1])[1].tolist() == [False, False]
    assert matched(boxes[:1], [1], [0.5], np.zeros((0, 4)), [])[0].tolist() == [False]


def padded(panel: dict) -> dict:
    """The same with every list of boxes filled up to four, as an array of a file."""
    filled = {}
    for key, entries in panel.items():
        if key.startswith(("boxes_", "labels_", "scores_")):
            shape = (4, 4) if key.startswith("boxes_") else (4,)
            entries = [
                np.concatenate([np.asarray(each, float), np.zeros((4 - len(each), *shape[1:]))]) for each in entries
            ]
        filled[key] = np.asarray(entries)
    return filled


@pytest.mark.parametrize("form", [dict, padded])
def test_detection_panel_draws_right_wrong_and_missed_boxes(form):
    figure = figures.detection_panel(form(make_detections()))
    axes = figure.axes[0]
    assert np.asarray(axes.images[2].get_array())[0, 0, 0] == 255
    left, right, *_ = axes.images[0].get_extent()
    scale, drawn = (right - left) / 20, []
    for patch in axes.patches:
        edges = [image.get_extent() for image in axes.images]
        x, y = patch.get_xy()
        picture = next(i for i, (a, b, low, high) in enumerate(edges) if a <= x < b and high <= y < low)
        corner = (x - edges[picture][0]) / scale, (y - edges[picture][3]) / scale
        assert (patch.get_width(), patch.get_height()) == pytest.approx((10 * scale, 10 * scale))
        drawn.append((patch.get_linestyle(), picture, round(corner[0]), round(corner[1])))
    missed, wrong = [(":", 0, 10, 10), ("-", 0, 0, 0), ("--", 0, 10, 10)], [(":", 1, 0, 0)]
    assert drawn == [*missed, *wrong, ("-", 2, 0, 0), ("-", 2, 10, 10), ("-", 3, 0, 0)]
    assert to_hex(axes.patches[2].get_edgecolor()).upper() == WRONG
    assert texts(figure) == [
        "codec alone", "dog missed", "cat 90%", "cat 75%", "1,000 bytes", "1 of 2 found, 1 wrong",
        "dog missed", "3,000 bytes", "0 of 1 found, 0 wrong",
        "preprocessed", "cat 90%", "dog 80%", "900 bytes", "2 of 2 found, 0 wrong",
        "dog 62%", "2,300 bytes", "1 of 1 found, 0 wrong",
    ]  # fmt: skip
    assert "codec alone: 1 of 3 found, 1 wrong; preprocessed: 3 of 3 found, 0 wrong" in figure.alt
    less_sure = texts(figures.detection_panel(form(make_detections()), least=0.3))
    assert "cat 40%" in less_sure and "2 of 2 found, 1 wrong" in less_sure


def test_boxes_panel_draws_what_the_first_detector_finds_behind_each_version():
    found = np.zeros((2, 1, 3, 4, 4))
    found[1, 0, 2, :2] = [[0, 0, 10, 10], [10, 10, 20, 20]]  # behind plain, in picture 2: one right, one wrong
    labels, scores = np.zeros((2, 1, 3, 4), int), np.zeros((2, 1, 3, 4))
    labels[1, 0, 2, :2], scores[1, 0, 2, :2] = [2, 1], [0.8, 0.6]
    answers = {"boxes": found, "labels": labels, "scores": scores, "versions": np.array(["oracle", "plain"]),
               "recognizers": np.array(["net"]), "classes": np.array(["cat", "dog"])}  # fmt: skip
    target = {"boxes": np.array([[0.0, 0, 10, 10]]), "labels": np.array([2])}
    images = {version: np.zeros((1, 3, 20, 40), np.uint8) for version in ("oracle", "plain")}
    figure = figures.boxes_panel(images, answers, [2], [target] * 3)
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2)  # as wide as the picture is
    assert [patch.get_linestyle() for patch in figure.axes[0].patches] == ["-", "--", ":"]
    assert figure.axes[0].patches[0].get_width() == pytest.approx(10 * (right - left) / 40)
    said = texts(figure)
    assert {"dog 80%", "cat 60%", "1 of 1 found, 1 wrong", "0 of 1 found, 0 wrong", "dog missed"} <= set(said)
    assert "plain 1 of 1 found, 1 wrong and clean (oracle) 0 of 1 found" in figure.alt

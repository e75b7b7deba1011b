"""Pictures before and behind a codec: panels, maps of bits and boxes show what they are given."""

import numpy as np
import pytest
from drawn import make_pictures, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_hex

from ra_book import figures
from ra_book.figures.coding_pictures import amplified, matched, overlaps
from ra_book.figures.look import WRONG


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
    assert figure.alt == (
        f"Maps of where the bits of 3 pictures go (bits a block, by hand): on average {panel['bits_alone'].mean():.1f} "
        f"with the codec alone and {panel['bits_sent'].mean():.1f} preprocessed; on average 3,000 bytes with the codec "
        "alone and 2,250 preprocessed (−25.0 %)."
    )


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


def test_coding_panel_says_bytes_answers_and_how_often_the_difference_is_enlarged():
    figure = figures.coding_panel(make_pictures())
    found = texts(figure)
    assert [text for text in found if text.endswith("bytes")] == [
        "4,000 bytes", "3,000 bytes", "2,000 bytes", "3,000 bytes", "2,500 bytes", "1,250 bytes"
    ]  # fmt: skip
    assert [text for text in found if text[0] in "✓✗"] == [
        "✓ sound", "✗ sound", "✗ sound", "✗ defective", "✓ defective", "✓ defective"
    ]  # fmt: skip
    assert "difference\n× 32" in found and found[:3] == ["sound", "defective", "defective"]
    assert figure.alt == (
        "3 pictures before and behind the preprocessor, their difference 32 times enlarged, and both decoded: on "
        "average 3,000 bytes with the codec alone and 2,250 preprocessed (−25.0 %); right answers 1 and 2 of 3."
    )


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


def test_overlaps_of_known_boxes():
    shares = overlaps(np.array([[0, 0, 4, 4], [10, 10, 12, 12]]), np.array([[2, 0, 6, 4], [0, 0, 4, 4]]))
    assert shares.tolist() == [[pytest.approx(1 / 3), 1], [0, 0]]
    assert overlaps(np.zeros((0, 4)), np.zeros((2, 4))).shape == (0, 2)


def test_a_true_box_is_found_once_by_the_surest_of_its_class():
    true, boxes = ([[0, 0, 10, 10], [20, 0, 30, 10]], [[0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [0, 5, 10, 15]])
    right, found = matched(boxes, np.array([1, 1, 2, 1]), np.array([0.6, 0.9, 0.8, 0.7]), true, [1, 1])
    assert right.tolist() == [False, True, False, False]
    assert found.tolist() == [True, False]
    assert matched(np.zeros((0, 4)), [], [], true, [1, 1])[1].tolist() == [False, False]
    assert matched(boxes[:1], [1], [0.5], np.zeros((0, 4)), [])[0].tolist() == [False]


def make_detections() -> dict:
    picture = np.arange(2 * 3 * 20 * 20).reshape(2, 3, 20, 20).astype(np.uint8)
    one, two = [0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 20.0, 20.0]
    return {
        "alone": picture, "decoded": 255 - picture, "classes": ["cat", "dog"],
        "bytes_alone": [1000, 3000], "bytes_sent": [900, 2300],
        "boxes_true": [np.array([one, two]), np.array([one])], "labels_true": [np.array([1, 2]), np.array([2])],
        "boxes_alone": [np.array([one, two]), np.zeros((0, 4))], "labels_alone": [np.array([1, 1]), np.zeros(0)],
        "scores_alone": [np.array([0.9, 0.75]), np.zeros(0)],
        "boxes_decoded": [np.array([one, two, two]), np.array([one])],
        "labels_decoded": [np.array([1, 2, 1]), np.array([2])],
        "scores_decoded": [np.array([0.9, 0.8, 0.4]), np.array([0.625])],
    }  # fmt: skip


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
    edges = [image.get_extent() for image in axes.images]
    scale = (edges[0][1] - edges[0][0]) / 20
    drawn = [
        (patch.get_linestyle(), pytest.approx((patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height())))
        for patch in axes.patches
    ]

    def place(picture, corner):
        left, _, _, top = edges[picture]
        return (left + corner * scale, top + corner * scale, 10 * scale, 10 * scale)

    assert drawn == [
        (":", place(0, 10)), ("-", place(0, 0)), ("--", place(0, 10)), (":", place(1, 0)),
        ("-", place(2, 0)), ("-", place(2, 10)), ("-", place(3, 0)),
    ]  # fmt: skip
    assert to_hex(axes.patches[2].get_edgecolor()).upper() == WRONG
    assert texts(figure) == [
        "codec alone", "dog missed", "cat 90%", "cat 75%", "1,000 bytes", "1 of 2 found, 1 wrong",
        "dog missed", "3,000 bytes", "0 of 1 found, 0 wrong",
        "preprocessed", "cat 90%", "dog 80%", "900 bytes", "2 of 2 found, 0 wrong",
        "dog 62%", "2,300 bytes", "1 of 1 found, 0 wrong",
    ]  # fmt: skip
    assert figure.alt == (
        "2 pictures with what a detector finds in them; codec alone: 1 of 3 found, 1 wrong; preprocessed: 3 of 3 "
        "found, 0 wrong; on average 2,000 bytes with the codec alone and 1,600 preprocessed (−20.0 %)."
    )
    less_sure = texts(figures.detection_panel(form(make_detections()), least=0.3))
    assert "cat 40%" in less_sure and "2 of 2 found, 1 wrong" in less_sure

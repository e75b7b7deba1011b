"""Pictures are shown with their own pixels and with every answer to them."""

import numpy as np
import pytest
from drawn import make_panel, texts

from ra_book import figures
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

"""Every mode has one look that every eye can tell; saved figures are stable files with words for them."""

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from drawn import EYES, MODES, lab, make_accuracy
from matplotlib.colors import to_rgb

from ra_book import figures
from ra_core.errors import OutputError, ParameterError

ACCURACY = make_accuracy()


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
    with pytest.raises(ParameterError, match=r"mode 'magic' has no colour; the figures know oracle, .*: add it"):
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
    code = "import sys, ra_book.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
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
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.{s}" for n in "abc" for s in ("png", "svg"))


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

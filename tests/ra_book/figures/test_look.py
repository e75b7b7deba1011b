"""Every method has one look that every eye can tell; saved figures are stable files with words for them."""

import itertools
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from drawn import EYES, MODES, lab, make_accuracy, make_pictures, make_rates
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from ra_book import figures
from ra_book.figures.look import AFTER, BEFORE, METHODS, OTHERS, TRANSFERS
from ra_core.errors import OutputError, ParameterError
from ra_core.methods import Method, coding

ACCURACY = make_accuracy()
CODING = ["codec", *coding(), "downscale", "gaussian", "bilateral", "saliency"]
TRANSFERRED = ["codec", *(f"npp_qa for {codec}" for codec in TRANSFERS), "npp_qa for webp"]


@pytest.mark.parametrize("names", [MODES, CODING, TRANSFERRED])
def test_what_stands_in_one_panel_is_told_apart_by_name_marker_and_every_eye(names):
    looks = [figures.look(name) for name in names]
    for field in ("label", "colour", "marker"):
        assert len({getattr(each, field) for each in looks}) == len(looks)
    for eye in EYES.values():
        seen = [lab(np.array(eye) @ np.array(to_rgb(each.colour)) ** 2.2) for each in looks]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_the_look_follows_the_registry(monkeypatch):
    assert figures.look("ra") == (METHODS["ra"].title, METHODS["ra"].colour, METHODS["ra"].marker)
    assert not {*BEFORE, *AFTER} & {*METHODS}
    monkeypatch.setitem(METHODS._known, "mine", Method("mine", ("processor",), "My method", "#123456", "v"))
    assert figures.look("mine") == ("My method", "#123456", "v")
    assert figures.look("npp_qa for webp") == ("NPP-QA for WebP", *OTHERS)
    unknown = figures.look("magic")
    assert unknown.label == "magic" and unknown == figures.look("magic")
    assert "magic" in figures.headline(ACCURACY.replace({"mode": {"ra": "magic"}})).alt


def test_style_leaves_no_trace_and_no_figure_of_pyplot():
    before = dict(matplotlib.rcParams)
    figures.accuracy_heatmap(ACCURACY, "sr")
    with figures.style():
        assert matplotlib.rcParams["svg.hashsalt"] == "ra_core"
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.accuracy_against_psnr(ACCURACY, "sr"), lambda: figures.accuracy_heatmap(ACCURACY, "sr"),
        lambda: figures.rate_accuracy_curves(make_rates({"heic": ["codec", "npp_qa"]})),
        lambda: figures.coding_panel(make_pictures()),
    ],
)  # fmt: skip
def test_saved_files_are_the_same_every_time(draw, tmp_path):
    for suffix, start in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            first = draw()
            figures.save(first, path)
        contents = {path.read_bytes() for path in paths}
        assert len(contents) == 1 and contents.pop().startswith(start)
    svg = (tmp_path / "a.svg").read_text()
    ElementTree.fromstring(svg)
    assert "<dc:date>" not in svg and first.alt.split()[0] in svg
    assert len(list(tmp_path.iterdir())) == 4


def test_a_figure_that_cannot_be_saved_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("kept")
    figure = figures.picture_grid([np.zeros((3, 2, 2))], ["one"], ["two"], alt='black & "square"')
    with pytest.raises(ParameterError, match=r"jpg.*\.svg or \.png"):
        figures.save(figure, tmp_path / "figure.jpg")
    with pytest.raises(OutputError):
        figures.save(figure, tmp_path / "file" / "figure.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    shown = figure._repr_html_()
    assert shown.startswith('<img alt="black &amp; &quot;square&quot;" src="data:image/svg+xml;base64,')

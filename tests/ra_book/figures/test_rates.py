"""Figures of rates say what the data say: points, intervals, frames, and words."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import JUDGES, PIXELS, SENT, colour, curves, make_bd, make_rates, make_same_bytes, points, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import Rectangle

from ra_book import figures
from ra_core.codecs import CODECS
from ra_core.errors import ParameterError

RATES, BD = make_rates(), make_bd()
METHODS = ["npp_qa", "npp", "npp_mse", "post", "both", "downscale", "gaussian", "bilateral"]


def test_curves_have_the_points_and_the_ends_of_the_data():
    rates = make_rates(seeds=1)
    figure = figures.rate_accuracy_curves(rates)
    assert [axes.get_title() for axes in figure.axes] == ["JPEG", "WebP", "HEIC"]  # in the order of the book
    for axes, codec in zip(figure.axes, ("jpeg", "webp", "heic"), strict=True):
        found = curves(axes)
        assert list(found) == [figures.look(method).colour for method in SENT[codec]]
        for method in SENT[codec]:
            rows = rates[(rates["codec"] == codec) & (rates["method"] == method) & (rates["recognizer"] == "net")]
            rows = rows.sort_values("bpp")[["bpp", "value", "value_low", "value_high"]]
            assert np.allclose(found[figures.look(method).colour], rows)
    assert curves(figure.axes[0])["#000000"][0] == pytest.approx((0.1, 62, 59, 64.5))
    dashed = {colour(line.get_color()): line.is_dashed() for line in figure.axes[1].lines}
    assert dashed == {"#000000": False, "#E69F00": True, "#AA4499": True}  # what was trained for another codec


def test_curves_average_seeds_and_their_bands_cover_them():
    _, value, low, high = curves(figures.rate_accuracy_curves(RATES).axes[0])[figures.look("npp_qa").colour][0]
    spread = 12.7062  # seeds differ by 2: t · √2 / √2
    assert (value, value - low, high - value) == pytest.approx(
        (63, np.hypot(3, spread), np.hypot(2.5, spread)), rel=1e-4
    )


def test_the_upper_scale_counts_bytes_a_picture():
    figure = figures.rate_accuracy_curves(RATES)
    figure.draw_without_rendering()
    for axes in figure.axes:
        (upper,) = axes.child_axes
        assert axes.get_xscale() == "log" and upper.get_xlabel() == "bytes a picture"
        assert np.divide(upper.get_xlim(), axes.get_xlim()) == pytest.approx(PIXELS / 8)
        labels = [label.get_text() for label in upper.get_xticklabels()]
        assert "2k" in labels and "5k" in labels
        assert any(label.get_text() == "0.2" for label in axes.get_xticklabels())


def test_curves_of_an_unseen_recognizer_and_of_a_detector():
    figure = figures.rate_accuracy_curves(RATES, "wide")
    assert curves(figure.axes[0])["#000000"][0][1] == 59
    assert figure.get_suptitle() == "wide (unseen): top-1 against bytes"
    figure = figures.rate_accuracy_curves(RATES.assign(metric="map50")[RATES["codec"] == "heic"])
    assert figure.axes[0].get_ylabel() == "mAP@0.5, %"
    assert figure.alt.endswith(
        "HEIC: codec alone 62.0 % at 0.100 to 75.0 % at 0.750 and NPP-QA 63.0 % at 0.070 to 76.0 % at 0.525."
    )
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["codec alone", "NPP-QA"]


def test_rows_that_cannot_be_drawn_are_refused():
    two = pd.concat([RATES, RATES.assign(recognizer="fcos", dataset="scenes")])
    both = pd.concat([BD, BD.assign(dataset="scenes")])
    for draw, words in {
        lambda: figures.rate_accuracy_curves(two): "2 recognizers .*net, fcos",
        lambda: figures.rate_accuracy_curves(RATES, "deep"): "'deep'.*net, wide",
        lambda: figures.rate_accuracy_curves(RATES.drop(columns=["codec"])): "codec",
        lambda: figures.bd_forest(both): "cells, scenes",
        lambda: figures.transfer_heatmap(both): "cells, scenes",
        lambda: figures.bd_forest(BD.iloc[:0]): "0 datasets",
        lambda: figures.transfer_heatmap(BD[BD["method"] == "gaussian"]): "npp_qa",
    }.items():
        with pytest.raises(ParameterError, match=words):
            draw()
    assert len(figures.rate_accuracy_curves(two, "net").axes) == 3


def test_gains_at_the_same_bytes_are_drawn_where_there_are_any():
    figure = figures.same_bytes_gains(make_same_bytes())
    found = curves(figure.axes[0])
    assert found[figures.look("npp_qa").colour] == [pytest.approx((1000, 1, -1, 2))]
    assert np.allclose(found[figures.look("post").colour], [(1000, 5, 3, 6), (2000, 6, 4, 7)])
    assert found[figures.look("both").colour] == [pytest.approx((1000, 9, 7, 10)), pytest.approx((2000, 10))]
    assert "RA after +5.0 [+3.0, +6.0] at 1,000 and +6.0 [+4.0, +7.0] at 2,000; both ends +9.0" in figure.alt
    assert "of wide (unseen)" in figures.same_bytes_gains(make_same_bytes(), "wide").alt
    assert "RA after has no such bytes" in figures.same_bytes_gains(make_same_bytes().assign(gain=np.nan)).alt


def test_forest_has_the_values_the_ends_the_zero_line_and_both_roles():
    bd = BD.assign(bd=BD["bd"].mask(BD["method"] == "npp"))
    figure = figures.bd_forest(bd)
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["JPEG", "WebP", "HEIC"]
    for axes, codec in zip(figure.axes, ("jpeg", "webp", "heic"), strict=True):
        rows = bd[(bd["codec"] == codec) & bd["bd"].notna()]
        drawn = {key: (x, *end) for key, ((x, _, *end),) in points(axes).items()}
        assert drawn == {
            (figures.look(row.method).colour, row.role == "source"): pytest.approx((row.bd, row.low, row.high))
            for row in rows.itertuples()
        }
        heights = [y for ((_, y, *_),) in points(axes).values()]
        assert len(set(heights)) == len(heights)
        assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
        bottom, top = axes.get_ylim()
        assert bottom > max(heights) and top < 0  # the first method stands on top
        assert axes.get_xlim()[0] < bd["low"].min() and axes.get_xlim()[1] > bd["high"].max()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["NPP-QA", "NPP, one a quality", "Gaussian filter"]
    assert "+3.0 [−2.0, +7.0]  net" in texts(figure) and texts(figure).count("no overlap  net") == 1
    assert "JPEG NPP-QA +3.0 [−2.0, +7.0], JPEG NPP, one a quality no overlap" in figure.alt


@pytest.mark.parametrize("worst", [-3.0, 40.0, 900.0])
def test_half_and_twice_the_bytes_are_as_far_from_zero(worst):
    bd = make_bd({"jpeg": ["codec", "npp_qa"]}, {"net": "source"})
    figure = figures.bd_forest(bd.assign(bd=worst, low=worst - 1, high=worst + 1))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    x = axes.transData.transform([(value, 0) for value in (-50, 0, 100)])[:, 0]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    ticks = {label.get_text(): place for label, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert ticks["0"] == 0 and 2 <= len(ticks) <= 9
    assert all(float(text.replace("−", "-")) == place for text, place in ticks.items())


def test_heat_map_frames_what_each_preprocessor_was_trained_for():
    bd = BD.assign(bd=BD["bd"].mask((BD["codec"] == "webp") & (BD["method"] == "npp_qa for heic")))
    figure = figures.transfer_heatmap(bd)
    for_jpeg, for_heic = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["NPP-QA trained for JPEG", "NPP-QA trained for HEIC"]

    def values(codec, method):
        rows = bd[(bd["codec"] == codec) & (bd["method"] == method)].set_index("recognizer")
        return [rows["bd"][name] for name in JUDGES]

    jpeg, heic = (axes.collections[0] for axes in figure.axes)
    assert np.ravel(jpeg.get_array()).tolist() == [*values("jpeg", "npp_qa"), *values("webp", "npp_qa for jpeg")]
    assert np.ma.filled(heic.get_array(), np.nan).ravel()[:2].tolist() == values("heic", "npp_qa")
    assert np.isnan(np.ma.filled(heic.get_array(), np.nan).ravel()[2:]).all()
    for axes, codecs in ((for_jpeg, ["JPEG", "WebP"]), (for_heic, ["HEIC", "WebP"])):
        assert [label.get_text() for label in axes.get_yticklabels()] == codecs
        (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((0, 0), 1, 1)
        low, high = axes.collections[0].get_clim()
        assert low == -high  # white is no change
    assert [label.get_text() for label in for_heic.get_xticklabels()] == ["net\nsource", "wide\nunseen"]
    assert texts(figure)[0] == "+3.0\n[−2.0, +7.0]\ntrained for"
    assert sum(text.endswith("trained for") for text in texts(figure)) == 2
    assert texts(figure).count("no overlap") == 2
    assert "trained for JPEG, on net (source) +3.0 [−2.0, +7.0] and from −33.0 to −1.0 in 3 other cases" in figure.alt
    assert "−25.0 in 1 other case and no overlap in 2 other cases" in figure.alt


def test_what_was_not_measured_is_said():
    bd = BD[~((BD["codec"] == "webp") & (BD["recognizer"] == "wide"))]
    assert texts(figures.transfer_heatmap(bd)).count("not measured") == 2
    nowhere = figures.transfer_heatmap(BD.assign(bd=np.nan, low=np.nan, high=np.nan))
    assert all(axes.collections[0].get_clim() == (-10, 10) for axes in nowhere.axes)


@settings(max_examples=4)
@given(
    sent=st.dictionaries(
        st.sampled_from([*CODECS, "mine"]),
        st.sets(st.sampled_from([*METHODS, "npp_qa for jpeg", "npp_qa for webp"]), min_size=1),
        min_size=1, max_size=3,
    ),
    names=st.sets(st.sampled_from(list(JUDGES)), min_size=1),
    seeds=st.integers(1, 2),
)  # fmt: skip
def test_any_part_of_the_tables_can_be_shown(sent, names, seeds):
    """Whatever codecs, methods, recognizers and seeds a profile has: figures and tables show exactly those."""
    sent = {codec: ["codec", *methods] for codec, methods in sent.items()}
    recognizers = {name: role for name, role in JUDGES.items() if name in names}
    rates, bd = make_rates(sent, recognizers, seeds), make_bd(sent, recognizers, seeds)
    figure = figures.rate_accuracy_curves(rates, min(names))
    shown = {axes.get_title(): len(axes.lines) for axes in figure.axes}
    assert shown == {figures.codec_title(codec): len(methods) for codec, methods in sent.items()}
    count = sum(len(methods) - 1 for methods in sent.values()) * len(names)
    drawn = itertools.chain.from_iterable(each.values() for each in map(points, figures.bd_forest(bd).axes))
    assert sum(map(len, drawn)) == count == len(figures.bd_table(bd))
    adaptive = bd[bd["method"].isin(["npp_qa", "npp_qa for jpeg", "npp_qa for webp"])]
    if not adaptive.empty:
        own = adaptive["codec"].where(adaptive["method"] == "npp_qa", adaptive["method"].str[len("npp_qa for ") :])
        assert len(figures.transfer_heatmap(bd).axes) == own.nunique()


def test_where_no_judge_took_part_the_first_one_is_drawn():
    rates = RATES.assign(role="unseen")
    first = figures.rate_accuracy_curves(rates)
    assert first.get_suptitle().startswith(f"{min(rates['recognizer'])} (unseen)")

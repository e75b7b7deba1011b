"""Figures and tables of rates say what the data say: points, intervals, frames, and words."""

import itertools

import numpy as np
import pandas as pd
import pytest
from drawn import EYES, JUDGES, PIXELS, SENT, lab, make_bd, make_pictures, make_rates, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from ra_book import figures
from ra_book.figures.look import CODECS, OTHERS, TRANSFERS
from ra_core.errors import ParameterError

METHODS = list(figures.METHODS)


RATES, BD = make_rates(), make_bd()


def curves(axes) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return (bpp, value, low, high) along each line, by colour."""
    found = {}
    for line, _, (interval,) in (container.lines for container in axes.containers):
        ends = [segment[:, 1] for segment in interval.get_segments()]
        found[to_hex(line.get_color()).upper()] = [
            (x, y, *sorted(end)) for (x, y), end in zip(line.get_xydata(), ends, strict=True)
        ]
    return found


# ---- the look


def test_every_method_has_one_colour_and_one_marker_of_its_own():
    names = [*METHODS, *(f"npp_qa for {codec}" for codec in TRANSFERS), "npp_qa for webp"]
    looks = [figures.method_look(name) for name in names]
    assert METHODS == [
        "codec", "npp_qa", "npp", "npp_mse", "downscale", "gaussian", "bilateral", "post", "both"
    ]  # fmt: skip
    assert looks[0].colour == "#000000"
    for field in ("label", "colour", "marker"):
        assert len({getattr(each, field) for each in looks}) == len(looks)


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_methods_apart(eye):
    """Of those that stand in one panel: all that are trained for a codec, or all that were transferred to it."""
    trained = [each.colour for each in figures.METHODS.values()]
    transferred = [figures.METHODS["codec"].colour, *(colour for colour, _ in TRANSFERS.values()), OTHERS]
    for colours in (trained, transferred):
        seen = [lab(np.array(EYES[eye]) @ np.array(to_rgb(colour)) ** 2.2) for colour in colours]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


def test_a_preprocessor_for_any_other_codec_has_a_look_and_an_unknown_method_is_one_clear_sentence():
    assert figures.method_look("npp_qa for webp")[0::2] == ("NPP-QA for WebP", "$W$")
    assert figures.method_look("npp_qa for mine").label == "NPP-QA for mine"
    with pytest.raises(ParameterError, match=r"method 'magic' has no colour; the figures know codec, .*: add it"):
        figures.method_look("magic")
    with pytest.raises(ParameterError, match="magic"):
        figures.rate_accuracy_curves(RATES.replace({"method": {"npp": "magic"}}))


# ---- bytes against accuracy


def test_curves_have_the_points_and_the_ends_of_the_data():
    figure = figures.rate_accuracy_curves(RATES)
    assert [axes.get_title() for axes in figure.axes] == ["JPEG", "WebP", "HEIC"]  # in the order of the book
    for axes, codec in zip(figure.axes, ("jpeg", "webp", "heic"), strict=True):
        found = curves(axes)
        assert list(found) == [figures.method_look(method).colour for method in SENT[codec]]
        for method in SENT[codec]:
            rows = RATES[(RATES["codec"] == codec) & (RATES["method"] == method)]
            rows = rows[rows["recognizer"] == "net"]
            rows = rows.groupby("bpp")[["value", "value_low", "value_high"]].mean().reset_index()
            assert np.allclose(found[figures.method_look(method).colour], rows)
    assert list(curves(figure.axes[0])["#000000"][0]) == pytest.approx([0.1, 62, 59, 64.5])
    assert curves(figure.axes[0])[figures.METHODS["npp_qa"].colour][0][1] == 63  # the mean of two seeds
    styles = [container.lines[0].get_linestyle() for container in figure.axes[1].containers]
    assert styles == ["-", "--", "--"]  # dashed is what was trained for another codec


def test_the_upper_scale_counts_bytes_a_picture():
    figure = figures.rate_accuracy_curves(RATES)
    figure.draw_without_rendering()
    for axes in figure.axes:
        (upper,) = axes.child_axes
        assert axes.get_xscale() == "log"
        assert upper.get_xlabel() == "bytes a picture"
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
    assert figure.alt == (
        "Curves of mAP@0.5 of net (source) against bits a pixel; HEIC: codec alone 62.0 % at 0.100 to 75.0 % at 0.750 "
        "and NPP-QA 63.0 % at 0.070 to 76.0 % at 0.525."
    )
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["codec alone", "NPP-QA"]
    assert legend.get_title().get_text() == "656 pictures, 95 % intervals, mean of 2 seeds"


def test_rows_that_cannot_be_drawn_are_one_clear_sentence():
    two = pd.concat([RATES, RATES.assign(recognizer="fcos", dataset="scenes")])
    with pytest.raises(ParameterError, match=r"holds 2 sources \(net, fcos\): say which recognizer"):
        figures.rate_accuracy_curves(two)
    assert len(figures.rate_accuracy_curves(two, "net").axes) == 3
    with pytest.raises(ParameterError, match="recognizer 'deep' is not in the table, which holds net, wide"):
        figures.rate_accuracy_curves(RATES, "deep")
    with pytest.raises(ParameterError, match=r"no column for bpp, only .*: give the rows of rate_accuracy.csv"):
        figures.rate_accuracy_curves(RATES.drop(columns="bpp"))
    both = pd.concat([BD, BD.assign(dataset="scenes")])
    for draw in (figures.bd_forest, figures.transfer_heatmap):
        with pytest.raises(ParameterError, match="rows are of cells and scenes: draw one data set at a time"):
            draw(both)
        with pytest.raises(ParameterError, match="no row to show: give the BD-rates"):
            draw(BD.iloc[:0])
    with pytest.raises(ParameterError, match="no row of npp_qa"):
        figures.transfer_heatmap(BD[BD["method"] == "gaussian"])


# ---- BD-rates


def test_bd_table_is_sorted_and_says_where_there_is_no_overlap():
    numbers = {"bd": np.nan, "low": np.nan, "high": np.nan, "no_overlap": 0.8}
    lost = (BD["method"] == "npp") & (BD["recognizer"] == "net")
    wide = (BD["method"] == "npp") & (BD["recognizer"] == "wide")
    bd = BD.assign(**{key: BD[key].mask(lost, value) for key, value in numbers.items()})
    bd = bd.assign(low=bd["low"].mask(wide), high=bd["high"].mask(wide))
    table = figures.bd_table(bd)
    assert table.index.names == ["codec", "recognizer", "method"]
    assert list(table.columns) == [
        "bytes at equal accuracy, % [95 % interval]", "compared over, %", "draws without overlap, %"
    ]  # fmt: skip
    assert list(table.index.get_level_values("codec").unique()) == ["JPEG", "WebP", "HEIC"]
    source = table.loc["JPEG"].loc["net (source)"]
    assert list(source.index) == ["Gaussian filter", "NPP-QA", "NPP, one a quality"]
    first = "bytes at equal accuracy, % [95 % interval]"
    assert list(source[first]) == ["−13.0 [−18.0, −9.0]", "+3.0 [−2.0, +7.0]", "no overlap"]
    assert list(source.loc["NPP, one a quality"]) == ["no overlap", "–", "80.0"]
    assert list(source.loc["NPP-QA"]) == ["+3.0 [−2.0, +7.0]", "top-1 70.0 to 79.5", "1.0"]
    unseen = table.loc["JPEG"].loc["wide (unseen)"]
    assert list(unseen.index) == ["Gaussian filter", "NPP, one a quality", "NPP-QA"]
    assert unseen.loc["NPP, one a quality", first] == "−9.0 [not known]"
    two = figures.bd_table(pd.concat([bd, bd.assign(dataset="scenes", metric="map50")]))
    assert len(two) == 2 * len(table)
    assert two.loc[("scenes", "JPEG", "net (source)", "NPP-QA"), "compared over, %"] == "mAP@0.5 70.0 to 79.5"


def test_seeds_of_a_bd_rate_are_averaged_and_one_without_overlap_is_not_hidden():
    bd = make_bd({"jpeg": ["codec", "npp_qa"]}, {"net": "source"}, seeds=2)
    assert figures.bd_table(bd).iloc[0, 0] == "+1.0 [−4.0, +5.0]"
    bd.loc[1, "bd"] = np.nan
    assert figures.bd_table(bd).iloc[0, 0] == "no overlap"


def test_forest_has_the_values_the_ends_the_zero_line_and_both_roles():
    bd = BD.assign(bd=BD["bd"].mask(BD["method"] == "npp"))
    figure = figures.bd_forest(bd)
    figure.draw_without_rendering()
    assert [axes.get_title() for axes in figure.axes] == ["JPEG", "WebP", "HEIC"]
    for axes, codec in zip(figure.axes, ("jpeg", "webp", "heic"), strict=True):
        drawn = {}
        for line, _, bars in (container.lines for container in axes.containers):
            if np.isfinite(line.get_xdata()[0]):
                full = line.get_markerfacecolor() != "white"
                key = to_hex(line.get_color()).upper(), "source" if full else "unseen"
                drawn[key] = (line.get_xdata()[0], *bars[0].get_segments()[0][:, 0])
        rows = bd[(bd["codec"] == codec) & bd["bd"].notna()]
        assert drawn == {
            (figures.method_look(row.method).colour, row.role): pytest.approx((row.bd, row.low, row.high))
            for row in rows.itertuples()
        }
        heights = [container.lines[0].get_ydata()[0] for container in axes.containers]
        assert heights == sorted(heights) and len(set(heights)) == len(heights)
        assert any(list(line.get_xdata()) == [0, 0] for line in axes.lines)
        bottom, top = axes.get_ylim()
        assert bottom > max(heights) and top < 0  # the first method stands on top
        assert axes.get_xlim()[0] < bd["low"].min() and axes.get_xlim()[1] > bd["high"].max()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        "NPP-QA", "NPP, one a quality", "Gaussian filter"
    ]  # fmt: skip
    assert "+3.0 [−2.0, +7.0]  net" in texts(figure)
    assert texts(figure).count("no overlap  net") == 1
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
    for_jpeg, for_heic = figure.axes[:2]
    assert [for_jpeg.get_title(), for_heic.get_title()] == [
        "NPP-QA trained for JPEG", "NPP-QA trained for HEIC"
    ]  # fmt: skip

    def value(codec, method, name):
        rows = bd[(bd["codec"] == codec) & (bd["method"] == method) & (bd["recognizer"] == name)]
        return rows["bd"].item()

    cells = [("jpeg", "npp_qa"), ("webp", "npp_qa for jpeg")]
    expected = [[value(*cell, name) for name in JUDGES] for cell in cells]
    assert np.asarray(for_jpeg.images[0].get_array()).tolist() == expected
    drawn = np.ma.filled(for_heic.images[0].get_array(), np.nan)
    assert np.isnan(drawn[1]).all() and drawn[0].tolist() == [value("heic", "npp_qa", name) for name in JUDGES]
    for axes, codecs in ((for_jpeg, ["JPEG", "WebP"]), (for_heic, ["HEIC", "WebP"])):
        assert [label.get_text() for label in axes.get_yticklabels()] == codecs
        (frame,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((-0.5, -0.5), 1, 1)
        low, high = axes.images[0].get_clim()
        assert low == -high  # white is no change
    assert [label.get_text() for label in for_heic.get_xticklabels()] == ["net\nsource", "wide\nunseen"]
    assert texts(figure)[0] == "+3.0\n[−2.0, +7.0]\ntrained for"
    assert sum(text.endswith("trained for") for text in texts(figure)) == 2
    assert texts(figure).count("no overlap") == 2
    assert figure.alt == (
        "Heat map of the BD-rate of NPP-QA in percent of bytes; trained for JPEG, on net (source) +3.0 [−2.0, +7.0] "
        "and from −33.0 to −1.0 in 3 other cases; trained for HEIC, on net (source) −21.0 [−26.0, −17.0], "
        "−25.0 in 1 other case and no overlap in 2 other cases."
    )


def test_what_was_not_measured_is_said():
    bd = BD[~((BD["codec"] == "webp") & (BD["recognizer"] == "wide"))]
    assert texts(figures.transfer_heatmap(bd)).count("not measured") == 2
    nowhere = figures.transfer_heatmap(BD.assign(bd=np.nan, low=np.nan, high=np.nan))
    assert all(axes.images[0].get_clim() == (-10, 10) for axes in nowhere.axes if axes.images)


@settings(max_examples=5)
@given(
    sent=st.dictionaries(
        st.sampled_from([*CODECS, "mine"]),
        st.sets(st.sampled_from([*METHODS[1:], "npp_qa for jpeg", "npp_qa for webp"]), min_size=1),
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
    shown = {axes.get_title(): len(axes.containers) for axes in figure.axes}
    assert shown == {figures.codec_title(codec): len(methods) for codec, methods in sent.items()}
    count = sum(len(methods) - 1 for methods in sent.values()) * len(names)
    assert sum(len(axes.containers) for axes in figures.bd_forest(bd).axes) == count
    assert len(figures.bd_table(bd)) == count
    adaptive = bd[bd["method"].isin(["npp_qa", "npp_qa for jpeg", "npp_qa for webp"])]
    if not adaptive.empty:
        own = adaptive["codec"].where(adaptive["method"] == "npp_qa", adaptive["method"].str[len("npp_qa for ") :])
        assert len(figures.transfer_heatmap(bd).axes) == own.nunique() + 1


# ---- files


def test_saved_files_are_the_same_every_time(tmp_path):
    for name, draw in {
        "curves": lambda: figures.rate_accuracy_curves(RATES[RATES["codec"] == "heic"]),
        "panel": lambda: figures.coding_panel(make_pictures()),
    }.items():
        paths = [tmp_path / f"{name}{i}.svg" for i in range(2)]
        for path in paths:
            figures.save(draw(), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()

"""Figures of trainings, recognizers and proxies say what was logged and measured."""

import numpy as np
import pytest
from drawn import curves, make_agreement, make_log, points, texts

from ra_book import figures
from ra_core.errors import ParameterError


def test_training_curves_draw_the_log():
    logs = {"ra": make_log(True), "plain": make_log(False)}
    distortion, recognition, psnr, top1 = map(curves, figures.training_curves(logs, "sr").axes)
    plain, ra = figures.look("plain").colour, figures.look("ra").colour
    assert list(distortion) == [plain, ra] and distortion[plain] == [(s, 0.5 / s) for s in (10, 20, 30, 40)]
    assert recognition == {ra: [(10, 2.0), (20, 1.0), (30, 20 / 30), (40, 0.5)]}
    assert (psnr[ra], top1[ra]) == ([(40, 21.5)], [(40, 48.5)])


def test_training_curves_of_plain_alone_say_that_there_is_no_recognition_term():
    figure = figures.training_curves({"plain": make_log(False), "ra": []}, "sr")
    assert texts(figure) == ["none in these runs"]
    assert figure.alt.endswith("plain in super-resolution; top-1 on the validation pictures ends at plain 48.5 %.")
    with pytest.raises(ParameterError, match="sr"):
        figures.training_curves({"plain": []}, "sr")


def test_preprocessing_curves_draw_the_terms_that_were_logged():
    figure = figures.preprocessing_curves(
        [{"step": s, "bpp": 1 / s, "distortion": 2 / s} for s in (1, 2)], "npp", "heic"
    )
    drawn = {axes.get_title(): curves(axes)[figures.look("npp").colour] for axes in figure.axes}
    assert drawn == {"bits a pixel": [(1, 1), (2, 0.5)], "distortion": [(1, 2), (2, 1)]}
    assert "bits a pixel 0.5 and distortion 1" in figure.alt
    with pytest.raises(ParameterError, match="npp"):
        figures.preprocessing_curves([], "npp", "heic")


def test_proxy_curves_draw_loss_and_both_parts_of_the_rate():
    log = [{"step": s, "loss": 8 / s, "bpp_y": 0.5 / s, "bpp_z": 0.02 / s} for s in (10, 20)]
    figure = figures.proxy_curves({"hyperprior-64": [*log, {"step": 20, "validation": {}}], "hyperprior-512": log[:1]})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "bits a pixel of y", "bits a pixel of z"]
    for axes, key in zip(figure.axes, ("loss", "bpp_y", "bpp_z"), strict=True):
        first, second = curves(axes).values()
        assert np.allclose(first, [(line["step"], line[key]) for line in log]) and len(second) == 1
        assert axes.get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hyperprior-64", "hyperprior-512"]
    assert "hyperprior-64 at 0.025 bits a pixel for y and 0.001 for z" in figure.alt
    for logs in ({}, {"a": []}):
        with pytest.raises(ParameterError):
            figures.proxy_curves(logs)


def test_agreement_forest_draws_the_middle_and_the_range_of_the_qualities():
    figure = figures.agreement_forest(make_agreement())
    rates, gradients, bits, psnr = ({y: (x, *end) for each in points(axes).values() for x, y, *end in each}
                                    for axes in figure.axes)  # fmt: skip
    assert rates == {0: pytest.approx((0.97, 0.95, 0.99)), 1: (0.913, 0.913, 0.913)}
    assert gradients == {0: (0.84, 0.84, 0.84), 1: (0.5, 0.5, 0.5)}  # one quality has no number
    assert bits[0] == pytest.approx((1.005, 0.97, 1.04)) and psnr[0] == pytest.approx((39.63, 38, 41.26))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["BlockDCT for JPEG", "Hyperprior for HEIC"]
    assert figure.get_suptitle() == "Solar cells: how well proxies and codecs agree" and "Solar cells" in figure.alt
    assert "Hyperprior for HEIC: correlation of rates 0.91, cosine" in figure.alt and "bits 0.97 to 1.04" in figure.alt
    with pytest.raises(ParameterError, match="psnr"):
        figures.agreement_forest(make_agreement().drop(columns="psnr"))


def test_recognizer_overview_places_each_recognizer():
    sidecars = [{"name": "a", "parameters": 300_000, "test_top1": 90.25}, {"name": "b", "parameters": 9, "seed": 0}]
    figure = figures.recognizer_overview(sidecars, source="a")
    assert {tuple(line.get_xydata()[0]) for line in figure.axes[0].lines} == {(300_000, 90.25)}
    assert texts(figure) == ["a (source) 90.2"]
    assert len(texts(figures.recognizer_overview(sidecars[1:]))) == 1


def test_confusion_is_in_percent_of_each_class():
    figure = figures.confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"], "net")
    assert np.ravel(figure.axes[0].collections[0].get_array()).tolist() == [75, 25, 0, 0]
    assert texts(figure) == ["75", "25", "", ""]
    assert "75.0 % of the answers are right; dog is recognized least often" in figure.alt
    many = np.diag(np.arange(1.0, 31))
    many[7, 3] = 50
    shown = figures.confusion(many, [f"class {i}" for i in range(30)])
    labels = [label.get_text() for label in shown.axes[0].get_yticklabels()]
    assert len(labels) == 20 and {"class 3", "class 7"} < set(labels)

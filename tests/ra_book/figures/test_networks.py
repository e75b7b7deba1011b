"""Figures of trainings and recognizers say what was logged and measured."""

import numpy as np
import pytest
from drawn import make_log, texts

from ra_book import figures
from ra_core.errors import ParameterError


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
    assert figure.alt.endswith("plain in super-resolution; top-1 on the validation pictures ends at plain 48.5 %.")
    with pytest.raises(ParameterError, match="no log line of task 'sr'"):
        figures.training_curves({"plain": []}, "sr")


def test_recognizer_overview_places_each_recognizer():
    sidecars = [{"name": "a", "parameters": 300_000, "test_top1": 90.25}, {"name": "b", "parameters": 9, "seed": 0}]
    figure = figures.recognizer_overview(sidecars, source="a")
    axes = figure.axes[0]
    assert {tuple(line.get_xydata()[0]) for line in axes.lines} == {(300_000, 90.25)}
    assert texts(figure) == ["a (source) 90.2"]
    assert texts(figures.recognizer_overview(sidecars[1:])) == ["no test accuracy is recorded for these recognizers"]


def test_confusion_is_in_percent_of_each_class():
    figure = figures.confusion(np.array([[3, 1], [0, 0]]), ["cat", "dog"], "net")
    assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[75, 25], [0, 0]]
    assert texts(figure) == ["75", "25", "", ""]
    assert "75.0 % of the answers are right; dog is recognized least often" in figure.alt

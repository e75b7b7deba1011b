"""Tests of ra_book/widgets.py; that sliders move in JupyterLab is tested in tests/test_lab.py."""

import io

import pytest
import torch
from PIL import Image

from ra_book import widgets
from ra_book.widgets import Choice, Slider, Upload, answers, interactive, opened, turn, watched, what_is_on
from ra_core.progress import BATCH_VARIABLE


@pytest.fixture(params=[False, True], ids=["batch", "live"])
def live(request, monkeypatch):
    """A notebook that somebody watches, or one that the workflow runs."""
    monkeypatch.setattr(widgets, "interactive", lambda: request.param)
    return request.param


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, and what later took its place."""
    found = []

    class Handle:
        update = staticmethod(found.append)

    monkeypatch.setattr(widgets, "display", lambda value, **_: found.append(value) or Handle())
    return found


@pytest.mark.parametrize("batch", ["", "1"])
def test_it_is_interactive_unless_the_workflow_runs_it(monkeypatch, batch):
    monkeypatch.setitem(widgets.sys.modules, "ipykernel", widgets)
    monkeypatch.setenv(BATCH_VARIABLE, batch)
    assert interactive() is not bool(batch)


def test_it_is_not_interactive_without_a_kernel(monkeypatch):
    monkeypatch.delitem(widgets.sys.modules, "ipykernel", raising=False)
    monkeypatch.delenv(BATCH_VARIABLE, raising=False)
    assert not interactive()


CONTROLS = {"a": Slider(0, 10, 3), "b": Choice({"x": 5, "y": 6}), "c": Choice([7, 8], 8), "d": Upload()}


def test_controls_begin_with_the_same_values_in_batch_and_live(live, shown):
    result = turn(lambda **values: values, **CONTROLS)
    found = shown[0] if live else result
    assert found == {"a": 3, "b": 5, "c": 8, "d": None}


def test_a_control_that_is_moved_draws_anew(monkeypatch, shown):
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    slider, *_ = turn(lambda a, b: (a, b), a=Slider(0.0, 1.0, 0.5, 0.1), b=Choice([1])).children
    slider.value = 0.7
    assert shown == [(0.5, 1), (0.7, 1)]


@pytest.mark.parametrize(("numbers", "kind"), [((0, 10, 3), int), ((0, 1, 0.5, 0.1), float)])
def test_a_slider_is_whole_where_its_numbers_are(numbers, kind):
    assert type(Slider(*numbers).widget("x").value) is kind


def test_a_watched_loop_draws_every_few_steps_or_once_at_the_end(live, shown):
    done = []
    assert list(watched(25, lambda: len(done))) == list(range(25))
    for step in watched(25, lambda: len(done)):
        done.append(step)
    assert shown[-1] == 25
    assert len(shown) == (6 if live else 2)


def test_answers_name_the_class_the_confidence_and_whether_it_is_right():
    def judge(images):
        return torch.tensor([[0.0, 9.0], [0.0, 0.0]])[: len(images)]

    images = torch.zeros(2, 3, 4, 4)
    assert answers(judge, images, ("cat", "dog")) == ["dog 100%", "cat 50%"]
    assert answers(judge, images, ("cat", "dog"), torch.tensor([0, 0])) == ["✗ dog 100%", "✓ cat 50%"]
    assert answers(judge, images[:1], ("a great white shark", "a great white heron")) == ["a great wh… 100%"]
    assert answers(judge, images[:1], ("pictures",)) == ["class 1 100%"]  # pictures without labels


def test_a_detector_answers_with_what_it_found():
    assert answers(lambda images: [{"scores": torch.tensor([0.9, 0.6, 0.2])}], torch.zeros(1, 3, 4, 4), ()) == [
        "2 found"
    ]


def test_an_uploaded_picture_becomes_its_middle_square():
    picture = Image.new("RGB", (60, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    file = io.BytesIO()
    picture.save(file, "PNG")
    found = opened(file.getvalue(), 8)
    assert found.shape == (1, 3, 8, 8) and found.dtype == torch.float32
    torch.testing.assert_close(found[0, :, 4, 4], torch.tensor([0.0, 0.0, 1.0]))


def test_figures_say_what_they_show():
    row = widgets.picture_row(torch.rand(2, 3, 8, 8), ["clean", "coded"], ["cat", "dog\n20 bytes"])
    assert row.alt == "clean: cat; coded: dog, 20 bytes" and len(row.axes[0].images) == 2
    curves = widgets.term_curves([{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}])
    assert [list(line.get_ydata()) for line in curves.axes[0].lines] == [[2.0, 1.0], [2.0, 1.5]]
    assert "2 to 1.5" in curves.alt


def test_what_is_on_a_picture_is_its_class_or_those_of_its_boxes():
    assert what_is_on(torch.tensor(1), ("cat", "dog")) == "dog"
    assert what_is_on({"labels": torch.tensor([2, 1, 2])}, ("cat", "dog")) == "dog, cat"
    assert what_is_on({"labels": torch.tensor([], dtype=torch.int64)}, ("cat", "dog")) == "nothing"

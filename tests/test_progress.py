import re
import sys

import pytest

from ra_core import progress
from ra_core.progress import Progress

LINE = {
    "step": 3, "steps": 10, "loss": 0.125, "distortion": 0.0625, "recognition": 1.23456, "lr": 1e-4,
    "images_per_s": 1234.4, "seconds_left": 61.7,
}  # fmt: skip
SHOWN = "dn ra  step 3/10  loss 0.125  distortion 0.0625  recognition 1.235  lr 0.0001  1234 images/s  62 s left\n"


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def batch(monkeypatch):
    monkeypatch.setenv(progress.BATCH_VARIABLE, "1")


def be_at_a_terminal(monkeypatch):
    monkeypatch.delenv(progress.BATCH_VARIABLE, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # pytest makes a new stderr for the body of a test


def test_a_line_carries_step_every_term_speed_and_time_left(batch, capsys):
    Progress("dn ra", 10, 0).show(LINE, last=True)
    assert capsys.readouterr() == (SHOWN, "")


def test_a_line_of_plain_has_no_recognition(batch, capsys):
    Progress("dn plain", 10, 0).show({k: v for k, v in LINE.items() if k != "recognition"}, last=True)
    assert "recognition" not in capsys.readouterr().out


def test_in_batch_there_is_a_line_every_few_seconds(batch, clock, capsys):
    shown = Progress("dn ra", 10, 0, every=5.0)
    for now, lines in ((100, 0), (104.9, 0), (105, 1), (105.1, 0), (109.9, 0), (110.1, 1), (200, 1)):
        clock.now = now
        assert shown.due() == bool(lines)
        shown.step()
        shown.show(LINE)
        assert capsys.readouterr().out.count("\n") == lines
    shown.show(LINE, last=True)
    shown.close()
    assert capsys.readouterr() == (SHOWN, "")


def test_at_a_terminal_there_is_a_bar(monkeypatch, capsys):
    be_at_a_terminal(monkeypatch)
    shown = Progress("dn ra", 10, first=2)
    assert (shown.bar.n, shown.bar.total) == (2, 10)
    shown.step()
    assert shown.bar.n == 3
    shown.show(LINE)
    shown.bar.refresh()
    shown.close()
    out, err = capsys.readouterr()
    assert out == ""
    last = err.rstrip("\n").split("\r")[-1]
    assert last.startswith("dn ra:  30%") and "3/10" in last and "<" in last  # elapsed < left
    for part in ("loss=0.125", "distortion=0.0625", "recognition=1.235", "lr=0.0001", "images/s=1234"):
        assert part in last


def test_a_bar_shows_every_line_at_once(monkeypatch, clock):
    be_at_a_terminal(monkeypatch)
    shown = Progress("dn ra", 10, 0)
    for loss in (0.5, 0.25):
        shown.show(LINE | {"loss": loss})
        assert f"loss={loss}" in shown.bar.postfix
    shown.close()


@pytest.mark.parametrize(
    ("variable", "tty", "kernel", "watched"),
    [("", True, False, True), ("", False, True, True), ("", False, False, False), ("1", True, True, False)],
)
def test_who_watches(monkeypatch, variable, tty, kernel, watched):
    monkeypatch.setenv(progress.BATCH_VARIABLE, variable)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert progress._watched() is watched


def test_the_line_is_one_line(batch, capsys):
    Progress("sr ra_transformer seed0", 10, 0).show(LINE, last=True)
    out = capsys.readouterr().out
    assert re.fullmatch(r"[^\n\r]+\n", out) and len(out) < 150

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
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(progress, "time", clock := Clock())
    return clock


def test_in_batch_there_is_a_line_every_few_seconds(monkeypatch, clock, capsys):
    monkeypatch.setenv(progress.BATCH_VARIABLE, "1")
    shown = Progress("dn ra", 10, 0, every=5.0)
    for now, lines in ((100, 0), (104.9, 0), (105, 1), (105.1, 0), (109.9, 0), (110.1, 1), (200, 1)):
        clock.now = now
        assert shown.due() == bool(lines)
        shown.step()
        shown.show(LINE)
        assert capsys.readouterr() == (SHOWN * lines, "")
    shown.show(LINE, last=True)
    shown.close()
    assert capsys.readouterr() == (SHOWN, "")


def test_at_a_terminal_there_is_a_bar(monkeypatch, clock, capsys):
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    shown = Progress("dn ra", 10, first=2)
    shown.step()
    assert (shown.bar.n, shown.bar.total) == (3, 10)
    clock.now += 6
    for loss in (0.5, 0.125):  # each at once
        assert shown.due() == (loss == 0.5)
        shown.show(LINE | {"loss": loss})
        assert f"loss={loss}" in shown.bar.postfix
    shown.bar.refresh()
    shown.close()
    out, err = capsys.readouterr()
    last = err.rstrip("\n").split("\r")[-1]
    assert out == "" and last.startswith("dn ra:  30%") and "3/10" in last and "<" in last  # elapsed < left
    for part in ("distortion=0.0625", "recognition=1.235", "lr=0.0001", "images/s=1234"):
        assert part in last


@pytest.mark.parametrize(
    ("variable", "tty", "kernel", "watched"),
    [("", True, False, True), ("", False, True, True), ("", False, False, False), ("1", True, True, False)],
)
def test_who_watches(monkeypatch, variable, tty, kernel, watched):
    monkeypatch.setenv(progress.BATCH_VARIABLE, variable)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert progress.is_watched() is watched

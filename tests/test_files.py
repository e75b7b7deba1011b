import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core import files
from ra_core.errors import OutputError


def assert_one_sentence(error: Exception, *parts: str) -> None:
    text = str(error)
    assert text.endswith(".") and ". " not in text and "\n" not in text, text
    for part in parts:
        assert part in text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def report(tmp_path) -> Path:
    """A file with old content, alone in its folder."""
    path = tmp_path / "report.txt"
    path.write_text("old")
    return path


def assert_untouched(report: Path) -> None:
    assert report.read_text() == "old"
    assert names(report.parent) == ["report.txt"]


# Writing


def test_new_content_replaces_old_and_leaves_nothing_else(report):
    files.write_text(report, "näu\n")
    assert report.read_bytes() == "näu\n".encode()
    assert names(report.parent) == ["report.txt"]


def test_folders_are_made_and_a_string_will_do(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a" / "b" / "c.txt", "deep")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "deep"
    monkeypatch.chdir(tmp_path)
    files.write_text("here.txt", "near")
    assert (tmp_path / "here.txt").read_text() == "near"


def test_old_content_is_there_until_the_new_is_whole_and_on_disk(report, monkeypatch):
    synced = []

    def sync(handle: int) -> None:
        synced.append((os.fstat(handle).st_size, report.read_text()))

    monkeypatch.setattr(os, "fsync", sync)
    with files.atomic(report) as temporary:
        assert temporary.parent == report.parent and temporary.suffix == report.suffix
        temporary.write_text("half")
        assert report.read_text() == "old"
    assert synced == [(4, "old")]
    assert report.read_text() == "half"


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(), plain | st.lists(plain) | st.dictionaries(st.text(), plain)))
def test_json_comes_back_as_it_was(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0, 0o666)])
def test_permissions_are_those_of_any_new_file(report, umask, expected):
    before = os.umask(umask)
    try:
        files.write_text(report, "new")
        files.write_text(report.with_name("second.txt"), "new")
    finally:
        after = os.umask(before)
    assert after == umask
    for path in report.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == expected


def test_many_writers_of_one_file_leave_one_whole_text(report):
    texts = [str(i) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: files.write_text(report, text), texts))
    assert report.read_text() in texts
    assert names(report.parent) == ["report.txt"]


# Failures in the middle


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failure_in_the_middle_keeps_the_old_and_passes_on(report, error):
    with pytest.raises(type(error)) as caught, files.atomic(report) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert caught.value is error
    assert_untouched(report)


def test_a_value_that_is_no_json_keeps_the_old(report):
    with pytest.raises(TypeError):
        files.write_json(report, {"a": 1, "b": object()})
    assert_untouched(report)


def test_a_killed_writer_keeps_the_old(report):
    script = (
        "import os, signal, sys\n"
        "from ra_core.files import atomic\n"
        "with atomic(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half of the n')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, report], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert report.read_text() == "old"
    files.write_text(report, "new")
    assert report.read_text() == "new"


# Disks and folders that do not take it


@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old(report, monkeypatch, when):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if when == "write":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr(os, when, full)
    with pytest.raises(OutputError) as caught:
        files.write_text(report, "new")
    assert_one_sentence(caught.value, str(report), "No space left on device", "free some space")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert_untouched(report)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the always full device of Linux")
def test_a_really_full_device_is_one_sentence_and_keeps_the_old(report):
    with pytest.raises(OutputError) as caught, files.atomic(report) as temporary:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert_one_sentence(caught.value, str(report), "No space left on device")
    assert_untouched(report)


def test_a_disk_that_fills_half_way_is_one_sentence_and_keeps_the_old(report):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OutputError) as caught:
            files.write_text(report, "n" * 50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert_one_sentence(caught.value, str(report), "File too large")
    assert_untouched(report)


def test_a_file_where_a_folder_should_be(report):
    with pytest.raises(OutputError) as caught:
        files.write_text(report / "below.txt", "new")
    assert_one_sentence(caught.value, str(report / "below.txt"))
    assert_untouched(report)


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "kept.txt").write_text("old")
    with pytest.raises(OutputError) as caught:
        files.write_text(tmp_path / "taken", "new")
    assert_one_sentence(caught.value, str(tmp_path / "taken"))
    assert names(tmp_path) == ["taken"]
    assert (tmp_path / "taken" / "kept.txt").read_text() == "old"


@contextmanager
def without_privilege():
    """Act as an ordinary user where the tests run as root, whom no permission stops."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_one_may_not_write(report):
    report.parent.chmod(0o555)
    try:
        with without_privilege(), pytest.raises(OutputError) as caught:
            files.write_text(report, "new")
    finally:
        report.parent.chmod(0o755)
    assert_one_sentence(caught.value, str(report), "Permission denied", "a folder you may write to")
    assert_untouched(report)

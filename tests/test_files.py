import errno
import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from refusal import refusal

from ra_core import files
from ra_core.errors import OutputError
from ra_core.files import write_json


@pytest.fixture
def report(tmp_path) -> Path:
    """A file with old content, alone in its folder."""
    path = tmp_path / "report.txt"
    path.write_text("old")
    return path


def assert_untouched(report: Path, content: str = "old") -> None:
    assert report.read_text() == content and [*report.parent.iterdir()] == [report]


# --- writing


def test_new_content_replaces_old_and_leaves_nothing_else(report):
    files.write_text(report, "näu\n")
    assert report.read_bytes() == "näu\n".encode()
    assert_untouched(report, "näu\n")


def test_folders_are_made_and_a_string_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_text("a/b/c.txt", "deep")
    files.write_text("here.txt", "near")
    assert ((tmp_path / "a" / "b" / "c.txt").read_text(), Path("here.txt").read_text()) == ("deep", "near")


def test_old_content_is_there_until_the_new_is_whole_and_on_disk(report, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.fstat(file).st_size, report.read_text())))
    with files.atomic(report) as temporary:
        assert temporary.parent == report.parent and temporary.suffix == report.suffix
        temporary.write_text("half")
        assert report.read_text() == "old"
    assert synced == [(4, "old")] and report.read_text() == "half"


def test_names_that_are_no_unicode_come_back_from_json(report):
    write_json(report, {"folder": "caf\udce9"})
    assert json.loads(report.read_text(encoding="utf-8")) == {"folder": "caf\udce9"}


def test_json_comes_back_as_it_was(report):
    value = {"ä": [1, 2.5, None, True, "é\n"], "": {"b": {}}}
    files.write_json(report, value)
    assert json.loads(report.read_text(encoding="utf-8")) == value and report.read_bytes().endswith(b"\n")
    with pytest.raises(TypeError):
        files.write_json(report, {"a": 1, "b": object()})
    assert json.loads(report.read_text(encoding="utf-8")) == value


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0, 0o666)])
def test_permissions_are_those_of_any_new_file(report, umask, expected):
    before = os.umask(umask)
    try:
        for name in ("report.txt", "second.txt"):
            files.write_text(report.with_name(name), "new")
    finally:
        assert os.umask(before) == umask
    assert {stat.S_IMODE(path.stat().st_mode) for path in report.parent.iterdir()} == {expected}


def test_many_writers_of_one_file_leave_one_whole_text(report):
    texts = [str(i) * 100_000 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: files.write_text(report, text), texts))
    assert report.read_text() in texts and [*report.parent.iterdir()] == [report]


@pytest.mark.parametrize("name", ["report.txt", "a**[b]?.t[x]t"])
def test_only_its_own_old_leftovers_are_swept(tmp_path, name):
    kept = {f".{name}.87654321{Path(name).suffix}", f".x{name}.12345678{Path(name).suffix}"}
    for leftover in (*kept, old := f".{name}.12345678{Path(name).suffix}"):
        (tmp_path / leftover).touch()
        os.utime(tmp_path / leftover, (0, 0) if ".12345678" in leftover else None)
    files.write_text(tmp_path / name, "new")
    assert {path.name for path in tmp_path.iterdir()} == {name, *kept} and old not in kept


# --- reading


def test_a_text_may_begin_with_a_byte_order_mark_and_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert files.read_json(tmp_path / "a.json") == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    for read in (files.read_bytes, files.read_text, files.read_json):
        with pytest.raises(OSError, match="plain"):
            read(tmp_path / "pipe")


# --- failures


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failure_in_the_middle_keeps_the_old_and_passes_on(report, error):
    with pytest.raises(type(error)) as caught, files.atomic(report) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert caught.value is error
    assert_untouched(report)


def test_a_killed_writer_keeps_the_old(report):
    script = """if True:
        import os, sys; from ra_core.files import atomic
        with atomic(sys.argv[1]) as temporary:
            temporary.write_text('half of the n'); os.kill(os.getpid(), 9)"""
    killed = subprocess.run([sys.executable, "-c", script, report], timeout=60)
    assert killed.returncode == -signal.SIGKILL and report.read_text() == "old"
    files.write_text(report, "new")
    assert report.read_text() == "new"


@pytest.mark.parametrize("when", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old(report, monkeypatch, when):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((Path, "write_text") if when == "write" else (os, when)), full)
    message = refusal(OutputError, files.write_text, report, "new")
    assert str(report) in message and "No space left on device" in message
    assert_untouched(report)


def test_a_file_where_a_folder_should_be_and_the_other_way_round(report):
    assert str(report / "below.txt") in refusal(OutputError, files.write_text, report / "below.txt", "new")
    assert_untouched(report)
    (report.parent / "taken").mkdir()
    (report.parent / "taken" / "kept.txt").write_text("old")
    assert "taken" in refusal(OutputError, files.write_text, report.parent / "taken", "new")
    assert_untouched(report.parent / "taken" / "kept.txt")


def test_a_pipe_or_device_is_not_replaced(report):
    report.unlink()
    os.mkfifo(report)
    assert "plain" in refusal(OutputError, files.write_text, report, "new")
    assert report.is_fifo() and [*report.parent.iterdir()] == [report]


def test_a_folder_one_may_not_write(report):
    root = os.geteuid() == 0  # whom no permission stops
    report.parent.chmod(0o555)
    try:
        if root:
            os.seteuid(65534)
        message = refusal(OutputError, files.write_text, report, "new")
    finally:
        if root:
            os.seteuid(0)
        report.parent.chmod(0o755)
    assert str(report) in message and "Permission denied" in message
    assert_untouched(report)


def test_a_file_is_removed_and_one_that_is_gone_is_no_error(report):
    for _ in range(2):
        files.remove(report)
        assert not report.exists()
    report.mkdir()
    assert str(report) in refusal(OutputError, files.remove, report)

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ra_core import guards
from ra_core.errors import OutputError
from ra_core.guards import alone, check_place

HOLDER = """
import sys, time
from pathlib import Path
from ra_core.guards import alone
with alone(Path(sys.argv[1]), "the work"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
RACER = """
import sys, time
from pathlib import Path
from ra_core.errors import OutputError
from ra_core.guards import alone
lock, inside = map(Path, sys.argv[1:])
for _ in range(200):
    try:
        with alone(lock, "the work"):
            inside.mkdir()  # fails where another is inside
            inside.rmdir()
    except OutputError:
        pass
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "runs" / ".lock"


def python(code: str, *arguments: object) -> subprocess.Popen:
    root = str(Path(guards.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], root])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def holder(lock):
    """Another process that holds the lock."""
    process = python(HOLDER, lock, 60)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_lock(lock, holder):
    with pytest.raises(OutputError) as caught, alone(lock, "the work"):
        pass
    said = str(caught.value)
    assert said.startswith(f"the work is under way already (process {holder.pid} on ") and said.count(". ") == 0
    assert "wait until it ends, or end it" in said
    assert lock.exists()


def test_sigkill_leaves_no_lock_behind(lock, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock.exists()  # the file remains, and nothing depends on it
    with alone(lock, "the work"):
        assert lock.read_text().startswith(f"process {os.getpid()} on ")
    assert not lock.exists()


def test_a_lock_is_free_again_after_success_and_after_failure(lock):
    with pytest.raises(ValueError, match="the roof leaks"), alone(lock, "the work"):
        raise ValueError("the roof leaks")
    with alone(lock, "the work"):
        pass
    assert not lock.exists()


def test_children_do_not_keep_the_lock(lock):
    with alone(lock, "the work"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with alone(lock, "the work"):
            pass
    finally:
        child.kill()
        child.wait()


def test_never_two_inside_though_the_file_comes_and_goes(lock, tmp_path):
    racers = [python(RACER, lock, tmp_path / "inside") for _ in range(3)]
    assert [process.wait(timeout=60) for process in racers] == [0, 0, 0]


def test_where_files_cannot_be_locked_one_sentence_says_so_and_work_goes_on(lock, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with alone(lock, "the work"):
        pass
    said = capsys.readouterr().err
    assert said.startswith(f"{lock.parent} lies where files cannot be locked (No locks available): ")
    assert "start one only" in said and said.count("\n") == 1


def test_a_lock_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught, alone(tmp_path / "file" / ".lock", "the work"):
        pass
    assert "could not be written" in str(caught.value) and "a folder you may write to" in str(caught.value)


def test_a_folder_one_may_not_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))  # root may write anywhere
    with pytest.raises(OutputError, match=f"{tmp_path} cannot be written: choose a folder"):
        check_place(tmp_path, [])


@pytest.mark.parametrize("ahead", [-3600, 0, 30])
def test_a_date_about_now_is_no_matter(tmp_path, ahead):
    (tmp_path / "data.py").write_text("")
    os.utime(tmp_path / "data.py", (time.time() + ahead,) * 2)
    check_place(tmp_path, [tmp_path, tmp_path / "missing"])


def test_a_file_of_the_future_is_named(tmp_path):
    for name, ahead in {"old.py": -10, "data.py": 3 * 86400, "also.py": 86400}.items():
        path = tmp_path / "package" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        os.utime(path, (time.time() + ahead,) * 2)
    with pytest.raises(OutputError) as caught:
        check_place(tmp_path, [tmp_path / "package"])
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'package' / 'data.py'} is dated in the future (2")
    assert "clock right" in said and "`touch`" in said and said.count(". ") == 0

"""One process at a time holds a lock, and a killed one leaves none behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ra_core import locks
from ra_core.errors import OutputError
from ra_core.locks import file_lock

HOLDER = """
import sys, time
from ra_core.locks import file_lock
with file_lock(sys.argv[1], "the work"):
    print("held", flush=True)
    time.sleep(60)
"""
RACER = """
import sys
from contextlib import suppress
from pathlib import Path
from ra_core.errors import OutputError
from ra_core.locks import file_lock
lock, inside = map(Path, sys.argv[1:])
for _ in range(100):
    with suppress(OutputError), file_lock(lock, "the work"):
        inside.mkdir()  # fails where another is inside
        inside.rmdir()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "runs" / ".lock"


def python(code: str, *arguments: object) -> subprocess.Popen:
    root = str(Path(locks.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], root])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_second_process_is_refused_and_sigkill_leaves_no_lock_behind(lock):
    holder = python(HOLDER, lock)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=str(lock.parent)), file_lock(lock, f"the work in {lock.parent}"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with file_lock(lock, "the work"):
            assert lock.exists()
        assert not lock.exists()
    finally:
        holder.kill()
        holder.communicate()


def test_a_lock_is_free_again_after_a_failure_and_is_not_kept_by_children(lock):
    with pytest.raises(ValueError), file_lock(lock, "the work"):
        with pytest.raises(OutputError), file_lock(lock, "the work"):
            pass  # nor is it given twice to one process
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        raise ValueError
    with file_lock(lock, "the work"):
        assert child.poll() is None
    child.kill()
    child.wait()
    assert not lock.exists()


def test_never_two_inside_though_the_file_comes_and_goes(lock, tmp_path):
    racers = [python(RACER, lock, tmp_path / "inside") for _ in range(3)]
    assert [process.wait(timeout=60) for process in racers] == [0, 0, 0]


def test_a_lock_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"), file_lock(tmp_path / "file" / ".lock", "the work"):
        pass


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), NotImplementedError("no flock here")])
def test_a_full_disk_or_one_without_locks_is_one_sentence(lock, monkeypatch, error):
    monkeypatch.setattr(locks.FileLock, "acquire", lambda self: (_ for _ in ()).throw(error))
    with pytest.raises(OutputError, match=str(lock)), file_lock(lock, "the work"):
        pass

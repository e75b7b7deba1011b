"""One training a run folder."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from refusal import refusal

from ra_core import runs
from ra_core.errors import OutputError, TrainingError
from ra_core.locks import NAME, held
from ra_core.processes import Team


def enter(folder: Path) -> None:
    with held(folder):
        pass


def test_a_folder_is_held_once_and_free_again_after(tmp_path):
    with held(tmp_path / "a" / "run"):
        said = refusal(TrainingError, enter, tmp_path / "a" / "run")
        assert (
            f"is being trained by process {os.getpid()} on " in said
            and f"delete {tmp_path}/a/run/{NAME}" in said
        )
        enter(tmp_path / "a" / "other")
    enter(tmp_path / "a" / "run")
    assert tiny.names(tmp_path / "a" / "run") == []


def test_what_a_killed_process_left_holds_nothing(tmp_path):
    script = f"""
import os, signal
from ra_core.locks import held
with held({str(tmp_path)!r}):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ["PYTHONPATH"]])}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == -9
    assert tiny.names(tmp_path) == [NAME]
    enter(tmp_path)
    assert tiny.names(tmp_path) == []


def test_a_lock_that_a_file_server_kept_is_broken_by_deleting_its_file(tmp_path):
    stale = open(tmp_path / NAME, "w")  # noqa: SIM115
    fcntl.flock(stale, fcntl.LOCK_EX)
    assert (
        f"by another process; wait until that has ended, or, if it no longer exists, delete {tmp_path / NAME}"
        in (refusal(TrainingError, enter, tmp_path))
    )
    (tmp_path / NAME).unlink()
    enter(tmp_path)
    stale.close()


def test_a_disk_without_locks_holds_nothing(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with held(tmp_path):
        enter(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refused)
    said = refusal(OutputError, enter, tmp_path)
    assert f"{tmp_path} cannot be written (Read-only file system); mend its permissions" in said


def test_a_file_that_cannot_be_deleted_is_told(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    for work in (lambda: runs.begin(tmp_path, {"a": 1}), lambda: runs.tidy(tmp_path)):
        said = refusal(OutputError, work)
        assert "could not be deleted (Permission denied); mend the permissions of its folder" in said


@pytest.mark.parametrize("place", [0, 1])
def test_the_first_process_alone_begins_a_run(tmp_path, place):
    team = Team("cpu", 1, place)
    team.ask_main = (lambda work: work()) if place == 0 else (lambda work: None)
    with runs.begun(tmp_path / "run", {"a": 1}, team):
        assert (tmp_path / "run" / "params.yaml").exists() == (place == 0)
    assert not (tmp_path / "run" / NAME).exists()

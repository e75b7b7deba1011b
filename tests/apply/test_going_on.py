"""Applied again: after a kill, with changed or missing files, with other workers."""

import shutil
import time

import pytest
from applied import JPEG, array, preprocessor_run, saved, table, times, tree
from refusal import refusal

from ra_core import apply as module
from ra_core.apply import apply, picture_jobs
from ra_core.codecs import load_codec
from ra_core.errors import OutputError


def test_a_second_run_does_nothing_again(source, target, monkeypatch):
    first = apply(source, target, **JPEG)
    before = times(target)
    monkeypatch.setattr(module, "process", None)
    assert apply(source, target, **JPEG) == first
    assert times(target) == before


def test_after_a_kill_only_what_is_missing_is_done(tmp_path, source, target, monkeypatch):
    for number in range(4):
        saved(source / f"{number}.png", array(seed=number))
    real, done = picture_jobs.process, []

    def killed(job, file, name):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(file)
        return real(job, file, name)

    monkeypatch.setattr(module, "process", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(source, target, workers=1, **JPEG)
    assert done == ["0.png", "1.png"] and not (target / "pictures.csv").exists()
    before = times(target)
    monkeypatch.setattr(module, "process", lambda *job: done.append(job[1]) or real(*job))
    rows = apply(source, target, workers=1, **JPEG)
    assert done == ["0.png", "1.png", "2.png", "3.png", "a.png"] == [row["file"] for row in rows]
    assert before.items() <= times(target).items()
    assert table(target / "pictures.csv") == [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]


@pytest.mark.parametrize("record", ["", "null", "{}", '{"outputs": 3}', '{"outputs": [], "row": {}, "state": []}'])
def test_a_damaged_record_is_done_again(source, target, record):
    (first,) = apply(source, target, **JPEG)
    (target / ".records" / "a.png.json").write_text(record)
    (second,) = apply(source, target, **JPEG)
    assert second | {"seconds": 0} == first | {"seconds": 0}


def test_a_changed_picture_and_a_missing_output_are_done_again(source, target):
    saved(source / "b.png", array(seed=1))
    saved(source / "c.png", array(seed=2))
    apply(source, target, **JPEG)
    before = times(target)
    (target / "files" / "b.jpg").unlink()
    time.sleep(0.01)
    pixels = saved(source / "c.png", array(seed=3))
    apply(source, target, **JPEG)
    changed = {path for path, when in times(target).items() if before[path] != when}
    assert changed == {"files/b.jpg", "pictures/b.png", "files/c.jpg", "pictures/c.png"}
    assert (target / "files" / "c.jpg").read_bytes() == load_codec("jpeg").encode([pixels], 20)[0]


def test_what_had_another_name_before_is_not_left_behind(source, target):
    apply(source, target, **JPEG)
    saved(source / "a.bmp", array(seed=1))
    apply(source, target, **JPEG)
    assert [path for path in tree(target) if path.startswith("files/")] == ["files/a.bmp.jpg", "files/a.png.jpg"]


def test_what_was_made_of_a_picture_that_is_gone_is_deleted(source, target, capsys):
    saved(source / "b" / "c.png", array(channels=4))
    apply(source, target, **JPEG)
    sheet = (target / "contact_sheet.png").read_bytes()
    shutil.rmtree(source / "b")
    (row,) = apply(source, target, **JPEG)
    assert [path for path in tree(target) if "/" in path] == ["files/a.jpg", "pictures/a.png"]
    assert [row["file"]] == [row["file"] for row in table(target / "pictures.csv")] == ["a.png"]
    assert (target / "contact_sheet.png").read_bytes() != sheet
    assert list((target / ".records").rglob("*.json")) == [target / ".records" / "a.png.json"]
    assert "1 pictures are gone" in capsys.readouterr().out
    before = times(target)
    apply(source, target, **JPEG)
    assert times(target) == before and "gone" not in capsys.readouterr().out


def test_a_picture_that_takes_the_place_of_one_that_is_gone_is_done(source, target):
    apply(source, target, **JPEG)
    (source / "a.png").unlink()
    pixels = saved(source / "a.bmp", array(seed=1))
    (row,) = apply(source, target, **JPEG)
    assert row["file"] == "a.bmp" and tree(target / "files") == ["a.jpg"]
    assert (target / "files" / "a.jpg").read_bytes() == load_codec("jpeg").encode([pixels], 20)[0]


def test_nothing_is_deleted_while_a_folder_cannot_be_read(source, target, monkeypatch):
    saved(source / "b" / "c.png", array(seed=1))
    apply(source, target, **JPEG)
    before = times(target)
    unread = [{"file": "b", "reason": "Permission denied; mend its permissions."}]
    monkeypatch.setattr(module, "find_files", lambda _: (["a.png"], unread))
    apply(source, target, **JPEG)
    assert times(target) == before and len(before) == 4


def test_the_number_of_workers_changes_nothing(tmp_path, source):
    for number in range(6):
        saved(source / f"{number}.png", array(20 + number, 31, seed=number))
    preprocessor_run(tmp_path / "run")
    for workers in (1, 3):
        apply(source, tmp_path / str(workers), run=tmp_path / "run", workers=workers)
    files = [path for path in tree(tmp_path / "1") if "/" in path]
    assert len(files) == 14
    assert all((tmp_path / "1" / path).read_bytes() == (tmp_path / "3" / path).read_bytes() for path in files)


def test_a_full_disk_stops_everything(source, target, monkeypatch):
    def full(*_):
        raise OutputError("the disk is full; free some space.")

    monkeypatch.setattr(module, "process", full)
    assert "full" in refusal(OutputError, apply, source, target, **JPEG)

"""A folder of any pictures: what comes of each, what is skipped, and what a second call does."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from applied import JPEG, SRGB, array, opened, preprocessor_run, processor_run, saved, table, times, tree
from PIL import Image
from refusal import refusal

from ra_core.apply import apply, folder
from ra_core.apply.__main__ import main
from ra_core.apply.jobs import COLUMNS, Job, output_names
from ra_core.codecs import load_codec
from ra_core.errors import DataError, OutputError


def jpeg_of(pixels: np.ndarray) -> bytes:
    return load_codec("jpeg").encode([np.ascontiguousarray(pixels)], 20)[0]


def test_names_and_folders_are_kept(tmp_path, target):
    for name in ("b/c d/é.bmp", "a.png", "b/a.webp"):
        saved(tmp_path / "in" / name, array(9, 8))
    rows = apply(tmp_path / "in", target, **JPEG)
    assert [row["file"] for row in rows] == ["a.png", "b/a.webp", "b/c d/é.bmp"]
    assert [row["output"] for row in rows] == ["files/a.jpg", "files/b/a.jpg", "files/b/c d/é.jpg"]
    made = [f"{kind}/{name}.{end}" for kind, end in (("files", "jpg"), ("pictures", "png"))
            for name in ("a", "b/a", "b/c d/é")]  # fmt: skip
    assert tree(target) == sorted(["contact_sheet.png", "pictures.csv", "settings.json", "skipped.csv", *made])
    assert tuple(table(target / "pictures.csv")[0]) == COLUMNS and table(target / "skipped.csv") == []


@pytest.mark.parametrize(
    "files",
    ["a.png a.bmp", "a.png A.bmp", "a.png a.bmp a.png.bmp a.bmp.png b.png", "a a.png b", "x/a.png a.png x/a.a",
     "a.b.png a.c.png a.b"],
)  # fmt: skip
def test_no_two_outputs_have_one_name(files):
    names = output_names(files.split())
    assert len({name.casefold() for name in names.values()}) == len(files.split()) == len(names)
    assert all(os.path.dirname(name) == os.path.dirname(file) for file, name in names.items())


def test_a_picture_that_lies_on_its_side_stands_upright_with_its_transparency(tmp_path, target):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.rot90(saved(tmp_path / "in" / "a.png", array(channels=4), exif=exif), -1)
    [row] = apply(tmp_path / "in", target, **JPEG)
    assert (target / "files" / "a.jpg").read_bytes() == jpeg_of(pixels[..., :3])
    assert np.array_equal(opened(target / "pictures" / "a.png")[..., 3], pixels[..., 3])
    assert np.array_equal(opened(target / "files" / "a.alpha.png"), pixels[..., 3])
    assert row["alpha_bytes"] == (target / "files" / "a.alpha.png").stat().st_size
    assert (row["width"], row["height"]) == (40, 56)
    assert not any(Image.open(target / path).getexif() for path in ("files/a.jpg", "pictures/a.png"))


@pytest.mark.parametrize(("codec", "quality", "kept"), [("jpeg", 20, 1), ("avif", 50, 1), ("jpeg2000", 20, 0)])
def test_a_colour_profile_is_kept_where_there_is_a_place(tmp_path, target, codec, quality, kept):
    pixels = saved(tmp_path / "in" / "a.png", array(), icc_profile=SRGB)
    [row] = apply(tmp_path / "in", target, codec=codec, quality=quality)
    assert Image.open(target / "pictures" / "a.png").info["icc_profile"] == SRGB
    assert (Image.open(target / row["output"]).info.get("icc_profile") == SRGB) == kept
    bare = len(load_codec(codec).encode([pixels], quality)[0])
    assert row["bytes"] == (target / row["output"]).stat().st_size == bare + row["profile_bytes"]
    assert (row["profile_bytes"] > 0) == kept and ("profile" in row["notes"]) != kept


def test_grey_stays_grey_in_all_files_behind_a_network(tmp_path, target):
    preprocessor_run(tmp_path / "run")
    saved(tmp_path / "in" / "a.png", array()[..., 0])
    apply(tmp_path / "in", target, run=tmp_path / "run", quality=95)
    assert all(Image.open(target / path).mode == "L" for path in ("pictures/a.png", "files/a.jpg"))


@pytest.mark.parametrize("codec", ["heic", "avif", "webp", "jpeg2000"])
def test_pictures_of_other_formats_are_read(tmp_path, target, codec):
    coder = load_codec(codec)
    (tmp_path / "in").mkdir()
    [file] = coder.encode([array()], 10)
    (tmp_path / "in" / f"a{coder.suffix}").write_bytes(file)
    apply(tmp_path / "in", target, **JPEG)
    assert (target / "files" / "a.jpg").read_bytes() == jpeg_of(coder.decode([file])[0])


def test_the_contact_sheet_shows_at_most_twelve_pictures(source, target):
    for number in range(20):
        saved(source / f"{number}.png", array(3 + number, 500, seed=number))
    apply(source, target, **JPEG)
    sheet = np.asarray(Image.open(target / "contact_sheet.png"))
    assert sheet.shape == (4 * 252 + 12, 3 * 452 + 12, 3)
    before, after = sheet[112:132, 12:232], sheet[112:132, 232:452]
    assert (before != 255).any() and (after != 255).any() and (before != after).any()


# --- skipped


def test_what_cannot_be_used_is_skipped_and_listed(source, target):
    saved(source / "cut.png", array())
    (source / "cut.png").write_bytes((source / "cut.png").read_bytes()[:-300])
    (source / "notes.txt").write_text("no picture")
    (source / "empty.png").write_bytes(b"")
    (source / "gone.png").symlink_to(source / "nowhere.png")
    os.mkfifo(source / "pipe.png")
    (source / "round").symlink_to(source, target_is_directory=True)  # in a circle, not entered
    (source / os.fsdecode(b"\xff.png")).write_bytes((source / "a.png").read_bytes())
    (source / "huge.pgm").write_bytes(b"P5 10000 8500 255\n")
    (source / ".hidden").write_text("not even tried")
    saved(source / ".thumbnails" / "a.png", array())
    assert [row["file"] for row in apply(source, target, **JPEG)] == ["a.png"]
    skipped = {row["file"]: row["reason"] for row in table(target / "skipped.csv")}
    words = {
        ".thumbnails": "hidden", "cut.png": "damaged", "empty.png": "empty", "gone.png": "No such file",
        "huge.pgm": "megapixels", "notes.txt": "known kind", "pipe.png": "plain", "round": "link",
        "\\xff.png": "Unicode",
    }  # fmt: skip
    assert skipped.keys() == words.keys() and all(words[file] in reason for file, reason in skipped.items())
    (source / "a.png").write_text("no picture")
    refusal(DataError, apply, source, target.with_name("none"), **JPEG)
    assert all(reason.endswith(".") for reason in skipped.values())


@pytest.mark.parametrize(
    "error", [ValueError("strange"), MemoryError(), RecursionError("deep"), OSError(errno.ENAMETOOLONG, "too long")]
)
def test_any_failure_of_one_picture_is_a_line_and_no_end_but_a_full_disk(source, target, monkeypatch, error):
    saved(source / "b.png", array(seed=1))
    real = Job.process

    def fails(job, file, name):
        if file == "a.png":
            raise error
        return real(job, file, name)

    monkeypatch.setattr(Job, "process", fails)
    assert [row["file"] for row in apply(source, target, **JPEG)] == ["b.png"]
    [row] = table(target / "skipped.csv")
    assert row["file"] == "a.png"
    assert ("memory" if isinstance(error, MemoryError) else type(error).__name__) in row["reason"]
    full = OutputError("the disk is full; free some space.")  # which ends the run
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(Job, "process", lambda *_: (_ for _ in ()).throw(full))
    refusal(OutputError, apply, source, target.with_name("full"), **JPEG)


def test_pictures_too_large_for_codec_or_network_are_skipped(tmp_path, source, target):
    saved(source / "wide.png", np.zeros((1, 20_000, 3), np.uint8))
    assert len(apply(source, target, codec="webp", quality=20)) == 1
    assert "webp" in table(target / "skipped.csv")[0]["reason"]
    processor_run(tmp_path / "run", "sr")
    Image.new("L", (2_100, 2_100)).save(source / "wide.png")
    apply(source, tmp_path / "sr", run=tmp_path / "run")
    assert "8400 x 8400" in table(tmp_path / "sr" / "skipped.csv")[0]["reason"]


# --- again


def test_after_a_kill_only_what_is_missing_is_done(source, target, monkeypatch):
    for number in range(4):
        saved(source / f"{number}.png", array(seed=number))
    real, done = Job.process, []

    def killed(job, file, name):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(file)
        return real(job, file, name)

    monkeypatch.setattr(Job, "process", killed)
    with pytest.raises(KeyboardInterrupt):
        apply(source, target, workers=1, **JPEG)
    assert done == ["0.png", "1.png"] and not (target / "pictures.csv").exists()
    before = times(target)
    monkeypatch.setattr(Job, "process", lambda *job: done.append(job[1]) or real(*job))
    rows = apply(source, target, workers=1, **JPEG)
    assert done == ["0.png", "1.png", "2.png", "3.png", "a.png"] == [row["file"] for row in rows]
    assert before.items() <= times(target).items()
    assert table(target / "pictures.csv") == [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]
    before = times(target)
    assert apply(source, target, **JPEG) == rows and len(done) == 5 and times(target) == before


@pytest.mark.parametrize("record", ["", "null", "{}", '{"outputs": 3}'])
def test_a_damaged_record_is_done_again(source, target, record):
    [first] = apply(source, target, **JPEG)
    for name in ("a.png.json", "gone.png.json"):
        (target / ".records" / name).write_text(record)
    [second] = apply(source, target, **JPEG)
    assert second | {"seconds": 0} == first | {"seconds": 0}


@pytest.mark.parametrize("kind", ["relative", "absolute", "link"])
@pytest.mark.parametrize("picture", ["a.png", "gone.png"])  # of another state, and of no picture
def test_a_record_from_elsewhere_deletes_nothing_outside_the_target(tmp_path, source, target, kind, picture):
    apply(source, target, **JPEG)
    precious = tmp_path / "outside" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    (target / "link").symlink_to(precious.parent)
    output = {"relative": "../outside/precious.txt", "absolute": str(precious), "link": "link/precious.txt"}[kind]
    record = {"state": "another", "outputs": [output], "row": {}}
    (target / ".records" / f"{picture}.json").write_text(json.dumps(record))
    apply(source, target, **JPEG)
    assert precious.read_text() == "mine"


def test_what_changed_is_missing_or_has_another_name_is_done_again(source, target):
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
    assert (target / "files" / "c.jpg").read_bytes() == jpeg_of(pixels)
    saved(source / "a.bmp", array(seed=1))
    apply(source, target, **JPEG)
    assert tree(target / "files") == ["a.bmp.jpg", "a.png.jpg", "b.jpg", "c.jpg"]


def test_what_was_made_of_a_picture_that_is_gone_is_deleted(source, target, monkeypatch):
    saved(source / "b" / "c.png", array(channels=4))
    apply(source, target, **JPEG)
    before, sheet = times(target), (target / "contact_sheet.png").read_bytes()
    with monkeypatch.context() as patch:  # but not while a folder cannot be read
        patch.setattr(
            folder, "find_files", lambda _: (["a.png"], [{"file": "b", "reason": "Permission denied."}], True)
        )
        apply(source, target, **JPEG)
    assert times(target) == before and len(before) == 5
    shutil.rmtree(source / "b")
    [row] = apply(source, target, **JPEG)
    assert [path for path in tree(target) if "/" in path] == ["files/a.jpg", "pictures/a.png"]
    assert [row["file"]] == [row["file"] for row in table(target / "pictures.csv")] == ["a.png"]
    assert (target / "contact_sheet.png").read_bytes() != sheet
    assert list((target / ".records").rglob("*.json")) == [target / ".records" / "a.png.json"]
    (source / "a.png").unlink()
    pixels = saved(source / "a.bmp", array(seed=1))  # takes its place
    apply(source, target, **JPEG)
    assert tree(target / "files") == ["a.jpg"] and (target / "files" / "a.jpg").read_bytes() == jpeg_of(pixels)


def test_the_number_of_workers_changes_nothing(tmp_path, source):
    for number in range(6):
        saved(source / f"{number}.png", array(20 + number, 31, seed=number))
    preprocessor_run(tmp_path / "run")
    for workers in (1, 3):
        apply(source, tmp_path / str(workers), run=tmp_path / "run", workers=workers)
    files = [path for path in tree(tmp_path / "1") if "/" in path]
    assert len(files) == 14
    assert all((tmp_path / "1" / path).read_bytes() == (tmp_path / "3" / path).read_bytes() for path in files)


# --- the command


def test_the_command(source, target, capsys):
    (source / "notes.txt").write_text("no picture")
    assert main([str(source), str(target), "--codec", "jpeg", "--quality", "20", "--workers", "2"]) == 0
    assert f"1 pictures (1 of them now), 1 skipped, 0 gone: {target}" in capsys.readouterr().out
    assert main([str(source), str(target), "--codec", "gif", "--quality", "20"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "'gif'" in said.err and len(said.err.splitlines()) == 1


@pytest.mark.slow
def test_a_picture_of_48_megapixels_needs_little_memory(tmp_path, target):
    """In a process of its own, whose memory the system counts; in one piece even this narrow network takes 4 GB."""
    preprocessor_run(tmp_path / "run")
    saved(tmp_path / "in" / "a.png", array(6000, 8000), compress_level=1)
    command = [sys.executable, "-m", "ra_core.apply", str(tmp_path / "in"), str(target)]
    subprocess.run([*command, "--run", str(tmp_path / "run")], check=True)
    assert opened(target / "files" / "a.jpg").shape == (6000, 8000, 3)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak * (1 if sys.platform == "darwin" else 1024) < 2.5e9


def test_folders_may_have_names_that_are_no_unicode(tmp_path, capsysbinary):
    source, target = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9", b"out\xe9"))
    saved(source / "a.png", array())
    for _ in range(2):
        assert main([str(source), str(target), "--codec", "jpeg", "--quality", "60"]) == 0
    assert json.loads((target / "settings.json").read_text())["input"] == str(source)
    assert [row["file"] for row in table(target / "pictures.csv")] == ["a.png"]


def test_a_folder_called_as_an_output_is_its_pictures_affair(source, target):
    for name in ("b", "c"):
        saved(source / f"{name}.png", array(seed=1))
    apply(source, target, **JPEG)
    for output in ("pictures/a.png", ".records/b.png.json"):
        (target / output).unlink()
        (target / output / "inside").mkdir(parents=True)
    assert [row["file"] for row in apply(source, target, **JPEG)] == ["c.png"]
    skipped = {row["file"]: row["reason"] for row in table(target / "skipped.csv")}
    assert skipped.keys() == {"a.png", "b.png"}
    assert all("Is a directory" in reason and "space" not in reason for reason in skipped.values())


def test_a_path_as_long_as_the_system_allows_is_its_pictures_affair(source, target, monkeypatch):
    monkeypatch.chdir(source)
    while (left := 4070 - len(os.getcwd())) > 1:
        os.mkdir("d" * min(200, left - 1))
        os.chdir("d" * min(200, left - 1))
    shutil.copy(source / "a.png", "deep.png")
    saved(source / f"{'n' * 251}.png", array())
    assert [row["file"] for row in apply(source, target, **JPEG)] == ["a.png"]
    reasons = [row["reason"] for row in table(target / "skipped.csv")]
    assert len(reasons) == 2 and not any("space" in reason for reason in reasons)


@pytest.mark.parametrize("row", [{}, {"file": 3}, "no row", None])
def test_a_record_whose_row_is_damaged_counts_as_none(source, target, row):
    [first] = apply(source, target, **JPEG)
    path = target / ".records" / "a.png.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"row": row}))
    [second] = apply(source, target, **JPEG)
    assert second | {"seconds": 0} == first | {"seconds": 0}

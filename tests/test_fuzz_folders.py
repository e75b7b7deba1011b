"""Two thousand damaged files of all kinds: no traceback, nothing unlisted, the whole ones beside them unharmed."""

import random
import time
from contextlib import contextmanager

import fuzz_folders
import numpy as np
import pytest
import tiny
import torch
from applied import JPEG, opened, table

from ra_core.apply import apply
from ra_core.data.annotations import read_voc
from ra_core.data.box_folders import load, load_parts
from ra_core.data.folders import list_flat, load_flat
from ra_core.errors import RAError
from ra_core.params import load_profile
from ra_core.runs import find_run, resolve
from ra_core.steps import train

PICTURES, ANNOTATIONS, TABLES, TEXTS = 1000, 400, 300, 300
SLOWEST = 20  # seconds of this process's work for one case
pytestmark = pytest.mark.slow


@contextmanager
def refused_or_done(case: object):
    """Let a case be refused in one sentence, or be done, and in a time that is no hang."""
    started = time.process_time()
    try:
        yield
    except RAError as error:
        assert str(error).endswith(".") and "\n" not in str(error), case
    except Exception as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    assert time.process_time() - started < SLOWEST, case


def test_damaged_pictures_are_done_or_listed_and_the_whole_ones_beside_them_are_unchanged(tmp_path):
    folder, alone = tmp_path / "in", tmp_path / "alone"
    names = [fuzz_folders.damaged_picture(folder, number).name for number in range(PICTURES)]
    for number in range(8):
        for place in (folder, alone):
            fuzz_folders.picture(place / f"whole{number}.png", number)
    with refused_or_done("apply"):
        rows = apply(folder, tmp_path / "out", **JPEG)
    skipped = [row["file"] for row in table(tmp_path / "out" / "skipped.csv")]
    done = [row["file"] for row in rows]
    assert sorted(done + skipped) == sorted([*names, *(f"whole{number}.png" for number in range(8))])
    apply(alone, tmp_path / "undisturbed", **JPEG)
    for number in range(8):
        name = f"pictures/whole{number}.png"
        assert np.array_equal(opened(tmp_path / "out" / name), opened(tmp_path / "undisturbed" / name))
        name = f"files/whole{number}.jpg"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


@pytest.mark.parametrize("tree", [False, True], ids=["flat", "tree"])
def test_a_folder_with_damaged_pictures_trains_without_them(tiny_project, tree):
    photos = tiny_project / "data" / "photos"
    places = [photos / "train" / kind for kind in "ab"] if tree else [photos]
    for number in range(30):
        fuzz_folders.picture(places[number % len(places)] / f"whole{number}.png", number)
    bad = [fuzz_folders.damaged_picture(places[number % len(places)], number).name for number in range(100)]
    shares = {} if tree else {"train_per_class": 0, "test_per_class": 0}
    data = {"kind": "folder", "source": "data/photos", "resize": 24, "crop": 16, "validation_per_class": 2}
    tasks = {"dn": {"training": {"steps": 2}}}
    usual = {"train_per_class": 0, "test_per_class": 0} | shares
    profile = tiny.profile(data=data | usual, modes=["plain"], tasks=tasks)
    run = resolve(profile, "dn", "plain")
    with refused_or_done("training"):
        assert (train(run) / "run.json").exists()
    listed = {row["file"].rpartition("/")[2] for row in table(tiny_project / "runs/tiny/skipped.csv")}
    if not tree:
        every = load_flat(photos, profile.data.test_share, profile.data.validation_share, 24, 16)
        used = {file for part in every.values() for file in part.files}
    else:
        used = {file.rpartition("/")[2] for part in run.splits().values() for file in part.files}
    assert listed | used == {*bad, *(f"whole{number}.png" for number in range(30))} and not listed & used
    assert {f"whole{number}.png" for number in range(30)} <= used


def test_damaged_annotations_are_used_or_listed(tmp_path):
    root = fuzz_folders.voc(tmp_path / "voc", range(ANNOTATIONS // 2))
    with refused_or_done("voc"):
        found = load(root)
        load_parts(root, 24, (), (), 0.3, 0.2)
    used, problems = {key[0] for key in found.keys}, "\n".join(read_voc(root).problems + list(found.skipped))
    for number in range(ANNOTATIONS // 2):
        assert f"{number}.png" in used or f"{number}.xml" in problems or f"{number}.png" in problems, number
    assert {f"{number}.png" for number in range(-4, 0)} <= used
    for number in range(ANNOTATIONS // 2):
        with refused_or_done(f"coco {number}"):
            load(fuzz_folders.coco(tmp_path / "coco", number))


def test_damaged_tables_are_read_or_refused(tmp_path):
    for number in range(TABLES):
        with refused_or_done(f"table {number}"):
            pictures = list_flat(fuzz_folders.table(tmp_path / "flat", number))
            named = set(pictures.files) | {file for file, _ in pictures.skipped}
            assert {f"{i}.png" for i in range(12)} <= named
            pictures.batch(torch.arange(min(2, len(pictures))))


def test_damaged_profiles_and_parameters_of_runs_are_taken_or_refused(tiny_project):
    good = (tiny_project / "params" / "tiny.yaml").read_bytes()
    run = find_run("cifar10_narrow/dn/ra").folder
    (tiny_project / "run").mkdir()
    for path in run.iterdir():
        (tiny_project / "run" / path.name).write_bytes(path.read_bytes())
    for number in range(TEXTS):
        chance = random.Random(f"profile {number}")
        (tiny_project / "params" / "bad.yaml").write_bytes(fuzz_folders.mutated(good, chance, text=number % 2 == 0))
        with refused_or_done(f"profile {number}"):
            load_profile("bad")
        name = chance.choice(["params.yaml", "run.json"])
        text = (run / name).read_bytes()
        (tiny_project / "run" / name).write_bytes(fuzz_folders.mutated(text, chance, text=False))
        with refused_or_done(f"run {number}"):
            find_run(tiny_project / "run").load()
        (tiny_project / "run" / name).write_bytes(text)

"""Judges out of files that are not in the repository, on pictures that are not either, against what is stated.

RA_JUDGES names a folder of sidecars with their weights, RA_PHOTOS one of pictures with a labels.csv of ImageNet's
classes, RA_COCO one of boxed pictures as COCO has them; what is not named is not measured.
"""

import os
from pathlib import Path

import pytest

from ra_core.chain import Chain
from ra_core.data import box_folders
from ra_core.data.folders import list_flat
from ra_core.detection import detect, mean_ap
from ra_core.evaluation import evaluate
from ra_core.judges import load_judge
from ra_core.judges.sidecar import find_sidecar

FOLDER = os.environ.get("RA_JUDGES")
NAMES = sorted(path.stem for path in Path(FOLDER).glob("*.json")) if FOLDER else []
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name", NAMES or [pytest.param("", marks=pytest.mark.skip(reason="RA_JUDGES names no folder"))]
)
def test_a_judge_reaches_what_its_sidecar_states(name, empty_project):
    (empty_project / "judges").rmdir()
    (empty_project / "judges").symlink_to(Path(FOLDER).resolve())
    detects = find_sidecar(name).detects
    folder = os.environ.get("RA_COCO" if detects else "RA_PHOTOS")
    if not folder:
        pytest.skip("no pictures are named")
    if detects:
        pictures = box_folders.load(Path(folder))
        judge = load_judge(name, pictures.classes)
        reached = mean_ap(detect(judge, pictures, batch=1), pictures.all_targets())["map50"]
        # Published evaluators differ in the least score that they count.
        assert judge.stated - 2 < reached < judge.stated + 5
    else:
        pictures = list_flat(Path(folder))
        judge = load_judge(name, pictures.classes)
        reached = evaluate(Chain(), {"it": judge}, pictures, 20, with_ssim=False).verdicts["it"].value()
        assert reached == pytest.approx(judge.stated, abs=1)

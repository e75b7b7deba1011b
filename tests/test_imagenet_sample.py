"""The profile imagenet_sample: published recognizers on labelled pictures of ImageNet, where their packages are."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ra_core.data.folders import load_flat
from ra_core.data.photographs import in_foolbox
from ra_core.evaluation import evaluate_clean
from ra_core.judges.recognizer import load_recognizer
from ra_core.params import load_profile
from ra_core.runs import resolve

HUB = Path(__file__).parents[1] / "params"


@pytest.mark.parametrize(("size", "top1"), [("lite0", 85), ("lite1", 95)])
def test_published_recognizers_know_the_pictures_of_foolbox(size, top1):
    name = f"efficientnet_{size}"
    table = evaluate_clean({name: load_recognizer(name)}, in_foolbox(), name, 10)
    assert table["n"].tolist() == [20] and table["top1"].tolist() == [top1]


def test_the_profile_fits_a_folder_laid_out_as_the_collection(tmp_path):
    """Synthetic pictures in place of ImageNet's: file, place among the classes, synset and name in a table."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "imagenet_index", "synset", "name"])
        for i in range(12):
            array = rng.integers(0, 256, (256, 256 + 8 * i, 3), dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / "pictures" / f"{i}.JPEG")
            table.writerow([f"{i}.JPEG", 83 * i, f"n{i:08}", f"thing {i}"])
    settings = load_profile("imagenet_sample", folder=HUB)
    data = settings.data
    parts = load_flat(tmp_path, data.test_share, data.validation_share, data.resize, data.crop)
    images, labels = parts["train"].training_batch(torch.arange(2), torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, 224, 224) and len(parts["train"].classes) == 1000
    assert all(label % 83 == 0 for label in labels.tolist())
    for task in settings.tasks:
        nets = resolve(settings, task, "ra_transformer").networks()
        assert sum(p.numel() for p in nets["processor"].parameters()) < 200_000  # narrow: it is a CPU that trains
    assert settings.recognizers == [f"efficientnet_lite{i}" for i in range(3)] and settings.device == "cpu"

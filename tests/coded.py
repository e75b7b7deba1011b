"""A tiny project whose pictures go through codecs: its profile, its pictures, and its tables."""

from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch

from ra_core.params import load_profile
from ra_core.steps import evaluate_codec

PREPROCESSING = """\
preprocessing:
  cells:
    source: tiny:recognizer
    unseen: [tiny:another]
    preprocessor: {width: 2, identity: true}
    postprocessor: {width: 4, blocks: 1, residual: true}
    training: {steps: 2, batch: 5, lr: 1e-3}
    evaluation_batch: 7
    codecs:
      jpeg:
        curve: [5, 20, 60]
        rungs: [[5, 1], [60, 8]]
        single: [5, 60]
        npp_mse: [5, 60]
        baselines: [downscale, gaussian]
        both_ends: true
    transfer: {webp: [1, 60]}
"""


def load(dataset: str, part: str, count: int = 0):
    """Stand in for the pictures of a data set."""
    return tiny.pictures(count or 24, seed=len(part), name=f"tiny/{part}")


@contextmanager
def at_project(folder: Path, preprocessing: str = PREPROCESSING):
    """Work in a project of its own in `folder`, with tiny pictures in place of solar cells."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tiny.project(folder, tiny.PROFILE + preprocessing))
        tiny.coded_pictures(patch, load)
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that all tests of a module share, with all its curves."""
    with at_project(tmp_path_factory.mktemp("project")) as folder:
        yield folder


@pytest.fixture(scope="module")
def tables(project) -> tuple[pd.DataFrame, pd.DataFrame]:
    return evaluate_codec(load_profile("tiny"), "cells", "jpeg")

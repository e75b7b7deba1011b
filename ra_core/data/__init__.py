"""Pictures in memory and in folders, their splits, and the registry of data sets."""

from ra_core.data import cifar10, elpv, scenes  # they register themselves
from ra_core.data.boxes import BoxedPictures
from ra_core.data.datasets import DATASETS, DataSet, dataset
from ra_core.data.decoding import open_picture
from ra_core.data.folders import FolderPictures
from ra_core.data.pictures import (
    Pictures,
    PictureSet,
    as_batch,
    evenly_spaced,
    fingerprint,
    first_per_class,
    is_labelled,
    split_train,
)
from ra_core.data.splits import load_part, load_splits

__all__ = [
    "DATASETS", "BoxedPictures", "DataSet", "FolderPictures", "PictureSet", "Pictures", "as_batch", "cifar10",
    "dataset", "elpv", "evenly_spaced", "fingerprint", "first_per_class", "is_labelled", "load_part",
    "load_splits", "open_picture", "scenes", "split_train",
]  # fmt: skip

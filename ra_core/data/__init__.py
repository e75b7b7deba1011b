"""Temporary faces."""

# ruff: noqa: F401, I001
from ra_core.data.pictures import Pictures, fingerprint, first_per_class, is_labelled, split_train
from ra_core.data._temporary import DATASETS, as_batch, load_part, load_splits

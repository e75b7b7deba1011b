"""Typed parameters, and the only reader of `params/`.

A profile states what differs from the defaults, which are the published recipe.
"""

from ra_core.params.base import MAX_SEED, Network, Training
from ra_core.params.coding import Ladder, LearnedProxy, Preprocessing
from ra_core.params.data import BoxFolder, Data, own_folder
from ra_core.params.load import header, load_profile
from ra_core.params.profile import Profile, Task, profile_model

__all__ = [
    "MAX_SEED", "BoxFolder", "Data", "Ladder", "LearnedProxy", "Network", "Preprocessing", "Profile", "Task",
    "Training", "header", "load_profile", "own_folder", "profile_model",
]  # fmt: skip

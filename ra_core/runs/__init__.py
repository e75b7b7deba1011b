"""Runs: trainings that are resolved once, their folders, and those that ship."""

from ra_core.runs.coding import AtStrength, CodingRun, ladder_of
from ra_core.runs.folder import begun, check_pictures, is_complete, read_params, tidy, write_params
from ra_core.runs.record import device_name, git_state, now, record, versions
from ra_core.runs.resolve import find_run, needed, planned, resolve
from ra_core.runs.restoration import RestorationRun
from ra_core.runs.run import Run
from ra_core.runs.shipped import shipped_names, take

__all__ = [
    "AtStrength", "CodingRun", "RestorationRun", "Run",
    "begun", "check_pictures", "device_name", "find_run", "git_state", "is_complete", "ladder_of", "needed", "now",
    "planned", "read_params", "record", "resolve", "shipped_names", "take", "tidy", "versions", "write_params",
]  # fmt: skip

"""What every step begins with: threads, pictures and judges of a profile."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd
import torch

from ra_core.cores import keep_freed_memory, own_cores
from ra_core.data import load_part, load_splits
from ra_core.files import write_text
from ra_core.judges import Judge, load_judge
from ra_core.params import Profile
from ra_core.paths import profile_folder, project_root


def set_threads(count: int) -> None:
    """Give torch that many CPU threads, 0 for this process's part of the cores, and let it keep the memory it frees."""
    keep_freed_memory()
    torch.set_num_threads(count or own_cores())


def pictures_of(profile: Profile, place: str, part: str, count: int = 0):
    """Return a part (`train`, `validation`, `test`) of the pictures of a task or of a data set, or `count` of them.

    Every task has the same; those with boxes have sides that every task can take.
    """
    if place in profile.tasks:
        step = max(profile.channel(task).scale for task in profile.tasks)
        found = load_splits(profile.data, (part,), project_root(), profile_folder(profile.name), step)[part]
        return found.subset(torch.arange(min(count, len(found))), found.name) if count else found
    data, folder = profile.coding(place).data, profile_folder(profile.name) / place
    return load_part(place, part, count, data, project_root(), folder)


def load_judges(names: list[str], device: str | torch.device = "cpu", classes=()) -> dict[str, Judge]:
    """Return judges by name, frozen and made fast, on a device; detectors name what they find by `classes`."""
    return {name: load_judge(name, classes).made_fast(device) for name in names}


def part_path(profile: Profile, place: tuple, name: str) -> Path:
    """Return where the table `name` of one place lies, (task,) or (data set, codec)."""
    return profile_folder(profile.name) / place[0] / f"{'-'.join((name, *place[1:]))}.csv"


def merged(profile: Profile, places: Iterable[tuple], name: str, measure: Callable) -> pd.DataFrame:
    """Return as one the tables by the name `name` of all places, (task,) or (data set, codec).

    Where one is missing, `measure` is called with the profile and the place, which writes it.
    """
    tables = []
    for place in places:
        path = part_path(profile, place, name)
        if not path.exists():
            measure(profile, *place)
        tables.append(pd.read_csv(path))
    return pd.concat(tables, ignore_index=True)


def write_table(profile: Profile, path: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Write a table as `runs/<profile>/<path>.csv`, and return it."""
    write_text(profile_folder(profile.name) / f"{path}.csv", rows.to_csv(index=False))
    return rows


def around_codecs(profile: Profile) -> list[tuple[str, str]]:
    """Return every data set of a profile with every codec that it is measured with."""
    return [(name, codec) for name, settings in profile.preprocessing.items() for codec in settings.all_codecs]

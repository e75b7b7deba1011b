"""What every step begins with: threads, pictures and judges of a profile."""

import torch

from ra_core.cores import own_cores
from ra_core.data import load_part, load_splits
from ra_core.judges import Judge, load_judge
from ra_core.params import Profile
from ra_core.paths import profile_folder, project_root


def set_threads(profile: Profile) -> None:
    """Give torch the CPU threads the profile asks for; without, this process's part of the cores."""
    torch.set_num_threads(profile.threads or own_cores())


def pictures_of(profile: Profile, place: str, part: str, count: int = 0):
    """Return a part (`train`, `validation`, `test`) of the pictures of a task or of a data set, or `count` of them."""
    if place in profile.tasks:
        found = load_splits(profile.data, (part,), project_root(), profile_folder(profile.name))[part]
        return found.subset(torch.arange(min(count, len(found))), found.name) if count else found
    data, folder = profile.coding(place).data, profile_folder(profile.name) / place
    return load_part(place, part, count, data, project_root(), folder)


def load_judges(names: list[str], device: str | torch.device = "cpu", classes=()) -> dict[str, Judge]:
    """Return judges by name, frozen, on a device; detectors name what they find by `classes`."""
    return {name: load_judge(name, classes).to(device, memory_format=torch.channels_last) for name in names}

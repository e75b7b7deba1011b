"""Where the project lies, and what its runs are called."""

from pathlib import Path

from ra_core.errors import ParameterError

ASSETS = Path(__file__).parent / "assets"  # small data and pretrained networks that ship with the package


def project_root() -> Path:
    """Return the folder that holds `params/` and `notebooks/`, at or above the present one or beside the package."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "params").is_dir() and (folder / "notebooks").is_dir():
            return folder
    raise ParameterError(f"no project is found at or above {here}; go into the cloned folder and run again.")


def profile_folder(profile: str) -> Path:
    """Return `runs/<profile>`."""
    return project_root() / "runs" / profile


def run_folder(profile: str, task: str, mode: str, seed: int) -> Path:
    """Return `runs/<profile>/<task>/<mode>/seed<seed>`."""
    return profile_folder(profile) / task / mode / f"seed{seed}"

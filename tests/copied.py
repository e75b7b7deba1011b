"""A copy of the project for tests that run its workflow, so that nothing is written into this one."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ("ra_book", "ra_core", "notebooks", "params", "book", "workflow", "Snakefile", "pyproject.toml")


def project(copy: Path, **profiles: str) -> Path:
    """Copy what a workflow needs into the folder `copy`, add profiles by name and text, and return it."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        else:
            shutil.copy(ROOT / part, copy / part)
    for name, text in profiles.items():
        (copy / "params" / f"{name}.yaml").write_text(text)
    return copy

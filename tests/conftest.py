"""What every test runs under: one thread, no network, no change of the repository."""

import os
import runpy
from pathlib import Path

import hypothesis
import pytest

GUARD = Path(__file__).parent / "guard"
LONGEST = ("test_workflow.py", "test_workflow_together.py", "test_going_on.py")

# Set before anything imports torch or matplotlib, and inherited by every process a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many tests run at once as there are cores
os.environ["MPLBACKEND"] = "agg"
os.environ["PYTHONPATH"] = str(GUARD)
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the `make test` that runs this, not of one a test runs
    os.environ.pop(name, None)
runpy.run_path(str(GUARD / "sitecustomize.py"))

# Failing examples are not kept in the repository; a busy machine is no reason to fail.
hypothesis.settings.register_profile("project", database=None, deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, lest the last one run alone; skip the tests marked `gpu` where there is none."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture
def empty_project(tmp_path, monkeypatch):
    """A project in a folder of its own, with nothing in it."""
    for name in ("params", "notebooks", "judges"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_project(tmp_path, monkeypatch):
    """A project in a folder of its own, with tiny pictures in place of CIFAR-10."""
    import tiny

    with tiny.at_project(tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture
def write(tmp_path):
    """Write a profile `mine` and return how to load it."""
    from ra_core.params import load_profile

    def write(text: str, **overrides):
        (tmp_path / "mine.yaml").write_text(text)
        return load_profile("mine", overrides or None, folder=tmp_path)

    return write

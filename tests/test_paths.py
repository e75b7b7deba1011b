from pathlib import Path

import pytest
from refusal import refusal

from ra_core import paths
from ra_core.errors import ParameterError


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("params", "notebooks"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("below", [".", "notebooks", "params", "deep/er"])
def test_the_project_is_found_from_anywhere_in_it(project, monkeypatch, below):
    (project / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(project / below)
    assert paths.project_root() == project


def test_elsewhere_it_is_the_one_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params").mkdir()  # one of the two is not enough
    assert paths.project_root() == Path(paths.__file__).parents[1]


def test_no_project_at_all_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site" / "ra_core" / "paths.py"))
    said = refusal(ParameterError, paths.project_root)
    assert said == f"no project is found at or above {tmp_path}; go into the cloned folder and run again."


def test_folders_are_as_contracted(project):
    assert paths.profile_folder("quick") == project / "runs" / "quick"
    assert paths.run_folder("quick", "sr", "ra", 3) == project / "runs" / "quick" / "sr" / "ra" / "seed3"

from pathlib import Path

import pytest
from refusal import refusal

from ra_core import paths
from ra_core.errors import ParameterError


@pytest.mark.parametrize("below", [".", "notebooks", "params", "deep/er"])
def test_the_project_is_found_from_anywhere_in_it(empty_project, monkeypatch, below):
    (empty_project / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(empty_project / below)
    assert paths.project_root() == empty_project


def test_elsewhere_it_is_the_one_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params").mkdir()  # one of the two is not enough
    assert paths.project_root() == Path(paths.__file__).parents[1]


def test_no_project_at_all_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site" / "ra_core" / "paths.py"))
    said = refusal(ParameterError, paths.project_root)
    assert said == f"no project is found at or above {tmp_path}; go into the cloned folder and run again."


def test_folders_are_as_contracted(empty_project):
    assert paths.profile_folder("quick") == empty_project / "runs" / "quick"
    assert paths.run_folder("quick", "sr", "ra", 3) == empty_project / "runs" / "quick" / "sr" / "ra" / "seed3"

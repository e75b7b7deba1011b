"""A folder to apply something to, and one for what comes of it."""

import pytest
from applied import array, saved


@pytest.fixture
def source(tmp_path):
    """A folder with one picture."""
    saved(tmp_path / "in" / "a.png", array())
    return tmp_path / "in"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out"

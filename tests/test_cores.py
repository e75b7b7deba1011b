import os

import pytest
from refusal import refusal

from ra_core import cores
from ra_core.errors import ParameterError


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no process to cores")
def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {0, 3, 5})
    assert cores.cores() == 3


@pytest.mark.parametrize(("processes", "own"), [(None, 8), ("1", 8), ("3", 2), ("8", 1), ("9", 1)])
def test_processes_of_a_node_share_its_cores(monkeypatch, processes, own):
    monkeypatch.setattr(cores, "cores", lambda: 8)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert cores.own_cores() == own


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "many")
    assert "LOCAL_WORLD_SIZE is 'many'" in refusal(ParameterError, cores.own_cores)

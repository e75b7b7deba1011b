import os
import platform
import subprocess
import sys

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is no glibc")
def test_memory_that_is_freed_is_kept():
    """In a process of its own: a block that is filled again and again is cleared by the system once, not each time."""
    code = (
        "import resource\n"
        "from ra_core.cores import keep_freed_memory\n"
        "def cleared(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def fill():\n"
        "    before = cleared()\n"
        "    for _ in range(10): bytearray(b'1') * (1 << 26)\n"
        "    return cleared() - before\n"
        "usual = fill()\n"
        "keep_freed_memory()\n"
        "fill()\n"
        "print(usual, fill())\n"
    )
    small_pages = os.environ | {"GLIBC_TUNABLES": ""}
    said = subprocess.run([sys.executable, "-c", code], env=small_pages, capture_output=True, text=True, check=True)
    usual, kept = map(int, said.stdout.split())
    assert usual > 10_000 and kept < usual / 10

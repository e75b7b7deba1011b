"""Kernels that are copies of one process: what they share with it, what not, and that none is left behind."""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import copied
import nbformat
import pytest
from ended import ends
from jupyter_client.provisioning import KernelProvisionerFactory
from nbformat.v4 import new_code_cell, new_notebook

from ra_core.forked_kernels import ADDRESS, DEFAULT, KERNEL, NAME, copies_of
from ra_core.notebooks import execute

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are copied on Linux alone")
IMPORTED = ["this"]  # which prints a poem, once
WHO = """\
import os, subprocess, sys
child = subprocess.run(["cat"], capture_output=True)  # ends where there is nothing to read
print("this" in sys.modules, os.getppid(), os.environ.get("SET_LATER"), os.getcwd(), child.returncode, os.getpid())"""
# Who has asked for GPUs can no longer be copied: torch marks a copy that could use none.
ASKS_NO_GPU = """\
import importlib, os, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import torch
if os.fork() == 0:
    os._exit(torch.cuda._is_in_bad_fork())
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))"""


def answers(folder: Path, code: str = WHO) -> list[str]:
    """Return what a cell prints, word by word."""
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), folder / "small.ipynb")
    execute(folder / "small.ipynb", folder / "out.ipynb", {})
    [cell] = nbformat.read(folder / "out.ipynb", 4).cells
    return cell.outputs[0].text.split()


def test_copies_have_what_was_imported_and_the_place_and_environment_of_who_asks(tmp_path, monkeypatch, capfd):
    with copies_of(IMPORTED):
        monkeypatch.setenv("SET_LATER", "yes")
        found = [answers(tmp_path) for _ in range(2)]
        assert ends(int(found[1][-1]), seconds=2) and found[1][-1] != found[0][-1]
    first, second = (each[:-1] for each in found)
    imported, original, later, folder, ended = first
    assert (imported, later, folder, ended) == ("True", "yes", os.getcwd(), "0") and second == first
    assert ends(int(original)) and ADDRESS not in os.environ
    assert capfd.readouterr().out.count("Zen of Python") == 1
    assert answers(tmp_path)[:2] == ["False", str(os.getpid())]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_copy_computes_on_the_threads_of_who_asks(tmp_path, monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    with copies_of(["torch"]):
        said = answers(tmp_path, "import os, torch; print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])")
    assert said == [str(threads)] * 2


def test_who_has_enough_of_copies_waits_for_no_import(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    started = time.monotonic()
    with copies_of(["slow"]):
        pass
    assert time.monotonic() - started < 10


def test_where_there_is_nothing_to_copy_a_kernel_starts_as_always(tmp_path, monkeypatch):
    KernelProvisionerFactory.clear_instance()
    for name, value in {DEFAULT: NAME, ADDRESS: str(tmp_path / "nobody")}.items():
        monkeypatch.setenv(name, value)
    assert answers(tmp_path)[:2] == ["False", str(os.getpid())]
    with copies_of(["no_such_module"]):
        assert answers(tmp_path)[:2] == ["False", str(os.getpid())]


def test_what_the_workflow_lets_be_copied_asks_for_no_gpu():
    [imported] = re.findall(r"^IMPORTED = (\(.*\))", (copied.ROOT / "Snakefile").read_text(), re.MULTILINE)
    command = [sys.executable, "-Xfrozen_modules=off", "-c", ASKS_NO_GPU, *KERNEL, *ast.literal_eval(imported)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_copy_ends_with_the_process_that_executes_its_notebook(tmp_path):
    waits = f"import os, time; open({str(tmp_path / 'kernel')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    nbformat.write(new_notebook(cells=[new_code_cell(waits)]), tmp_path / "small.ipynb")
    with copies_of(IMPORTED):
        command = [sys.executable, "-m", "ra_core.notebooks", tmp_path / "small.ipynb", tmp_path / "out.ipynb"]
        with subprocess.Popen(command) as executing:
            deadline = time.monotonic() + 60
            while not ((tmp_path / "kernel").exists() and (tmp_path / "kernel").read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            executing.kill()
        assert ends(int((tmp_path / "kernel").read_text()))

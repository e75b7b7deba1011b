"""Tests of ra_core/notebooks.py on small notebooks; the workflow executes the project's own."""

import json
from contextlib import nullcontext
from pathlib import Path

import nbformat
import pytest
from ended import ends
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from refusal import refusal

from ra_core.errors import OutputError, ParameterError, RAError
from ra_core.forked_kernels import copies_of
from ra_core.locks import file_lock
from ra_core.notebooks import check_parameters, execute, main
from ra_core.progress import BATCH_VARIABLE

PARAMETERS = """\
profile: str = "quick"  # a name
seed: int = 0  # a number
weight: float = 0.5  # lambda
fast: bool = False  # yes or no
train: list = []  # names
overrides: dict = {}  # values
free = None  # anything"""
LOOK = """\
import json, os
from ipykernel.connect import get_connection_file
about = json.load(open(get_connection_file()))
batch = os.environ["RA_BATCH"]
given = [profile, seed, weight, fast, train, overrides]
print(json.dumps([*given, about["transport"], batch, about["ip"], os.getcwd()]))"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv(BATCH_VARIABLE, "")  # put back at the end
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def make(tmp_path):
    """Write a notebook of a parameters cell and other cells."""

    def make(*cells: str, parameters: str | None = PARAMETERS, kernel: str | None = "python3"):
        tagged = [] if parameters is None else [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        book = new_notebook(cells=[new_markdown_cell("# Small"), *tagged, *map(new_code_cell, cells)])
        if kernel:
            book.metadata["kernelspec"] = {"name": kernel, "display_name": "Python 3", "language": "python"}
        nbformat.write(book, tmp_path / "small.ipynb")
        return tmp_path / "small.ipynb"

    return make


@pytest.fixture(params=[False, True], ids=["started", "copied"])
def kernels(request):
    """Let kernels be started one by one, or be copies of one process."""
    with copies_of([]) if request.param else nullcontext():
        yield


def printed(path) -> list[str]:
    """Return what each code cell of an executed notebook printed."""
    book = nbformat.read(path, 4)
    return ["".join(o.get("text", "") for o in cell.outputs) for cell in book.cells if cell.cell_type == "code"]


# --- parameters


@pytest.mark.parametrize(
    "given",
    [
        {"profile": "smoke", "seed": 3, "weight": 1e-3, "fast": True, "train": ["a"], "overrides": {"a": {"b": 1}}},
        {"weight": 1, "free": "text"},
        {"free": 3.5},
    ],
)
def test_what_is_declared_and_of_its_type_is_taken(make, given):
    check_parameters(make(), given)


def test_an_unknown_parameter_is_refused(make):
    said = refusal(ParameterError, check_parameters, make(), {"seed": 1, "sede": 2})
    assert "'sede'" in said and "profile, seed, weight, fast, train, overrides, free" in said
    assert "'seed'" in refusal(ParameterError, check_parameters, make(parameters=None), {"seed": 1})


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("seed", ["3", 3.0, True, None], "int"), ("weight", ["1e-3", False], "float"), ("fast", [1], "bool"),
        ("profile", [3, ["quick"]], "str"), ("train", ["resnet20"], "list"), ("overrides", [[]], "dict"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(make, name, values, kind):
    for value in values:
        said = refusal(ParameterError, check_parameters, make(), {name: value})
        assert f"{name} = {value!r}" in said and f"type {kind}" in said


@pytest.mark.parametrize("content", ["", "no notebook", "[1, 2]", '{"cells": 3}'])
def test_what_is_no_notebook_is_refused(tmp_path, content):
    (tmp_path / "small.ipynb").write_text(content)
    said = refusal(ParameterError, execute, tmp_path / "small.ipynb", tmp_path / "out.ipynb", {"seed": 1})
    assert str(tmp_path / "small.ipynb") in said


# --- runs


@pytest.mark.usefixtures("kernels")
def test_a_notebook_is_run_over_ipc_with_its_parameters(make, tmp_path, monkeypatch):
    path, output = make(LOOK, kernel="of-an-editor"), tmp_path / "runs" / "deep" / "out.ipynb"
    before = path.read_bytes()
    (long := tmp_path / ("x" * 90)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))  # too long for a socket
    arguments = ["profile=smoke", "seed=3", "weight=1e-3", "fast=true", "train=[a, b]", "overrides={a: {b: 1}}"]
    assert main([str(path), str(output), *arguments]) == 0
    expected = ["smoke", 3, 1e-3, True, ["a", "b"], {"a": {"b": 1}}, "ipc", "1"]
    *found, sockets, cwd = json.loads(printed(output)[-1])
    assert found == expected
    # A folder of sockets of its own, gone again; without one, kernels meet in the working directory.
    assert Path(sockets).is_absolute() and not Path(sockets).parent.exists()
    assert Path(cwd) == tmp_path / "cwd" and list(Path(cwd).iterdir()) == []
    about = nbformat.read(output, 4).metadata.papermill
    names = ("profile", "seed", "weight", "fast", "train", "overrides")
    assert about.parameters == dict(zip(names, expected[:6], strict=True))
    assert about.exception is None and about.duration > 0 and path.read_bytes() == before


@pytest.mark.usefixtures("kernels")
def test_a_cell_that_fails_is_named_and_the_partly_executed_copy_is_kept(make, tmp_path, capfd):
    path = make("print('one')", "# why\nraise ValueError('seven is\\ntoo many.')", "print('three')", kernel=None)
    output = tmp_path / "o.ipynb"
    assert main([str(path), str(output), "seed=7"]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert all(part in said for part in (str(path), "cell [4]", "'# why'", "ValueError: seven is ", str(output)))
    assert printed(output) == ["", "", "one\n", "", ""]
    book = nbformat.read(output, 4)
    assert book.metadata.papermill.exception is True
    [failed] = [cell for cell in book.cells if cell.get("execution_count") == 4]
    assert failed.outputs[-1].ename == "ValueError"


@pytest.mark.usefixtures("kernels")
def test_a_kernel_that_dies_is_reported(make, tmp_path):
    path, output = make("print('one')", "import os; os.kill(os.getpid(), 9)"), tmp_path / "o.ipynb"
    said = refusal(RAError, execute, path, output, {})
    assert str(path) in said and str(output) in said
    assert printed(output)[1] == "one\n" and list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.usefixtures("kernels")
def test_a_kernel_is_killed_behind_the_last_cell_with_all_that_it_started(make, tmp_path):
    left = tmp_path / "left"
    starts = f"import atexit, subprocess; atexit.register(open, {str(left)!r}, 'w')"
    starts += "; print(subprocess.Popen(['sleep', '600']).pid)"
    execute(make(starts), tmp_path / "out.ipynb", {})
    assert ends(int(printed(tmp_path / "out.ipynb")[1])) and not left.exists()


def test_two_processes_never_write_the_same_copy(make, tmp_path):
    output = tmp_path / "out.ipynb"
    with file_lock(tmp_path / ".out.ipynb.lock", "the first"):
        assert str(output) in refusal(OutputError, execute, make(), output, {})
    assert not output.exists()


# --- the command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sede=1"], ("'sede'", "profile, seed")), (["seed=one"], ("seed = 'one'", "type int")),
        (["seed"], ("'seed'", "name=value")), (["overrides={a: [}"], ("'overrides={a: [}'", "name=value")),
        (["seed=1", "seed=2"], ("'seed=2'", "twice")), (["overrides={a: 1, 2: b}"], ("overrides=", "text")),
        (["profile="], ("profile = None", "type str")), (None, ("none.ipynb", "does not exist")),
    ],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence_before_anything_runs(make, tmp_path, capfd, monkeypatch, arguments, words):
    monkeypatch.delattr("papermill.execute_notebook")
    notebook = str(tmp_path / "none.ipynb") if arguments is None else str(make())
    assert main([notebook, str(tmp_path / "out.ipynb"), *(arguments or ())]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert all(word in line for word in words) and not (tmp_path / "out.ipynb").exists()


def test_a_folder_is_no_place_for_a_copy(make, tmp_path):
    assert str(tmp_path) in refusal(ParameterError, execute, make(), tmp_path, {})


@pytest.mark.parametrize("arguments", [[], ["one.ipynb"]])
def test_too_few_arguments_show_how_it_is_used(arguments, capfd):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "python -m ra_core.notebooks" in capfd.readouterr().err


def test_a_full_disk_tears_no_copy_and_is_one_sentence(make, tmp_path, monkeypatch, capfd):
    written, write = [], Path.write_text

    def full(path, text, **options):
        written.append(path)
        write(path, text[: len(text) // 2], **options)
        raise OSError(28, "No space left on device")

    path, output = make("print('one')"), tmp_path / "out.ipynb"
    output.write_text("before")
    monkeypatch.setattr(Path, "write_text", full)
    assert main([str(path), str(output)]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert "No space left on device" in said and str(output) in said and output.read_text() == "before"
    assert written and not any(path.exists() for path in written)

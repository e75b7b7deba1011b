"""Rules for the project as a whole: what is tracked, who imports whom, what an import costs, what the commands say."""

import ast
import graphlib
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow.code import running

ROOT = Path(__file__).parents[1]
MEGABYTE = 1024 * 1024
PICTURES_AND_WEIGHTS = (".webp", ".png", ".jpeg", ".jpg", ".safetensors")

# Written in two halves, so that this file does not name them.
REGISTRY_HOSTS = (
    "py" + "pi.org", "python" + "hosted.", "npm" + "js.", "anaconda" + ".org", "anaconda" + ".com",
    "conda" + ".io", "deb" + "ian.org", "download." + "pytorch", "unpkg" + ".com", "jsdelivr" + ".net",
)  # fmt: skip

HEAVY = ("matplotlib", "pandas", "papermill", "pydantic", "torchmetrics", "torchvision")
IMPORT_COST = f"""
import sys, time
start = time.process_time()
import torch
between = time.process_time()
sys.modules.update(dict.fromkeys({HEAVY}))  # to import one of these now raises ImportError
import ra_core, ra_core.data, ra_core.training
print((time.process_time() - start) / (between - start))
import importlib, pkgutil
for module in pkgutil.iter_modules(importlib.import_module("ra_core.models").__path__):
    importlib.import_module("ra_core.models." + module.name)
"""


def tracked(*suffixes: str) -> list[Path]:
    """Return the files of the repository, those about to be added included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    files = [ROOT / name for name in sorted(set(filter(None, names)))]
    return [file for file in files if file.is_file() and (not suffixes or file.suffix in suffixes)]


def vendored(file: Path) -> bool:
    """Say whether `file` is another project's, kept so that the book needs no network."""
    return file.is_relative_to(ROOT / "book" / "offline")


def name(file: Path) -> str:
    """Return the path of `file` as seen from the root."""
    return file.relative_to(ROOT).as_posix()


def own_text() -> list[Path]:
    """Return the tracked text files that this project wrote."""
    return [f for f in tracked() if f.suffix not in PICTURES_AND_WEIGHTS and not vendored(f)]


def cells(file: Path) -> list[dict]:
    """Return the code cells of a notebook."""
    return [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]


def test_tracked_files_name_no_registry_host():
    texts = {name(file): file.read_text(encoding="utf-8").lower() for file in own_text()}
    found = {file: [host for host in REGISTRY_HOSTS if host in text] for file, text in texts.items()}
    assert {file: hosts for file, hosts in found.items() if hosts} == {}


def test_tracked_files_are_small():
    def limit(file: Path) -> int:
        return 4 * MEGABYTE if vendored(file) or file.suffix == ".safetensors" else MEGABYTE

    assert [name(file) for file in tracked() if file.stat().st_size > limit(file)] == []


def test_tracked_text_ends_with_one_line_end():
    endings = {name(file): file.read_bytes()[-2:] for file in own_text() if file.stat().st_size}
    assert [file for file, end in endings.items() if end[-1:] != b"\n" or end == b"\n\n"] == []


@pytest.mark.parametrize("file", tracked(".yml", ".yaml", ".cff"), ids=name)
def test_tracked_yaml_can_be_read(file):
    assert yaml.safe_load(file.read_text()) is not None


@pytest.mark.parametrize("file", tracked(".ipynb"), ids=name)
def test_tracked_notebook_holds_no_results(file):
    assert [cell["source"] for cell in cells(file) if cell["outputs"] or cell["execution_count"]] == []
    assert "papermill" not in json.loads(file.read_text())["metadata"]


@pytest.mark.parametrize("file", tracked(".ipynb"), ids=name)
def test_tracked_notebook_has_cells_of_at_most_12_lines(file):
    sources = ["".join(cell["source"]) for cell in cells(file)]
    assert [source for source in sources if len(source.splitlines()) > 12] == []


PACKAGES = ("ra_core", "ra_book", "workflow", "benchmarks")
SOURCES = [file for file in tracked(".py") if file.relative_to(ROOT).parts[0] in PACKAGES]
LINES, TEST_LINES, FUNCTION_LINES, LOOP_LINES = 300, 600, 60, 120  # the loop is `fit`, which reads as prose


@pytest.mark.parametrize("file", tracked(".py"), ids=name)
def test_tracked_module_is_short_and_says_what_it_is(file):
    text = file.read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= (LINES if file in SOURCES else TEST_LINES)
    assert ast.get_docstring(tree) is not None or file.name.startswith("test_"), "it has no docstring"
    if file in SOURCES:
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        lengths = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
        most = {"fit": LOOP_LINES}
        assert {key: lines for key, lines in lengths.items() if lines > most.get(key, FUNCTION_LINES)} == {}


@pytest.mark.parametrize("file", [file for file in SOURCES if file.name == "__init__.py"], ids=name)
def test_init_only_re_exports(file):
    def re_exports(node: ast.stmt) -> bool:
        if isinstance(node, ast.Assign):
            return {target.id for target in node.targets} <= {"__all__", "__version__"}
        return isinstance(node, ast.Import | ast.ImportFrom)

    body = ast.parse(file.read_text()).body
    assert [ast.unparse(node) for node in body[1:] if not re_exports(node)] == []  # the first is the docstring


def layers() -> dict[str, int]:
    """Return the parts of the project by name with the number of their layer, as `book/architecture.md` lists them."""
    text = (ROOT / "book" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Layers")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert rows, "book/architecture.md has no table of layers"
    return {part.rstrip("/"): number for number, row in enumerate(rows) for part in re.findall("`([^`]+)`", row)}


def dotted(file: Path) -> str:
    """Return the name by which a module is imported."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str | None:
    """Return the part of the project that a module belongs to: `data`, `losses`, or `ra_book` for all of that."""
    package, *rest = module.split(".")
    return package if package == "ra_book" else rest[0] if rest else None


def imports() -> dict[str, set[str]]:
    """Return, for each module of the packages, those of its imports that lie in them, wherever the import stands."""
    modules = {dotted(file): file for file in SOURCES if dotted(file).split(".")[0] in ("ra_core", "ra_book")}
    found = {}
    for module, file in modules.items():
        names = set()
        for node in running(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}  # a package runs first
        found[module] = (names & modules.keys()) - {module}
    return found


def test_every_part_of_the_package_has_a_layer():
    parts = {part_of(module) for module in imports()} - {None, "assets"}
    assert parts - layers().keys() == set(), "book/architecture.md does not list them"
    assert layers().keys() - parts == set(), "book/architecture.md lists what is not there"


def test_imports_point_downwards():
    order = layers()
    upwards = [
        f"{module} imports {other}"
        for module, others in imports().items()
        for other in others
        if part_of(module) and part_of(other) and order[part_of(other)] > order[part_of(module)]
        if not module.endswith(".__main__")  # a command is a door, which nothing imports
    ]
    assert upwards == []


def test_imports_run_in_no_circle():
    list(graphlib.TopologicalSorter(imports()).static_order())  # else a CycleError that names the circle


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """Run a command in the root and return what it said."""
    return subprocess.run(command, **{"cwd": ROOT, "capture_output": True, "text": True, **options})


def test_import_costs_little_more_than_torch_and_pulls_in_nothing_heavy():
    ratios = []
    while len(ratios) < 3 and min(ratios, default=9) > 1.5:  # the best of three: machines are busy at times
        said = run(sys.executable, "-c", IMPORT_COST)
        assert said.returncode == 0, said.stderr
        ratios.append(float(said.stdout))
    assert min(ratios) <= 1.5, ratios


def test_make_lists_its_targets():
    listed = [line.split()[0] for line in run("make").stdout.splitlines()[1:]]
    assert listed == [
        "help", "book", "smoke", "test", "test-slow", "bench", "lab", "lint", "format", "lock", "clean", "distclean",
    ]  # fmt: skip


@pytest.mark.parametrize("python", ["no-such-python", "false"])
def test_make_without_a_fitting_python_says_so_in_one_sentence(tmp_path, python):
    for file in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    said = run("make", "book", f"PYTHON={python}", cwd=tmp_path)
    assert said.returncode != 0
    assert said.stderr.splitlines()[0].startswith(f"Python 3.11 or newer is needed and '{python}' is none:")
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("change", ["file.write_text('')", "file.unlink()", "file.rename('elsewhere')"])
def test_tests_and_what_they_start_cannot_change_the_repository(change):
    file = ROOT / "CITATION.cff"
    before = file.read_bytes()
    with pytest.raises(Exception, match="tests write below tmp_path only"):
        eval(change, {"file": file})
    said = run(sys.executable, "-c", f"from pathlib import Path; file = Path('CITATION.cff'); {change}")
    assert "tests write below tmp_path only" in said.stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("address", ["192.0.2.1", "example.invalid"])
def test_tests_and_what_they_start_are_offline(address):
    with pytest.raises(OSError, match="tests run offline"):
        socket.create_connection((address, 80), timeout=5)
    code = f"import socket; socket.create_connection(({address!r}, 80), timeout=5)"
    assert "tests run offline" in run(sys.executable, "-c", code).stderr

"""What a step of the workflow runs is among its inputs, so that a change of it runs the step again."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import copied
import pytest

PACKAGE = copied.ROOT / "ra_core"
TINY = """\
# make book PROFILE=tiny
data: {train_per_class: 20, validation_per_class: 20, test_per_class: 20}
tasks: {dn: {processor: {name: SRResNet, width: 4, blocks: 1}}}
preprocessing: {cells: {source: cell_vgg8, codecs: {jpeg: {curve: [5, 30], rungs: [[5, 1], [30, 2]]}}}}
unseen: []
modes: [plain]
"""
# They say, write, keep or draw, and change no number that was trained or measured. What parameters come to is compared.
SILENT = "__init__ assets/ errors files human_yaml locks models/__init__ params/ paths progress runs shipped_runs"
SILENT += " training/memory"
RESTORING = " codecs/ models/cell_nets models/preprocessors"  # of objectives and recognizers that it does not use
CODING = " data/cifar10 data/folders data/flat_folders"  # whose pictures it does not read
STEPS = {
    "train_processor": RESTORING, "cross_evaluate": RESTORING, "train_proxy": CODING, "train_preprocessor": CODING,
    "rate_accuracy": CODING,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, set[str]]:
    """The inputs of each rule, of which a dry run tells."""
    project = copied.project(tmp_path_factory.mktemp("project"), tiny=TINY)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run", "--nolock", "--config", "profile=tiny"]
    options = {"env": os.environ | {"PYTHONPATH": str(project)}, "capture_output": True, "text": True}
    said = subprocess.run(command, cwd=project, timeout=200, **options)
    assert said.returncode == 0, said.stdout + said.stderr
    found = re.findall(r"^rule (\w+):\n +input: (.*)$", said.stdout + said.stderr, flags=re.MULTILINE)
    return {rule: set(line.split(", ")) for rule, line in found}


def imported(code: str) -> set[str]:
    """Return the modules of the package that a text of Python imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {name.removeprefix("ra_core").strip(".").replace(".", "/") for name in names if name.startswith("ra_core")}
    places = {place for path in paths for place in (path, f"{path}/__init__".lstrip("/"))}
    return {place for place in places if (PACKAGE / f"{place}.py").is_file()}


def run_by(notebook: Path, silent: tuple[str, ...]) -> set[str]:
    """Return the modules that a notebook runs: those it imports, those that these import, and so on."""
    cells = (cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code")
    found, new = set(), imported("\n".join("".join(cell["source"]) for cell in cells))
    while new:
        new = {name for name in new if not any(name == s or (s[-1] == "/" and name.startswith(s)) for s in silent)}
        found |= new
        new = set().union(*(imported((PACKAGE / f"{name}.py").read_text()) for name in new)) - found
    return found


@pytest.mark.parametrize("rule", STEPS)
def test_what_a_step_runs_is_among_its_inputs(inputs, rule):
    (notebook,) = (copied.ROOT / path for path in inputs[rule] if path.endswith(".ipynb"))
    wanted = run_by(notebook, tuple((SILENT + STEPS[rule]).split()))
    assert len(wanted) > 20
    assert sorted(f"ra_core/{name}.py" for name in wanted if f"ra_core/{name}.py" not in inputs[rule]) == []

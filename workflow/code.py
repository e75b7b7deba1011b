"""What a step's code comes to: one hash of all that a notebook runs, which no change of a comment or sentence alters.

The modules are found by their imports: those of the notebook, those that these import, and so on, wherever in a module
the import stands. A name that a package only re-exports leads to the module that defines it. Whoever uses a registry
uses all that registers itself there, which is what its package imports. Modules that are imported by a name made up
while running are not found, but for those that a profile names under `extensions`.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

WORDS = ("description", "help")  # arguments that only explain
# What draws, and of the ground floor what computes nothing: a change of them trains nothing anew.
SILENT = "ra_book", *(f"ra_core/{name}.py" for name in ("errors", "files", "human_yaml", "locks", "paths", "progress"))


class _WithoutWords(ast.NodeTransformer):
    """Takes out of parsed code what only people read: docstrings, help, and what an exception says."""

    def visit_Expr(self, node):
        return None if isinstance(getattr(node.value, "value", None), str) else self.generic_visit(node)

    def visit_keyword(self, node):
        return None if node.arg in WORDS else self.generic_visit(node)

    def visit_Raise(self, node):
        if isinstance(node.exc, ast.Call):
            node.exc.args = [arg for arg in node.exc.args if not isinstance(arg, ast.JoinedStr | ast.Constant)]
        return self.generic_visit(node)


def meaning(text: str) -> str:
    """Return a text of Python without comments, layout, docstrings and messages."""
    return ast.dump(_WithoutWords().visit(ast.parse(text)))


class Modules:
    """The modules that lie below a folder, and what they import of one another."""

    def __init__(self, root: Path):
        self.root = Path(root).resolve()
        self.tree, self.imports, self.meaning = cache(self.tree), cache(self.imports), cache(self.meaning)

    def find(self, name: str, elsewhere: Iterable[str] = ()) -> Path | None:
        """Return the file of a module below the folder, or in other folders where they are given."""
        for folder in (self.root, *map(Path, elsewhere)):
            base = folder.joinpath(*name.split("."))
            for path in (base / "__init__.py", base.with_suffix(".py")):
                if path.is_file():
                    return path
        return None

    def used_by(self, code: str, also: Iterable[Path] = (), without: Iterable[str] = ()) -> set[Path]:
        """Return the modules that a text of Python runs, and some `also`, but none that lies at or below `without`."""
        left_out = [self.root / name for name in without]
        found, new = set(), self._imported(ast.parse(code)) | set(also)
        while new:
            new = {path for path in new if not any(path.is_relative_to(place) for place in left_out)}
            found |= new
            new = set().union(*map(self.imports, new)) - found
        return found

    def tree(self, path: Path) -> ast.Module:
        """Return a module parsed."""
        return ast.parse(path.read_text(encoding="utf-8"))

    def meaning(self, path: Path) -> str:
        """Return what the text of a module means."""
        return meaning(path.read_text(encoding="utf-8"))

    def imports(self, path: Path) -> set[Path]:
        """Return the modules that a module imports; of one that makes a registry also those that register there."""
        face = path.with_name("__init__.py")
        found = self._imported(self.tree(path))
        if face.is_file() and _makes_a_registry(self.tree(path)):
            found |= {face} | self._imported(self.tree(face))
        return found - {path}

    def _imported(self, tree: ast.Module) -> set[Path]:
        found = set()
        for node in running(tree):
            if isinstance(node, ast.Import):
                found |= {self.find(alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    found |= self._resolved(node.module, alias, tree)
        return found - {None}

    def _resolved(self, module: str, alias: ast.alias, tree: ast.Module) -> set[Path | None]:
        """Return the modules behind `from module import alias`; of a package those whose names the tree uses."""
        whole = self.find(f"{module}.{alias.name}")
        if whole is None:
            return {self._defining(module, alias.name)}
        used = _attributes(tree, alias.asname or alias.name) if whole.name == "__init__.py" else None
        return {whole} if used is None else {self._defining(f"{module}.{alias.name}", name) for name in used}

    def _defining(self, module: str, name: str) -> Path | None:
        """Return the module that defines a name of a module, which is another one where a package re-exports it."""
        path = self.find(module)
        if path is None or path.name != "__init__.py":
            return path
        for node in self.tree(path).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return self.find(f"{node.module}.{alias.name}") or self._defining(node.module, alias.name)
        return path


def running(tree: ast.AST) -> Iterable[ast.AST]:
    """Yield all nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield node
            yield from running(node)


def _attributes(tree: ast.Module, name: str) -> set[str] | None:
    """Return which attributes of a name a module uses, or None where it uses the name in another way too."""
    found, others = set(), 0
    for node in ast.walk(tree):
        others += isinstance(node, ast.Name) and node.id == name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            found.add(node.attr)
            others -= 1
    return None if others else found


def _makes_a_registry(tree: ast.Module) -> bool:
    values = (node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign))
    return any(isinstance(value, ast.Call) and getattr(value.func, "id", "") == "Registry" for value in values)


class Hashes:
    """What the steps of a project depend on beside their settings; `extensions` are modules that a profile names."""

    def __init__(self, root: Path, extensions: Iterable[str] = ()):
        self.modules = Modules(root)
        self.extensions = {path for name in extensions if (path := self.modules.find(name, sys.path))}
        self.of_notebook, self.of_training = cache(self.of_notebook), cache(self.of_training)
        self.of_files = cache(self.of_files)

    def of_module(self, name: str) -> str:
        """Return the hash of a module and all that it runs."""
        return self._of(self.modules.used_by(f"import {name}", self.extensions))

    def of_files(self, names: tuple[str, ...]) -> str:
        """Return the hash of what files hold."""
        return _short(*(f"{name} {hashlib.sha256(self._read(name)).hexdigest()}" for name in names))

    def of_notebook(self, name: str) -> str:
        """Return the hash of all that a notebook runs, its cells included."""
        code = self._cells(name)
        return self._of(self.modules.used_by(code, self.extensions), meaning(code))

    def of_training(self, name: str) -> str:
        """Return the hash of what computes all that a notebook trains: without its cells and what only draws."""
        return self._of(self.modules.used_by(self._cells(name), self.extensions, without=SILENT))

    def _cells(self, name: str) -> str:
        cells = json.loads(self._read(f"notebooks/{name}.ipynb"))["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")

    def _read(self, name: str) -> bytes:
        return (self.modules.root / name).read_bytes()

    def _of(self, modules: set[Path], *texts: str) -> str:
        return _short(*texts, *(f"{path.stem} {self.modules.meaning(path)}" for path in sorted(modules)))


def _short(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

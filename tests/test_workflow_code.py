"""What the code of a step comes to: comments and words change nothing, code changes what uses it."""

import json

import copied
import pytest

from workflow.code import Hashes, Modules, meaning

FILES = {
    "pack/__init__.py": '"""A package."""\nfrom pack.one import first\nfrom pack.two import second as other\n',
    "pack/one.py": "from pack.deep import base\nfirst = base + 1\n",
    "pack/two.py": "second = 2\n",
    "pack/deep.py": "base = 1\n",
    "pack/typed.py": "kind = int\n",
    "things/__init__.py": "from things import hammer\nfrom things.base import THINGS\n",
    "things/base.py": "from pack.registry import Registry\nTHINGS = Registry('thing')\n",
    "things/hammer.py": "from things.base import THINGS\nTHINGS.add('hammer', 1)\n",
    "pack/registry.py": "class Registry: pass\n",
    "ra_book/draw.py": "from pack.two import second\ncolour = 'red'\n",
    "outside.py": "import pack.typed\n",
}
IMPORTS = ("code", "from pack import first\nfrom ra_book.draw import colour")  # a cell of a notebook
USES = {
    "from pack import first": {"pack/one.py", "pack/deep.py"},
    "from pack import other": {"pack/two.py"},
    "from pack import one": {"pack/one.py", "pack/deep.py"},
    "import pack.deep": {"pack/deep.py"},
    "def late():\n    from pack.two import second": {"pack/two.py"},
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.typed import kind": set(),
    "from things import THINGS": {"things/__init__.py", "things/base.py", "things/hammer.py", "pack/registry.py"},
    "import torch, json": set(),
}


@pytest.fixture
def project(tmp_path):
    """A folder with some modules and a notebook that imports of them."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path, ("markdown", "# Words"), IMPORTS, ("code", "1"))
    return tmp_path


def write_notebook(project, *cells) -> None:
    found = [{"cell_type": kind, "source": text.splitlines(keepends=True)} for kind, text in cells]
    (project / "notebooks" / "a.ipynb").write_text(json.dumps({"cells": found}))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('def f(a):\n    """Words."""\n    return a', "# more\ndef f(a):\n\n    '''Others.'''\n    return (a)"),
        ("raise ValueError(f'{a} is wrong')", "raise ValueError('wrong')"),
        ("f(1, description='words', help='a')", "f(1, description='others')"),
    ],
)
def test_words_and_layout_have_no_meaning(text, same):
    assert meaning(text) == meaning(same)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 'a'", "x = 'b'"),
        ("raise ValueError(a)", "raise ValueError(b)"),
        ("raise ValueError('a')", "raise TypeError('a')"),
        ("f(1, name='a')", "f(1, name='b')"),
        ("print('a')", "print('b')"),
    ],
)
def test_all_else_has_one(text, other):
    assert meaning(text) != meaning(other)


@pytest.mark.parametrize("code", USES)
def test_imports_lead_to_the_module_that_defines_a_name(project, code):
    found = Modules(project).used_by(code)
    assert {path.relative_to(project).as_posix() for path in found} == USES[code]


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("import math\nfrom outer import pack\npack.first", {"pack/one.py", "pack/deep.py"}),
        ("from outer import pack\npack.other, pack.first", {"pack/one.py", "pack/deep.py", "pack/two.py"}),
        ("from outer import pack\nprint(pack)", {"pack/one.py", "pack/deep.py", "pack/two.py", "pack/__init__.py"}),
    ],
)
def test_a_package_stands_for_what_is_used_of_it(project, code, used):
    (project / "outer").mkdir()
    (project / "outer/__init__.py").write_text("")
    (project / "pack").rename(project / "outer/pack")
    for path in project.rglob("*.py"):
        path.write_text(path.read_text().replace("from pack", "from outer.pack"))
    found = Modules(project).used_by(code)
    assert {path.relative_to(project / "outer").as_posix() for path in found} == used


def test_a_notebook_changes_with_its_code_and_that_of_its_modules_and_a_training_only_with_what_computes(project):
    def hashes():
        return Hashes(project).of_notebook("a"), Hashes(project).of_training("a")

    page, training = hashes()
    (project / "pack/deep.py").write_text('"""Words."""\nbase = 1  # more of them\n')
    (project / "pack/typed.py").write_text("kind = str\n")  # used by nobody
    assert hashes() == (page, training)
    (project / "ra_book/draw.py").write_text("colour = 'blue'\n")
    drawn, same = hashes()
    assert drawn != page and same == training
    write_notebook(project, IMPORTS, ("code", "2"))
    assert hashes()[0] not in (page, drawn) and hashes()[1] == training
    write_notebook(project, ("markdown", "Others"), IMPORTS, ("code", "1"))
    assert hashes() == (drawn, training)
    (project / "pack/deep.py").write_text("base = 2\n")
    assert hashes()[0] != drawn and hashes()[1] != training


def test_a_module_that_a_profile_names_counts_with_all_that_it_imports(project):
    alone, extended = (Hashes(project, names).of_training("a") for names in ([], ["outside"]))
    assert alone != extended
    (project / "pack/typed.py").write_text("kind = str\n")
    assert Hashes(project).of_training("a") == alone
    assert Hashes(project, ["outside"]).of_training("a") != extended


def test_files_count_with_every_byte(project):
    (project / "a.csv").write_text("1\n")
    before = Hashes(project).of_files(("a.csv",))
    (project / "a.csv").write_text("1 \n")
    assert Hashes(project).of_files(("a.csv",)) != before
    assert Hashes(project).of_files(()) != before


def test_a_notebook_of_the_book_uses_what_it_computes_with_and_only_the_figures_it_draws():
    modules = Modules(copied.ROOT)
    cells = Hashes(copied.ROOT)._cells("03_train_processor")
    used = {path.relative_to(copied.ROOT).as_posix() for path in modules.used_by(cells)}
    assert {"ra_core/losses.py", "ra_core/models/processors.py", "ra_core/objectives.py"} <= used
    assert not used & {"ra_book/book.py", "ra_book/figures/__init__.py", "ra_core/notebooks.py"}

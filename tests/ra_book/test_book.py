"""The book: built small from synthetic runs, its pages looked into, and bad runs refused."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ra_book import book
from ra_core.errors import OutputError
from ra_core.params import load_profile

SOURCES = Path(__file__).resolve().parents[2] / "book"
RAN = ("sr", "jpeg")  # a profile without dn
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><title>Gains: RA &amp; plain [12.5 %]</title></svg>\n'
TABLE = "| task | top-1 in % |\n| :-- | --: |\n| sr | 61.25 |\n"
VALUES = ["source", "unseen", "seeds", "test_pictures", "train_pictures", "runs", "training_minutes"]
VALUES += ["peak_memory_gb", "device", "commit", "torch"]
PARTS = yaml.safe_load((SOURCES / "_toc.yml").read_text())["parts"]
PAGES = {chapter["file"] for part in PARTS for chapter in part["chapters"]} - {"coding/index"}


def write_notebook(path: Path, title: str, profile: str = "tiny", outputs: list | None = None, **papermill) -> None:
    if outputs is None:
        outputs = [new_output("stream", name="stdout", text=f"said by {path.stem}\n")]
    cells = [
        new_markdown_cell(f"# {title}\n\nWords with $x^2$.", id="words"),
        new_code_cell('profile: str = "quick"', metadata={"tags": ["parameters"]}),
        new_code_cell(f'profile = "{profile}"', metadata={"tags": ["injected-parameters"]}),
        new_code_cell("print()", execution_count=3, outputs=outputs),
    ]
    metadata = {
        "papermill": {"parameters": {"profile": profile}, "exception": None} | papermill,
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A project with the book's real sources and everything a profile of two tasks leaves, but no HTML."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(SOURCES, root / "book", ignore=shutil.ignore_patterns("_build"))
    (root / "params").mkdir()
    (root / "params/tiny.yaml").write_text("# make book PROFILE=tiny\n# Synthetic runs.\ntasks: {sr: {}, jpeg: {}}\n")
    notebooks, report = root / "runs/tiny/notebooks", root / "runs/tiny/report"
    for stem in [*book.PAGES.values(), *(f"04_cross_evaluate-{task}" for task in RAN)]:
        write_notebook(notebooks / f"{stem}.ipynb", "A title that was")
        write_notebook(root / "notebooks" / f"{stem.split('-')[0]}.ipynb", "A title of its own", outputs=[])
    report.mkdir()
    for name in ("headline", "against_the_paper", *(f"curves-{task}" for task in RAN)):
        (report / f"{name}.svg").write_text(SVG)
    for name in ("headline", "against_the_paper", "status"):
        (report / f"{name}.md").write_text(TABLE)
    (report / "published.md").write_text("")  # not a run on ImageNet
    (report / "values.json").write_text(json.dumps({name: f"value-of-{name}" for name in VALUES}))
    return root


@pytest.fixture(scope="module")
def built(pristine, tmp_path_factory) -> Path:
    """The HTML folder of that project."""
    return book.build_book("tiny", pristine, tmp_path_factory.mktemp("output")).parent


@pytest.fixture
def project(pristine, tmp_path) -> Path:
    """A copy of that project to spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "project"))


class Loads(HTMLParser):
    """Collects what a browser fetches by itself when it opens a page."""

    def __init__(self, page: Path):
        super().__init__()
        self.found: list[str] = []
        self.images: list[dict] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "img":
            self.images.append(given)
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.found.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.found.append(given["src"])


def pages(built: Path) -> list[Path]:
    return [page for page in sorted(built.rglob("*.html")) if "_static" not in page.parts]


def article(page: Path) -> str:
    """Return the page's own text, without the navigation around it."""
    return page.read_text().split("<article")[-1].split("</article")[0]


def test_every_page_is_there_and_no_page_of_a_task_that_was_not_run(built):
    found = {str(page.relative_to(built)) for page in pages(built)}
    assert {f"{name}.html" for name in PAGES | {"index", "intro", "results/sr", "results/jpeg"}} <= found
    assert "results/dn.html" not in found and "results/dn" not in (built / "intro.html").read_text()


def test_notebook_pages_show_outputs_titles_and_what_was_executed(built):
    text = (built / "results/sr.html").read_text()
    assert "said by 04_cross_evaluate-sr" in text and "output traceback" not in text
    assert re.search(r"<h1>Super-resolution<", text)
    words = re.sub(r"<[^>]*>", "", article(built / "results/sr.html"))
    assert "notebooks/04_cross_evaluate.ipynb" in words and "profile = tiny" in words
    assert "quick" not in words  # the cell's default was not what ran
    changed = (built / "recognizers.html").read_text()  # its text after it was executed
    assert "A title of its own" in changed and "A title that was" not in changed


def test_pages_hold_what_runs_wrote(built):
    front = (built / "intro.html").read_text()
    assert "value-of-test_pictures" in front and "Synthetic runs." in front and "61.25" in front
    curves = Loads(built / "training_curves.html").images
    assert [image["src"] for image in curves if "curves" in image["src"]] == [
        "_images/curves-sr.svg", "_images/curves-jpeg.svg",
    ]  # fmt: skip
    assert {image["alt"] for image in curves if "curves" in image["src"]} == {"Gains: RA & plain [12.5 %]"}
    assert "value-of-commit" in article(built / "status.html")
    for page in pages(built):
        assert "{{" not in article(page), page


def test_pictures_have_an_alternative_text_and_nothing_is_loaded_from_the_network(built):
    for page in pages(built):
        loads = Loads(page)
        assert all(image.get("alt") for image in loads.images), page
        for address in loads.found:
            assert not re.match(r"(https?:)?//", address), (page, address)
            assert (page.parent / address.split("?")[0]).exists(), (page, address)
    for sheet in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_mathematics_is_drawn_by_the_vendored_library(built):
    page, vendored = built / "method.html", "_static/vendor/mathjax-tex-svg.js"
    assert [a.split("?")[0] for a in Loads(page).found if "mathjax" in a] == [vendored]
    assert r"\mathrm{CE}" in page.read_text()
    assert (built / "_static/vendor/LICENSE-mathjax.txt").exists()


def test_unchanged_book_is_not_built_again_and_a_changed_one_is(built, pristine, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("jupyter-book was called")

    monkeypatch.setattr(book.subprocess, "run", refuse)
    output = built.parents[1]
    assert book.build_book("tiny", pristine, output) == built / "index.html"
    values = pristine / "runs/tiny/report/values.json"
    before = values.read_text()
    try:
        values.write_text(before.replace("value-of-commit", "another"))
        with pytest.raises(AssertionError, match="was called"):
            book.build_book("tiny", pristine, output)
    finally:
        values.write_text(before)


def test_a_warning_fails_the_build_and_leaves_the_old_html(project, tmp_path, capsys):
    for page in ("architecture", "use", "method"):
        (project / f"book/{page}.md").write_text("# Short\n\nSee [](nowhere.md).\n")
    old = tmp_path / "output/_build/html/index.html"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    with pytest.raises(OutputError, match="book"):
        book.build_book("tiny", project, tmp_path / "output")
    assert old.read_text() == "old" and "nowhere" in capsys.readouterr().err


FAILED = [new_output("error", ename="ValueError", evalue="no", traceback=["no"])]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_text("{}x"), "not a notebook"),
        (lambda path: write_notebook(path, "T", outputs=FAILED), "ValueError"),
        (lambda path: write_notebook(path, "T", exception=True), "failed"),
        (lambda path: write_notebook(path, "T", profile="quick"), "'quick'"),
        (lambda path: write_notebook(path, "T", parameters={}), "None"),
        (lambda path: write_notebook(path, "T", outputs=[]), "no outputs"),
    ],
)
def test_a_bad_notebook_is_refused(project, spoil, named):
    path = project / "runs/tiny/notebooks/04_cross_evaluate-jpeg.ipynb"
    spoil(path)
    with pytest.raises(OutputError, match=named) as error:
        book.build_book("tiny", project, project / "output")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not (project / "output").exists()


@pytest.mark.parametrize("name", ["values.json", "curves-jpeg.svg", "status.md"])
def test_a_missing_report_file_is_named(project, name):
    (project / "runs/tiny/report" / name).unlink()
    with pytest.raises(OutputError, match=name):
        book.build_book("tiny", project, project / "output")


def test_a_value_that_no_run_wrote_is_named(project):
    (project / "book/status.md").write_text("# Status\n\nIt took {{ eternity }}.\n")
    with pytest.raises(OutputError, match="eternity"):
        book.build_book("tiny", project, project / "output")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script defer src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', ["//cdn.example/x.css"]),
        ("@font-face { src: url(https://cdn.example/x.woff2) }", ["https://cdn.example/x.woff2"]),
        ('@import "http://cdn.example/x.css";', ["http://cdn.example/x.css"]),
        ('<img alt="a" src="http://cdn.example/x.png"/>', ["http://cdn.example/x.png"]),
        ('<a href="https://arxiv.org/abs/1910.09185">paper</a> <img src="data:image/svg+xml;base64,AAAA">', []),
        ('<link rel="canonical" href="https://example.org/"/> <script src="_static/x.js"></script>', []),
    ],
)
def test_network_addresses_are_found(text, found):
    assert book.find_network(text) == found


def test_main_prints_the_front_page_or_one_sentence(pristine, built, monkeypatch, capsys):
    monkeypatch.setattr(book, "project_root", lambda: pristine)
    assert book.main(["tiny", "--output", str(built.parents[1])]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(built / "index.html")
    assert book.main(["nothing"]) == 1
    assert "profile 'nothing' is unknown" in capsys.readouterr().err


def test_published_figures_are_complete():
    rows = pd.read_csv(SOURCES / "published.csv")
    assert list(rows) == ["task", "mode", "recognizer", "top1", "source"]
    assert len(rows) == 45 and not rows.duplicated(["task", "mode", "recognizer"]).any()
    cell = rows.set_index(["task", "mode", "recognizer"]).top1
    assert cell["sr", "ra", "resnet18"] == 61.8 and cell["jpeg", "ra_unsupervised", "vgg16_bn"] == 50.0


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (SOURCES / f"{page}.md").read_text(), re.DOTALL)


def test_the_table_of_the_sample_needs_a_picture_of_every_class(tmp_path, monkeypatch):
    (snippet,) = snippets("your_own_data")
    pictures = tmp_path / "data" / "imagenet-sample" / "pictures"
    pictures.mkdir(parents=True)
    for i in range(1000):
        (pictures / f"n{i:08}_thing.JPEG").touch()
    monkeypatch.chdir(tmp_path)
    exec(snippet, {})
    rows = (pictures.parent / "labels.csv").read_text().splitlines()
    assert len(rows) == 1001 and rows[7] == '"n00000006_thing.JPEG",6'
    (pictures / "n00000003_thing.JPEG").rename(pictures / "n00000004_another.JPEG")
    with pytest.raises(AssertionError, match="every class has one picture"):
        exec(snippet, {})


def test_the_snippets_of_the_page_on_use_and_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (12, 8), "teal").save("small.png")
    exec("\n".join(snippets("use")), {})
    assert Image.open("large.png").size == Image.open("sent.jpg").size == (48, 32)
    assert "%" in capsys.readouterr().out
    Path("large.png").unlink()
    readme = snippets("../README")[0]
    assert len(list(filter(None, readme.splitlines()))) == 3
    exec(readme, {})
    assert Image.open("large.png").size == (48, 32)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.parametrize(("page", "wanted"), [("index.html", "The result"), ("method.html", "<mjx-container")])
def test_chromium_shows_the_page_without_network(built, tmp_path, page, wanted):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom",
        (built / page).as_uri(),
    ]  # fmt: skip
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0 and wanted in shown.stdout, shown.stderr[-2000:]


def test_a_run_on_imagenet_stands_beside_the_paper_number_by_number(project):
    def substitutions() -> dict:
        config = yaml.safe_load(book.collect(load_profile("tiny", folder=project / "params"), project)["_config.yml"])
        return config["parse"]["myst_substitutions"]

    assert "**Levels cannot be compared**" in substitutions()["levels"] and not substitutions()["published_tables"]
    (project / "runs/tiny/report/published.md").write_text(TABLE)
    assert "The pictures and recognizers are the paper's." in substitutions()["levels"]
    assert substitutions()["published_tables"] == TABLE

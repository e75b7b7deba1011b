"""The book: its pages, executed notebooks and report files put together, checked, and built into HTML.

`python -m ra_book.book PROFILE [--output FOLDER]` writes `FOLDER/_build/html`, by default in `runs/PROFILE`.
Nothing is executed and nothing is fetched. A build that fails leaves the HTML that was there.
"""

import argparse
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import yaml

from ra_book.figures.look import codec_title
from ra_book.sections import applicable
from ra_book.speed import speed_text
from ra_core.errors import OutputError, exit_status
from ra_core.files import write_text
from ra_core.params import load_profile, said_of
from ra_core.paths import project_root

PAGES = {
    "data_and_channels": "01_data_and_channels",
    "recognizers": "02_recognizers",
    "report": "05_report",
    "reference_results": "11_reference_results",
    "planning": "12_planning",
}
TASK_PAGE, TASK_NOTEBOOK = "results/{}", "04_cross_evaluate-{}"
CODING_INDEX = "coding/index"  # there only where the profile has preprocessing before codecs
DATASET_TITLES = {"cells": "Solar cells", "scenes": "Scenes"}
REPORT = (
    "values.json",
    "headline.svg",
    "headline.md",
    "against_the_paper.svg",
    "against_the_paper.md",
    "published.md",
    "status.md",
)
# What a reader may compare with the paper's numbers, by whether the run is on ImageNet.
LEVELS = {
    True: "The pictures and recognizers are the paper's. Unlike the paper we score 8-bit pictures and give intervals; "
    "the paper's numbers have none.",
    False: "These are different data sets, networks and lengths of training. **Levels cannot be compared**: a top-1 "
    "accuracy over a thousand classes and one over ten have little to do with each other. What can be compared is "
    "whether each mode gains over `plain` of the same column, and in which order.",
}
STAMP = ".inputs"  # in the HTML folder: the digest of what it was built from
NETWORK = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\bsrc\s*=\s*["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|<link\b(?![^>]*\brel=["']?(?:canonical|next|prev|author))[^>]*?\bhref\s*=\s*["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)"""
)


def build_book(profile: str, root: Path, output: Path) -> Path:
    """Build the book of a profile of the project at `root` unless nothing changed; return its `index.html`.

    Raises `OutputError` where a run that a page needs is missing, failed or foreign, or a page is not sound.
    """
    output_html = output / "_build" / "html"
    settings = load_profile(profile, folder=root / "params")
    files = collect(profile, list(settings.tasks), root, settings.preprocessing)
    digest = _digest(files)
    stamp, index = output_html / STAMP, output_html / "index.html"
    if index.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return index
    try:
        _build(files, digest, root / "runs" / profile / "book", output_html)
    except OSError as error:
        raise OutputError(
            f"the book could not be written ({error}); what was built before is untouched: free some space "
            "or choose a folder you may write to, then run again."
        ) from error
    return index


def coding_pages(preprocessing: dict) -> dict[str, tuple[str, str]]:
    """Return the pages on preprocessing before codecs, each with its notebook and its title."""
    pages = {"coding/proxies": ("06_train_proxy", "Proxies beside the codecs")} if preprocessing else {}
    for dataset, settings in preprocessing.items():
        title = DATASET_TITLES.get(dataset, dataset.replace("_", " ").capitalize())
        for codec in settings.all_codecs:
            note = "" if codec in settings.codecs else " (transfer)"
            pages[f"coding/{dataset}-{codec}"] = (
                f"08_rate_accuracy-{dataset}-{codec}", f"{title}: {codec_title(codec)}{note}"
            )  # fmt: skip
        for codec in settings.both_ends:
            pages[f"coding/both-ends-{dataset}-{codec}"] = (
                f"09_both_ends-{dataset}-{codec}", f"{title}: both ends of {codec_title(codec)}"
            )  # fmt: skip
    return pages


def _list_coding(toc, coding: dict[str, tuple[str, str]], files: dict[str, bytes]) -> None:
    """Put the pages on codecs into the table of contents, or take their first page out where there are none."""
    if not coding:
        files.pop(f"{CODING_INDEX}.md", None)
        _drop(toc, {CODING_INDEX})
        return
    for part in toc["parts"]:
        for chapter in part["chapters"]:
            if chapter.get("file") == CODING_INDEX:
                chapter["sections"] = [{"file": page, "title": title} for page, (_, title) in coding.items()]


def collect(profile: str, tasks: list[str], root: Path, preprocessing: dict | None = None) -> dict[str, bytes]:
    """Return every file of the book to build by its path: sources, executed notebooks and report files."""
    preprocessing = preprocessing or {}
    source, runs = root / "book", root / "runs" / profile
    files = {
        str(path.relative_to(source)): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file() and path.relative_to(source).parts[0] != "_build"
    }
    toc, config = (yaml.safe_load(files[name]) for name in ("_toc.yml", "_config.yml"))
    coding = coding_pages(preprocessing)
    _list_coding(toc, coding, files)
    notebooks = PAGES | {TASK_PAGE.format(task): TASK_NOTEBOOK.format(task) for task in tasks}
    notebooks |= {page: stem for page, (stem, _) in coding.items()}
    listed = {page for page, _ in _entries(toc) if Path(page).parent == Path(TASK_PAGE).parent}
    _drop(toc, {page for page in listed if page not in notebooks and f"{page}.md" not in files})
    titles = dict(_entries(toc))
    unlisted = next((page for page in notebooks if page not in titles), None)
    if unlisted:
        raise OutputError(f"book/_toc.yml has no entry {unlisted}; add it with a title.")
    for page, stem in notebooks.items():
        notebook = read_notebook(runs / "notebooks" / f"{stem}.ipynb", profile)
        files[f"{page}.ipynb"] = _as_page(notebook, stem, titles.get(page)).encode()
    transfers = [f"transfer-{dataset}" for dataset in preprocessing]
    own = [*(f"curves-{task}.svg" for task in tasks), *(["bd.md", "cost.md"] if coding else [])]
    own += [f"{name}.{kind}" for name in transfers for kind in ("svg", "md")]
    for name in (*REPORT, *own):
        path = runs / "report" / name
        if not path.exists():
            raise OutputError(f"{path} is missing; run notebook 05_report for the profile {profile}.")
        files[f"generated/{name}"] = path.read_bytes()
    values = _substitutions(profile, tasks, root, files)
    values["transfer_figures"] = "\n\n".join(
        f"{_figure(f'{name}.svg', files)}\n\n::::{{div}} wide\n{files[f'generated/{name}.md'].decode()}\n::::"
        for name in transfers
    )
    _check_names(files, values)
    config.setdefault("parse", {})["myst_substitutions"] = values
    files["_toc.yml"], files["_config.yml"] = (_yaml(part) for part in (toc, config))
    return files


def read_notebook(path: Path, profile: str) -> nbformat.NotebookNode:
    """Return an executed notebook.

    Raises `OutputError` unless it ran to its end, for this profile, with outputs.
    """
    if not path.exists():
        raise OutputError(f"{path} is missing; run its notebook for the profile {profile} (`make book` does).")
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise OutputError(f"{path} is not a notebook ({str(error).splitlines()[0]}); run it again.") from error
    papermill = notebook.metadata.get("papermill", {})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = next((output for output in outputs if output.output_type == "error"), None)
    if failed or papermill.get("exception"):
        name = f" with {failed.ename}" if failed else ""
        raise OutputError(f"{path} holds a run that failed{name}; mend the cause and run it again.")
    given = papermill.get("parameters", {}).get("profile")
    if given != profile:
        raise OutputError(f"{path} was run for the profile {given!r}, not {profile!r}; run it again for {profile}.")
    if not outputs:
        raise OutputError(f"{path} has no outputs, so it was never executed; run it for the profile {profile}.")
    return notebook


def find_network(text: str) -> list[str]:
    """Return every address that a page or style sheet would load from the network when it is opened."""
    return [next(filter(None, found)) for found in NETWORK.findall(text)]


def _as_page(notebook: nbformat.NotebookNode, stem: str, title: str | None) -> str:
    """Return a notebook as a page: titled as in the table of contents, with a line that says what was run."""
    parameters = notebook.metadata.papermill.parameters
    given = ", ".join(f"`{name} = {value}`" for name, value in parameters.items())
    notebook.cells = [c for c in applicable(notebook.cells) if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-cell")  # the line below says what was really used
    first = notebook.cells[0]
    if title:
        first.source = re.sub(r"\A# .*", f"# {title}", first.source)
    line = f"*This page is `notebooks/{stem.split('-')[0]}.ipynb`, executed with {given}.*"
    first.source += f"\n\n```{{div}} source\n{line}\n```\n"
    return nbformat.writes(notebook)


def _substitutions(profile: str, tasks: list[str], root: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Return what `{{ name }}` stands for in the pages: values and figures of the report, and more."""
    values = json.loads(files["generated/values.json"])
    command, about = said_of(profile, (root / "params" / f"{profile}.yaml").read_text(encoding="utf-8"))
    curves = "\n\n".join(_figure(f"curves-{task}.svg", files) for task in tasks)
    return values | {
        # Names in code spans are not replaced, so what is to look like code brings its own marks.
        "profile": f"`{profile}`",
        "command": f"`{command}`",
        "about": about or profile,
        "headline_figure": _figure("headline.svg", files),
        "against_the_paper_figure": _figure("against_the_paper.svg", files),
        "training_curves_figures": curves,
        "speed": speed_text(root),
        "published_tables": files["generated/published.md"].decode(),
        "levels": LEVELS[bool(files["generated/published.md"])],
    }


def _figure(name: str, files: dict[str, bytes]) -> str:
    """Return the directive that shows a figure, with the title it carries as its alternative text."""
    title = re.search(rb"<title>(.*?)</title>", files[f"generated/{name}"], re.DOTALL)
    alt = " ".join(html.unescape(title[1].decode()).split()) if title else name
    return f"```{{image}} /generated/{name}\n:alt: {json.dumps(alt, ensure_ascii=False)}\n:width: 100%\n```"


def _check_names(files: dict[str, bytes], values: dict[str, str]) -> None:
    for page, content in files.items():
        if page.endswith(".md"):
            for name in re.findall(r"\{\{\s*(\w+)", content.decode()):
                if name not in values:
                    raise OutputError(
                        f"book/{page} uses the value {name!r}, which no run wrote; take it out or write it."
                    )


def _entries(toc) -> list[tuple[str, str | None]]:
    """Return every file of a table of contents with its title, if it has one."""
    if isinstance(toc, list):
        return [entry for part in toc for entry in _entries(part)]
    if not isinstance(toc, dict):
        return []
    own = [(toc["file"], toc.get("title"))] if "file" in toc else []
    return own + _entries([part for part in toc.values() if isinstance(part, list)])


def _drop(toc, pages: set[str]) -> None:
    """Take pages out of a table of contents."""
    if isinstance(toc, list):
        toc[:] = [entry for entry in toc if not (isinstance(entry, dict) and entry.get("file") in pages)]
        for entry in toc:
            _drop(entry, pages)
    elif isinstance(toc, dict):
        for part in toc.values():
            _drop(part, pages)


def _yaml(value) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000).encode()


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256(version("jupyter-book").encode() + Path(__file__).read_bytes())
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()


def _build(files: dict[str, bytes], digest: str, staged: Path, output_html: Path) -> None:
    """Build in the folder `staged`, check the pages, and only then put them in place of the old ones."""
    shutil.rmtree(staged, ignore_errors=True)
    for name, content in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(staged)]
    done = subprocess.run([*book, "-W", "-n", "--keep-going"], capture_output=True, text=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).splitlines()
    built = staged / "_build" / "html"
    if done.returncode or not (built / "index.html").exists():
        said = [line for line in lines if re.search("WARNING|ERROR|Error", line)] or lines[-20:]
        print("\n".join(said), file=sys.stderr)
        raise OutputError(f"the book in {staged} did not build without warnings; mend what is listed above.")
    _check_pages(built, [name.removesuffix(".ipynb") for name in files if name.endswith(".ipynb")])
    write_text(built / STAMP, digest)
    new, old = output_html.with_name(".html-new"), output_html.with_name(".html-old")
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, new)
    if output_html.exists():
        output_html.rename(old)
    new.rename(output_html)
    shutil.rmtree(old, ignore_errors=True)


def _check_pages(built: Path, notebooks: list[str]) -> None:
    for page in notebooks:
        text = (built / f"{page}.html").read_text(encoding="utf-8")
        if "cell_output" not in text or "output traceback" in text:
            raise OutputError(f"the page {page} shows no outputs, or an error; run its notebook again.")
    for path in sorted([*built.rglob("*.html"), *built.rglob("*.css")]):
        found = find_network(path.read_text(encoding="utf-8", errors="replace"))
        if found:
            raise OutputError(f"the page {path.relative_to(built)} would load {found[0]} from the network; ship it.")


def main(arguments: list[str] | None = None) -> int:
    """Build the book of a profile and print the path of its first page. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_book.book", description="Build the book of a profile.")
    parser.add_argument("profile", help="name of a file in params/")
    parser.add_argument("--output", type=Path, help="folder that gets _build/html (default: runs/PROFILE)")
    given = parser.parse_args(arguments)

    def build() -> None:
        root = project_root()
        print(build_book(given.profile, root, given.output or root / "runs" / given.profile).resolve())

    return exit_status(build)


if __name__ == "__main__":
    sys.exit(main())

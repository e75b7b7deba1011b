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

import yaml

from ra_book.carried import CLASSES, CODED, FIGURES, TRANSFERRED, classes_text, coded_text, transferred_text
from ra_book.figures import codec_title, dataset_title, render, task_title
from ra_book.sections import applicable, report_files, sources
from ra_book.speed import speed_text, spent_text
from ra_core.errors import OutputError, exit_status
from ra_core.files import write_text
from ra_core.notebooks import LEFT_OUT, nbformat
from ra_core.params import Profile, header, load_profile
from ra_core.paths import project_root

PAGES = {
    "photographs": "13_photographs",
    "transfer": "15_transfer",
    "boundaries": "16_boundaries",
    "data_and_channels": "01_data_and_channels",
    "recognizers": "02_recognizers",
    "report": "05_report",
    "reference_results": "11_reference_results",
    "planning": "12_planning",
    "study": "14_study",
}
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
    files = collect(load_profile(profile, folder=root / "params"), root)
    digest = _digest(files)
    stamp, index = output_html / STAMP, output_html / "index.html"
    if index.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return index
    try:
        built = _build(files, root / "runs" / profile / "book")
        write_text(built / STAMP, digest)
        _replace(output_html, built)
    except OSError as error:
        raise OutputError(f"the book could not be written ({error}); mend that and build it again.") from error
    return index


def task_pages(tasks: list[str]) -> dict[str, tuple[str, str]]:
    """Return the page of each task with its notebook and its title."""
    return {f"results/{task}": (f"04_cross_evaluate-{task}", task_title(task)) for task in tasks}


def coding_pages(settings: Profile) -> dict[str, tuple[str, str]]:
    """Return the pages on preprocessing before codecs, each with its notebook and its title."""
    pages = {"coding/proxies": ("06_train_proxy", "Proxies beside the codecs")} if settings.learning else {}
    for dataset, coding in settings.preprocessing.items():
        title = dataset_title(dataset)
        for codec in coding.all_codecs:
            note = "" if codec in coding.codecs else " (transfer)"
            stem = f"08_rate_accuracy-{dataset}-{codec}"
            pages[f"coding/{dataset}-{codec}"] = stem, f"{title}: {codec_title(codec)}{note}"
        for codec in coding.both_ends:
            stem = f"09_both_ends-{dataset}-{codec}"
            pages[f"coding/both-ends-{dataset}-{codec}"] = stem, f"{title}: both ends of {codec_title(codec)}"
    return pages


def collect(settings: Profile, root: Path) -> dict[str, bytes]:
    """Return every file of the book to build by its path: sources, executed notebooks and report files."""
    source, runs = root / "book", root / "runs" / settings.name
    files = {str(path.relative_to(source)): path.read_bytes() for path in sources(source)}
    toc, config = (yaml.safe_load(files[name]) for name in ("_toc.yml", "_config.yml"))
    sections = {"results/index": task_pages(settings.tasks), "coding/index": coding_pages(settings)}
    titles = _list_pages(toc, files, sections)
    pages = {page: (stem, titles.get(page)) for page, stem in PAGES.items()}
    for page, (stem, title) in (pages | sections["results/index"] | sections["coding/index"]).items():
        notebook = read_notebook(runs / "notebooks" / f"{stem}.ipynb", settings.name)
        files[f"{page}.ipynb"] = _as_page(notebook, root / "notebooks" / f"{stem.split('-')[0]}.ipynb", title).encode()
    for name in report_files(settings):
        path = runs / "report" / name
        if not path.exists():
            given = f"notebooks/05_report.ipynb {runs / 'notebooks/05_report.ipynb'} profile={settings.name}"
            raise OutputError(f"{path} is missing; run python -m ra_core.notebooks {given}, then make book again.")
        files[f"generated/{name}"] = path.read_bytes()
    for name, draw in FIGURES.items():
        if drawn := draw(root):
            files[f"generated/{name}.svg"] = render(drawn, "svg")
    values = _substitutions(settings, root, files)
    _check_names(files, values)
    config.setdefault("parse", {})["myst_substitutions"] = values
    for name, content in (("_toc.yml", toc), ("_config.yml", config)):
        files[name] = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000).encode()
    return files


def read_notebook(path: Path, profile: str) -> nbformat.NotebookNode:
    """Return an executed notebook.

    Raises `OutputError` unless it ran to its end, for this profile, with outputs.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "is not a notebook"
        raise OutputError(
            f"{path} {reason}; run python -m ra_core.notebooks notebooks/{path.stem.split('-')[0]}.ipynb {path} "
            f"profile={profile}, with the parameters that python -m workflow.graph {profile} lists for {path.stem}."
        ) from error
    papermill = notebook.metadata.get("papermill", {})
    given = papermill.get("parameters", {}).get("profile")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = [output.ename for output in outputs if output.output_type == "error"]
    if failed or papermill.get("exception"):
        raise OutputError(f"{path} holds a run that failed {failed}; mend the cause and run it again.")
    if given != profile:
        raise OutputError(f"{path} was run for the profile {given!r}, not {profile!r}; run it again for {profile}.")
    if not outputs:
        raise OutputError(f"{path} has no outputs, so it was never executed; run it for the profile {profile}.")
    return notebook


def find_network(text: str) -> list[str]:
    """Return every address that a page or style sheet would load from the network when it is opened."""
    return [next(filter(None, found)) for found in NETWORK.findall(text)]


def _list_pages(toc: dict, files: dict[str, bytes], sections: dict[str, dict]) -> dict[str, str | None]:
    """Put the pages of a profile below their chapters, take out chapters without any; return titles by page."""
    for part in toc["parts"]:
        for chapter in [chapter for chapter in part["chapters"] if chapter["file"] in sections]:
            pages = sections[chapter["file"]]
            chapter["sections"] = [{"file": page, "title": title} for page, (_, title) in pages.items()]
            if not pages:
                part["chapters"].remove(chapter)
                files.pop(f"{chapter['file']}.md")
    return {chapter["file"]: chapter.get("title") for part in toc["parts"] for chapter in part["chapters"]}


def _as_page(notebook: nbformat.NotebookNode, source: Path, title: str | None) -> str:
    """Return an executed notebook as a page: titled as in the table of contents, with a line that says what was run.

    Text is that of the notebook `source` as it stands today, since a change of text executes nothing again.
    """
    text = {cell.id: cell.source for cell in nbformat.read(source, as_version=4).cells if cell.cell_type == "markdown"}
    for cell in notebook.cells:
        cell.source = text.get(cell.id, cell.source)
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            cell.metadata.tags.append("remove-cell")  # the line below says what was really used
    notebook.cells = applicable(notebook.cells)
    first = notebook.cells[0]
    if title:
        first.source = re.sub(r"\A# .*", f"# {title}", first.source)
    given = ", ".join(f"`{name} = {value}`" for name, value in notebook.metadata.papermill.parameters.items())
    line = f"*This page is `notebooks/{source.name}`, executed with {given}.*"
    first.source += f"\n\n```{{div}} source\n{line}\n```\n"
    return nbformat.writes(notebook)


def _substitutions(settings: Profile, root: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Return what `{{ name }}` stands for in the pages: values and figures of the report, and more."""
    report = {
        name.removeprefix("generated/"): content.decode() for name, content in files.items() if "generated" in name
    }
    command, about = header(settings.name, (root / "params" / f"{settings.name}.yaml").read_text(encoding="utf-8"))

    def figures(*names: str) -> str:
        return "\n\n".join(_figure(name, report[f"{name}.svg"]) for name in names)

    transfers = [
        f"{figures(name)}\n\n::::{{div}} wide\n{report[f'{name}.md']}\n::::"
        for name in (f"transfer-{dataset}" for dataset in settings.preprocessing)
    ]
    # Names in code spans are not replaced, so what is to look like code brings its own marks.
    return json.loads(report["values.json"]) | {
        "profile": f"`{settings.name}`", "command": f"`{command}`", "about": about or settings.name,
        "headline_figure": figures("headline"), "against_the_paper_figure": figures("against_the_paper"),
        "training_curves_figures": figures(*(f"curves-{task}" for task in settings.tasks)),
        "transfer_figures": "\n\n".join(transfers), "speed": speed_text(root),
        "spent": spent_text(root / "runs" / settings.name / "notebooks"),
        "published_tables": report["published.md"], "levels": LEVELS[bool(report["published.md"])],
    } | {about: transferred_text(root, about) for about in TRANSFERRED} | {
        about: coded_text(root, about) for about in CODED
    } | {about: classes_text(root, about) for about in CLASSES} | {
        f"{name}_figure": figures(name) if f"{name}.svg" in report else "" for name in FIGURES
    }  # fmt: skip


def _figure(name: str, svg: str) -> str:
    """Return the directive that shows a figure, with the title it carries as its alternative text."""
    title = re.search(r"<title>(.*?)</title>", svg, re.DOTALL)
    alt = " ".join(html.unescape(title[1]).split()) if title else name
    return f"```{{image}} /generated/{name}.svg\n:alt: {json.dumps(alt, ensure_ascii=False)}\n:width: 100%\n```"


def _check_names(files: dict[str, bytes], values: dict[str, str]) -> None:
    for page in (name for name in files if name.endswith(".md")):
        for name in re.findall(r"\{\{\s*(\w+)", files[page].decode()):
            if name not in values:
                raise OutputError(f"book/{page} uses the value {name!r}, which no run wrote; take it out or write it.")


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256(version("jupyter-book").encode() + Path(__file__).read_bytes())
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()


def _build(files: dict[str, bytes], staged: Path) -> Path:
    """Build in the folder `staged` with warnings as errors, check the pages, and return their folder."""
    shutil.rmtree(staged, ignore_errors=True)
    for name, content in files.items():
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        (staged / name).write_bytes(content)
    start = f"import sys; sys.modules[{LEFT_OUT!r}] = None; from jupyter_book.cli.main import main; main()"
    book = [sys.executable, "-c", start, "build", str(staged)]
    done = subprocess.run([*book, "-W", "-n", "--keep-going"], capture_output=True, text=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).splitlines()
    built = staged / "_build" / "html"
    if done.returncode or not (built / "index.html").exists():
        found = [line for line in lines if re.search("WARNING|ERROR|Error", line)] or lines[-20:]
        print("\n".join(found), file=sys.stderr)
        raise OutputError(f"the book in {staged} did not build without warnings; mend what is listed above.")
    for page in (name.removesuffix(".ipynb") for name in files if name.endswith(".ipynb")):
        text = (built / f"{page}.html").read_text(encoding="utf-8")
        if "cell_output" not in text or "output traceback" in text:
            raise OutputError(f"the page {page} shows no outputs, or an error; run its notebook again.")
    for path in sorted([*built.rglob("*.html"), *built.rglob("*.css")]):
        if found := find_network(path.read_text(encoding="utf-8", errors="replace")):
            raise OutputError(f"the page {path.relative_to(built)} would load {found[0]} from the network; ship it.")
    return built


def _replace(target: Path, built: Path) -> None:
    """Put a folder in place of another, which is there until the new one is complete."""
    new = target.with_name(".html-new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(built, new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


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

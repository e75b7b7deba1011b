"""What a book is made of: its sources, and what only some profiles have, files of the report and sections."""

from pathlib import Path

WHERE_IT_APPLIES = "where-it-applies"  # tag of a section's heading
REPORT = ("values.json", "headline.svg", "headline.md", "against_the_paper.svg", "against_the_paper.md", "published.md",
          "status.md")  # fmt: skip


def sources(folder: Path) -> list[Path]:
    """Return the files of the folder `book`, without what programs leave there."""
    left = {"_build", "__pycache__"}
    return [
        path for path in sorted(folder.rglob("*")) if path.is_file() and not left & {*path.relative_to(folder).parts}
    ]


def report_files(profile) -> list[str]:
    """Return the names of the files that notebook 05 leaves for the book of a profile."""
    transfers = [f"transfer-{dataset}.{kind}" for dataset in profile.preprocessing for kind in ("svg", "md")]
    return [
        *REPORT,
        *(f"curves-{task}.svg" for task in profile.tasks),
        *(["bd.md", "cost.md"] * bool(transfers)),
        *transfers,
    ]


def applicable(cells: list) -> list:
    """Return the cells of an executed notebook without the sections tagged so whose cells have no output.

    A section reaches from its heading to the next one, of any level.
    """
    kept, section = [], []
    for cell in [*cells, None]:
        if cell is None or _is_heading(cell):
            kept += [] if section and _is_empty(section) else section
            section = []
        section.append(cell)
    return kept


def _is_heading(cell) -> bool:
    return cell["cell_type"] == "markdown" and cell["source"].startswith("#")


def _is_empty(section: list) -> bool:
    tagged = WHERE_IT_APPLIES in section[0]["metadata"].get("tags", [])
    return tagged and not any(cell.get("outputs") for cell in section)

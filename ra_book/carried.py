"""What was measured once and no book measures again, as pages say it: out of `results/`."""

from functools import partial
from pathlib import Path

import pandas as pd

from ra_book import figures

# Profiles of photographs before codecs, by who looks at what arrives.
CODED = {"before_a_codec": "photos_coding", "before_a_codec_boxes": "photos_coding_detection"}
# Profiles that train nothing and judge finished processors on other pictures, by what a page is about.
TRANSFERRED = {
    "detection": {
        "photos_detection": "COCO, val2017", "photos_detection_voc": "Pascal VOC",
        "cifar10_on_scenes": "composed scenes, processors of CIFAR-10",
    },
    "unseen_data": {
        "photos_on_cifar10": "processors of photographs on CIFAR-10",
        "photos_on_cells": "processors of photographs on solar cells",
        "cifar10_on_photos": "processors of CIFAR-10 on photographs",
        "cifar10_on_cells": "processors of CIFAR-10 on solar cells",
    },
}  # fmt: skip
# Profiles by the half of the classes that they are judged on, and by the classes that training saw.
CLASSES = {
    "unseen_categories": {
        ("even", "the same"): "cifar10_even", ("even", "all ten"): "cifar10_narrow_on_even",
        ("even", "the others"): "cifar10_odd_on_even", ("odd", "the same"): "cifar10_odd",
        ("odd", "all ten"): "cifar10_narrow_on_odd", ("odd", "the others"): "cifar10_even_on_odd",
    },
    "unseen_categories_photos": {
        ("even", "the same"): "photos_even", ("even", "all"): "photos_sources_on_even",
        ("even", "the others"): "photos_odd_on_even", ("odd", "the same"): "photos_odd",
        ("odd", "all"): "photos_sources_on_odd", ("odd", "the others"): "photos_even_on_odd",
    },
}  # fmt: skip


def transferred_text(root: Path, about: str) -> str:
    """Return the tables of finished processors on other pictures in the project at `root`, a heading each."""
    texts = []
    for name, title in TRANSFERRED[about].items():
        folder = root / "results" / name
        if (folder / "paired.csv").exists():
            accuracy, paired = (pd.read_csv(folder / f"{table}.csv") for table in ("accuracy", "paired"))
            counts = "; ".join(_counted(mode, rows) for mode, rows in paired.groupby("mode", sort=False))
            table = figures.transferred_table(accuracy, paired)
            title = title[:1].upper() + title[1:]
            head = f"**{title}, {accuracy['n'].max():,} pictures** (`results/{name}`). Judge by judge, {counts}."
            texts.append(f"{head}\n\n{_wide(table)}")
    commands = " and ".join(f"`make book PROFILE={name}`" for name in TRANSFERRED[about])
    return "\n\n".join(texts) or f"Not measured: {commands} do it."


def _counted(mode: str, rows: pd.DataFrame) -> str:
    """Say how often a mode is above `plain`, and how often its interval is on one side of zero."""
    above, shown, lost = ((rows["difference"] > 0).sum(), (rows["low"] > 0).sum(), (rows["high"] < 0).sum())
    return (
        f"`{figures.look(mode).label}` is above `plain` in {above} of {len(rows)} comparisons, with the whole interval "
        f"in {shown}, and with the whole interval below it in {lost}"
    )


def _wide(table: pd.DataFrame) -> str:
    """Return a table as a page has it that is wider than its text."""
    return f"::::{{div}} wide\n{figures.to_markdown(table)}\n::::"


def coded_text(root: Path, about: str) -> str:
    """Return the tables of bytes that photographs need before codecs, of the project at `root`, a heading each."""
    name = CODED[about]
    path = root / "results" / name / "bd_rate.csv"
    if not path.exists():
        return f"Not measured: `make book PROFILE={name}` does it."
    by_codec = pd.read_csv(path).groupby("codec", sort=False)
    return "\n\n".join(
        f"**{figures.codec_title(codec)}**\n\n{_wide(figures.bd_by_method(rows))}" for codec, rows in by_codec
    )


def coded_figure(root: Path) -> figures.Figure | None:
    """Return the figure of what every method gains behind JPEG at the same bytes, where that was measured."""
    path = root / "results" / CODED["before_a_codec"] / "same_bytes.csv"
    return figures.same_bytes_gains(pd.read_csv(path).query("codec == 'jpeg-optimized'")) if path.exists() else None


def classes_text(root: Path, about: str) -> str:
    """Return the table of gains by the classes that training saw, of the project at `root`."""
    found = _by_classes(root, about)
    if not found:
        profiles = ", ".join(f"`make book PROFILE={name}`" for name in CLASSES[about].values())
        return f"Not measured: {profiles} do it."
    return _wide(figures.classes_table(found))


def classes_figure(about: str, root: Path) -> figures.Figure | None:
    """Return the figure of the same gains, where they were measured."""
    return figures.gains_by_classes(found) if (found := _by_classes(root, about)) else None


def _by_classes(root: Path, about: str) -> dict[tuple[str, str], pd.DataFrame]:
    paths = {seen: root / "results" / name / "paired.csv" for seen, name in CLASSES[about].items()}
    return {seen: pd.read_csv(path) for seen, path in paths.items() if path.exists()}


# Where they were measured.
FIGURES = {"same_bytes": coded_figure} | {about: partial(classes_figure, about) for about in CLASSES}

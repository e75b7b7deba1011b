"""Whether what processors gain carries over to judges of another kind, as a page says it: out of `results/`."""

from pathlib import Path

import pandas as pd

from ra_book.figures import detection_table, look, to_markdown

PICTURES = {"photos_detection": "COCO, val2017", "photos_detection_voc": "Pascal VOC"}


def detection_text(root: Path) -> str:
    """Return the tables of processors of photographs under detectors in the project at `root`, a heading each."""
    texts = []
    for name, title in PICTURES.items():
        folder = root / "results" / name
        if (folder / "paired.csv").exists():
            accuracy, paired = (pd.read_csv(folder / f"{table}.csv") for table in ("accuracy", "paired"))
            counts = "; ".join(_counted(mode, rows) for mode, rows in paired.groupby("mode", sort=False))
            table = to_markdown(detection_table(accuracy, paired))
            head = f"**{title}, {accuracy['n'].max()} pictures** (`results/{name}`). Detector by detector, {counts}."
            texts.append(f"{head}\n\n::::{{div}} wide\n{table}\n::::")
    return "\n\n".join(texts) or "Not measured: `make book PROFILE=photos_detection` does it."


def _counted(mode: str, rows: pd.DataFrame) -> str:
    """Say how often a mode is above `plain`, and how often its interval is on one side of zero."""
    above, shown, lost = ((rows["difference"] > 0).sum(), (rows["low"] > 0).sum(), (rows["high"] < 0).sum())
    return (
        f"`{look(mode).label}` is above `plain` in {above} of {len(rows)} comparisons, with the whole interval in "
        f"{shown}, and with the whole interval below it in {lost}"
    )

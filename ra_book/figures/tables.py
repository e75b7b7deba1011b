"""Tables of restoration, and what all tables share: strings with the right digits, under headers that name the units.

The words a row is about (task, method, recognizer) are its index.
"""

import zlib
from collections.abc import Callable, Sequence

import pandas as pd

from ra_book.figures.look import TASKS, look, method_rank, task_rank, task_title
from ra_book.figures.rows import (
    ACCURACY,
    PAIRED,
    PAPER_METHODS,
    change,
    gains,
    interval,
    number,
    per_recognizer,
    per_role,
    prepare,
    prepare_published,
    recognizers_of,
    role_names,
    signed,
    trained,
    values_of,
)  # fmt: skip

NOTHING = number(None)
RULES = [
    {"selector": "th, td", "props": "text-align: left; padding: 0.25em 0.8em; border: none; vertical-align: top"},
    {"selector": "td, th.col_heading", "props": "text-align: right; font-variant-numeric: tabular-nums"},
    {"selector": "th.col_heading", "props": "max-width: 12em; white-space: normal; vertical-align: bottom"},
    {"selector": "thead tr:last-child th, tbody tr:last-child > *", "props": "border-bottom: 1px solid #888888"},
    {"selector": "caption", "props": "caption-side: top; text-align: left"},
]


class Table(pd.DataFrame):
    """A data frame of strings that a notebook shows whole, words to the left and numbers to the right."""

    @property
    def _constructor(self):
        return Table

    def _repr_html_(self) -> str:
        uuid = f"{zlib.crc32(to_markdown(self).encode()):08x}"  # by content: the same page every time
        styler = self.style.set_uuid(uuid).set_table_styles(RULES).set_table_attributes('class="dataframe"')
        return styler.to_html(max_rows=None, caption=self.attrs.get("caption"))


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table as a Markdown pipe table: index to the left, numbers to the right."""
    sides = [":--"] * table.index.nlevels + ["--:"] * len(table.columns)
    table = table.reset_index()
    lines = [table.columns, sides, *table.itertuples(index=False)]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def records_table(records: Sequence[dict[str, str]], words: list[str]) -> Table:
    """Return the records as a table with `words` as its index, also where there is no record."""
    return Table(records, columns=None if records else words).set_index(words).fillna(NOTHING)


def row_table(rows: pd.DataFrame, words: dict[str, str | Callable], cells: dict[str, tuple | Callable]) -> Table:
    """Return a line for each row, `words` its index and `cells` its columns, both by title.

    Each is a function of the row, or the column that holds it, for a number with its digits.
    """

    def text(row, source) -> str:
        if callable(source):
            return source(row)
        return str(getattr(row, source)) if isinstance(source, str) else number(getattr(row, source[0]), source[1])

    records = [{title: text(row, source) for title, source in (words | cells).items()} for row in rows.itertuples()]
    return records_table(records, list(words))


def _by_recognizer(rows: pd.DataFrame, cell: Callable, unit: str) -> Table:
    """Return a row for each method and a column for each recognizer, filled by `cell`."""
    roles, records = recognizers_of(rows), {}
    for row in per_recognizer(rows).itertuples():
        record = records.setdefault(row.method, {"mode": look(row.method).label} | {
            f"{name} ({role}), {unit}": NOTHING for name, role in roles.items()
        })  # fmt: skip
        record[f"{row.recognizer} ({row.role}), {unit}"] = cell(row)
    return records_table([records[method] for method in values_of(rows, "method")], ["mode"])


def accuracy_table(accuracy: pd.DataFrame, task: str) -> Table:
    """Return top-1 with its 95 % interval by mode and recognizer, with PSNR and SSIM, for one task."""
    rows = prepare(accuracy, ACCURACY, task)
    table = _by_recognizer(rows, interval, "top-1 in %")
    quality = rows.groupby("method")[["psnr", "ssim"]].mean().loc[values_of(rows, "method")]
    return table.assign(**{
        "PSNR in dB": [number(value, 2) for value in quality["psnr"]],
        "SSIM": [number(value, 3) for value in quality["ssim"]],
    })  # fmt: skip


def paired_table(paired: pd.DataFrame, task: str) -> Table:
    """Return the paired difference to `plain` with its 95 % interval by mode and recognizer, for one task."""
    return _by_recognizer(prepare(paired, PAIRED, task), change, "points")


def headline_table(accuracy: pd.DataFrame, paired: pd.DataFrame) -> Table:
    """Return, by task and mode, top-1 on the source and the mean unseen, the gains on `plain`, and PSNR."""
    rows, records = prepare(accuracy, ACCURACY), []
    means = {(row.task, row.method, row.role): row for row in per_role(rows).itertuples()}
    differences = {(r.task, r.method, r.role): change(r) for r in per_role(prepare(paired, PAIRED)).itertuples()}
    psnr = rows.groupby(["task", "method"])["psnr"].mean()
    for task, method in sorted(psnr.index, key=lambda key: (task_rank(key[0]), method_rank(key[1]))):
        record = {"task": task_title(task), "mode": look(method).label}
        for role, words in role_names(rows).items():
            key = (task, method, role)
            record[f"{words}: top-1 in %"] = number(means[key].value) if key in means else NOTHING
            record[f"{words}: gain on plain in points"] = differences.get(key, NOTHING)
        records.append(record | {"PSNR in dB": number(psnr[task, method], 2)})
    return records_table(records, ["task", "mode"])


def gains_beside(paired: dict[str, pd.DataFrame]) -> Table:
    """Return by task, mode and role the gain on plain in points with its 95 % interval, a column a profile.

    `paired` holds the rows of paired.csv by profile; what a profile did not run is a dash.
    """
    records, dashes = {}, {f"{name}: gain on plain in points": NOTHING for name in paired}
    for name, table in paired.items():
        for row in per_role(prepare(table, PAIRED)).itertuples():
            words = {"task": task_title(row.task), "mode": look(row.method).label, "on": row.role}
            key = (task_rank(row.task), method_rank(row.method), row.role)
            records.setdefault(key, words | dashes)[f"{name}: gain on plain in points"] = change(row)
    return records_table([records[key] for key in sorted(records)], ["task", "mode", "on"])


def paper_table(accuracy: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> Table:
    """Return our top-1 and gains on `plain` beside those published for ImageNet, for the paper's modes.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    ours, records = prepare(accuracy, ACCURACY), []
    shown = ours[ours["method"].isin(["plain", *PAPER_METHODS])]
    sides = {dataset: ours, "ImageNet (published)": prepare_published(published)}
    means = {name: per_role(rows).set_index(["task", "method", "role"])["value"] for name, rows in sides.items()}
    for task in values_of(ours, "task"):
        for method in values_of(shown[shown["task"] == task], "method"):
            record = {"task": task_title(task), "mode": look(method).label}
            for name, values in means.items():
                for role in ("source", "unseen"):
                    value, plain = values.get((task, method, role)), values.get((task, "plain", role))
                    known = method != "plain" and value is not None and plain is not None
                    title = f"{name}, {role}: top-1 in % (gain on plain in points)"
                    record[title] = number(value) + (f" ({signed(value - plain)})" if known else "")
            records.append(record)
    return records_table(records, ["task", "mode"])


def beside_published(accuracy: pd.DataFrame, published: pd.DataFrame, task: str) -> Table:
    """Return one of the paper's tables: our top-1 and gains on `plain`, those published, and our difference to them.

    There is a row for each mode and recognizer that both know; it makes sense for results on ImageNet alone.
    """
    ours, theirs = prepare(accuracy, ACCURACY, task), prepare_published(published[published["task"] == task])
    here = {(row.method, row.recognizer): row for row in per_recognizer(ours).itertuples()}
    gained = [gains(rows).set_index(["method", "recognizer"])["value"] for rows in (ours, theirs)]
    records = []
    for paper in theirs.itertuples():
        key = (paper.method, paper.recognizer)
        if key in here:
            record = {
                "mode": look(paper.method).label, "recognizer": paper.recognizer,
                "here, top-1 in %": interval(here[key]), "published, top-1 in %": number(paper.value),
                "difference in points": signed(here[key].value - paper.value),
            }  # fmt: skip
            if paper.method != "plain":
                mine, published = (values.get(key, float("nan")) for values in gained)
                record |= {
                    "here, gain on plain": signed(mine), "published, gain on plain": signed(published),
                    "difference of the gains": signed(mine - published),
                }  # fmt: skip
            records.append(record)
    return records_table(records, ["mode", "recognizer"])


def recognizer_table(sidecars: Sequence[dict]) -> Table:
    """Return one row for each recognizer: size, test accuracy and training, as far as they are known."""
    records = [
        {
            "recognizer": sidecar["name"], "parameters": f"{sidecar['parameters']:,}",
            "test top-1 in %": number(sidecar.get("test_top1"), 2),
            "test pictures": number(sidecar.get("test_pictures"), 0),
            "training pictures": number(sidecar.get("train_pictures"), 0),
            "epochs": number(sidecar.get("recipe", {}).get("epochs"), 0),
            "training time in s": number(sidecar.get("seconds"), 0),
        }
        for sidecar in sidecars
    ]  # fmt: skip
    return records_table(records, ["recognizer"])


def status_table(runs: Sequence[dict]) -> Table:
    """Return one row for each run out of its `run.json`: machine, time, memory, speed, result and commit.

    A `+` after the commit marks a working tree with changes; what a run did not record is a dash. Device and commit
    are left out where all runs have the same: the page names those of the first.
    """

    def record(run: dict) -> dict[str, str]:
        git, metrics = run.get("git", {}), run.get("metrics", {})
        return {
            "task": run["task"],
            "mode": run["mode"],
            "seed": str(run["seed"]),
            "device": run.get("device", NOTHING),
            "parameters": number(sum(run.get("parameters", {}).values()) or None, 0),
            "time in s": number(run.get("wall_seconds")),
            "memory in MB": number(run.get("peak_memory_mb"), 0),
            "images/s": number(run.get("images_per_s"), 0),
            "validation PSNR in dB": number(metrics.get("psnr"), 2),
            "validation top-1 in %": number(metrics.get("top1")),
            "commit": (git.get("commit") or NOTHING)[:7] + ("+" if git.get("dirty") else ""),
            "started": str(run.get("started", NOTHING))[:16].replace("T", " "),
        }

    runs = sorted(runs, key=lambda run: (task_rank(run["task"]), method_rank(run["mode"]), run["seed"]))
    table = records_table([record(run) for run in runs], ["task", "mode", "seed"])
    return table.drop(columns=[name for name in ("device", "commit") if len(set(table[name])) == 1])


def trainings_table(trainings: pd.DataFrame) -> Table:
    """Return the trainings of reference results by profile and data: how many, and what they took; none that ships."""
    records = [
        {
            "profile": profile,
            "data": task_title(part) if part in TASKS else part,
            "device": device,
            "trainings": str(len(rows)),
            "pictures seen": f"{rows['pictures'].sum():,.0f}",
            "minutes": f"{rows['wall_seconds'].sum() / 60:.1f}",
            "images/s": f"{rows['images_per_s'].median():.0f}",
            "memory in MB": f"{rows['peak_memory_mb'].max():.0f}",
            "commit": ", ".join(sorted(set(rows["commit"].astype(str).str[:7]))),
        }
        for (profile, part, device), rows in trained(trainings).groupby(["profile", "part", "device"], sort=False)
    ]
    return records_table(records, ["profile", "data"])

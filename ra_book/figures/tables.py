"""Tables of the book: data frames of strings with the right digits, under headers that name the units.

The words a row is about (task, mode, recognizer) are its index.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from ra_book.figures.look import look, mode_rank, task_title
from ra_book.figures.rows import (
    MINUS,
    PAPER_MODES,
    gains,
    modes_of,
    per_recognizer,
    per_role,
    prepare,
    prepare_published,
    recognizers_of,
    role_names,
    signed,
    signed_interval,
    task_rank,
    tasks_of,
)

pd.set_option("display.max_rows", None)  # a page shows its tables whole

NOTHING = "–"


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table as a Markdown pipe table: index to the left, numbers to the right."""
    words = table.index.nlevels
    sides = [":--"] * words + ["--:"] * len(table.columns)
    table = table.reset_index()
    lines = [table.columns, sides, *table.itertuples(index=False)]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def number(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None or pd.isna(value) else f"{value:,.{digits}f}".replace("-", MINUS)


def records_table(records: list[dict[str, str]], words: list[str]) -> pd.DataFrame:
    """Return the records as a table with `words` as its index, also where there is no record."""
    return pd.DataFrame(records, columns=None if records else words).set_index(words)


def _by_mode(rows: pd.DataFrame, cell: Callable[[pd.Series], str], unit: str) -> pd.DataFrame:
    """Return a row for each mode and a column for each recognizer, filled by `cell`."""
    cells = per_recognizer(rows).set_index(["mode", "recognizer"])
    records = {}
    for mode in modes_of(rows):
        records[look(mode).label] = {
            f"{name} ({role}), {unit}": cell(cells.loc[mode, name]) if (mode, name) in cells.index else NOTHING
            for name, role in recognizers_of(rows).items()
        }
    return pd.DataFrame.from_dict(records, orient="index").rename_axis("mode")


def accuracy_table(accuracy: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return top-1 with its 95 % interval by mode and recognizer, with PSNR and SSIM, for one task."""
    rows = prepare(accuracy, task)
    table = _by_mode(rows, lambda row: f"{row['value']:.1f} [{row['low']:.1f}, {row['high']:.1f}]", "top-1 in %")
    quality = rows.groupby("mode")[["psnr", "ssim"]].mean().loc[modes_of(rows)]
    table["PSNR in dB"] = [number(value, 2) for value in quality["psnr"]]
    table["SSIM"] = [number(value, 3) for value in quality["ssim"]]
    return table


def paired_table(paired: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the paired difference to `plain` with its 95 % interval by mode and recognizer, for one task."""
    return _by_mode(prepare(paired, task), lambda row: signed_interval(row["value"], row["low"], row["high"]), "points")


def headline_table(accuracy: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    """Return, by task and mode, top-1 on the source and the mean unseen, the gains on `plain`, and PSNR."""
    rows = prepare(accuracy)
    means = per_role(rows).set_index(["task", "mode", "role"])
    differences = per_role(prepare(paired)).set_index(["task", "mode", "role"])[["value", "low", "high"]]
    records = []
    for task in tasks_of(rows):
        for mode in modes_of(rows[rows["task"] == task]):
            record = {"task": task_title(task), "mode": look(mode).label}
            for role, words in role_names(rows).items():
                key = (task, mode, role)
                gain = signed_interval(*differences.loc[key]) if key in differences.index else NOTHING
                record |= {
                    f"{words}: top-1 in %": number(means["value"].get(key)),
                    f"{words}: gain on plain in points": gain,
                }
            psnr = rows.loc[(rows["task"] == task) & (rows["mode"] == mode), "psnr"].mean()
            records.append(record | {"PSNR in dB": number(psnr, 2)})
    return records_table(records, ["task", "mode"])


def paper_table(accuracy: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> pd.DataFrame:
    """Return our top-1 and gains on `plain` beside those published for ImageNet, for the paper's modes.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    ours = prepare(accuracy)
    sides = {dataset: ours, "ImageNet (published)": prepare_published(published)}
    means = {name: per_role(rows).set_index(["task", "mode", "role"])["value"] for name, rows in sides.items()}

    def cell(values: pd.Series, task: str, mode: str, role: str) -> str:
        value, plain = values.get((task, mode, role)), values.get((task, "plain", role))
        known = mode != "plain" and value is not None and plain is not None
        return number(value) + (f" ({signed(value - plain)})" if known else "")

    records = []
    for task in tasks_of(ours):
        for mode in modes_of(ours[ours["task"] == task]):
            if mode in ("plain", *PAPER_MODES):
                record = {"task": task_title(task), "mode": look(mode).label}
                for name, values in means.items():
                    for role in ("source", "unseen"):
                        title = f"{name}, {role}: top-1 in % (gain on plain in points)"
                        record[title] = cell(values, task, mode, role)
                records.append(record)
    return records_table(records, ["task", "mode"])


def beside_published(accuracy: pd.DataFrame, published: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return one of the paper's tables: our top-1 and gains on `plain`, those published, and our difference to them.

    There is a row for each mode and recognizer that both know; it makes sense for results on ImageNet alone.
    """
    ours, theirs = prepare(accuracy, task), prepare_published(published[published["task"] == task])
    keys, records = ["mode", "recognizer"], []
    numbers = per_recognizer(ours).set_index(keys), per_recognizer(theirs).set_index(keys)["value"]
    gained = [gains(rows).set_index(keys)["value"] for rows in (ours, theirs)]
    for mode, name in numbers[1].index:
        if (mode, name) in numbers[0].index:
            here, paper = numbers[0].loc[(mode, name)], numbers[1][mode, name]
            more = [values.get((mode, name), float("nan")) for values in gained]
            records.append({
                "mode": look(mode).label,
                "recognizer": name,
                "here, top-1 in %": f"{here['value']:.1f} [{here['low']:.1f}, {here['high']:.1f}]",
                "published, top-1 in %": number(paper),
                "difference in points": signed(here["value"] - paper),
                "here, gain on plain": NOTHING if mode == "plain" else signed(more[0]),
                "published, gain on plain": NOTHING if mode == "plain" else signed(more[1]),
                "difference of the gains": NOTHING if mode == "plain" else signed(more[0] - more[1]),
            })  # fmt: skip
    return records_table(records, keys)


def recognizer_table(sidecars: Sequence[dict]) -> pd.DataFrame:
    """Return one row for each recognizer: size, test accuracy and training, as far as they are known."""

    def record(sidecar: dict) -> dict[str, str]:
        return {
            "recognizer": sidecar["name"],
            "parameters": f"{sidecar['parameters']:,}",
            "test top-1 in %": number(sidecar.get("test_top1"), 2),
            "test pictures": number(sidecar.get("test_pictures"), 0),
            "training pictures": number(sidecar.get("train_pictures"), 0),
            "epochs": number(sidecar.get("recipe", {}).get("epochs"), 0),
            "training time in s": number(sidecar.get("seconds"), 0),
        }

    return records_table([record(sidecar) for sidecar in sidecars], ["recognizer"])


def status_table(runs: Sequence[dict]) -> pd.DataFrame:
    """Return one row for each run out of its `run.json`: machine, time, memory, speed, result and commit.

    A `+` after the commit marks a working tree with changes; what a run did not record is a dash. Device and commit
    are left out where all runs have the same: the page names those of the first.
    """

    def place(run: dict) -> tuple:
        return *task_rank(run["task"]), *mode_rank(run["mode"]), run["mode"], run["seed"]

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

    table = records_table([record(run) for run in sorted(runs, key=place)], ["task", "mode", "seed"])
    return table.drop(columns=[name for name in ("device", "commit") if len(set(table[name])) == 1])

"""Tables of restoration, and what all tables share: strings with the right digits, under headers that name the units.

The words a row is about (task, method, recognizer) are its index.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

import ra_book.figures.measured as measured
from ra_book.figures.look import TASKS, codec_title, look, task_title
from ra_book.figures.measured import (
    ACCURACY,
    NOTHING,
    PAIRED,
    accuracy_name,
    change,
    number,
    per_recognizer,
    per_role,
    prepare,
)  # fmt: skip

RULES = [
    {"selector": "th, td", "props": "text-align: left; padding: 0.25em 0.8em; border: none; vertical-align: top"},
    {"selector": "td, th.col_heading", "props": "text-align: right; font-variant-numeric: tabular-nums"},
    {"selector": "th.col_heading", "props": "max-width: 12em; white-space: normal; vertical-align: bottom"},
    {"selector": "thead tr:last-child th, tbody tr:last-child > *", "props": "border-bottom: 1px solid #888888"},
    {"selector": "caption", "props": "caption-side: top; text-align: left"},
]
NARROW = {"selector": "th, td", "props": "white-space: normal; padding: 0.25em 0.3em"}


class Table(pd.DataFrame):
    """A data frame of strings that a notebook shows whole, words to the left and numbers to the right."""

    @property
    def _constructor(self):
        return Table

    def titled(self, caption: str) -> "Table":
        """Return the table beneath a caption, each interval free to stand below its number: it has many columns."""
        self.attrs["caption"] = caption
        return self

    def _repr_html_(self) -> str:
        uuid = f"{zlib.crc32(to_markdown(self).encode()):08x}"  # by content: the same page every time
        caption = self.attrs.get("caption")
        shown = self.replace(", ", ",\N{NO-BREAK SPACE}", regex=True) if caption else self
        styler = shown.style.set_uuid(uuid).set_table_styles([*RULES, NARROW] if caption else RULES)
        return styler.set_table_attributes('class="dataframe"').to_html(max_rows=None, caption=caption)


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table as a Markdown pipe table: index to the left, numbers to the right."""
    sides = [":--"] * table.index.nlevels + ["--:"] * len(table.columns)
    table = table.reset_index()
    lines = [table.columns, sides, *table.itertuples(index=False)]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _table(records: Iterable[dict[str, str]], words: Iterable[str], titles: Iterable[str]) -> Table:
    return Table(list(records), columns=[*words, *titles]).set_index([*words]).fillna(NOTHING)


def cell(row, source: str | tuple[str, int] | Callable) -> str:
    """Return a cell: a function of the row, or the column that holds it, for a number with its digits."""
    if callable(source):
        return source(row)
    return str(getattr(row, source)) if isinstance(source, str) else number(getattr(row, source[0], None), source[1])


def row_table(rows: pd.DataFrame, words: dict, cells: dict) -> Table:
    """Return a line for each row, `words` its index and `cells` its columns, both by title (`cell`)."""
    records = [{title: cell(row, source) for title, source in (words | cells).items()} for row in rows.itertuples()]
    return _table(records, words, cells)


def wide_table(
    rows: pd.DataFrame, keys: Sequence[str], words: dict, *cells: Callable[..., dict], order: Sequence[str] = ()
) -> Table:
    """Return a line for each value of the columns `keys`, sorted by them or by `order`, with `words` as its index.

    Each of `cells` makes some cells of a row, by title; columns stand in the order in which they are made.
    """
    place, titles = lambda row: tuple(getattr(row, key) for key in keys), {}
    lines = measured.in_order(rows, *(order or keys)).itertuples()
    records = {place(row): {title: cell(row, source) for title, source in words.items()} for row in lines}
    for make in cells:
        for row in rows.itertuples():
            made = make(row)
            titles |= made
            records[place(row)] |= made
    return _table(records.values(), words, titles)


def method(row) -> str:
    """Return the name of the method of a row."""
    return look(row.method).label


def recognizer(row) -> str:
    """Return the recognizer of a row with its role."""
    return f"{row.recognizer} ({row.role})"


def codec(row) -> str:
    """Return the name of the codec of a row."""
    return codec_title(row.codec)


def _task(row) -> str:
    return task_title(row.task)


def accuracy_table(accuracy: pd.DataFrame, task: str) -> Table:
    """Return accuracy with its 95 % interval by recognizer and mode for one task, PSNR and SSIM in the last rows."""
    rows = per_recognizer(prepare(accuracy, ACCURACY, task))
    scores, modes = _by_recognizer(rows, measured.interval), list(rows.drop_duplicates("method").itertuples())
    for title, name, digits in (("PSNR in dB", "psnr", 2), ("SSIM", "ssim", 3)):
        scores.loc[title] = {method(row): number(getattr(row, name), digits) for row in modes}
    return scores.titled(f"{accuracy_name(accuracy, 'Top-1')} in % [95 % interval]")


def paired_table(paired: pd.DataFrame, task: str) -> Table:
    """Return the paired difference to `plain` with its 95 % interval by recognizer and mode, for one task."""
    gains = _by_recognizer(per_recognizer(prepare(paired, PAIRED, task)), change)
    return gains.titled("Gain on plain in points [95 % interval]")


def _by_recognizer(rows: pd.DataFrame, said: Callable) -> Table:
    """Return what is `said` of each row, recognizers beneath one another, the source first, and modes side by side."""
    rows, told = measured.in_order(rows, "method"), {"recognizer": recognizer}
    return wide_table(rows, ["recognizer"], told, lambda row: {method(row): said(row)}, order=["role"])


def headline_table(accuracy: pd.DataFrame, paired: pd.DataFrame) -> Table:
    """Return, by task and mode, accuracy on the source and the mean unseen, the gains on `plain`, and PSNR."""
    rows = prepare(accuracy, ACCURACY)
    metric = accuracy_name(accuracy, "top-1")
    names, words = measured.role_names(rows), {"task": _task, "mode": method}
    gained = {(row.task, row.method, row.role): change(row) for row in per_role(prepare(paired, PAIRED)).itertuples()}

    def on_role(row) -> dict[str, str]:
        gain = gained.get((row.task, row.method, row.role), NOTHING)
        name = names[row.role]
        return {f"{name}: {metric} in %": number(row.value), f"{name}: gain on plain in points": gain}

    return wide_table(
        per_role(rows), ["task", "method"], words, on_role, lambda row: {"PSNR in dB": number(row.psnr, 2)}
    )


def gains_beside(paired: dict[str, pd.DataFrame]) -> Table:
    """Return by task, mode and role the gain on plain in points with its 95 % interval, a column a profile.

    `paired` holds the rows of paired.csv by profile; what a profile did not run is a dash.
    """
    rows = pd.concat([per_role(prepare(table, PAIRED)).assign(profile=name) for name, table in paired.items()])
    words = {"task": _task, "mode": method, "on": "role"}
    table = wide_table(rows, ["task", "method", "role"], words, lambda row: {row.profile: change(row)})
    return table.titled("Gain on plain in points of top-1, of detectors of mAP@0.5 [95 % interval]")


def transferred_table(accuracy: pd.DataFrame, paired: pd.DataFrame) -> Table:
    """Return accuracy by task and judge, a column a mode, and the gains on plain; means over judges come last."""
    scores, gains = prepare(accuracy, ACCURACY), prepare(paired, PAIRED)
    sides = [
        pd.concat([per_recognizer(rows), per_role(rows).assign(recognizer="mean of them")]).assign(gain=rows is gains)
        for rows in (scores, gains)
    ]
    name = accuracy_name(accuracy, "top-1")
    return wide_table(
        pd.concat(sides), ["task", "recognizer"], {"task": _task, "judge": "recognizer"},
        lambda row: {} if row.gain else {f"{method(row)}, {name} in %": measured.interval(row)},
        lambda row: {f"gain of {method(row)} on plain, points": change(row)} if row.gain else {}, order=["task"],
    ).titled("Accuracy and what it gains on plain [95 % intervals over pictures]")  # fmt: skip


def paper_table(accuracy: pd.DataFrame, published: pd.DataFrame, dataset: str = "CIFAR-10") -> Table:
    """Return our top-1 and gains on `plain` beside those published for ImageNet, for the paper's modes.

    `published` has the columns task, mode, recognizer, top1 in percent, `plain` among its modes.
    """
    ours = prepare(accuracy, ACCURACY)
    sides = {dataset: ours, "ImageNet (published)": measured.prepare_published(published)}
    rows = pd.concat([measured.on_plain(per_role(side), "role").assign(side=name) for name, side in sides.items()])
    rows = rows.merge(ours[["task", "method"]].drop_duplicates())
    rows = rows[rows["method"].isin(["plain", *measured.PAPER_METHODS])]

    def top1(row) -> dict[str, str]:
        gain = "" if pd.isna(row.gain) else f" ({measured.signed(row.gain)})"
        return {f"{row.side}, {row.role}: top-1 in % (gain on plain in points)": number(row.value) + gain}

    return wide_table(rows, ["task", "method"], {"task": _task, "mode": method}, top1)


def beside_published(accuracy: pd.DataFrame, published: pd.DataFrame, task: str) -> Table:
    """Return one of the paper's tables: our top-1 and gains on `plain`, those published, and our difference to them.

    There is a row for each mode and recognizer that both know; it makes sense for results on ImageNet alone.
    """
    theirs = measured.prepare_published(published[published["task"] == task])
    ours = measured.on_plain(per_recognizer(prepare(accuracy, ACCURACY, task)))
    both = measured.on_plain(theirs).merge(ours, on=["method", "recognizer"], suffixes=("_published", ""))
    return row_table(both, {"mode": method, "recognizer": "recognizer"}, {
        "here, top-1 in %": measured.interval, "published, top-1 in %": ("value_published", 1),
        "difference in points": lambda row: measured.signed(row.value - row.value_published),
        "here, gain on plain": lambda row: measured.signed(row.gain),
        "published, gain on plain": lambda row: measured.signed(row.gain_published),
        "difference of the gains": lambda row: measured.signed(row.gain - row.gain_published),
    })  # fmt: skip


def recognizer_table(sidecars: Sequence[dict]) -> Table:
    """Return one row for each recognizer: size, test accuracy and training, as far as they are known."""
    return row_table(pd.json_normalize(list(sidecars), sep="_"), {"recognizer": "name"}, {
        "parameters": ("parameters", 0), "test top-1 in %": ("test_top1", 2), "test pictures": ("test_pictures", 0),
        "training pictures": ("train_pictures", 0), "epochs": ("recipe_epochs", 0),
        "training time in s": ("seconds", 0),
    })  # fmt: skip


def status_table(runs: Sequence[dict]) -> Table:
    """Return one row for each run out of its `run.json`: machine, time, memory, speed, result and commit.

    A `+` after the commit marks a working tree with changes; what a run did not record is a dash. Device and commit
    are left out where all runs have the same: the page names those of the first.
    """
    known = {"device": None, "started": None, "git": {}}
    runs = [known | run | {"git": {"commit": None, "dirty": False} | run.get("git", {})} for run in runs]
    rows = pd.json_normalize(runs, sep="_").rename(columns={"mode": "method"})
    rows = rows.fillna({"device": NOTHING, "started": NOTHING, "git_commit": NOTHING})
    rows = rows.assign(size=rows.filter(regex="^parameters_").sum(axis=1, min_count=1))
    words = {"task": "task", "mode": "method", "seed": "seed"}
    table = row_table(measured.in_order(rows, "task", "method", "seed"), words, {
        "device": "device", "parameters": ("size", 0), "time in s": ("wall_seconds", 1),
        "memory in MB": ("peak_memory_mb", 0), "images/s": ("images_per_s", 0),
        "validation PSNR in dB": ("metrics_psnr", 2), "validation top-1 in %": ("metrics_top1", 1),
        "commit": lambda row: f"{row.git_commit:.7}{'+' if row.git_dirty else ''}",
        "started": lambda row: row.started[:16].replace("T", " "),
    })  # fmt: skip
    return _without_repeated(table, "device", "commit")


def _without_repeated(table: Table, *titles: str) -> Table:
    """Return a table without those of the columns that say the same in every line."""
    return table.drop(columns=[title for title in titles if table[title].nunique() == 1])


def trainings_table(trainings: pd.DataFrame) -> Table:
    """Return the trainings of reference results by profile and data: how many, and what they took; none that ships.

    The device is left out where it is the same for all: the page names it, with the commits.
    """
    groups = trainings[~trainings["shipped"].astype(bool)].groupby(["profile", "part", "device"], sort=False)
    rows = groups.agg(
        trainings=("seed", "size"), pictures=("pictures", "sum"), seconds=("wall_seconds", "sum"),
        speed=("images_per_s", "median"), memory=("peak_memory_mb", "max"),
    ).reset_index()  # fmt: skip
    data = {"data": lambda row: task_title(row.part) if row.part in TASKS else row.part}
    table = row_table(rows, {"profile": "profile"} | data, {
        "device": "device", "trainings": ("trainings", 0), "pictures seen": ("pictures", 0),
        "minutes": lambda row: number(row.seconds / 60), "images/s": ("speed", 0), "memory in MB": ("memory", 0),
    })  # fmt: skip
    return _without_repeated(table, "device")

"""Tables that set the results of several profiles beside one another, a column a profile."""

import pandas as pd

from ra_book.figures.look import codec_title, look, method_look, task_title
from ra_book.figures.rate_rows import bd_text, by_codec, by_method, by_role, ordered, prepare_bd
from ra_book.figures.rows import modes_of, per_role, prepare, really_trained, role_names, signed_interval, tasks_of
from ra_book.figures.tables import NOTHING, records_table


def gains_beside(paired: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return by task, mode and role the gain on plain in points with its 95 % interval, a column a profile.

    `paired` holds the rows of paired.csv by profile; what a profile did not run is a dash.
    """
    rows = {name: prepare(table) for name, table in paired.items()}
    means = {name: per_role(table).set_index(["task", "mode", "role"]) for name, table in rows.items()}
    together, records = pd.concat(rows.values(), ignore_index=True), []
    for task in tasks_of(together):
        for mode in modes_of(prepare(together, task)):
            for role in role_names(together):
                key, record = ((task, mode, role), {"task": task_title(task), "mode": look(mode).label, "on": role})
                for name, found in means.items():
                    gain = NOTHING
                    if key in found.index:
                        gain = signed_interval(*found.loc[key, ["value", "low", "high"]])
                    record[f"{name}: gain on plain in points"] = gain
                records.append(record)
    return records_table(records, ["task", "mode", "on"])


def bd_beside(bd: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return by data set, codec, method and recognizer the BD-rate with its 95 % interval, a column a profile.

    `bd` holds the rows of bd_rate.csv by profile, seeds averaged; what a profile did not measure is a dash.
    """
    keys = ["dataset", "codec", "method", "recognizer", "role"]
    means = {name: prepare_bd(table).set_index(keys)[["bd", "low", "high"]] for name, table in bd.items()}
    rows = pd.concat(means.values()).reset_index().drop_duplicates(keys)
    rows = ordered(rows, lambda row: row.dataset, by_codec, by_method, by_role)
    records = [
        {
            "data set": row.dataset,
            "codec": codec_title(row.codec),
            "method": method_look(row.method).label,
            "recognizer": f"{row.recognizer} ({row.role})",
        }
        | {f"{name}: bytes at equal accuracy, %": _cell(found, [getattr(row, key) for key in keys])
           for name, found in means.items()}
        for row in rows.itertuples()
    ]  # fmt: skip
    return records_table(records, ["data set", "codec", "method", "recognizer"])


def _cell(found: pd.DataFrame, key: list) -> str:
    return bd_text(*found.loc[tuple(key)]) if tuple(key) in found.index else NOTHING


def trainings_table(trainings: pd.DataFrame) -> pd.DataFrame:
    """Return the trainings of reference results by profile and data: how many, and what they took; none that ships."""
    records = []
    keys = ["profile", "part", "device"]
    for (profile, part, device), rows in really_trained(trainings).groupby(keys, sort=False):
        records.append(
            {
                "profile": profile,
                "data": task_title(part) if part in ("sr", "dn", "jpeg") else part,
                "device": device,
                "trainings": str(len(rows)),
                "pictures seen": f"{rows['pictures'].sum():,.0f}",
                "minutes": f"{rows['wall_seconds'].sum() / 60:.1f}",
                "images/s": f"{rows['images_per_s'].median():.0f}",
                "memory in MB": f"{rows['peak_memory_mb'].max():.0f}",
                "commit": ", ".join(sorted(set(rows["commit"].astype(str).str[:7]))),
            }
        )
    return records_table(records, ["profile", "data"])

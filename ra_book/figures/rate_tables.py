"""Tables of preprocessing before a codec: bytes, BD-rates, transfer, filters, headers, costs, proxies."""

from collections.abc import Mapping

import pandas as pd

from ra_book.figures.look import TRANSFERRED, codec_rank, codec_title, look, method_rank
from ra_book.figures.rows import (
    BD,
    RATES,
    SAME_BYTES,
    change,
    checked,
    in_order,
    interval,
    metric_name,
    number,
    one,
    per_recognizer,
    prepare,
    recognizers_of,
    signed,
)  # fmt: skip
from ra_book.figures.tables import NOTHING, Table, records_table, row_table

AGREEMENT = ["proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr", "gradient_cosine"]


def _codec(row) -> str:
    return codec_title(row.codec)


def _quality(row) -> str:
    return f"{row.quality:g}"


def _recognizer(row) -> str:
    return f"{row.recognizer} ({row.role})"


def _method(row) -> str:
    return look(row.method).label


def _over(row) -> str:
    over = f"{metric_name(row.metric)} {row.over_low:.1f} to {row.over_high:.1f}"
    return NOTHING if pd.isna(row.value) else over


def bd_table(bd: pd.DataFrame) -> Table:
    """Return by codec, recognizer and method how many percent the bytes differ from the codec alone.

    The source stands before the unseen, fewest bytes first; a method that shares no accuracy with the codec alone
    comes last, as `no overlap`.
    """
    rows = in_order(per_recognizer(prepare(bd, BD)), "dataset", "codec", "role", "recognizer", "value")
    words = {"data set": "dataset", "codec": _codec, "recognizer": _recognizer, "method": _method}
    table = row_table(rows, words, {
        "bytes at equal accuracy, % [95 % interval]": change, "compared over, %": _over,
        "draws without overlap, %": lambda row: number(100 * row.no_overlap),
    })  # fmt: skip
    return table if rows["dataset"].nunique() > 1 else table.droplevel("data set")


def bd_beside(bd: dict[str, pd.DataFrame]) -> Table:
    """Return by data set, codec, method and recognizer the BD-rate with its 95 % interval, a column a profile.

    `bd` holds the rows of bd_rate.csv by profile, seeds averaged; what a profile did not measure is a dash.
    """
    records, dashes = {}, {f"{name}: bytes at equal accuracy, %": NOTHING for name in bd}
    for name, table in bd.items():
        for row in per_recognizer(prepare(table, BD)).itertuples():
            key = (row.dataset, codec_rank(row.codec), method_rank(row.method), row.role, row.recognizer)
            words = {
                "data set": row.dataset,
                "codec": _codec(row),
                "method": _method(row),
                "recognizer": _recognizer(row),
            }
            records.setdefault(key, words | dashes)[f"{name}: bytes at equal accuracy, %"] = change(row)
    return records_table([records[key] for key in sorted(records)], ["data set", "codec", "method", "recognizer"])


def transfer_table(bd: pd.DataFrame) -> Table:
    """Return by codec and method how many percent the bytes differ from the codec alone, a column a recognizer.

    It is said of each recognizer whether training saw it, and of each codec whether anything was trained for it.
    """
    rows = in_order(per_recognizer(prepare(bd, BD)), "codec", "method")
    one(rows, "dataset")
    columns, records = [f"{name} ({role})" for name, role in recognizers_of(rows).items()], {}
    unseen = rows["method"].str.startswith(TRANSFERRED).groupby(rows["codec"]).all()
    for row in rows.itertuples():
        seen = "unseen" if unseen[row.codec] else "trained for"
        words = {"codec": f"{codec_title(row.codec)} ({seen})", "method": _method(row)}
        record = records.setdefault((row.codec, row.method), words | dict.fromkeys(columns, "not measured"))
        record[_recognizer(row)] = change(row)
    return records_table(list(records.values()), ["codec", "method"])


def rate_table(rates: pd.DataFrame) -> Table:
    """Return by method and quality the bytes and bits, the score of each recognizer with its interval, and PSNR."""
    measured = prepare(rates, RATES)
    for column in ("dataset", "codec"):
        one(measured, column)
    rows, records = in_order(per_recognizer(measured), "role", "method", "bpp"), {}
    for row in rows.itertuples():
        words = {
            "method": _method(row), "quality": _quality(row),
            "bytes a picture": number(row.bytes_mean, 0), "bits a pixel": number(row.bpp, 3),
        }  # fmt: skip
        record = records.setdefault((row.method, row.quality), words)
        record[f"{_recognizer(row)}: {metric_name(row.metric)}, % [95 % interval]"] = interval(row)
        record["PSNR, dB"] = number(row.psnr)
    table = records_table(list(records.values()), ["method", "quality"])
    return table[[name for name in table if name != "PSNR, dB"] + ["PSNR, dB"]]


def same_bytes_table(same: pd.DataFrame) -> Table:
    """Return by recognizer and bytes what the codec alone scores, and each method at the very same bytes.

    In brackets the gain in points and its 95 % interval; `no overlap` where a method never has that many bytes.
    """
    rows = in_order(
        per_recognizer(prepare(same, SAME_BYTES)), "codec", "role", "recognizer", "bytes_mean", "method"
    )  # fmt: skip
    records = {}
    for row in rows.itertuples():
        record = records.setdefault((row.codec, row.recognizer, row.quality), {
            "codec": _codec(row), "recognizer": _recognizer(row),
            "bytes": number(row.bytes_mean, 0), f"codec alone, {metric_name(row.metric)} %": number(row.alone),
        })  # fmt: skip
        score = change(row) if pd.isna(row.score) else f"{number(row.score)} ({change(row)})"
        record[f"{look(row.method).label}, %"] = score
    table = records_table(list(records.values()), ["codec", "recognizer", "bytes"])
    return table if rows["codec"].nunique() > 1 else table.droplevel("codec")


def one_for_all_table(rates: pd.DataFrame) -> Table:
    """Return the adaptive preprocessor beside one trained for a single quality, wherever both were measured.

    `difference` is that of the scores, in points: above zero the adaptive one is better.
    """
    rows = per_recognizer(prepare(rates, RATES))
    one(rows, "dataset")
    keys = ["role", "recognizer", "codec", "quality"]
    adaptive, single = (rows[rows["method"] == method] for method in ("npp_qa", "npp"))
    pairs = in_order(adaptive.merge(single, on=[*keys, "metric"], suffixes=("", "_own")), *keys)
    words = {
        "codec": _codec, "quality": _quality,
        "recognizer": lambda row: f"{_recognizer(row)}, {metric_name(row.metric)}",
    }  # fmt: skip
    return row_table(pairs, words, {
        "one for all: %": ("value", 1), "one for all: bytes": ("bytes_mean", 0),
        "its own: %": ("value_own", 1), "its own: bytes": ("bytes_mean_own", 0),
        "difference, points": lambda row: signed(row.value - row.value_own),
    })  # fmt: skip


def filter_table(filters: pd.DataFrame) -> Table:
    """Return the BD-rate of each setting of each filter on validation pictures, the chosen one marked."""
    words = {"filter": lambda row: look(row.filter).label, "setting": "setting"}
    return row_table(checked(filters, ["filter", "setting", "bd", "chosen"]), words, {
        "bytes at equal accuracy, %": lambda row: NOTHING if pd.isna(row.bd) else signed(row.bd),
        "taken": lambda row: "yes" if row.chosen else "",
    })  # fmt: skip


def header_table(headers: pd.DataFrame) -> Table:
    """Return how many of a JPEG file's bytes are header at each quality, where fewest are payload first."""
    rows = checked(headers, ["quality", "bytes_mean", "header_mean", "payload_mean"]).sort_values("payload_mean")
    return row_table(rows, {"quality": _quality}, {
        "bytes a picture": ("bytes_mean", 0), "of them header": ("header_mean", 0),
        "of them payload": ("payload_mean", 0),
        "header, %": lambda row: number(100 * row.header_mean / row.bytes_mean),
    })  # fmt: skip


def agreement_table(agreement: pd.DataFrame) -> Table:
    """Return how well each proxy agrees with a codec at each quality: rates, pictures, gradients."""
    rows = in_order(checked(agreement, AGREEMENT), "proxy", "codec", "quality")
    return row_table(rows, {"proxy": "proxy", "codec": _codec, "quality": _quality}, {
        "pictures": ("n", 0), "correlation of the rates": ("rate_correlation", 2),
        "bits of the proxy / of the codec": ("rate_ratio", 2), "PSNR between what they decode, dB": ("psnr", 1),
        "cosine of the gradients of the rate": ("gradient_cosine", 2),
    })  # fmt: skip


def cost_table(cost: pd.DataFrame) -> Table:
    """Return what each part costs: parameters, multiply-accumulates a pixel, milliseconds a picture, and where."""
    columns = ["network", "use", "parameters", "macs_per_pixel", "ms_per_picture", "width", "height", "threads"]
    return row_table(checked(cost, columns), {"part": "network", "used": "use"}, {
        "parameters": ("parameters", 0), "MACs a pixel": ("macs_per_pixel", 0), "ms a picture": ("ms_per_picture", 1),
        "picture": lambda row: f"{row.width} × {row.height}", "threads": "threads",
    })  # fmt: skip


def proxy_table(sidecars: Mapping[str, dict]) -> Table:
    """Return what each learned proxy costs and keeps on each set of held-out pictures, with rounded latents."""
    records = [
        {
            "proxy": name,
            "pictures": f"{pictures} ({number(found['pictures'], 0)})",
            "bits a pixel": number(found["bpp"], 3),
            "of which y": number(found["bpp_y"], 3),
            "of which z": number(found["bpp_z"], 3),
            "PSNR, dB": number(found["psnr"]),
        }
        for name, sidecar in sidecars.items()
        for pictures, found in sidecar["held_out"].items()
    ]
    return records_table(records, ["proxy", "pictures"])

"""Tables of preprocessing before a codec: bytes, BD-rates, transfer, filters, headers, costs, proxies."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

import ra_book.figures.measured as measured
from ra_book.figures.look import TRANSFERRED, dataset_title, look
from ra_book.figures.measured import BD, RATES, change, checked, in_order, number, one, per_recognizer, prepare
from ra_book.figures.tables import NOTHING, Table, codec, method, recognizer, row_table, wide_table

AGREEMENT = [
    "dataset", "proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr",
    "gradient_cosine", "gradient_cosine_low", "gradient_cosine_high",
]  # fmt: skip
COST = ["network", "use", "parameters", "macs_per_pixel", "ms_per_picture", "width", "height", "threads"]
BYTES = "Bytes beside the codec alone at equal accuracy, % [95 % interval]"


def _quality(row) -> str:
    return f"{row.quality:g}"


def _over(row) -> str:
    over = f"{measured.metric_name(row.metric)} {row.over_low:.1f} to {row.over_high:.1f}"
    return NOTHING if pd.isna(row.value) else over


def bd_table(bd: pd.DataFrame) -> Table:
    """Return by codec, recognizer and method how many percent the bytes differ from the codec alone.

    The source stands before the unseen, fewest bytes first; a method that shares no accuracy with the codec alone
    comes last, as `no overlap`.
    """
    rows = in_order(per_recognizer(prepare(bd, BD)), "dataset", "codec", "role", "recognizer", "value")
    words = {"data set": "dataset", "codec": codec, "recognizer": recognizer, "method": method}
    table = row_table(rows, words, {
        "bytes at equal accuracy, % [95 % interval]": change, "compared over, %": _over,
        "draws without overlap, %": lambda row: number(100 * row.no_overlap),
    })  # fmt: skip
    return table if rows["dataset"].nunique() > 1 else table.droplevel("data set")


def bd_beside(bd: dict[str, pd.DataFrame]) -> Table:
    """Return by data set, codec, method and recognizer the BD-rate with its 95 % interval, a column a profile.

    `bd` holds the rows of bd_rate.csv by profile, seeds averaged; what a profile did not measure is a dash.
    """
    rows = pd.concat([per_recognizer(prepare(table, BD)).assign(profile=name) for name, table in bd.items()])
    words = {"data set": "dataset", "codec": codec, "method": method, "recognizer": recognizer}
    keys = ["dataset", "codec", "method", "role", "recognizer"]
    return wide_table(rows, keys, words, lambda row: {row.profile: change(row)}).titled(BYTES)


def bd_by_method(bd: pd.DataFrame) -> Table:
    """Return by recognizer the BD-rate behind one codec with its 95 % interval, a column a method."""
    rows = in_order(per_recognizer(prepare(bd, BD)), "method")
    words = {"recognizer": recognizer}
    return wide_table(rows, ["role", "recognizer"], words, lambda row: {method(row): change(row)}).titled(BYTES)


def transfer_table(bd: pd.DataFrame) -> Table:
    """Return by codec and method how many percent the bytes differ from the codec alone, a column a recognizer.

    It is said of each recognizer whether training saw it, and of each codec whether anything was trained for it.
    """
    rows = in_order(per_recognizer(prepare(bd, BD)), "role")
    one(rows, "dataset")
    unseen = rows["method"].str.startswith(TRANSFERRED).groupby(rows["codec"]).all()
    words = {
        "codec": lambda row: f"{codec(row)} ({'unseen' if unseen[row.codec] else 'trained for'})",
        "method": method,
    }
    table = wide_table(rows, ["codec", "method"], words, lambda row: {recognizer(row): change(row)})
    return table.replace(NOTHING, "not measured")


def rate_table(rates: pd.DataFrame) -> Table:
    """Return by method and quality the bytes and bits, the score of each recognizer with its interval, and PSNR."""
    rows = prepare(rates, RATES)
    for column in ("dataset", "codec"):
        one(rows, column)
    rows = in_order(per_recognizer(rows), "role", "method", "bpp")

    def score(row) -> dict[str, str]:
        return {f"{recognizer(row)}: {measured.metric_name(row.metric)}, % [95 % interval]": measured.interval(row)}

    return wide_table(
        rows, ["method", "quality"], {"method": method, "quality": _quality},
        lambda row: {"bytes a picture": number(row.bytes_mean, 0), "bits a pixel": number(row.bpp, 3)},
        score, lambda row: {"PSNR, dB": number(row.psnr)}, order=["role", "method", "bpp"],
    )  # fmt: skip


def same_bytes_table(same: pd.DataFrame) -> Table:
    """Return by recognizer and bytes what the codec alone scores, and each method at the very same bytes.

    In brackets the gain in points and its 95 % interval; `no overlap` where a method never has that many bytes.
    """
    order = ["codec", "role", "recognizer", "bytes_mean"]
    rows = in_order(per_recognizer(prepare(same, measured.SAME_BYTES)), *order, "method")

    def score(row) -> dict[str, str]:
        scored = change(row) if pd.isna(row.score) else f"{number(row.score)} ({change(row)})"
        return {f"{method(row)}, %": scored}

    table = wide_table(
        rows, ["codec", "recognizer", "quality"],
        {"codec": codec, "recognizer": recognizer, "bytes": ("bytes_mean", 0)},
        lambda row: {f"codec alone, {measured.metric_name(row.metric)} %": number(row.alone)}, score, order=order,
    )  # fmt: skip
    return table if rows["codec"].nunique() > 1 else table.droplevel("codec")


def one_for_all_table(rates: pd.DataFrame) -> Table:
    """Return the adaptive preprocessor beside one trained for a single quality, wherever both were measured.

    `difference` is that of the scores, in points: above zero the adaptive one is better.
    """
    rows = per_recognizer(prepare(rates, RATES))
    one(rows, "dataset")
    keys = ["role", "recognizer", "codec", "quality"]
    adaptive, single = (rows[rows["method"] == name] for name in ("npp_qa", "npp"))
    pairs = in_order(adaptive.merge(single, on=[*keys, "metric"], suffixes=("", "_own")), *keys)
    who = {"recognizer": lambda row: f"{recognizer(row)}, {measured.metric_name(row.metric)}"}
    return row_table(pairs, {"codec": codec, "quality": _quality} | who, {
        "one for all: %": ("value", 1), "one for all: bytes": ("bytes_mean", 0),
        "its own: %": ("value_own", 1), "its own: bytes": ("bytes_mean_own", 0),
        "difference, points": lambda row: measured.signed(row.value - row.value_own),
    })  # fmt: skip


def filter_table(filters: pd.DataFrame) -> Table:
    """Return the BD-rate of each setting of each filter on validation pictures, the chosen one marked."""
    words = {"filter": lambda row: look(row.filter).label, "setting": "setting"}
    return row_table(checked(filters, ["filter", "setting", "bd", "chosen"]), words, {
        "bytes at equal accuracy, %": lambda row: measured.signed(row.bd),
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
    """Return how well each proxy agrees with a codec at each quality: rates, pictures, gradients.

    `agreement` are rows of agreement.csv, of any data sets, which `dataset` names.
    """
    rows = in_order(checked(agreement, AGREEMENT), "dataset", "proxy", "codec", "quality")
    words = {"pictures": lambda row: f"{dataset_title(row.dataset)} ({number(row.n, 0)})"}
    return row_table(rows, words | {"proxy": "proxy", "codec": codec, "quality": _quality}, {
        "correlation of the rates": ("rate_correlation", 2),
        "bits of the proxy / of the codec": ("rate_ratio", 2), "PSNR between what they decode, dB": ("psnr", 1),
        "cosine of the gradients of the rate [95 % interval]":
            measured.interval_of("gradient_cosine", partial(number, digits=2)),
    })  # fmt: skip


def cost_table(cost: pd.DataFrame) -> Table:
    """Return what each part costs: parameters, multiply-accumulates a pixel, milliseconds a picture, and where."""
    return row_table(checked(cost, COST), {"part": "network", "used": "use"}, {
        "parameters": ("parameters", 0), "MACs a pixel": ("macs_per_pixel", 0), "ms a picture": ("ms_per_picture", 1),
        "picture": lambda row: f"{row.width} × {row.height}", "threads": "threads",
    })  # fmt: skip


def proxy_table(sidecars: Mapping[str, dict]) -> Table:
    """Return what each learned proxy costs and keeps on each set of held-out pictures, with rounded latents."""
    rows = [
        {"proxy": name, "set": pictures} | found
        for name, sidecar in sidecars.items()
        for pictures, found in sidecar["held_out"].items()
    ]
    words = {"proxy": "proxy", "pictures": lambda row: f"{row.set} ({number(row.pictures, 0)})"}
    return row_table(pd.DataFrame(rows), words, {
        "bits a pixel": ("bpp", 3), "of which y": ("bpp_y", 3), "of which z": ("bpp_z", 3), "PSNR, dB": ("psnr", 1),
    })  # fmt: skip

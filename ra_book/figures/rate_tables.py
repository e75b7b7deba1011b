"""Tables of the chapters on preprocessing before a codec: bytes, BD-rates, transfer, how proxies agree, costs."""

import pandas as pd

from ra_book.figures.look import TRANSFERRED, codec_title, method_look
from ra_book.figures.rate_rows import (
    AGREEMENT,
    FILTERS,
    RATES,
    bd_text,
    by_codec,
    by_role,
    checked,
    mean_rates,
    metric_name,
    one_dataset,
    ordered,
    prepare_bd,
    prepare_rates,
)
from ra_book.figures.rows import signed
from ra_book.figures.tables import NOTHING, number, records_table
from ra_core.errors import ParameterError


def bd_table(bd: pd.DataFrame) -> pd.DataFrame:
    """Return by codec, recognizer and method how many percent the bytes differ from the codec alone.

    The source stands before the unseen, fewest bytes first; a method that shares no accuracy with the codec alone
    comes last, as `no overlap`.
    """
    rows = ordered(
        prepare_bd(bd), lambda row: row.dataset, by_codec, by_role, lambda row: row.recognizer,
        lambda row: float("inf") if pd.isna(row.bd) else row.bd,
    )  # fmt: skip

    def over(row) -> str:
        if pd.isna(row.bd):
            return NOTHING
        return f"{metric_name(row.metric)} {row.value_low:.1f} to {row.value_high:.1f}"

    records = [
        {
            "data set": row.dataset,
            "codec": codec_title(row.codec),
            "recognizer": f"{row.recognizer} ({row.role})",
            "method": method_look(row.method).label,
            "bytes at equal accuracy, % [95 % interval]": bd_text(row.bd, row.low, row.high),
            "compared over, %": over(row),
            "draws without overlap, %": number(100 * row.no_overlap),
        }
        for row in rows.itertuples()
    ]
    words = ["data set", "codec", "recognizer", "method"]
    table = records_table(records, words)
    return table if rows["dataset"].nunique() > 1 else table.droplevel("data set")


def transfer_table(bd: pd.DataFrame) -> pd.DataFrame:
    """Return by codec and method how many percent the bytes differ from the codec alone, a column a recognizer.

    It is said of each recognizer whether training saw it, and of each codec whether anything was trained for it.
    """
    rows = one_dataset(prepare_bd(bd))
    who = ordered(rows.drop_duplicates("recognizer"), by_role)
    cells = {(row.codec, row.method, row.recognizer): row for row in rows.itertuples()}
    records = []
    for codec, method in dict.fromkeys((row.codec, row.method) for row in rows.itertuples()):
        found = [cells.get((codec, method, name)) for name in who["recognizer"]]
        texts = ["not measured" if row is None else bd_text(row.bd, row.low, row.high) for row in found]
        seen = not rows.loc[rows["codec"] == codec, "method"].str.startswith(TRANSFERRED).all()
        columns = [f"{row.recognizer} ({row.role})" for row in who.itertuples()]
        records.append(
            {
                "codec": f"{codec_title(codec)} ({'trained for' if seen else 'unseen'})",
                "method": method_look(method).label,
                **dict(zip(columns, texts, strict=True)),
            }
        )
    return records_table(records, ["codec", "method"])


def rate_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Return by method and quality the bytes and bits, the score of each recognizer with its interval, and PSNR."""
    checked(rates, RATES, "the rows of rate_accuracy.csv")
    rows, (codec, *others) = one_dataset(rates), rates["codec"].unique()
    if others:
        raise ParameterError(f"the rows are of {codec} and {others[0]}: show one codec at a time.")
    names = ordered(rows.drop_duplicates("recognizer"), by_role)["recognizer"]
    lines = {name: prepare_rates(rows, name) for name in names}
    means = {name: mean_rates(line).set_index(["method", "quality"]) for name, line in lines.items()}
    psnr = rows.groupby(["method", "quality"])["psnr"].mean()
    records = []
    for method, quality in means[names.iloc[0]].index:
        record = {"method": method_look(method).label, "quality": f"{quality:g}"}
        for name, line in lines.items():
            row, first = means[name].loc[(method, quality)], line.iloc[0]
            record |= {"bytes a picture": number(row["bytes_mean"], 0), "bits a pixel": number(row["bpp"], 3)}
            title = f"{name} ({first['role']}): {metric_name(first['metric'])}, % [95 % interval]"
            record[title] = f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"
        records.append(record | {"PSNR, dB": number(psnr[method, quality])})
    return records_table(records, ["method", "quality"])


def one_for_all_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Return the adaptive preprocessor beside one trained for a single quality, wherever both were measured.

    `difference` is that of the scores, in points: above zero the adaptive one is better.
    """
    rows, pairs = one_dataset(checked(rates, RATES, "the rows of rate_accuracy.csv")), []
    for name in ordered(rows.drop_duplicates("recognizer"), by_role)["recognizer"]:
        line = prepare_rates(rows, name)
        found = mean_rates(line).set_index(["codec", "quality", "method"]).sort_index()
        for codec, quality, method in found.index:
            if method == "npp" and (codec, quality, "npp_qa") in found.index:
                pairs.append((codec, quality, line.iloc[0], found.loc[(codec, quality)]))
    records = [
        {
            "codec": codec_title(codec), "quality": f"{quality:g}",
            "recognizer": f"{first.recognizer} ({first.role}), {metric_name(first.metric)}",
            **{
                f"{label}: {what}": number(both.loc[method, key], digits)
                for method, label in (("npp_qa", "one for all"), ("npp", "its own"))
                for what, key, digits in (("%", "value", 1), ("bytes", "bytes_mean", 0))
            },
            "difference, points": signed(both.loc["npp_qa", "value"] - both.loc["npp", "value"]),
        }
        for codec, quality, first, both in pairs
    ]  # fmt: skip
    return records_table(records, ["codec", "quality", "recognizer"])


def filter_table(filters: pd.DataFrame) -> pd.DataFrame:
    """Return the BD-rate of each setting of each filter on validation pictures, the chosen one marked."""
    rows = checked(filters, FILTERS, "the rows of filters-<codec>.csv")
    records = [
        {
            "filter": method_look(row.filter).label,
            "setting": row.setting,
            "bytes at equal accuracy, %": NOTHING if pd.isna(row.bd) else signed(row.bd),
            "taken": "yes" if row.chosen else "",
        }
        for row in rows.itertuples()
    ]
    return records_table(records, ["filter", "setting"])


def header_table(headers: pd.DataFrame) -> pd.DataFrame:
    """Return how many of a JPEG file's bytes are header at each quality, where fewest are payload first."""
    columns = ["quality", "bytes_mean", "header_mean", "payload_mean"]
    rows = checked(headers, columns, "what ra_core.coding.jpeg_headers.header_rows returns").sort_values("payload_mean")
    records = [
        {
            "quality": f"{row.quality:g}",
            "bytes a picture": number(row.bytes_mean, 0),
            "of them header": number(row.header_mean, 0),
            "of them payload": number(row.payload_mean, 0),
            "header, %": number(100 * row.header_mean / row.bytes_mean),
        }
        for row in rows.itertuples()
    ]
    return records_table(records, ["quality"])


def agreement_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return how well each proxy agrees with a codec at each quality: rates, pictures, gradients."""
    rows = checked(agreement, AGREEMENT, "the rows of agreement.csv")
    rows = ordered(rows, lambda row: row.proxy, by_codec, lambda row: row.quality)
    records = [
        {
            "proxy": row.proxy,
            "codec": codec_title(row.codec),
            "quality": f"{row.quality:g}",
            "pictures": number(row.n, 0),
            "correlation of the rates": number(row.rate_correlation, 2),
            "bits of the proxy / of the codec": number(row.rate_ratio, 2),
            "PSNR between what they decode, dB": number(row.psnr),
            "cosine of the gradients of the rate": number(row.gradient_cosine, 2),
        }
        for row in rows.itertuples()
    ]
    return records_table(records, ["proxy", "codec", "quality"])


def cost_table(cost: pd.DataFrame) -> pd.DataFrame:
    """Return what each part costs: parameters, multiply-accumulates a pixel, milliseconds a picture, and where."""
    columns = ["network", "use", "parameters", "macs_per_pixel", "ms_per_picture", "width", "height", "threads"]
    records = [
        {
            "part": row.network,
            "used": row.use,
            "parameters": number(row.parameters, 0),
            "MACs a pixel": number(row.macs_per_pixel, 0),
            "ms a picture": number(row.ms_per_picture),
            "picture": f"{row.width} × {row.height}",
            "threads": f"{row.threads}",
        }
        for row in checked(cost, columns, "the rows of cost.csv").itertuples()
    ]
    return records_table(records, ["part", "used"])

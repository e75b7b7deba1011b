"""Tables of the chapters on preprocessing before a codec: BD-rates, how well proxies agree, and costs."""

import pandas as pd

from ra_core.figures.look import codec_title, method_look
from ra_core.figures.rate_rows import (
    AGREEMENT,
    bd_text,
    by_codec,
    by_role,
    checked,
    metric_name,
    ordered,
    prepare_bd,
)
from ra_core.figures.tables import NOTHING, number, records_table


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
    """Return what each network costs: parameters, multiply-accumulates a pixel, milliseconds a picture."""
    columns = ["network", "parameters", "macs_per_pixel", "ms_per_picture"]
    records = [
        {
            "network": row.network,
            "parameters": number(row.parameters, 0),
            "MACs a pixel": number(row.macs_per_pixel, 0),
            "ms a picture": number(row.ms_per_picture),
        }
        for row in checked(cost, columns, "the rows of cost.csv").itertuples()
    ]
    return records_table(records, ["network"])

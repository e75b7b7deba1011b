"""Figures of preprocessing before a codec: bytes against accuracy, gains at the same bytes, BD-rates, transfer."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

import ra_book.figures.measured as measured
import ra_book.figures.plots as plots
from ra_book.figures.look import INK, TRANSFERRED, Figure, codec_title, look, new_figure, style
from ra_book.figures.measured import BD, change, in_order, listing, one, per_recognizer, prepare, signed, values_of
from ra_book.figures.plots import curves, legend, log_axis, looks_of
from ra_core.errors import ParameterError

GAP = 0.7  # rows of a forest left free between two methods


def _of_one(rows: pd.DataFrame, recognizer: str | None) -> pd.DataFrame:
    """Return the rows of one recognizer or detector; where none is named of the source, without one of the first."""
    sources = values_of(rows[rows["role"] == "source"], "recognizer") or values_of(rows, "recognizer")[:1]
    return measured.only(rows, "recognizer", recognizer or one(rows[rows["recognizer"].isin(sources)], "recognizer"))


def _who(rows: pd.DataFrame) -> tuple[str, str]:
    """Return the words for the one recognizer of the rows, and for what it is measured by."""
    first = rows.iloc[0]
    return f"{first['recognizer']} ({first['role']})", measured.metric_name(first["metric"])


def _range(rows: pd.DataFrame) -> str:
    """Say where a curve begins and ends."""
    first, last = rows.iloc[0], rows.iloc[-1]
    start = f"{first['value']:.1f} % at {first['bpp']:.3f}"
    return start if len(rows) == 1 else f"{start} to {last['value']:.1f} % at {last['bpp']:.3f}"


@style()
def rate_accuracy_curves(rates: pd.DataFrame, recognizer: str | None = None) -> Figure:
    """Draw accuracy with its 95 % interval against bits a pixel, a panel for each codec and a line for each method.

    `rates` are rows of `rate_accuracy.csv`; `recognizer` is the source where none is named, without one the first. The
    upper scale counts bytes a picture.
    """
    found = _of_one(prepare(rates, measured.RATES), recognizer)
    one(found, "dataset")
    rows = in_order(per_recognizer(found), "codec", "method", "bpp")
    (who, metric), codecs, sentences = _who(found), values_of(rows, "codec"), []
    ratio = (rows["bytes_mean"] / rows["bpp"]).median()  # bytes for each bit a pixel
    figure = new_figure(height=1.2 + 2.9 * math.ceil(len(codecs) / 2))
    for axes, codec in zip(plots.panels(figure, len(codecs), sharex=True, sharey=True), codecs, strict=True):
        mine = rows[rows["codec"] == codec]
        axes.set_xscale("log")
        curves(axes, mine, "bpp")
        upper = axes.secondary_xaxis("top", functions=(lambda x: x * ratio, lambda x: x / ratio))
        upper.set_xlabel("bytes a picture")
        log_axis(upper.xaxis, EngFormatter(sep=""))
        log_axis(axes.xaxis, "{x:g}")
        first = axes.get_subplotspec().is_first_col()
        axes.set(title=codec_title(codec), xlabel="bits a pixel", ylabel=f"{metric}, %" if first else "")
        methods = values_of(mine, "method")[:2]  # the codec alone and what is compared with it first
        parts = [f"{look(method).label} {_range(mine[mine['method'] == method])}" for method in methods]
        sentences.append(f"{codec_title(codec)}: {listing(parts)}")
    figure.suptitle(f"{who}: {metric} against bytes")
    legend(figure, looks_of(rows), measured.note(found), "lines")
    figure.alt = f"Curves of {metric} of {who} against bits a pixel; {'; '.join(sentences)}."
    return figure


@style()
def same_bytes_gains(same: pd.DataFrame, recognizer: str | None = None) -> Figure:
    """Draw what each method gains on the codec alone at the very same bytes, in points with 95 % intervals.

    `same` are rows of `same_bytes-<codec>.csv` of one codec; `recognizer` is the source where none is named. A method
    has no point where its own files never have that many bytes.
    """
    rows = _of_one(
        in_order(per_recognizer(prepare(same, measured.SAME_BYTES)), "role", "recognizer", "method"), recognizer
    )
    (who, metric), codec, parts = _who(rows), one(rows, "codec"), []
    figure = new_figure(height=3.6)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.axhline(0, color=INK, linewidth=1)
    curves(axes, rows.dropna(subset="value"), "bytes_mean")
    for method in values_of(rows, "method"):
        line = rows[rows["method"] == method].dropna(subset="value").sort_values("bytes_mean").itertuples()
        each = [f"{change(row)} at {row.bytes_mean:,.0f}" for row in line]
        parts.append(f"{look(method).label} {listing(each) if each else 'has no such bytes'}")
    log_axis(axes.xaxis, EngFormatter(sep=""))
    axes.set(
        xlim=(rows["bytes_mean"].min() / 1.1, rows["bytes_mean"].max() * 1.1),
        xlabel="bytes a picture, those of the codec alone at its qualities",
        ylabel=f"{metric} beside the codec alone, points",
        title=f"{who} behind {codec_title(codec)}: gain at the same bytes",
    )
    legend(figure, looks_of(rows), "with 95 % intervals", "lines")
    figure.alt = f"Gain of {metric} of {who} in points at the bytes of the codec alone: {'; '.join(parts)}."
    return figure


def _forest(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the BD-rates of one codec, methods from top to bottom and the recognizers, source first, within each."""
    rows = in_order(rows, "method", "role")
    methods = rows["method"].map(list(dict.fromkeys(rows["method"])).index)
    rows = rows.assign(y=np.arange(len(rows)) + GAP * methods.to_numpy(), hollow=rows["role"] == "unseen")
    labels = {look(method).label: y for method, y in rows.groupby("method", sort=False)["y"].mean().items()}
    plots.forest(axes, rows, labels, [f"{change(row)}  {row.recognizer}" for row in rows.itertuples()])
    axes.axvline(0, color=INK, linewidth=1)


@style()
def bd_forest(bd: pd.DataFrame) -> Figure:
    """Draw by how many percent the bytes of each method differ from the codec alone at equal accuracy.

    With 95 % intervals around zero, a panel for each codec; full markers are the source, hollow ones the unseen.
    """
    rows = per_recognizer(prepare(bd, BD))
    one(rows, "dataset")
    groups = {codec: rows[rows["codec"] == codec] for codec in values_of(rows, "codec")}
    sizes = [len(mine) + GAP * mine["method"].nunique() for mine in groups.values()]
    figure = new_figure(height=1.3 + 0.18 * sum(sizes) + 0.3 * len(groups))
    shown = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (codec, mine) in zip(shown, groups.items(), strict=True):
        _forest(axes, mine)
        axes.set(title=codec_title(codec), xlabel="")
    plots.byte_axis(shown[-1], rows)
    metric = listing(measured.metric_name(name) for name in rows["metric"].unique())
    shown[-1].set_xlabel(f"bytes beside the codec alone at equal {metric}, % (left of zero: fewer)")
    legend(figure, {}, "BD-rate with 95 % interval; full markers: source, hollow ones: unseen")
    sources = rows[rows["role"] == "source"]
    parts = [
        f"{codec_title(row.codec)} {look(row.method).label} {change(row)}"
        for row in (sources if len(sources) else rows).itertuples()
    ]
    who = "the source" if len(sources) else "unseen recognizers"
    figure.alt = (
        f"Forest plot of BD-rates in percent of bytes with 95 % interval at equal {metric} on {who}: {listing(parts)}."
    )
    return figure


def _adaptive(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of adaptive preprocessors, with `trained`, its codec, and `own`, whether it is as trained."""
    rows = rows[(rows["method"] == "npp_qa") | rows["method"].str.startswith(TRANSFERRED)]
    if rows.empty:
        raise ParameterError("the table has no row of npp_qa: train an adaptive preprocessor and measure it first.")
    trained = rows["codec"].where(rows["method"] == "npp_qa", rows["method"].str.removeprefix(TRANSFERRED))
    return rows.assign(trained=trained, own=(rows["codec"] == trained) & (rows["role"] == "source"))


def _transfer(axes: Axes, rows: pd.DataFrame, recognizers: dict[str, str], limit: float) -> None:
    """Draw one preprocessor behind every codec, its own first, and frame what it was trained for."""
    codecs = dict.fromkeys([rows["trained"].iloc[0], *values_of(rows, "codec")])
    rows = rows.drop_duplicates(["codec", "recognizer"])
    words = [change(row).replace(" [", "\n[") + ("\ntrained for" if row.own else "") for row in rows.itertuples()]
    rows = rows.assign(line=rows["codec"], column=rows["recognizer"], text=words)
    lines = {codec: codec_title(codec) for codec in codecs if codec in set(rows["codec"])}
    values, texts = plots.wide(rows, lines, {name: f"{name}\n{role}" for name, role in recognizers.items()})
    plots.heat_map(axes, values, texts.fillna("not measured"), plots.FEWER_OR_MORE, (-limit, limit))
    for name in rows.loc[rows["own"], "recognizer"]:
        corner = list(recognizers).index(name), 0
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, ec=INK, lw=2.2, clip_on=False, zorder=3))


@style()
def transfer_heatmap(bd: pd.DataFrame) -> Figure:
    """Draw the BD-rate of each adaptive preprocessor behind every codec and for every recognizer.

    A panel for each preprocessor; the codec and recognizer that it was trained for are framed.
    """
    rows = _adaptive(per_recognizer(prepare(bd, BD)))
    one(rows, "dataset")
    groups = {trained: rows[rows["trained"] == trained] for trained in dict.fromkeys(rows["trained"])}
    limit = float(np.clip(rows["value"].abs().fillna(0).max(), 10, 50))
    sizes = [mine["codec"].nunique() for mine in groups.values()]
    figure = new_figure(height=1.0 + 0.55 * sum(sizes) + 0.35 * len(groups))
    shown = figure.subplots(len(groups), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (trained, mine) in zip(shown, groups.items(), strict=True):
        _transfer(axes, mine, measured.recognizers_of(rows), limit)
        axes.set_title(f"NPP-QA trained for {codec_title(trained)}")
        axes.tick_params(labelbottom=axes is shown[-1])
    figure.suptitle("Bytes beside the codec alone at equal accuracy, % [95 % interval]")
    sentences = "; ".join(_transfer_sentence(trained, mine) for trained, mine in groups.items())
    figure.alt = f"Heat map of the BD-rate of NPP-QA in percent of bytes; {sentences}."
    return figure


def _transfer_sentence(trained: str, rows: pd.DataFrame) -> str:
    """Say what a preprocessor does where it was trained for, and from where to where the rest goes."""
    parts = [f"on {row.recognizer} (source) {change(row)}" for row in rows[rows["own"]].itertuples()]
    others = rows.loc[~rows["own"], "value"]
    known, lost = others.dropna(), int(others.isna().sum())
    if len(known):
        low, high = signed(known.min()), signed(known.max())
        span = low if low == high else f"from {low} to {high}"
        parts.append(f"{span} in {len(known)} other {'case' if len(known) == 1 else 'cases'}")
    if lost:
        parts.append(f"no overlap in {lost} other {'case' if lost == 1 else 'cases'}")
    return f"trained for {codec_title(trained)}, {listing(parts)}"

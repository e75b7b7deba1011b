"""Figures of preprocessing before a codec: bytes against accuracy, BD-rates, transfer."""

import math

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from ra_book.figures.look import FAINT, INK, TRANSFERRED, Figure, codec_title, method_look, new_figure, style
from ra_book.figures.networks import log_axis
from ra_book.figures.rate_rows import (
    bd_text,
    mean_rates,
    methods_of,
    metric_name,
    one_dataset,
    ordered,
    prepare_bd,
    prepare_rates,
)
from ra_book.figures.results import heat_cells
from ra_book.figures.rows import MINUS, interval_ends, listing, note, signed
from ra_core.errors import ParameterError

FEWER_OR_MORE = ListedColormap(colormaps["RdBu_r"](np.linspace(0.2, 0.8, 256)))  # takes black letters
GROUPS = 0.7  # rows of a forest left free between two methods


def _panels(figure: Figure, count: int, columns: int = 2) -> list[Axes]:
    """Return `count` panels on common axes, in rows of `columns`, with numbers under each."""
    columns = min(columns, count)
    panels = figure.subplots(math.ceil(count / columns), columns, sharex=True, sharey=True, squeeze=False).flat
    for axes in panels:
        axes.tick_params(labelbottom=True)
    for axes in panels[count:]:
        axes.remove()
    return list(panels[:count])


def legend_below(figure: Figure, handles: list[Line2D], title: str = "", columns: int = 4) -> None:
    """Put a legend under the figure, below a line that says what was measured."""
    legend = figure.legend(
        handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), title=title or None,
        title_fontsize=8.5, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip
    legend.get_title().set_color(FAINT)


def _line(method: str) -> dict:
    """Return how the line of a method is drawn: the codec alone stands out, what was transferred is dashed."""
    shown = method_look(method)
    return {
        "color": shown.colour, "marker": shown.marker, "markersize": 5.5, "label": shown.label,
        "linewidth": 2.2 if method == "codec" else 1.5, "markeredgecolor": "white", "markeredgewidth": 0.4,
        "linestyle": "--" if method.startswith(TRANSFERRED) else "-",
    }  # fmt: skip


def _range(rows: pd.DataFrame) -> str:
    """Say where a curve begins and ends."""
    first, last = rows.iloc[0], rows.iloc[-1]
    ends = f"{first['value']:.1f} % at {first['bpp']:.3f}"
    return ends if len(rows) == 1 else f"{ends} to {last['value']:.1f} % at {last['bpp']:.3f}"


@style()
def rate_accuracy_curves(rates: pd.DataFrame, recognizer: str | None = None) -> Figure:
    """Draw accuracy with its 95 % interval against bits a pixel, a panel for each codec and a line for each method.

    `rates` are rows of `rate_accuracy.csv`; `recognizer` is the source where none is named. The upper scale counts
    bytes a picture.
    """
    measured = one_dataset(prepare_rates(rates, recognizer))
    rows, first = mean_rates(measured), measured.iloc[0]
    codecs, metric = list(rows["codec"].unique()), metric_name(first["metric"])
    who = f"{first['recognizer']} ({first['role']})"
    ratio = (rows["bytes_mean"] / rows["bpp"]).median()  # bytes for each bit a pixel
    figure = new_figure(height=1.2 + 3.2 * math.ceil(len(codecs) / 2))
    sentences = []
    for axes, codec in zip(_panels(figure, len(codecs)), codecs, strict=True):
        mine, parts = rows[rows["codec"] == codec], []
        axes.set_xscale("log")
        for method in mine["method"].unique():
            line = mine[mine["method"] == method]
            axes.errorbar(line["bpp"], line["value"], interval_ends(line), capsize=2, elinewidth=0.9, **_line(method))
            if len(parts) < 2:  # the codec alone and what is compared with it first
                parts.append(f"{method_look(method).label} {_range(line)}")
        upper = axes.secondary_xaxis("top", functions=(lambda x: x * ratio, lambda x: x / ratio))
        upper.set_xlabel("bytes a picture")
        log_axis(upper.xaxis, EngFormatter(sep=""))
        log_axis(axes.xaxis, "{x:g}")
        axes.set_title(codec_title(codec))
        axes.set_xlabel("bits a pixel")
        if axes.get_subplotspec().is_first_col():
            axes.set_ylabel(f"{metric}, %")
        axes.grid()
        sentences.append(f"{codec_title(codec)}: {listing(parts)}")
    figure.suptitle(f"{who}: {metric} against bytes")
    handles = [Line2D([], [], **_line(method)) for method in methods_of(rows)]
    legend_below(figure, handles, note(measured.rename(columns={"method": "mode"})))
    figure.alt = f"Curves of {metric} of {who} against bits a pixel; {'; '.join(sentences)}."
    return figure


def _bd_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Scale the axis so that half the bytes is as far from zero as twice the bytes, and put numbers on it."""
    axes.set_xscale(
        "function",
        functions=(lambda x: np.log1p(np.maximum(np.asarray(x, float), -99.9) / 100), lambda x: 100 * np.expm1(x)),
    )
    ends = rows[["bd", "low", "high"]].to_numpy(float)
    low, high = min(0.0, np.nanmin(ends, initial=-5.0)), max(0.0, np.nanmax(ends, initial=5.0))
    for step in (5, 10, 20):
        ticks = step * np.arange(math.ceil(low / step), math.floor(high / step) + 1)
        if len(ticks) <= 8:
            break
    else:
        ticks = np.array([-90, -75, -50, -25, 0, 50, 100, 200, 400, 900])
        ticks = ticks[(ticks >= low) & (ticks <= high)]
    axes.set_xticks(ticks, [f"{tick:+.0f}".replace("-", MINUS) if tick else "0" for tick in ticks])
    axes.minorticks_off()


def _bd_panel(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the BD-rates of one codec, methods from top to bottom and the recognizers, source first, within each."""
    places, y = {}, 0.0
    for method in methods_of(rows):
        mine, shown = rows[rows["method"] == method], method_look(method)
        places[shown.label] = y + (len(mine) - 1) / 2
        for row in mine.itertuples():
            known = not (pd.isna(row.low) or pd.isna(row.high))
            axes.errorbar(
                row.bd, y, xerr=[[max(row.bd - row.low, 0)], [max(row.high - row.bd, 0)]] if known else None,
                linestyle="", marker=shown.marker, color=shown.colour, markersize=6.5, capsize=2.5,
                markerfacecolor=shown.colour if row.role == "source" else "white",
            )  # fmt: skip
            axes.annotate(
                f"{bd_text(row.bd, row.low, row.high)}  {row.recognizer}", (1, y), (6, 0), fontsize=8,
                va="center", xycoords=("axes fraction", "data"), textcoords="offset points",
            )  # fmt: skip
            y += 1
        y += GROUPS
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(list(places.values()), list(places))
    axes.set_ylim(y - GROUPS - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


@style()
def bd_forest(bd: pd.DataFrame) -> Figure:
    """Draw by how many percent the bytes of each method differ from the codec alone at equal accuracy.

    With 95 % intervals around zero, a panel for each codec; full markers are the source, hollow ones the unseen.
    """
    rows = one_dataset(prepare_bd(bd))
    groups = dict(iter(rows.groupby("codec", sort=False)))
    sizes = [len(mine) + GROUPS * mine["method"].nunique() for mine in groups.values()]
    figure = new_figure(height=1.3 + 0.19 * sum(sizes) + 0.3 * len(groups))
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (codec, mine) in zip(panels, groups.items(), strict=True):
        _bd_panel(axes, mine)
        axes.set_title(codec_title(codec))
    _bd_axis(panels[-1], rows)
    metric = listing(metric_name(name) for name in rows["metric"].unique())
    panels[-1].set_xlabel(f"bytes beside the codec alone at equal {metric}, % (left of zero: fewer)")
    common = {"ls": "", "ms": 6.5, "marker": "o", "color": FAINT}
    handles = [
        Line2D([], [], **common, label="source"),
        Line2D([], [], **common, markerfacecolor="white", label="unseen"),
    ]
    legend_below(figure, handles, "BD-rate with 95 % interval")
    sources = rows[rows["role"] == "source"]
    parts = [
        f"{codec_title(row.codec)} {method_look(row.method).label} {bd_text(row.bd, row.low, row.high)}"
        for row in (sources if len(sources) else rows).itertuples()
    ]
    who = "the source" if len(sources) else "unseen recognizers"
    figure.alt = (
        f"Forest plot of BD-rates in percent of bytes with 95 % interval at equal {metric} on {who}: {listing(parts)}."
    )
    return figure


def _adaptive(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of adaptive preprocessors, with the codec that each was trained for in `trained`."""
    rows = rows[(rows["method"] == "npp_qa") | rows["method"].str.startswith(TRANSFERRED)]
    if rows.empty:
        raise ParameterError("the table has no row of npp_qa: train an adaptive preprocessor and measure it first.")
    own = rows["method"] == "npp_qa"
    return rows.assign(trained=rows["codec"].where(own, rows["method"].str.removeprefix(TRANSFERRED)))


def _transfer_panel(axes: Axes, rows: pd.DataFrame, recognizers: list[str], limit: float):
    """Draw one preprocessor behind every codec, its own first, and frame what it was trained for."""
    trained = rows["trained"].iloc[0]
    codecs = sorted(rows["codec"].unique(), key=lambda codec: codec != trained)
    cells = rows.set_index(["codec", "recognizer"])
    values = np.full((len(codecs), len(recognizers)), np.nan)
    texts = np.full(values.shape, "not measured", dtype=object)
    for (codec, name), row in cells.iterrows():
        place = codecs.index(codec), recognizers.index(name)
        values[place] = row["bd"]
        texts[place] = bd_text(row["bd"], row["low"], row["high"]).replace(" [", "\n[")
        if codec == trained and row["role"] == "source":
            left, top = place[1] - 0.5, place[0] - 0.5
            axes.add_patch(Rectangle((left, top), 1, 1, fill=False, ec=INK, lw=2.2, clip_on=False, zorder=3))
            texts[place] += "\ntrained for"
    image = heat_cells(axes, values, texts, FEWER_OR_MORE, (-limit, limit))
    axes.set_yticks(range(len(codecs)), [codec_title(codec) for codec in codecs])
    return image


@style()
def transfer_heatmap(bd: pd.DataFrame) -> Figure:
    """Draw the BD-rate of each adaptive preprocessor behind every codec and for every recognizer.

    A panel for each preprocessor; the codec and recognizer that it was trained for are framed.
    """
    rows = _adaptive(one_dataset(prepare_bd(bd)))
    names = ordered(rows.drop_duplicates("recognizer"), lambda row: row.role)
    roles = dict(names[["recognizer", "role"]].itertuples(index=False))
    groups = dict(iter(rows.groupby("trained", sort=False)))
    limit = float(np.clip(rows["bd"].abs().fillna(0).max(), 10, 50))
    sizes = [mine["codec"].nunique() for mine in groups.values()]
    figure = new_figure(height=1.3 + 0.58 * sum(sizes) + 0.35 * len(groups))
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (trained, mine) in zip(panels, groups.items(), strict=True):
        image = _transfer_panel(axes, mine, list(roles), limit)
        axes.set_title(f"NPP-QA trained for {codec_title(trained)}")
    panels[-1].set_xticks(range(len(roles)), [f"{name}\n{role}" for name, role in roles.items()])
    figure.suptitle("Bytes beside the codec alone at equal accuracy, % [95 % interval]")
    bar = figure.colorbar(image, ax=list(panels), label="BD-rate, %", pad=0.02, aspect=30, extend="both")
    bar.outline.set_visible(False)
    figure.alt = (
        "Heat map of the BD-rate of NPP-QA in percent of bytes; "
        f"{'; '.join(_transfer_sentence(trained, mine) for trained, mine in groups.items())}."
    )
    return figure


def _transfer_sentence(trained: str, rows: pd.DataFrame) -> str:
    """Say what a preprocessor does where it was trained for, and from where to where the rest goes."""
    own = (rows["codec"] == trained) & (rows["role"] == "source")
    parts = [f"on {row.recognizer} (source) {bd_text(row.bd, row.low, row.high)}" for row in rows[own].itertuples()]
    others = rows.loc[~own, "bd"]
    known, lost = others.dropna(), int(others.isna().sum())
    if len(known):
        low, high = signed(known.min()), signed(known.max())
        span = low if low == high else f"from {low} to {high}"
        parts.append(f"{span} in {len(known)} other {'case' if len(known) == 1 else 'cases'}")
    if lost:
        parts.append(f"no overlap in {lost} other {'case' if lost == 1 else 'cases'}")
    return f"trained for {codec_title(trained)}, {listing(parts)}"

"""The four plots of the book, by seaborn on axes: bars, forest, heat map, curves.

Each draws prepared rows (`value`, `low`, `high`, `method`), one colour and marker for each method. Intervals are drawn
as they are given: seaborn computes none.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import seaborn
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ra_book.figures.look import FAINT, INK, TRANSFERRED, Figure, Look, look
from ra_book.figures.measured import values_of

LETTERS = 112  # of a legend that fit into one line
GROUP = 0.86  # share of the space that the bars of a group fill
CELLS = ListedColormap(colormaps["viridis"](np.linspace(0.45, 1, 256)))  # bright enough for black letters
FEWER_OR_MORE = ListedColormap(colormaps["RdBu_r"](np.linspace(0.2, 0.8, 256)))  # takes black letters


def ends(rows: pd.DataFrame) -> np.ndarray | None:
    """Return the lengths (2, N) of the error bars below and above each value, None without intervals."""
    if "low" not in rows:
        return None
    return np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).clip(min=0)


def offsets(rows: pd.DataFrame, width: float = GROUP) -> pd.Series:
    """Return how far from the middle of its group each row stands, by its method."""
    methods = values_of(rows, "method")
    return (rows["method"].map(methods.index) - (len(methods) - 1) / 2) * width / len(methods)


def looks_of(rows: pd.DataFrame) -> dict[str, Look]:
    """Return the methods of rows, in the order of the book, and how each is drawn."""
    return {method: look(method) for method in values_of(rows, "method")}


def bars(axes: Axes, rows: pd.DataFrame, group: str, labels: bool = False) -> None:
    """Draw a bar with interval for each method within each `group`, and its value on top if `labels`."""
    methods, groups = values_of(rows, "method"), list(dict.fromkeys(rows[group]))
    seaborn.barplot(
        rows, x=group, y="value", hue="method", order=groups, hue_order=methods, width=GROUP, saturation=1,
        palette={method: look(method).colour for method in methods}, errorbar=None, legend=False, ax=axes,
    )  # fmt: skip
    x = rows[group].map(groups.index) + offsets(rows)
    ecolor = ["#999999" if method == "oracle" else INK for method in rows["method"]]
    axes.errorbar(x, rows["value"], ends(rows), fmt="none", ecolor=ecolor, elinewidth=1)
    for place, row in zip(x, rows.itertuples(), strict=True) if labels else ():
        axes.annotate(f"{row.value:.0f}", (place, row.high), (0, 1), ha="center", textcoords="offset points", size=7.5)
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="", ylim=(0, 104))


def forest(
    axes: Axes,
    rows: pd.DataFrame,
    labels: Mapping[str, float],
    texts: Iterable[str] = (),
    looks: Mapping[str, Look] | None = None,
) -> None:
    """Draw each row's value with its interval at its height `y`, counted from the top.

    `labels` are written beside heights; `texts` at the right edge, one a row. Where `hollow` is true the marker is.
    """
    looks = looks or looks_of(rows)
    colours = rows["method"].map({name: each.colour for name, each in looks.items()})
    axes.errorbar(rows["value"], rows["y"], xerr=ends(rows), fmt="none", ecolor=list(colours), elinewidth=1.4)
    seaborn.scatterplot(
        rows, x="value", y="y", style="method", markers={name: each.marker for name, each in looks.items()}, s=42,
        legend=False, zorder=3, ax=axes,
    )  # fmt: skip
    hollow = rows["hollow"] if "hollow" in rows else pd.Series(False, rows.index)
    drawn = rows["value"].notna()
    axes.collections[-1].set(facecolor=list(colours.mask(hollow, "white")[drawn]), edgecolor=list(colours[drawn]))
    beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center", "size": 8}
    for y, text in zip(rows["y"], texts, strict=False):
        axes.annotate(text, (1, y), (6, 0), **beside)
    axes.set_yticks(list(labels.values()), list(labels))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set(ylim=(rows["y"].max() + 0.6, rows["y"].min() - 0.6), ylabel="")


def heat_map(axes: Axes, values: pd.DataFrame, texts: pd.DataFrame, cmap=CELLS, limits=(0, 100), gap=1.5) -> None:
    """Draw numbers as coloured cells with their `texts`; a cell without a number is blank beneath its text."""
    low, high = limits
    seaborn.heatmap(
        values, vmin=low, vmax=high, cmap=cmap, cbar=False, linewidths=gap, linecolor="white", ax=axes,
        xticklabels=list(values.columns), yticklabels=list(values.index),
    )  # fmt: skip
    for (row, column), text in np.ndenumerate(texts.to_numpy()):
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color="black")
    axes.tick_params(length=0, labelrotation=0)
    axes.grid(False)
    axes.set(xlabel="", ylabel="")


def wide(rows: pd.DataFrame, lines: Mapping[str, str], columns: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the values and the texts of rows for a heat map, by `line` and `column`, each mapped to its label."""
    parts = (rows.pivot(index="line", columns="column", values=name) for name in ("value", "text"))
    parts = (each.reindex(index=list(lines), columns=list(columns)) for each in parts)
    return tuple(each.set_axis(lines.values()).set_axis(columns.values(), axis=1) for each in parts)


def curves(
    axes: Axes, rows: pd.DataFrame, x: str, markers: bool = True, looks: Mapping[str, Look] | None = None
) -> None:
    """Draw a line for each method along `x`, with its interval as a band; a transferred method is dashed."""
    looks = looks or looks_of(rows)
    if rows.empty:
        return
    seaborn.lineplot(
        rows, x=x, y="value", hue="method", style="method", hue_order=list(looks), style_order=list(looks),
        palette={name: each.colour for name, each in looks.items()},
        markers={name: each.marker for name, each in looks.items()} if markers else False,
        dashes={name: (4, 2) if _line(name) == "--" else "" for name in looks}, estimator=None, errorbar=None,
        markersize=6, markeredgewidth=0.4, linewidth=1.6, legend=False, ax=axes,
    )  # fmt: skip
    for name, line in rows.groupby("method", sort=False) if "low" in rows else ():
        line = line.sort_values(x).dropna(subset=["low", "high"])
        if len(line) == 1:  # a band of one point has no width
            axes.errorbar(line[x], line["value"], ends(line), fmt="none", ecolor=looks[name].colour, elinewidth=1.4)
        axes.fill_between(line[x], line["low"], line["high"], color=looks[name].colour, alpha=0.12, linewidth=0)


def say(axes: Axes, text: str) -> None:
    """Write in the middle of empty axes why nothing is drawn."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=FAINT)
    axes.set_yticks([])


def _line(name: str) -> str:
    # P of RA + transformer is that of plain, so their PSNR lies on one line: dashes leave both to be seen.
    return "--" if name.startswith(TRANSFERRED) or name == "ra_transformer" else "-"


def log_axis(axis, formatter) -> None:
    """Put plain numbers at 1, 2, 3 and 5 of each decade: a range within one decade has labels too."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def byte_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Scale the x axis so that half the bytes is as far from zero as twice the bytes, and put numbers on it."""
    axes.set_xscale(
        "function",
        functions=(lambda x: np.log1p(np.maximum(np.asarray(x, float), -99.9) / 100), lambda x: 100 * np.expm1(x)),
    )
    numbers = rows[["value", "low", "high"]].to_numpy(float)
    low, high = np.nanmin(numbers, initial=-5.0), np.nanmax(numbers, initial=5.0)
    shares = np.log1p(np.array([max(low, -99.0), high]) / 100)  # -100 % is infinitely far
    ticks = [0.0]
    for tick in (5, 10, 20, 50, 100, 200, 400, 900, -5, -10, -20, -30, -50, -65, -80, -90):
        apart = np.abs(np.log1p(tick / 100) - np.log1p(np.array(ticks) / 100)).min()
        if low <= tick <= high and apart > 0.09 * np.ptp(shares):
            ticks.append(tick)
    axes.set_xticks(ticks, [f"{tick:+.0f}".replace("-", "−") if tick else "0" for tick in ticks])
    axes.minorticks_off()


def legend(
    figure: Figure, looks: Mapping[str, Look], title: str = "", kind: str = "points", columns: int | None = None
) -> None:
    """Put a legend of `bars`, `points` or `lines` under the figure, below a line that says what was measured.

    It has as many columns as short labels allow, or `columns`.
    """
    handles = [
        Line2D(
            [], [], label=each.label, color=each.colour, markersize=7, markeredgewidth=0.4, markeredgecolor="white",
            marker="s" if kind == "bars" else each.marker, linestyle=_line(name) if kind == "lines" else "",
        )
        for name, each in looks.items()
    ]  # fmt: skip
    beside = 9 if kind == "lines" else 5  # letters that the mark and the gap are wide
    lines = math.ceil(sum(len(each.label) + beside for each in looks.values()) / LETTERS)
    shown = figure.legend(
        handles=handles, loc="outside lower center", ncols=columns or max(1, math.ceil(len(handles) / max(lines, 1))),
        title=title or None, title_fontsize=8.5, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip
    shown.get_title().set_color(FAINT)


def panels(figure: Figure, count: int, columns: int = 2, **shared) -> list[Axes]:
    """Return `count` panels in rows of `columns`, with numbers under each."""
    columns = min(columns, count)
    found = figure.subplots(math.ceil(count / columns), columns, squeeze=False, **shared).flat
    for axes in found[count:]:
        axes.remove()
    for axes in found[:count]:
        axes.tick_params(labelbottom=True)
    return list(found[:count])

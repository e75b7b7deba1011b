"""Figures made of pictures: grids, degradations, and panels with the recognizers' answers."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ra_book.figures.look import FAINT, MODES, RIGHT, WIDTH, WRONG, Figure, Look, look, mode_rank, style, task_name
from ra_book.figures.rows import listing
from ra_core.errors import ParameterError

VERSIONS = {"clean": "oracle", "degraded": "unprocessed"}  # other words for two of the modes
GAP, LINE = 0.10, 0.135  # inches between pictures, and for one line of small print
LETTER = 0.062  # inches a letter of small print takes on average


def pixels(picture) -> np.ndarray:
    """Return a picture (3, H, W), uint8 or float in [0, 1], tensor or array, as (H, W, 3) uint8."""
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[0] != 3:
        raise ParameterError(f"a picture has the shape (3, H, W), not {array.shape}: give RGB, channels first.")
    if array.dtype != np.uint8:
        array = np.floor(array.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return array.transpose(1, 2, 0)


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure whose only axes measure inches from the top left corner."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def put_picture(axes: Axes, picture, x: float, y: float, side: float, tall: float | None = None) -> None:
    """Put a picture at (x, y), `side` wide and as high or `tall`, with every pixel plain, however large it is drawn."""
    extent = (x, x + side, y + (tall or side), y)
    axes.imshow(pixels(picture), extent=extent, interpolation="none")


@style()
def picture_grid(
    images: Sequence, rows: Sequence[str], columns: Sequence[str], titles: Sequence[str] = (), alt: str = ""
) -> Figure:
    """Draw pictures row by row with labels for rows and columns, and `titles` beneath the single pictures.

    Each of `images` is (3, H, W), uint8 or float in [0, 1]; sizes may differ, all are drawn equally large.
    """
    if len(images) != len(rows) * len(columns) or len(titles) not in (0, len(images)):
        raise ParameterError(
            f"{len(images)} pictures with {len(titles)} titles do not fill {len(rows)} rows "
            f"and {len(columns)} columns: give one picture for each place, and no title or one for each."
        )
    left = 0.25 + 0.078 * max(map(len, rows))
    top, below = 0.3, LINE + 0.05 if titles else 0.0
    side = min(1.3, (WIDTH - left) / len(columns) - GAP)
    figure, axes = sheet(left + len(columns) * (side + GAP), top + len(rows) * (side + GAP + below))
    for column, label in enumerate(columns):
        axes.text(left + column * (side + GAP) + side / 2, top - 0.1, label, ha="center", va="center", fontsize=9)
    for row, label in enumerate(rows):
        y = top + row * (side + GAP + below)
        axes.text(left - 0.12, y + side / 2, label, ha="right", va="center")
        for column in range(len(columns)):
            place = row * len(columns) + column
            x = left + column * (side + GAP)
            put_picture(axes, images[place], x, y, side)
            if titles:
                axes.text(x + side / 2, y + side + 0.02, titles[place], ha="center", va="top", fontsize=8)
    figure.alt = alt or f"Pictures in rows ({listing(rows)}) and columns ({listing(columns)})."
    return figure


def degradations(clean: Sequence, degraded: Mapping[str, Sequence], columns: Sequence[str]) -> Figure:
    """Draw K clean pictures above what each task's channel makes of them; `columns` names the K pictures."""
    images = [*clean, *(picture for pictures in degraded.values() for picture in pictures)]
    tasks = [task_name(task) for task in degraded]
    alt = f"Pictures of {listing(columns)}, clean and as they enter {listing(tasks)}."
    return picture_grid(images, ["clean", *tasks], columns, alt=alt)


def _mode_order(modes: Sequence[str]) -> list[int]:
    """Return the order of a panel's rows: unprocessed, the modes, then anything else, clean last."""
    ends = {"unprocessed": (-1, 0.0), "oracle": (len(MODES) + 1, 0.0)}
    return sorted(range(len(modes)), key=lambda i: ends.get(modes[i]) or mode_rank(modes[i]))


def _version_look(version: str) -> Look:
    """Return how a mode is drawn, or any other version of a picture."""
    return look(version) if version.partition("@")[0] in MODES else Look(version, FAINT, "")


def shorten(name: str, side: float) -> str:
    """Cut a class name so that it fits, with mark and confidence, under a picture `side` inches wide."""
    letters = round((side + GAP) / LETTER) - 7
    return name if len(name) <= letters else name[: letters - 1] + "…"


@style()
def picture_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw versions (rows) of some pictures (columns), each with every recognizer's answer and confidence.

    `panel` holds `images` (V, K, 3, H, W) uint8, `versions` (V,), `answers` and `confidences` (V, R, K),
    `recognizers` (R,), `labels` (K,), `classes`. A right answer has a tick, a wrong one a cross.
    """
    images, answers, confidences = panel["images"], panel["answers"], panel["confidences"]
    names, classes, labels = (list(map(str, panel["recognizers"])), list(map(str, panel["classes"])), panel["labels"])
    modes = [VERSIONS.get(version, version) for version in map(str, panel["versions"])]
    words = [_version_look(mode).label for mode in modes]
    left, top, count = 1.45, 0.32, len(labels)
    side = min(1.5, max(0.95, (WIDTH - left) / count - GAP))
    height = side + LINE * len(names) + 0.17
    figure, axes = sheet(left + count * (side + GAP), top + len(modes) * height)
    columns = [left + k * (side + GAP) for k in range(count)]
    for x, label in zip(columns, labels, strict=True):
        name = shorten(classes[label], side)
        axes.text(x + side / 2, top - 0.13, name, ha="center", va="center", fontsize=9, weight="bold")
    for row, v in enumerate(_mode_order(modes)):
        y, colour = top + row * height, _version_look(modes[v]).colour
        label = textwrap.fill(words[v], 13)
        axes.text(left - 0.14, y + side / 2, label, ha="right", va="center", weight="bold")
        axes.plot([left - 0.07] * 2, [y, y + side], color=colour, linewidth=3, solid_capstyle="butt")
        for r, name in enumerate(names):
            line = y + side + LINE * (r + 0.6)
            axes.text(left - 0.14, line, name, ha="right", va="center", fontsize=7, color=FAINT)
            for x, label, answer, sure in zip(columns, labels, answers[v, r], confidences[v, r], strict=True):
                mark, colour = ("✓", RIGHT) if answer == label else ("✗", WRONG)
                text = f"{mark} {shorten(classes[answer], side)} {100 * sure:.0f}%"
                axes.text(x, line, text, va="center", fontsize=7, color=colour)
        for x, picture in zip(columns, images[v], strict=True):
            put_picture(axes, picture, x, y, side)
    right = (answers == labels).sum(axis=(1, 2))
    parts = [f"{words[v]} {right[v]} of {len(names) * count}" for v in _mode_order(modes)]
    figure.alt = f"{count} pictures in each version, with the answers of {listing(names)}; right are {listing(parts)}."
    return figure

"""The one look of every figure: theme, names, colours, markers, and how a figure becomes a file."""

import base64
import html
import io
import math
import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import seaborn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as MatplotlibFigure

from ra_core.channels import TASKS
from ra_core.codecs import CODECS
from ra_core.data import DATASETS
from ra_core.errors import ParameterError
from ra_core.files import atomic
from ra_core.methods import METHODS, TRANSFERRED, UNSEEN_QUALITIES, name_parts

WIDTH = 8.0  # inches; a page of the book shows that about 1.3 times enlarged
INK, FAINT, LINES = "#222222", "#666666", "#E3E3E3"
RIGHT, WRONG = "#1B7837", "#B2182B"
THEME = {
    **seaborn.axes_style("whitegrid"),
    **seaborn.plotting_context("paper", font_scale=1.05),
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": LINES,
    "savefig.facecolor": "white",
    "image.composite_image": False,  # keeps every picture of a panel at its own pixels in an SVG
    "svg.fonttype": "path",
    "svg.hashsalt": "ra_core",  # without it the ids inside an SVG change from run to run
}


class Look(NamedTuple):
    """How a method, or any other line of a figure, is named and drawn."""

    label: str
    colour: str
    marker: str = "o"


# Rows of the tables that are no method. What stands beside one another is told apart by every kind of eye (a test).
BEFORE = {
    "oracle": Look("clean (oracle)", "#000000", "*"),
    "unprocessed": Look("unprocessed", "#AAAAAA", "X"),
    "codec": Look("codec alone", "#000000", "o"),
}
AFTER = {
    "downscale": Look("downscaled", "#AAAAAA", "X"),
    "gaussian": Look("Gaussian filter", "#009E73", "D"),
    "bilateral": Look("bilateral filter", "#DDCC77", "P"),
    "saliency": Look("smoothed by saliency", "#5A3C00", "d"),
    UNSEEN_QUALITIES: Look("NPP-QA, unseen qualities", METHODS["npp_qa"].colour, "H"),
}
# Never drawn beside one that was trained for the codec in question, but all of them beside the codec alone.
TRANSFERS = {
    "jpeg": ("#E69F00", "h"),
    "jpeg-optimized": ("#661100", "^"),
    "heic": ("#AA4499", "p"),
    "bpg": ("#117733", "H"),
}
OTHERS = ("#999999", "d")  # adaptive preprocessors for other codecs
# For what no registry gives a colour: Paul Tol's "muted".
PALETTE = ("#332288", "#CC6677", "#44AA99", "#DDCC77", "#882255", "#88CCEE", "#117733", "#999933", "#AA4499")


def shortened(name: str, letters: int) -> str:
    """Return a name cut to that many letters, its end marked where it is cut."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def look(name: str) -> Look:
    """Return label, colour and marker of a method or of another row of a table.

    A point of a sweep, such as `ra@0.01`, is named with its lambda, and the paler the smaller that is; `ra@vgg8` is
    named with its source, whose colour it has.
    `npp_qa for <codec>` is an adaptive preprocessor behind another codec than its own. What nothing knows gets its
    own name and a colour of the palette.
    """
    if name.startswith(TRANSFERRED):
        codec = name.removeprefix(TRANSFERRED)
        return Look(f"NPP-QA for {codec_title(codec)}", *TRANSFERS.get(codec, OTHERS))
    base, sources, weight = name_parts(name)
    row = BEFORE.get(base) or AFTER.get(base)
    if row is None:
        row, default = METHODS.get(base), PALETTE[zlib.crc32(base.encode()) % len(PALETTE)]
        row = Look(row.title or base, row.colour or default, row.marker or "o") if row else Look(base, default)
    if sources:
        colour = PALETTE[zlib.crc32("+".join(sources).encode()) % len(PALETTE)]
        row = Look(f"{row.label} from {' + '.join(sources)}", colour, row.marker)
    if weight is None:
        return row
    paleness = min(max(-math.log10(weight) / 6, 0), 0.8)  # white at 1e-6
    colour = to_hex([paleness + (1 - paleness) * part for part in to_rgb(row.colour)])
    return Look(f"{row.label}, λ {weight:g}", colour, row.marker)


def rank(known: Iterable[str], name: str) -> tuple[int, str]:
    """Return the place of a name among others: in the order of those that are known, then by name."""
    known = list(known)
    return (known.index(name) if name in known else len(known)), name


def method_rank(name: str) -> tuple:
    """Return the place of a row among others: in the order of the book, a sweep by lambda, a transfer by codec."""
    base, sources, weight = name_parts(name)
    place, _ = rank([*BEFORE, *METHODS, *AFTER], base)
    return place, len(sources), weight or 0, sources, codec_rank(name.removeprefix(TRANSFERRED))


task_rank, codec_rank = partial(rank, TASKS), partial(rank, CODECS)


def codec_title(codec: str) -> str:
    """Return the name of a codec for readers."""
    return CODECS[codec].title if codec in CODECS else codec


def dataset_title(name: str) -> str:
    """Return the name of a data set around codecs for readers, with a capital letter."""
    title = DATASETS[name].title if name in DATASETS else name.replace("_", " ")
    return title[:1].upper() + title[1:]


def task_name(task: str) -> str:
    """Return the name of a task for readers, as it stands inside a sentence."""
    return TASKS[task].title if task in TASKS else task


def task_title(task: str) -> str:
    """Return the name of a task for readers, with a capital letter."""
    return task_name(task)[:1].upper() + task_name(task)[1:]


def style() -> AbstractContextManager:
    """Return the theme of the book, for `with style():` or as a decorator `@style()`."""
    return matplotlib.rc_context(THEME)


class Figure(MatplotlibFigure):
    """A matplotlib figure with `alt`, one sentence with its main numbers, which a notebook shows it with."""

    alt: str = ""

    def _repr_html_(self) -> str:
        # An <img> and not a bare picture: only so does the alternative text reach the page of a notebook.
        data = base64.b64encode(render(self, "svg")).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/svg+xml;base64,{data}"/>'


def new_figure(height: float, width: float = WIDTH, layout: str | None = "constrained") -> Figure:
    """Return an empty figure of the given size in inches whose parts arrange themselves."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # seaborn measures labels on it, and would otherwise open a figure of pyplot
    return figure


def render(figure: Figure, kind: str) -> bytes:
    """Return the figure as the bytes of an `svg` or a `png`, the same for the same figure at any time."""
    if kind not in ("svg", "png"):
        raise ParameterError(f"a figure cannot be saved as {kind!r}: name its file .svg or .png.")
    metadata = {"Date": None, "Title": figure.alt} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=180, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, path: Path) -> None:
    """Write the figure atomically to `path`, as SVG or PNG by its suffix."""
    content = render(figure, Path(path).suffix.lstrip(".").lower())
    with atomic(path) as temporary:
        temporary.write_bytes(content)

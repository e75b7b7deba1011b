"""The one look of every figure: colours, labels, sizes, and how a figure becomes a file."""

import base64
import html
import io
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure as MatplotlibFigure

from ra_core.errors import ParameterError
from ra_core.files import atomic
from ra_core.methods import UNSEEN_QUALITIES

WIDTH = 8.0  # inches; a page of the book shows that about 1.3 times enlarged
INK, FAINT = "#222222", "#666666"
RIGHT, WRONG = "#1B7837", "#B2182B"

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.titlesize": 10.5,
    "figure.titleweight": "bold",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "image.composite_image": False,  # keeps every picture of a panel at its own pixels in an SVG
    "svg.fonttype": "path",
    "svg.hashsalt": "ra_core",  # without it the ids inside an SVG change from run to run
}


class Look(NamedTuple):
    """How a mode is named and drawn, everywhere."""

    label: str
    colour: str
    marker: str


# From the palettes of Okabe and Ito and of Tol; a test proves that every kind of eye tells them apart.
MODES = {
    "oracle": Look("clean (oracle)", "#000000", "*"),
    "unprocessed": Look("unprocessed", "#AAAAAA", "X"),
    "plain": Look("plain", "#0072B2", "o"),
    "ra": Look("RA", "#D55E00", "s"),
    "ra_transformer": Look("RA + transformer", "#882255", "^"),
    "ra_unsupervised": Look("RA unsupervised", "#009E73", "D"),
}
TASKS = {"sr": "super-resolution", "dn": "denoising", "jpeg": "JPEG restoration"}

# Ways to send pictures, by what stands around the codec.
METHODS = {
    "codec": Look("codec alone", "#000000", "o"),
    "npp_qa": Look("NPP-QA", "#D55E00", "s"),
    "npp": Look("NPP, one a quality", "#0072B2", "^"),
    "npp_mse": Look("NPP without task", "#56B4E9", "v"),
    "downscale": Look("downscaled", "#AAAAAA", "X"),
    "gaussian": Look("Gaussian filter", "#009E73", "D"),
    "bilateral": Look("bilateral filter", "#DDCC77", "P"),
    "post": Look("RA after", "#332288", "<"),
    "both": Look("both ends", "#882255", "*"),
}
TRANSFERRED = "npp_qa for "  # and then the codec that it was trained for, behind another
# Never drawn beside one that was trained for the codec in question, but all of them beside the codec alone.
TRANSFERS = {"jpeg": ("#E69F00", "h"), "heic": ("#AA4499", "p"), "bpg": ("#117733", "H")}
OTHERS = "#999999"  # adaptive preprocessors for other codecs: told apart by the letter that marks them
CODECS = {
    "jpeg": "JPEG",
    "jpeg-optimized": "JPEG, optimized",
    "jpeg-444": "JPEG 4:4:4",
    "jpeg-444-optimized": "JPEG 4:4:4, optimized",
    "webp": "WebP",
    "heic": "HEIC",
    "avif": "AVIF",
    "jpeg2000": "JPEG 2000",
    "jpegxl": "JPEG XL",
    "bpg": "BPG",
}


def look(mode: str) -> Look:
    """Return label, colour and marker of a mode; an unknown one raises `ParameterError`.

    One point of a sweep, such as `ra@0.01`, is named with its lambda, and the paler the smaller that is.
    """
    base, swept, weight = mode.partition("@")
    if base not in MODES:
        raise ParameterError(
            f"mode {mode!r} has no colour; the figures know {', '.join(MODES)}: add it to ra_book.figures.look.MODES."
        )
    if not swept:
        return MODES[base]
    paleness = min(max(-math.log10(float(weight)) / 6, 0), 0.8)  # white at 1e-6
    colour = [paleness + (1 - paleness) * part for part in to_rgb(MODES[base].colour)]
    return MODES[base]._replace(label=f"{MODES[base].label}, λ {weight}", colour=to_hex(colour))


def mode_rank(mode: str) -> tuple[int, float]:
    """Return the place of a mode among others: in the order of the book, a sweep by its lambda."""
    base, _, weight = mode.partition("@")
    return (list(MODES).index(base) if base in MODES else len(MODES)), float(weight or 0)


def codec_title(codec: str) -> str:
    """Return the name of a codec for readers."""
    return CODECS.get(codec, codec)


def method_look(method: str) -> Look:
    """Return label, colour and marker of a way to send pictures; an unknown one raises `ParameterError`.

    `npp_qa for <codec>` is an adaptive preprocessor behind another codec than the one it was trained for.
    """
    if method in METHODS:
        return METHODS[method]
    if method == UNSEEN_QUALITIES:
        return Look("NPP-QA, unseen qualities", METHODS["npp_qa"].colour, "$Q$")
    codec = method.removeprefix(TRANSFERRED)
    if codec == method:
        raise ParameterError(
            f"method {method!r} has no colour; the figures know {', '.join(METHODS)} and {TRANSFERRED}<codec>: "
            "add it to ra_book.figures.look.METHODS."
        )
    colour, marker = TRANSFERS.get(codec, (OTHERS, f"${codec[:1].upper()}$"))
    return Look(f"NPP-QA for {codec_title(codec)}", colour, marker)


def task_name(task: str) -> str:
    """Return the name of a task for readers, as it stands inside a sentence."""
    return TASKS.get(task, task)


def task_title(task: str) -> str:
    """Return the name of a task for readers, with a capital letter."""
    name = task_name(task)
    return name[:1].upper() + name[1:]


def style() -> AbstractContextManager:
    """Return the style of the book, for `with style():` or as a decorator `@style()`."""
    return matplotlib.rc_context(STYLE)


class Figure(MatplotlibFigure):
    """A matplotlib figure with `alt`, one sentence with its main numbers, which a notebook shows it with."""

    alt: str = ""

    def _repr_html_(self) -> str:
        # An <img> and not a bare picture: only so does the alternative text reach the page of a notebook.
        data = base64.b64encode(render(self, "svg")).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/svg+xml;base64,{data}"/>'


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Return an empty figure of the given size in inches whose parts arrange themselves."""
    return Figure(figsize=(width, height), layout="constrained")


def render(figure: MatplotlibFigure, kind: str) -> bytes:
    """Return the figure as the bytes of an `svg` or a `png`, the same for the same figure at any time."""
    if kind not in ("svg", "png"):
        raise ParameterError(f"a figure cannot be saved as {kind!r}: name its file .svg or .png.")
    title = getattr(figure, "alt", "") or None
    metadata = {"Date": None, "Title": title} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=kind, dpi=180, metadata=metadata)
    return buffer.getvalue()


def save(figure: MatplotlibFigure, path: Path) -> None:
    """Write the figure atomically to `path`, as SVG or PNG by its suffix."""
    content = render(figure, Path(path).suffix.lstrip(".").lower())
    with atomic(path) as temporary:
        temporary.write_bytes(content)

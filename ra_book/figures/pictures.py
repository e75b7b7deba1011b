"""Figures made of pictures: grids, degradations, and panels with the recognizers' answers."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ra_book.figures.look import (
    FAINT,
    RIGHT,
    WIDTH,
    WRONG,
    Figure,
    look,
    method_rank,
    new_figure,
    shortened,
    style,
    task_name,
)
from ra_book.figures.measured import listing
from ra_core.errors import ParameterError

LEFT, TOP = 1.45, 0.32  # inches left of and above the pictures of a sheet
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


class Sheet:
    """Rows of K pictures beneath one another, with a label to the left of each and lines of small print under it."""

    def __init__(
        self, shape: Sequence[int], lines: Sequence[int], title: str = "", left: float = LEFT, right: float = GAP,
        most: float = 1.9,
    ) -> None:  # fmt: skip
        """Make room for a row of pictures (K, 3, H, W), at most `most` wide, for each of `lines`, in inches."""
        count, _, high, wide = shape
        self.side = min(most, max(0.95, (WIDTH - left - right) / count - GAP))
        self.tall, self.left = self.side * high / wide, left - 0.14
        self.columns = [left + k * (self.side + GAP) for k in range(count)]
        width = self.columns[-1] + self.side + right
        words = textwrap.wrap(title, int(15 * width))
        self.y = TOP + 0.16 * len(words)
        height = self.y + sum(map(self.height, lines))
        self.figure = new_figure(height, width, layout=None)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # inches from the top left
        self.axes.axis("off")
        for number, text in enumerate(words):
            self.axes.text(0.08, 0.12 + 0.16 * number, text, va="center", size=8.5)

    def height(self, lines: int) -> float:
        """Return how high a row with so many lines of small print is, in inches."""
        return self.tall + GAP + lines * LINE + (0.05 if lines else 0)

    def shorten(self, name: str) -> str:
        """Cut a name so that it fits, with mark and confidence, under a picture."""
        return shortened(name, round((self.side + GAP) / LETTER) - 7)

    def names(self, names: Sequence[str]) -> None:
        """Write a name above each column."""
        for x, name in zip(self.columns, names, strict=True):
            where = (x + self.side / 2, self.y - 0.13)
            self.axes.text(*where, name, ha="center", va="center", size=9, weight="bold")

    def row(self, label: str, pictures: Sequence = (), lines: int = 0) -> float:
        """Put a row of pictures with its label, go on to the next one, and return where this one began."""
        y, self.under, self.y = self.y, self.y + self.tall, self.y + self.height(lines)
        self.axes.text(self.left, y + self.tall / 2, label, ha="right", va="center", weight="bold")
        for x, picture in zip(self.columns, pictures, strict=False):
            place = (x, x + self.side, y + self.tall, y)  # every pixel stays plain, however large it is drawn
            self.axes.imshow(pixels(picture), extent=place, interpolation="none")
        return y

    def small(self, column: int | None, line: int, text: str, colour: str = FAINT) -> None:
        """Write a line of small print under a picture of the last row, or without a column to the left of them."""
        x, side = (self.left, "right") if column is None else (self.columns[column], "left")
        self.axes.text(x, self.under + LINE * (line + 0.6), text, ha=side, va="center", size=7, color=colour)

    def answer(self, column: int, line: int, name: str, right: bool, sure: float | None = None) -> None:
        """Write an answer in small print, with a tick or a cross before it, and how sure it is."""
        confidence = "" if sure is None else f" {100 * sure:.0f}%"
        text = f"{'✓' if right else '✗'} {self.shorten(name)}{confidence}"
        self.small(column, line, text, RIGHT if right else WRONG)


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
    count, lines = len(columns), 1 if titles else 0
    sheet = Sheet((count, 3, 1, 1), [lines] * len(rows), left=0.3 + 0.085 * max(map(len, rows)), most=1.3)
    sheet.names([sheet.shorten(name) for name in columns])
    for number, label in enumerate(rows):
        sheet.row(label, images[number * count : (number + 1) * count], lines)
        for k, title in enumerate(titles[number * count : (number + 1) * count]):
            sheet.small(k, 0, title)
    sheet.figure.alt = alt or f"Pictures in rows ({listing(rows)}) and columns ({listing(columns)})."
    return sheet.figure


def in_frame(versions: Iterable[str]) -> list[str]:
    """Return versions of a picture in the order of the book, between what came and the clean picture."""
    ends = {"unprocessed": -1, "oracle": 1}  # above and below the others
    return sorted(versions, key=lambda version: (ends.get(version, 0), method_rank(version)))


def degradations(clean: Sequence, degraded: Mapping[str, Sequence], columns: Sequence[str]) -> Figure:
    """Draw K clean pictures above what each task's channel makes of them; `columns` names the K pictures."""
    images = [*clean, *(picture for pictures in degraded.values() for picture in pictures)]
    tasks = [task_name(task) for task in degraded]
    alt = f"Pictures of {listing(columns)}, clean and as they enter {listing(tasks)}."
    return picture_grid(images, ["clean", *tasks], columns, alt=alt)


def both_ends_panel(clean: Sequence, shown: Mapping[str, tuple], columns: Sequence[str]) -> Figure:
    """Draw K clean pictures (columns) above what each method makes of them, with the bytes of every file.

    `shown` holds by method K pictures (3, H, W) and their bytes (K,).
    """
    labels = [look(method).label for method in shown]
    images = [*clean, *(picture for pictures, _ in shown.values() for picture in pictures)]
    sizes = [[int(size) for size in each] for _, each in shown.values()]
    titles = [""] * len(clean) + [f"{size:,} bytes" for each in sizes for size in each]
    means = listing(f"{label} {np.mean(each):,.0f}" for label, each in zip(labels, sizes, strict=True))
    alt = f"{len(clean)} pictures, clean and through each chain; bytes on average: {means}."
    return picture_grid(images, ["clean", *labels], columns, titles, alt)


@style()
def picture_panel(
    images: Mapping[str, Sequence], answers: Mapping[str, np.ndarray], pictures: Sequence[int], most: int = 5
) -> Figure:
    """Draw versions (rows) of some pictures (columns), each with the first recognizers' answers and confidences.

    `images` holds K pictures (3, H, W) by version. `answers` is what a task's `answers.npz` holds: `answers` and
    `confidences` (V, R, N), `versions` (V,), `recognizers` (R,), `labels` (N,), `classes`; `pictures` (K,) says which
    of the N are shown, `most` how many of the R. A right answer has a tick, a wrong one a cross.
    """
    labels, names = answers["labels"][pictures], list(map(str, answers["recognizers"][:most]))
    classes, known = list(map(str, answers["classes"])), list(map(str, answers["versions"]))
    parts = []
    sheet = Sheet((len(labels), *np.shape(next(iter(images.values()))[0])), [len(names)] * len(images))
    sheet.names([sheet.shorten(classes[label]) for label in labels])
    for version in in_frame(images):
        shown, v = look(version), known.index(version)
        said, sure = (answers[what][v, : len(names)][:, pictures] for what in ("answers", "confidences"))
        y = sheet.row(textwrap.fill(shown.label, 13), images[version], len(names))
        sheet.axes.plot([LEFT - 0.07] * 2, [y, sheet.under], color=shown.colour, linewidth=3, solid_capstyle="butt")
        for r, name in enumerate(names):
            sheet.small(None, r, name)
            for k, label in enumerate(labels):
                sheet.answer(k, r, classes[said[r, k]], said[r, k] == label, sure[r, k])
        parts.append(f"{shown.label} {(said == labels).sum()} of {said.size}")
    sheet.figure.alt = (
        f"{len(labels)} pictures in each version, with the answers of {listing(names)}; right are {listing(parts)}."
    )
    return sheet.figure

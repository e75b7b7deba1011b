"""Pictures before and behind a codec: what the preprocessor changes, what it saves, and what is found in it."""

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ra_book.figures.look import FAINT, RIGHT, WIDTH, WRONG, Figure, style
from ra_book.figures.pictures import GAP, LETTER, LINE, put_picture, sheet, shorten
from ra_book.figures.rows import signed

LEFT, TOP, BAR = 1.4, 0.32, 0.75  # inches left and above the pictures, and for a colour bar to their right
BITS = "viridis"
OVERLAP = 0.5  # of a found box with a true one, from which it is right


def _layout(shape: tuple[int, ...], right: float = 0.0) -> tuple[list[float], float, float]:
    """Return the left edges of K pictures (K, 3, H, W) on a page, and how wide and high each is."""
    count, _, height, width = shape
    side = min(1.9, (WIDTH - LEFT - right) / count - GAP)
    return [LEFT + k * (side + GAP) for k in range(count)], side, side * height / width


def _row_label(axes: Axes, y: float, tall: float, label: str) -> None:
    axes.text(LEFT - 0.14, y + tall / 2, label, ha="right", va="center", weight="bold")


def _beneath(axes: Axes, x: float, y: float, words: str, answer: tuple[str, bool] | None = None) -> None:
    """Write a line of small print under a picture, and a marked answer in a second one."""
    axes.text(x, y + 0.6 * LINE, words, va="center", fontsize=7, color=FAINT)
    if answer:
        name, right = answer
        text, colour = f"{'✓' if right else '✗'} {name}", RIGHT if right else WRONG
        axes.text(x, y + 1.6 * LINE, text, va="center", fontsize=7, color=colour)


def amplified(clean: np.ndarray, sent: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the difference of two sets of 8-bit pictures around middle grey, and how often it is enlarged.

    By the largest power of two, up to 32, with which 99 % of it stays within range.
    """
    difference = sent.astype(np.int32) - clean.astype(np.int32)
    most = max(np.percentile(np.abs(difference), 99), 1)
    factor = int(2 ** np.clip(np.floor(np.log2(127 / most)), 0, 5))
    return (128 + factor * difference).clip(0, 255).astype(np.uint8), factor


def _titled(panel: Mapping, width: float, height: float) -> tuple[Figure, Axes, float]:
    """Return a sheet with the title of a panel on it, `height` without it, and how far down the rest begins."""
    lines = textwrap.wrap(str(panel.get("compared", "")), int(15 * width))
    figure, axes = sheet(width, height + 0.16 * len(lines))
    for number, text in enumerate(lines):
        axes.text(0.08, 0.12 + 0.16 * number, text, va="center", fontsize=8.5)
    return figure, axes, 0.16 * len(lines)


def _names(panel: Mapping, count: int) -> list[str]:
    """Return what is above each column: its true class, or where there is none its number."""
    if "labels" not in panel:
        return [f"picture {number}" for number in range(1, count + 1)]
    return [str(panel["classes"][label]) for label in panel["labels"]]


def _at(panel: Mapping, key: str) -> str:
    """Return a quality of a panel as the end of a row's label, where it is known."""
    return f"\nat {float(panel[key]):g}" if key in panel else ""


@style()
def coding_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw what the preprocessor does to K pictures (columns) and what the codec makes of them.

    `panel` holds `clean`, `sent`, `alone` and `decoded` (K, 3, H, W) uint8 (what came, what the preprocessor made of
    it, and both behind the codec), and `bytes_alone` and `bytes_sent` (K,). It may hold `answers_alone`, `answers`
    and `labels` (K,) with `classes`, the qualities `quality_alone` and `quality_sent`, and `compared`, a sentence.
    """
    columns, side, tall = _layout(panel["clean"].shape)
    difference, factor = amplified(panel["clean"], panel["sent"])
    rows = [
        ("clean", panel["clean"], ""),
        ("sent to\nthe codec", panel["sent"], ""),
        (f"difference\n× {factor}", difference, ""),
        (f"decoded,\ncodec alone{_at(panel, 'quality_alone')}", panel["alone"], "alone"),
        (f"decoded,\npreprocessed{_at(panel, 'quality_sent')}", panel["decoded"], "sent"),
    ]
    below = (2 if "labels" in panel else 1) * LINE + 0.05
    height = TOP + 5 * (tall + GAP) + 2 * below
    figure, axes, y = _titled(panel, columns[-1] + side + GAP, height)
    y += TOP
    _column_names(axes, panel, columns, side, y)
    for label, pictures, kind in rows:
        _row_label(axes, y, tall, label)
        for k, x in enumerate(columns):
            put_picture(axes, pictures[k], x, y, side, tall)
            if kind:
                _beneath(axes, x, y + tall, f"{panel[f'bytes_{kind}'][k]:,.0f} bytes", _answer(panel, kind, k, side))
        y += tall + GAP + (below if kind else 0)
    figure.alt = (
        f"{len(columns)} pictures before and behind the preprocessor, their difference {factor} times enlarged, and "
        f"both decoded: {_bytes_sentence(panel)}{_answers_sentence(panel)}."
    )
    return figure


def _column_names(axes: Axes, panel: Mapping, columns: list[float], side: float, y: float) -> None:
    for x, name in zip(columns, _names(panel, len(columns)), strict=True):
        text = shorten(name, side)
        axes.text(x + side / 2, y - 0.13, text, ha="center", va="center", fontsize=9, weight="bold")


def _answer(panel: Mapping, kind: str, k: int, side: float) -> tuple[str, bool] | None:
    """Return what was answered of picture `k` and whether that is right, where the panel holds answers."""
    if "labels" not in panel:
        return None
    answer = panel["answers" if kind == "sent" else "answers_alone"][k]
    return shorten(str(panel["classes"][answer]), side), bool(answer == panel["labels"][k])


def _answers_sentence(panel: Mapping) -> str:
    if "labels" not in panel:
        return ""
    labels = np.asarray(panel["labels"])
    right = [int((np.asarray(panel[key]) == labels).sum()) for key in ("answers_alone", "answers")]
    return f"; right answers {right[0]} and {right[1]} of {len(labels)}"


@style()
def bit_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw where the bits of K pictures go, block by block, with the codec alone and behind the preprocessor.

    `panel` holds `clean` (K, 3, H, W) uint8, `bits_alone` and `bits_sent` (K, h, w), drawn on one scale, `bits_by`
    (how they were counted, under the colour bar), and what `coding_panel` may hold.
    """
    columns, side, tall = _layout(panel["clean"].shape, BAR)
    rows = [
        (f"codec alone{_at(panel, 'quality_alone')}", "alone"),
        (f"preprocessed{_at(panel, 'quality_sent')}", "sent"),
    ]
    most = max(float(np.max(panel[f"bits_{kind}"])) for _, kind in rows) or 1.0
    step = tall + GAP + LINE + 0.05
    figure, axes, y = _titled(panel, columns[-1] + side + BAR, TOP + tall + GAP + 2 * step)
    y += TOP
    _column_names(axes, panel, columns, side, y)
    _row_label(axes, y, tall, "clean")
    for picture, x in zip(panel["clean"], columns, strict=True):
        put_picture(axes, picture, x, y, side, tall)
    y += tall + GAP
    for label, kind in rows:
        _row_label(axes, y, tall, label)
        for k, x in enumerate(columns):
            place = (x, x + side, y + tall, y)
            image = axes.imshow(
                panel[f"bits_{kind}"][k], extent=place, vmin=0, vmax=most, cmap=BITS, interpolation="none"
            )
            _beneath(axes, x, y + tall, f"{panel[f'bytes_{kind}'][k]:,.0f} bytes")
        y += step
    width, height = figure.get_size_inches()
    bottom, tallest = y - step + tall, step + tall
    bar = figure.add_axes(((columns[-1] + side + 0.1) / width, 1 - bottom / height, 0.12 / width, tallest / height))
    figure.colorbar(image, cax=bar).outline.set_visible(False)
    bar.tick_params(labelsize=7.5)
    bar.set_ylabel(f"bits {panel['bits_by']}", fontsize=7.5)
    means = [float(np.mean(panel[f"bits_{kind}"])) for _, kind in rows]
    figure.alt = (
        f"Maps of where the bits of {len(columns)} pictures go (bits {panel['bits_by']}): on average {means[0]:.1f} "
        f"with the codec alone and {means[1]:.1f} preprocessed; {_bytes_sentence(panel)}."
    )
    return figure


def _bytes_sentence(panel: Mapping[str, np.ndarray]) -> str:
    """Say how many bytes the pictures take with the codec alone and behind the preprocessor."""
    alone, sent = (float(np.mean(panel[key])) for key in ("bytes_alone", "bytes_sent"))
    change = signed(100 * (sent / alone - 1))
    return f"on average {alone:,.0f} bytes with the codec alone and {sent:,.0f} preprocessed ({change} %)"


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return intersection over union (n, m) of boxes (n, 4) and (m, 4), each left, top, right, bottom."""
    boxes, others = (np.asarray(each, float).reshape(-1, 4) for each in (boxes, others))
    corner = np.maximum(boxes[:, None, :2], others[:, :2])
    sides = (np.minimum(boxes[:, None, 2:], others[:, 2:]) - corner).clip(0)
    common = sides.prod(-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, others)]
    return common / (areas[0][:, None] + areas[1] - common).clip(1e-9)


def matched(boxes, labels, scores, true_boxes, true_labels) -> tuple[np.ndarray, np.ndarray]:
    """Return which found boxes (n,) are right and which true ones (m,) were found.

    The surest comes first and takes the true box of its class that it covers best, from half overlap on.
    """
    right, found = np.zeros(len(boxes), bool), np.zeros(len(true_boxes), bool)
    shares = overlaps(boxes, true_boxes)
    for i in np.argsort(-np.asarray(scores, float), kind="stable"):
        free = np.where((np.asarray(true_labels) == labels[i]) & ~found, shares[i], -1)
        if len(free) and free.max() >= OVERLAP:
            right[i] = found[free.argmax()] = True
    return right, found


def _kept(panel: Mapping, kind: str, k: int, least: float = 0.0) -> tuple[np.ndarray, ...]:
    """Return boxes, labels and scores of picture `k`; label 0 fills up what is as long as the longest list."""
    boxes, labels = (np.asarray(panel[f"boxes_{kind}"][k]).reshape(-1, 4), np.asarray(panel[f"labels_{kind}"][k]))
    scores = np.asarray(panel[f"scores_{kind}"][k]) if f"scores_{kind}" in panel else np.ones(len(labels))
    keep = (labels > 0) & (scores >= least)
    return boxes[keep], labels[keep].astype(int), scores[keep]


def _box(
    axes: Axes, box, corner: tuple[float, float], side: float, scale: float, colour: str, dash: str, text: str
) -> None:
    """Draw one box of a picture that stands at `corner`, `side` inches wide, `scale` a pixel, with its name in it."""
    (x, y), (left, top, right, bottom) = corner, np.asarray(box, float) * scale
    rim = [withStroke(linewidth=2.6, foreground="white")]
    axes.add_patch(
        Rectangle(
            (x + left, y + top), right - left, bottom - top, fill=False, ec=colour, lw=1.3, ls=dash,
            path_effects=rim,
        )
    )  # fmt: skip
    at, edge = (y + bottom - 0.02, "bottom") if dash == ":" else (y + top + 0.02, "top")
    place, to = (x + left + 0.02, "left") if left + len(text) * LETTER < side else (x + side - 0.02, "right")
    axes.text(place, at, text, ha=to, va=edge, fontsize=6.5, color=colour, path_effects=rim)


@style()
def detection_panel(panel: Mapping, least: float = 0.5) -> Figure:
    """Draw what a detector finds in K pictures (columns) coded alone and coded behind the preprocessor (rows).

    `panel` holds `alone` and `decoded` (K, 3, H, W) uint8, `bytes_alone` and `bytes_sent` (K,), `classes` (the names
    of the labels 1, 2, ...), and, each with K entries: `boxes_true` (n, 4), `labels_true` (n,), and the same with
    `scores_` for `alone` and `decoded`. Entries padded to equal length have the label 0. Drawn are boxes of a score of
    at least `least`: right ones solid, wrong ones dashed; true boxes that were not found are dotted.
    """
    classes = ["", *map(str, panel["classes"])]
    columns, side, tall = _layout(panel["alone"].shape)
    step = tall + GAP + 2 * LINE + 0.05
    figure, axes, top = _titled(panel, columns[-1] + side + GAP, 0.1 + 2 * step)
    scale, parts = side / panel["alone"].shape[-1], []
    rows = {
        "alone": (f"codec alone{_at(panel, 'quality_alone')}", "bytes_alone"),
        "decoded": (f"preprocessed{_at(panel, 'quality_sent')}", "bytes_sent"),
    }
    for row, (kind, (label, size)) in enumerate(rows.items()):
        y, counts = top + 0.1 + row * step, np.zeros(3, int)
        _row_label(axes, y, tall, label)
        for k, x in enumerate(columns):
            put_picture(axes, panel[kind][k], x, y, side, tall)
            true_boxes, true_labels, _ = _kept(panel, "true", k)
            boxes, labels, scores = _kept(panel, kind, k, least)
            right, found = matched(boxes, labels, scores, true_boxes, true_labels)
            for box, name in zip(true_boxes[~found], true_labels[~found], strict=True):
                _box(axes, box, (x, y), side, scale, FAINT, ":", f"{classes[name]} missed")
            for box, name, sure, ok in zip(boxes, labels, scores, right, strict=True):
                colour, dash = (RIGHT, "-") if ok else (WRONG, "--")
                _box(axes, box, (x, y), side, scale, colour, dash, f"{classes[name]} {100 * sure:.0f}%")
            numbers = np.array([found.sum(), len(found), (~right).sum()])
            counts += numbers
            _beneath(axes, x, y + tall, f"{panel[size][k]:,.0f} bytes")
            _beneath(axes, x, y + tall + LINE, _found_sentence(*numbers))
        parts.append(f"{label.replace(chr(10), ' ')}: {_found_sentence(*counts)}")
    figure.alt = (
        f"{len(columns)} pictures with what a detector finds in them; {parts[0]}; {parts[1]}; {_bytes_sentence(panel)}."
    )
    return figure


def _found_sentence(found: int, true: int, wrong: int) -> str:
    return f"{found} of {true} found, {wrong} wrong"

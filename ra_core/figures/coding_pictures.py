"""Pictures before and behind a codec: what the preprocessor changes, what it saves, and what is found in it."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ra_core.figures.look import FAINT, RIGHT, WIDTH, WRONG, Figure, style
from ra_core.figures.pictures import GAP, LINE, put_picture, sheet, shorten
from ra_core.figures.rows import signed

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


def _bit_maps(
    figure: Figure, axes: Axes, maps: Mapping[str, tuple], columns: list[float], side, tall
) -> None:
    """Draw maps of bits a block on one scale, {label: (top edge, (K, h, w))}, with a colour bar to the right."""
    most = max(float(np.max(bits)) for _, bits in maps.values()) or 1.0
    for label, (y, bits) in maps.items():
        _row_label(axes, y, tall, label)
        for x, blocks in zip(columns, bits, strict=True):
            image = axes.imshow(
                blocks, extent=(x, x + side, y + tall, y), vmin=0, vmax=most, cmap=BITS, interpolation="none"
            )
    width, height = figure.get_size_inches()
    tops = [y for y, _ in maps.values()]
    place = (columns[-1] + side + 0.1, height - max(tops) - tall, 0.12, max(tops) + tall - min(tops))
    bar = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
    figure.colorbar(image, cax=bar).outline.set_visible(False)
    bar.tick_params(labelsize=7.5)
    bar.set_ylabel("bits a block, by the proxy", fontsize=7.5)


@style()
def coding_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw what the preprocessor does to K pictures (columns) and what the codec makes of them.

    `panel` holds `clean`, `sent`, `alone` and `decoded` (K, 3, H, W) uint8 (what came, what the preprocessor made of
    it, and both behind the codec), `bits_alone` and `bits_sent` (K, h, w) bits a block, `bytes_alone` and
    `bytes_sent` (K,), `answers_alone`, `answers` and `labels` (K,), and `classes`.
    """
    labels, classes = np.asarray(panel["labels"]), list(map(str, panel["classes"]))
    columns, side, tall = _layout(panel["clean"].shape, BAR)
    difference, factor = amplified(panel["clean"], panel["sent"])
    rows = [
        ("clean", panel["clean"], None),
        ("behind the\npreprocessor", panel["sent"], None),
        (f"difference\n× {factor}", difference, None),
        ("decoded,\ncodec alone", panel["alone"], (panel["bytes_alone"], panel["answers_alone"])),
        ("decoded,\npreprocessed", panel["decoded"], (panel["bytes_sent"], panel["answers"])),
    ]
    height = TOP + 7 * (tall + GAP) + 2 * (2 * LINE + 0.05)
    figure, axes = sheet(columns[-1] + side + BAR, height)
    for x, label in zip(columns, labels, strict=True):
        name = shorten(classes[label], side)
        axes.text(x + side / 2, TOP - 0.13, name, ha="center", va="center", fontsize=9, weight="bold")
    y = TOP
    for label, pictures, beneath in rows:
        _row_label(axes, y, tall, label)
        for k, x in enumerate(columns):
            put_picture(axes, pictures[k], x, y, side, tall)
            if beneath:
                sizes, answers = beneath
                answer = shorten(classes[answers[k]], side), bool(answers[k] == labels[k])
                _beneath(axes, x, y + tall, f"{sizes[k]:,.0f} bytes", answer)
        y += tall + GAP + (2 * LINE + 0.05 if beneath else 0)
    maps = {
        "bits,\ncodec alone": (y, panel["bits_alone"]),
        "bits,\npreprocessed": (y + tall + GAP, panel["bits_sent"]),
    }
    _bit_maps(figure, axes, maps, columns, side, tall)
    right = [int((np.asarray(panel[key]) == labels).sum()) for key in ("answers_alone", "answers")]
    figure.alt = (
        f"{len(labels)} pictures before and behind the preprocessor, their difference {factor} times enlarged, and "
        f"both decoded: {_bytes_sentence(panel)}; right answers {right[0]} and {right[1]} of {len(labels)}."
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
    boxes, labels = (
        np.asarray(panel[f"boxes_{kind}"][k]).reshape(-1, 4),
        np.asarray(panel[f"labels_{kind}"][k]),
    )
    scores = np.asarray(panel[f"scores_{kind}"][k]) if f"scores_{kind}" in panel else np.ones(len(labels))
    keep = (labels > 0) & (scores >= least)
    return boxes[keep], labels[keep].astype(int), scores[keep]


def _box(
    axes: Axes, box, corner: tuple[float, float], scale: float, colour: str, dash: str, text: str
) -> None:
    """Draw one box of a picture that stands at `corner`, `scale` inches a pixel, with its name in it."""
    (x, y), (left, top, right, bottom) = corner, np.asarray(box, float) * scale
    rim = [withStroke(linewidth=2.6, foreground="white")]
    axes.add_patch(
        Rectangle(
            (x + left, y + top), right - left, bottom - top, fill=False, ec=colour, lw=1.3, ls=dash,
            path_effects=rim,
        )
    )  # fmt: skip
    at, side = (y + bottom - 0.02, "bottom") if dash == ":" else (y + top + 0.02, "top")
    axes.text(x + left + 0.02, at, text, va=side, fontsize=6.5, color=colour, path_effects=rim)


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
    step = tall + GAP + LINE + 0.05
    figure, axes = sheet(columns[-1] + side + GAP, 0.1 + 2 * step)
    scale, parts = side / panel["alone"].shape[-1], []
    rows = {"alone": ("codec alone", "bytes_alone"), "decoded": ("preprocessed", "bytes_sent")}
    for row, (kind, (label, size)) in enumerate(rows.items()):
        y, counts = 0.1 + row * step, np.zeros(3, int)
        _row_label(axes, y, tall, label)
        for k, x in enumerate(columns):
            put_picture(axes, panel[kind][k], x, y, side, tall)
            true_boxes, true_labels, _ = _kept(panel, "true", k)
            boxes, labels, scores = _kept(panel, kind, k, least)
            right, found = matched(boxes, labels, scores, true_boxes, true_labels)
            for box, name in zip(true_boxes[~found], true_labels[~found], strict=True):
                _box(axes, box, (x, y), scale, FAINT, ":", f"{classes[name]} missed")
            for box, name, sure, ok in zip(boxes, labels, scores, right, strict=True):
                colour, dash = (RIGHT, "-") if ok else (WRONG, "--")
                _box(axes, box, (x, y), scale, colour, dash, f"{classes[name]} {100 * sure:.0f}%")
            numbers = np.array([found.sum(), len(found), (~right).sum()])
            counts += numbers
            words = f"{panel[size][k]:,.0f} bytes, {_found_sentence(*numbers)}"
            _beneath(axes, x, y + tall, words)
        parts.append(f"{label}: {_found_sentence(*counts)}")
    figure.alt = (
        f"{len(columns)} pictures with what a detector finds in them; {parts[0]}; {parts[1]}; "
        f"{_bytes_sentence(panel)}."
    )
    return figure


def _found_sentence(found: int, true: int, wrong: int) -> str:
    return f"{found} of {true} found, {wrong} wrong"

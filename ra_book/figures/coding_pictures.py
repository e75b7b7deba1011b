"""Pictures before and behind a codec: what the preprocessor changes, what it saves, and what is found in it."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ra_book.figures.look import FAINT, RIGHT, WRONG, Figure, look, style
from ra_book.figures.measured import listing, signed
from ra_book.figures.pictures import LETTER, Sheet, in_frame

BAR = 0.75  # inches to the right of the pictures for a colour bar
FOUND = ("boxes", "labels", "scores")
OVERLAP = 0.5  # of a found box with a true one, from which it is right


def amplified(clean: np.ndarray, sent: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the difference of two sets of 8-bit pictures around middle grey, and how often it is enlarged.

    By the largest power of two, up to 32, with which 99 % of it stays within range.
    """
    difference = sent.astype(np.int32) - clean.astype(np.int32)
    most = max(np.percentile(np.abs(difference), 99), 1)
    factor = int(2 ** np.clip(np.floor(np.log2(127 / most)), 0, 5))
    return (128 + factor * difference).clip(0, 255).astype(np.uint8), factor


def _sheet(panel: Mapping, pictures: np.ndarray, lines: list[int], **room) -> Sheet:
    """Return a sheet for pictures, each beneath its true class, or where there is none its number."""
    sheet = Sheet(pictures.shape, lines, str(panel.get("compared", "")), **room)
    if "labels" in panel:
        sheet.names([sheet.shorten(str(panel["classes"][label])) for label in panel["labels"]])
    elif "clean" in panel:
        sheet.names([f"picture {number}" for number in range(1, len(pictures) + 1)])
    return sheet


def _ways(panel: Mapping) -> dict[str, str]:
    """Return both ways to send a picture and their labels, with the quality where it is known."""
    words = {"alone": "codec alone", "sent": "preprocessed"}
    at = {kind: f"\nat {float(panel[key]):g}" for kind in words if (key := f"quality_{kind}") in panel}
    return {kind: label + at.get(kind, "") for kind, label in words.items()}


def _bytes(panel: Mapping, kind: str, k: int) -> str:
    return f"{panel[f'bytes_{kind}'][k]:,.0f} bytes"


def _bytes_sentence(panel: Mapping[str, np.ndarray]) -> str:
    """Say how many bytes the pictures take with the codec alone and behind the preprocessor."""
    alone, sent = (float(np.mean(panel[key])) for key in ("bytes_alone", "bytes_sent"))
    change = signed(100 * (sent / alone - 1))
    return f"on average {alone:,.0f} bytes with the codec alone and {sent:,.0f} preprocessed ({change} %)"


@style()
def coding_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw what the preprocessor does to K pictures (columns) and what the codec makes of them.

    `panel` holds `clean`, `sent`, `alone` and `decoded` (K, 3, H, W) uint8 (what came, what the preprocessor made of
    it, and both behind the codec), and `bytes_alone` and `bytes_sent` (K,). It may hold `answers_alone`, `answers`
    and `labels` (K,) with `classes`, the qualities `quality_alone` and `quality_sent`, and `compared`, a sentence.
    """
    difference, factor = amplified(panel["clean"], panel["sent"])
    count, lines, right = len(panel["clean"]), 2 if "labels" in panel else 1, []
    sheet = _sheet(panel, panel["clean"], [0, 0, 0, lines, lines])
    sheet.row("clean", panel["clean"])
    sheet.row("sent to\nthe codec", panel["sent"])
    sheet.row(f"difference\n× {factor}", difference)
    for (kind, label), pictures, said in zip(
        _ways(panel).items(), ("alone", "decoded"), ("answers_alone", "answers"), strict=True
    ):
        sheet.row(f"decoded,\n{label}", panel[pictures], lines)
        for k in range(count):
            sheet.small(k, 0, _bytes(panel, kind, k))
        if "labels" in panel:
            ok = np.asarray(panel[said]) == panel["labels"]
            right.append(ok.sum())
            for k, answer in enumerate(panel[said]):
                sheet.answer(k, 1, str(panel["classes"][answer]), ok[k])
    sheet.figure.alt = (
        f"{count} pictures before and behind the preprocessor, their difference {factor} times enlarged, and "
        f"both decoded: {_bytes_sentence(panel)}"
        + (f"; right answers {right[0]} and {right[1]} of {count}." if right else ".")
    )
    return sheet.figure


@style()
def bit_panel(panel: Mapping[str, np.ndarray]) -> Figure:
    """Draw where the bits of K pictures go, block by block, with the codec alone and behind the preprocessor.

    `panel` holds `clean` (K, 3, H, W) uint8, `bits_alone` and `bits_sent` (K, h, w), drawn on one scale, `bits_by`
    (how they were counted, under the colour bar), and what `coding_panel` may hold.
    """
    count, bits = len(panel["clean"]), {kind: panel[f"bits_{kind}"] for kind in ("alone", "sent")}
    most = max(float(np.max(each)) for each in bits.values()) or 1.0
    sheet = _sheet(panel, panel["clean"], [0, 1, 1], right=BAR)
    sheet.row("clean", panel["clean"])
    top = sheet.y
    for kind, label in _ways(panel).items():
        y = sheet.row(label, lines=1)
        for k, x in enumerate(sheet.columns):
            place = (x, x + sheet.side, sheet.under, y)
            image = sheet.axes.imshow(bits[kind][k], extent=place, vmin=0, vmax=most, interpolation="none")
            sheet.small(k, 0, _bytes(panel, kind, k))
    width, height = sheet.figure.get_size_inches()
    left, tall = sheet.columns[-1] + sheet.side + 0.1, sheet.under - top
    bar = sheet.figure.add_axes((left / width, 1 - sheet.under / height, 0.12 / width, tall / height))
    sheet.figure.colorbar(image, cax=bar).outline.set_visible(False)
    bar.tick_params(labelsize=7.5)
    bar.set_ylabel(f"bits {panel['bits_by']}", fontsize=7.5)
    sheet.figure.alt = (
        f"Maps of where the bits of {count} pictures go (bits {panel['bits_by']}): on average "
        f"{bits['alone'].mean():.1f} with the codec alone and {bits['sent'].mean():.1f} preprocessed; "
        f"{_bytes_sentence(panel)}."
    )
    return sheet.figure


def matched(boxes, labels, scores, true_boxes, true_labels) -> tuple[np.ndarray, np.ndarray]:
    """Return which found boxes (n,) are right and which true ones (m,) were found.

    The surest comes first and takes the true box of its class that it covers best, from half overlap on.
    """
    from torchvision.ops import box_iou  # slow to import

    right, found = np.zeros(len(boxes), bool), np.zeros(len(true_boxes), bool)
    shares = box_iou(*(torch.as_tensor(np.asarray(each, float).reshape(-1, 4)) for each in (boxes, true_boxes))).numpy()
    for i in np.argsort(-np.asarray(scores, float), kind="stable"):
        free = np.where((np.asarray(true_labels) == labels[i]) & ~found, shares[i], -1)
        if len(free) and free.max() >= OVERLAP:
            right[i] = found[free.argmax()] = True
    return right, found


def _kept(panel: Mapping, kind: str, k: int, least: float = 0.0) -> tuple[np.ndarray, ...]:
    """Return boxes, labels and scores of picture `k`; label 0 fills up what is as long as the longest list."""
    boxes, labels = np.asarray(panel[f"boxes_{kind}"][k]).reshape(-1, 4), np.asarray(panel[f"labels_{kind}"][k])
    scores = np.asarray(panel[f"scores_{kind}"][k]) if f"scores_{kind}" in panel else np.ones(len(labels))
    keep = (labels > 0) & (scores >= least)
    return boxes[keep], labels[keep].astype(int), scores[keep]


def _box(axes: Axes, box: np.ndarray, picture: tuple[float, float, float], colour: str, dash: str, text: str) -> None:
    """Draw one box, in inches, of a picture at (x, y) that is so wide, with its name in it."""
    (x, y, side), (left, top, right, bottom) = picture, box
    rim = [withStroke(linewidth=2.6, foreground="white")]
    drawn = {"fill": False, "ec": colour, "lw": 1.3, "ls": dash, "path_effects": rim}
    axes.add_patch(Rectangle((x + left, y + top), right - left, bottom - top, **drawn))
    at, edge = (y + bottom - 0.02, "bottom") if dash == ":" else (y + top + 0.02, "top")
    place, to = (x + left + 0.02, "left") if left + len(text) * LETTER < side else (x + side - 0.02, "right")
    axes.text(place, at, text, ha=to, va=edge, size=6.5, color=colour, path_effects=rim)


@style()
def detection_panel(panel: Mapping, least: float = 0.5) -> Figure:
    """Draw what a detector finds in K pictures (columns) coded alone and coded behind the preprocessor (rows).

    `panel` holds `alone` and `decoded` (K, 3, H, W) uint8, `bytes_alone` and `bytes_sent` (K,), `classes` (the names
    of the labels 1, 2, ...), and, each with K entries: `boxes_true` (n, 4), `labels_true` (n,), and the same with
    `scores_` for `alone` and `decoded`. Entries padded to equal length have the label 0. Drawn are boxes of a score of
    at least `least`: right ones solid, wrong ones dashed; true boxes that were not found are dotted.
    """
    classes, parts = ["", *map(str, panel["classes"])], []
    sheet = _sheet({key: panel[key] for key in panel if key == "compared"}, panel["alone"], [2, 2])
    scale = sheet.side / panel["alone"].shape[-1]
    for (kind, label), shown in zip(_ways(panel).items(), ("alone", "decoded"), strict=True):
        y, counts = sheet.row(label, panel[shown], 2), np.zeros(3, int)
        for k, x in enumerate(sheet.columns):
            true, found = _kept(panel, "true", k)[:2], _kept(panel, shown, k, least)
            numbers = _finds(sheet.axes, (x, y, sheet.side), scale, classes, true, found)
            counts += numbers
            sheet.small(k, 0, _bytes(panel, kind, k))
            sheet.small(k, 1, _found_sentence(*numbers))
        parts.append(f"{label.replace(chr(10), ' ')}: {_found_sentence(*counts)}")
    sheet.figure.alt = (
        f"{len(sheet.columns)} pictures with what a detector finds in them; {'; '.join(parts)}; "
        f"{_bytes_sentence(panel)}."
    )
    return sheet.figure


@style()
def boxes_panel(
    images: Mapping[str, Sequence], answers: Mapping[str, np.ndarray], pictures: Sequence[int], targets: Sequence[dict],
    least: float = 0.5,
) -> Figure:  # fmt: skip
    """Draw versions (rows) of some pictures (columns) of one size, each with what the first detector finds in it.

    `images` holds K pictures (3, H, W) by version. `answers` is what a task's `answers.npz` holds: `boxes` (V, R, N, M,
    4), `scores` and `labels` (V, R, N, M), `versions`, `recognizers`, `classes`; `pictures` (K,) says which of the N
    are shown, `targets` what is really in each of the N. Boxes are drawn as in `detection_panel`.
    """
    classes, known, parts = ["", *map(str, answers["classes"])], list(map(str, answers["versions"])), []
    shape = np.shape(next(iter(images.values()))[0])
    sheet = Sheet((len(pictures), *shape), [1] * len(images), f"found by {answers['recognizers'][0]}")
    for version in in_frame(images):
        shown, panel = look(version), {f"{key}_found": answers[key][known.index(version), 0] for key in FOUND}
        y, counts = sheet.row(textwrap.fill(shown.label, 13), images[version], 1), np.zeros(3, int)
        for k, (x, number) in enumerate(zip(sheet.columns, pictures, strict=True)):
            true = tuple(np.asarray(targets[number][key]) for key in FOUND[:2])
            found = _kept(panel, "found", number, least)
            numbers = _finds(sheet.axes, (x, y, sheet.side), sheet.side / shape[-1], classes, true, found)
            counts += numbers
            sheet.small(k, 0, _found_sentence(*numbers))
        parts.append(f"{shown.label} {_found_sentence(*counts)}")
    sheet.figure.alt = f"{len(pictures)} pictures in each version with what a detector finds in them; {listing(parts)}."
    return sheet.figure


def _finds(axes: Axes, place: tuple, scale: float, classes: Sequence[str], true: tuple, found: tuple) -> np.ndarray:
    """Draw what is found in a picture and what is missed; return how many are found, are there, and are wrong."""
    right, seen = matched(*found, *true)
    for box, name in zip(true[0][~seen], true[1][~seen], strict=True):
        _box(axes, box * scale, place, FAINT, ":", f"{classes[name]} missed")
    for box, name, sure, ok in zip(*found, right, strict=True):
        colour, dash = (RIGHT, "-") if ok else (WRONG, "--")
        _box(axes, box * scale, place, colour, dash, f"{classes[name]} {100 * sure:.0f}%")
    return np.array([seen.sum(), len(seen), (~right).sum()])


def _found_sentence(found: int, true: int, wrong: int) -> str:
    return f"{found} of {true} found, {wrong} wrong"

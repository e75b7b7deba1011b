"""Small tables, logs and pictures to draw, what was drawn on axes, and what an eye sees of it."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer

RECOGNIZERS = {"resnet20": "source", "vgg8": "unseen", "mobilenet": "unseen"}
JUDGES = {"net": "source", "wide": "unseen"}  # of preprocessors
MODES = ["oracle", "unprocessed", "plain", "ra", "ra_transformer", "ra_unsupervised"]
TRAINED = MODES[2:]
ORDER = [*MODES, "mine"]  # which no registry knows
PIXELS = 296 * 296
SENT = {  # methods by codec
    "jpeg": ["codec", "npp_qa", "npp", "gaussian"],
    "heic": ["codec", "npp_qa"],
    "webp": ["codec", "npp_qa for jpeg", "npp_qa for heic"],
}
CHANGE = {"codec": 1.0, "npp_qa": 0.7, "npp": 0.65, "gaussian": 0.9}


def make_accuracy(tasks=("dn", "jpeg", "sr"), modes=MODES, recognizers=RECOGNIZERS, seeds=1) -> pd.DataFrame:
    """Rows as the evaluation writes them, every top-1 another number, one seed for what is not trained."""
    rows = []
    for (t, task), (r, (name, role)), mode in itertools.product(
        enumerate(tasks), enumerate(recognizers.items()), modes
    ):
        for seed in range(seeds if mode in TRAINED else 1):
            top1 = 10.0 + 12 * ORDER.index(mode) + 3 * t + 1.25 * r + 0.5 * seed
            rows.append(
                {
                    "profile": "test", "task": task, "mode": mode, "seed": seed,
                    "recognizer": name, "role": role,
                    "n": 2000, "top1": top1, "top1_low": top1 - 2.1, "top1_high": top1 + 1.9, "top5": 99.0,
                    "psnr": np.nan if mode == "oracle" else 20 + 0.25 * ORDER.index(mode) + t, "ssim": 0.625,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def make_paired(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Differences to plain of the same seed, with intervals that are not symmetric."""
    keys = ["task", "seed", "recognizer"]
    plain = accuracy[accuracy["mode"] == "plain"].set_index(keys)["top1"]
    rows = accuracy[accuracy["mode"].isin(TRAINED[1:])]
    difference = rows["top1"].to_numpy() - plain.loc[pd.MultiIndex.from_frame(rows[keys])].to_numpy()
    rows = rows[["profile", "task", "mode", "seed", "recognizer", "role", "n"]]
    return rows.assign(difference=difference, low=difference - 1.5, high=difference + 2.5)


def make_log(recognition: bool) -> list[dict]:
    lines = [{"step": s, "steps": 40, "distortion": 0.5 / s, "lr": 1e-3} for s in (10, 20, 30, 40)]
    if recognition:
        lines = [line | {"recognition": 20 / line["step"]} for line in lines]
    return [*lines, {"step": 40, "validation": {"psnr": 21.5, "top1": 48.5}}]


def make_answers(versions=("oracle", "unprocessed", "plain", "ra"), recognizers=5, pictures=7) -> dict:
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, (len(versions), recognizers, pictures))
    return {
        "versions": np.array(versions),
        "recognizers": np.array([f"net{r}" for r in range(recognizers)]),
        "answers": answers,
        "confidences": rng.random(answers.shape),
        "labels": np.arange(pictures) % 4,
        "classes": np.array(["cat", "dog", "a very long name of a class, as ImageNet has them", "ship"]),
    }


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def colour(value) -> str:
    return to_hex(value).upper()


def ends(axes) -> list[np.ndarray]:
    """Return the segments [[x, y], [x, y]] of all intervals."""
    lines = [line for each in axes.collections if isinstance(each, LineCollection) for line in each.get_segments()]
    return [line for line in lines if len(line) == 2]  # a point without an interval has an empty one


def bars(axes) -> dict[str, list[tuple[float, float, float]]]:
    """Return (height, lower end, upper end) of the bars by colour, from left to right."""
    found = {}
    for container in (each for each in axes.containers if isinstance(each, BarContainer)):
        for patch in container.patches:
            x = patch.get_x() + patch.get_width() / 2
            (end,) = [line[:, 1] for line in ends(axes) if abs(line[0, 0] - x) < 1e-9]  # in the middle of its bar
            found.setdefault(colour(patch.get_facecolor()), []).append((patch.get_height(), *sorted(end)))
    return found


def points(axes) -> dict[tuple[str, bool], list[tuple[float, float, float, float]]]:
    """Return (x, y, left end, right end) of the points of a forest, by colour and whether they are full."""
    found = {}
    for each in (each for each in axes.collections if isinstance(each, PathCollection)):
        for (x, y), face, edge in zip(each.get_offsets(), each.get_facecolor(), each.get_edgecolor(), strict=True):
            end = [sorted(line[:, 0]) for line in ends(axes) if line[0, 1] == y and np.isfinite(line).all()]
            key = colour(edge), bool(np.array_equal(face, edge))
            found.setdefault(key, []).append((x, y, *(end[0] if end else ())))
    return found


def curves(axes) -> dict[str, list[tuple[float, ...]]]:
    """Return (x, y, low, high) along each line, (x, y) where it has no interval, by colour."""
    spans = {}  # of bands, and of the intervals of single points
    for each in axes.collections:
        name = colour((each.get_facecolor() if isinstance(each, PolyCollection) else each.get_edgecolor())[0][:3])
        spans[name] = np.concatenate([spans.get(name, np.empty((0, 2))), *(path.vertices for path in each.get_paths())])
    found = {}
    for line in axes.lines:
        name = colour(line.get_color())
        for x, y in line.get_xydata():
            span = [end for at, end in spans.get(name, ()) if np.isclose(at, x)]
            found.setdefault(name, []).append((x, y, *((min(span), max(span)) if span else ())))
    return found


def lab(linear: np.ndarray) -> np.ndarray:
    """Return a colour of linear RGB in CIE L*a*b*, where distances are what the eye sees."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear.clip(0, 1) / (0.9505, 1, 1.089))
    return np.array([116 * y, 500 * (x - y), 200 * (y - z)])


# What is left of linear RGB without one kind of cone: Machado, Oliveira and Fernandes 2009, full severity.
EYES = {
    "all cones": np.eye(3),
    "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritan": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def make_pictures(pictures=3, side=16, classes=("sound", "defective")) -> dict:
    rng = np.random.default_rng(0)
    clean = rng.integers(30, 220, (pictures, 3, side, side + 8), dtype=np.uint8)
    return {
        "clean": clean,
        "sent": (clean + rng.integers(-3, 4, clean.shape)).astype(np.uint8),
        "alone": clean[::-1],
        "decoded": 255 - clean,
        "bits_alone": rng.random((pictures, side // 8, side // 8 + 1), dtype=np.float32),
        "bits_sent": 3 * rng.random((pictures, side // 8, side // 8 + 1), dtype=np.float32),
        "bytes_alone": np.array([4000, 3000, 2000][:pictures]),
        "bytes_sent": np.array([3000, 2500, 1250][:pictures]),
        "labels": np.array([0, 1, 1][:pictures]),
        "answers_alone": np.array([0, 0, 0][:pictures]),
        "answers": np.array([1, 1, 1][:pictures]),
        "classes": np.array(classes),
        "bits_by": "a block, by hand",
    }


def make_rates(sent=SENT, recognizers=JUDGES, seeds=2) -> pd.DataFrame:
    """Rows as the evaluation writes them, the most bytes first; only what is trained has several seeds."""
    rows = []
    for codec, method, (r, (name, role)) in (
        (codec, method, each)
        for codec, methods in sent.items()
        for method in methods
        for each in enumerate(recognizers.items())
    ):
        for seed, quality in itertools.product(range(seeds if "npp" in method else 1), (75, 50, 10)):
            bpp = CHANGE.get(method, 0.8) * quality / 100
            value = 60 + quality / 5 - 3 * r + 2 * seed
            rows.append(
                {
                    "profile": "test", "dataset": "cells", "task": "classification", "method": method,
                    "codec": codec, "quality": quality, "seed": seed, "recognizer": name, "role": role, "n": 656,
                    "bpp": bpp, "bytes_mean": bpp * PIXELS / 8, "metric": "top1", "value": value,
                    "value_low": value - 3, "value_high": value + 2.5, "psnr": 30.0,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def make_bd(sent=SENT, recognizers=JUDGES, seeds=1) -> pd.DataFrame:
    """BD-rates as the evaluation writes them: all but the codec alone, each another number."""
    rows = []
    for codec, methods in sent.items():
        for method, (name, role) in itertools.product(methods[1:], recognizers.items()):
            for seed in range(seeds if "npp" in method else 1):
                bd = 3 - 4.0 * len(rows)
                rows.append(
                    {
                        "profile": "test", "dataset": "cells", "codec": codec, "method": method, "seed": seed,
                        "recognizer": name, "role": role, "metric": "top1", "bd": bd, "low": bd - 5,
                        "high": bd + 4, "no_overlap": 0.01, "value_low": 70.0, "value_high": 79.5,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def make_published() -> pd.DataFrame:
    values = {"plain": [50.0, 60.0, 40.0], "ra": [59.5, 66.0, 47.0], "ra_unsupervised": [49.0, 60.0, 43.0]}
    names = ("resnet18", "resnet50", "vgg16_bn")
    rows = [
        {"task": task, "mode": mode, "recognizer": name, "top1": top1, "source": "a citation"}
        for task, (mode, numbers) in itertools.product(("sr", "dn", "jpeg"), values.items())
        for name, top1 in zip(names, numbers, strict=True)
    ]
    return pd.DataFrame(rows)


def make_same_bytes() -> pd.DataFrame:
    """Gains at the same bytes as the evaluation writes them: the preprocessor never has the most bytes."""
    rows = []
    for method, (name, role), (place, quality) in itertools.product(
        ("npp_qa", "post", "both"), JUDGES.items(), enumerate((10, 50))
    ):
        gain = 1.0 + len(rows)
        none = method == "npp_qa" and quality == 50
        unknown = none or (method == "both" and quality == 50)
        rows.append({
            "profile": "test", "dataset": "cells", "codec": "jpeg", "method": method, "seed": 0, "recognizer": name,
            "role": role, "metric": "top1", "quality": quality, "bytes_mean": 1000.0 * (1 + place), "alone": 70.0,
            "value": np.nan if none else 70 + gain, "gain": np.nan if none else gain,
            "low": np.nan if unknown else gain - 2, "high": np.nan if unknown else gain + 1, "no_overlap": float(none),
        })  # fmt: skip
    return pd.DataFrame(rows)


def make_agreement() -> pd.DataFrame:
    columns = [
        "proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr",
        "gradient_cosine", "gradient_cosine_low", "gradient_cosine_high", "dataset",
    ]  # fmt: skip
    rows = [
        ("Hyperprior", "heic", 32.0, 40, 0.913, 1.25, 33.33, 0.5, -0.02, 1.0, "cells"),
        ("BlockDCT", "jpeg", 75.0, 40, 0.99, 0.97, 41.26, 0.84, 0.8, 0.88, "cells"),
        ("BlockDCT", "jpeg", 10.0, 40, 0.95, 1.04, 38.0, *[np.nan] * 3, "cells"),
    ]
    return pd.DataFrame(rows, columns=columns)


def make_detections() -> dict:
    picture = np.arange(2 * 3 * 20 * 20).reshape(2, 3, 20, 20).astype(np.uint8)
    one, two = [0.0, 0.0, 10.0, 10.0], [10.0, 10.0, 20.0, 20.0]
    return {
        "alone": picture, "decoded": 255 - picture, "classes": ["cat", "dog"],
        "bytes_alone": [1000, 3000], "bytes_sent": [900, 2300],
        "boxes_true": [np.array([one, two]), np.array([one])], "labels_true": [np.array([1, 2]), np.array([2])],
        "boxes_alone": [np.array([one, two]), np.zeros((0, 4))], "labels_alone": [np.array([1, 1]), np.zeros(0)],
        "scores_alone": [np.array([0.9, 0.75]), np.zeros(0)],
        "boxes_decoded": [np.array([one, two, two]), np.array([one])],
        "labels_decoded": [np.array([1, 2, 1]), np.array([2])],
        "scores_decoded": [np.array([0.9, 0.8, 0.4]), np.array([0.625])],
    }  # fmt: skip

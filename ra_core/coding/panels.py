"""What the figures of pictures before and behind a codec are fed: two ways to send them, at equal accuracy."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from ra_core.channels import from_arrays, to_arrays
from ra_core.codecs import Codec, load_codec
from ra_core.codecs.jpeg_files import block_bits
from ra_core.coding import AtStrength, load_judges, pictures_of, strength_at, together, whole
from ra_core.coding.rate_accuracy import trained, transferred_strengths
from ra_core.errors import ParameterError
from ra_core.experiments import set_threads
from ra_core.metrics import to_8bit
from ra_core.models.proxies import make_proxy
from ra_core.params import Profile
from ra_core.params.coding import task_of

ADAPTIVE, PREPROCESSED = ("npp_qa", ("npp_qa", "npp_qa for ", "npp", "npp_mse"))  # the first of them that was measured
SHOWN = 4  # pictures
PREDICTED = {"heic": "heic", "bpg": "heic"}  # codecs whose bits are mapped by a proxy
METRICS = {"top1": "right answers", "map50": "mAP@0.5"}


@dataclass(frozen=True)
class Equal:
    """The codec alone at one quality, and a method at the one where a judge is most nearly as accurate.

    `alone` and `sent` are rows of `rate_accuracy.csv`.
    """

    method: str
    alone: pd.Series
    sent: pd.Series

    def sentence(self) -> str:
        """Say what is compared, over all test pictures."""
        one, other = self.alone, self.sent
        change = 100 * (other.bytes_mean / one.bytes_mean - 1)
        metric = METRICS.get(one.metric, one.metric)
        return (
            f"All {one.n:,} test pictures, {metric} of {one.recognizer}: {one.value:.1f} % with the codec alone at "
            f"quality {one.quality:g}, {other.value:.1f} % preprocessed at {other.quality:g}, the nearest that was "
            f"measured; on average {one.bytes_mean:,.0f} and {other.bytes_mean:,.0f} bytes ({change:+.1f} %)."
        ).replace("-", "\N{MINUS SIGN}")


def equal_accuracy(rates: pd.DataFrame, judge: str, quality: float | None = None, method: str | None = None) -> Equal:
    """Find the quality at which a method comes nearest to a judge's accuracy on the codec alone at `quality`.

    `rates` are the rows of one codec. Without a quality it is the middle one of the codec alone, without a method the
    first preprocessor that was measured; of several seeds it is the first, and of equally near qualities the one with
    the most similar bytes. Raises `ParameterError` for a quality, method or judge that was not measured.
    """
    rows = rates[rates["recognizer"] == judge].sort_values("bytes_mean", kind="stable")
    alone = rows[rows["method"] == "codec"]
    measured = [name for kind in PREPROCESSED for name in rows["method"].unique() if _is(name, kind)]
    method = method or next(iter(measured), None)
    mine = rows[rows["method"] == method]
    if quality is None and len(alone):
        quality = alone["quality"].iloc[len(alone) // 2]
    named = alone[alone["quality"] == quality]
    if mine.empty or named.empty:
        raise ParameterError(
            f"the table has no row of {judge} for the codec alone at quality {quality} and for method {method}; "
            f"it has the qualities {', '.join(f'{q:g}' for q in alone['quality'])} and the preprocessors "
            f"{', '.join(measured) or 'none'}."
        )
    mine = mine[mine["seed"] == mine["seed"].min()]
    alone = named.iloc[0]
    mine = mine.assign(
        by=(mine["value"] - alone.value).abs().round(6), far=np.log(mine["bytes_mean"] / alone.bytes_mean).abs()
    )
    return Equal(method, alone, mine.sort_values(["by", "far"]).iloc[0])


def _is(method: str, kind: str) -> bool:
    return method.startswith(kind) if kind.endswith(" ") else method == kind


def preprocessor_at(profile: Profile, dataset: str, codec: str, method: str, quality: float, seed: int):
    """Return what stands before a codec at a quality: a preprocessor by the name of its method in the rate table.

    Raises `ParameterError` for a method with a network behind the codec.
    """
    coding = profile.coding(dataset)
    if method in ("post", "both"):
        raise ParameterError(
            f"method {method!r} has a network behind the codec, which notebook 09 shows; choose a preprocessor alone."
        )
    if method.startswith("npp_qa for "):
        trained_for = method.removeprefix("npp_qa for ")
        steps = coding.codecs[trained_for]
        strength = transferred_strengths(steps, coding.transfer[codec])[quality]
        return AtStrength(_net(profile, dataset, trained_for, ADAPTIVE, None, seed), strength)
    if method == ADAPTIVE:
        net = _net(profile, dataset, codec, method, None, seed)
        return AtStrength(net, strength_at(coding.codecs[codec], quality))
    return AtStrength(_net(profile, dataset, codec, method, quality, seed), 1.0)


def _net(*run) -> nn.Module:
    return trained(*run)["preprocessor"]


def panel_of(profile: Profile, dataset: str, codec: str, found: Equal, count: int = SHOWN) -> dict:
    """Return what `figures.coding_panel` and `detection_panel` draw, and `bit_panel` where bits can be mapped.

    These are the first test pictures, classes in turn, with what the source says of them; those of several sizes are
    cut to one.
    """
    set_threads(profile)
    settings = profile.coding(dataset)
    pictures = few(pictures_of(profile, dataset, "test", settings.pictures), dataset, count)
    clean, labels = together(pictures)
    qualities = {"alone": whole(found.alone.quality), "sent": whole(found.sent.quality)}
    pre = preprocessor_at(profile, dataset, codec, found.method, found.sent.quality, int(found.sent.seed))
    with torch.inference_mode():
        given = {"alone": clean, "sent": to_8bit(pre(clean))}
    panel = {"compared": found.sentence(), "clean": _bytes(clean), "sent": _bytes(given["sent"])}
    coder, decoded = load_codec(codec), {}
    for kind, quality in qualities.items():
        files = coder.encode(to_arrays(given[kind]), quality)
        decoded[kind] = from_arrays(coder.decode(files))
        panel |= {f"quality_{kind}": quality, f"bytes_{kind}": np.array([len(file) for file in files])}
        panel |= _bits(coder, kind, files, given[kind], quality)
    panel |= {"alone": _bytes(decoded["alone"]), "decoded": _bytes(decoded["sent"])}
    judge = next(iter(load_judges(dataset, [settings.source], "cpu", pictures.classes).values()))
    seen = _answers if task_of(dataset) == "classification" else _boxes
    return panel | {"classes": np.array(pictures.classes)} | seen(judge, decoded, labels)


def few(pictures, dataset: str, count: int = SHOWN):
    """Return the first pictures of a set, classes in turn; where there are boxes, simply the first."""
    order, chosen = range(len(pictures)), list(range(min(count, len(pictures))))
    if task_of(dataset) == "classification":
        labels = pictures.labels.tolist()
        turn = [labels[:i].count(labels[i]) for i in order]
        chosen = sorted(order, key=lambda i: (turn[i], labels[i]))[:count]
    return pictures.subset(torch.tensor(chosen), pictures.name)


def _bytes(images: torch.Tensor) -> np.ndarray:
    return np.stack(to_arrays(images)).transpose(0, 3, 1, 2)


def _bits(coder: Codec, kind: str, files: list[bytes], images: torch.Tensor, quality: float) -> dict:
    """Return the bits of each block: of the very files for JPEG, by the proxy for HEVC, of others nothing."""
    if coder.suffix == ".jpg":
        bits, by = np.stack([block_bits(file) for file in files]), "a block of 8 × 8, counted in the file"
    elif coder.name in PREDICTED:
        proxy = make_proxy("BlockDCT", codec=PREDICTED[coder.name])
        bits, by = proxy.bit_map(images, quality).numpy(), "a block of 16 × 16, estimated by the proxy"
    else:
        return {}
    return {f"bits_{kind}": bits, "bits_by": by}


@torch.inference_mode()
def _answers(judge: nn.Module, decoded: dict[str, torch.Tensor], labels: torch.Tensor) -> dict:
    """Return what a recognizer calls the decoded pictures, and what they are."""
    alone, sent = (judge(decoded[kind]).argmax(1).numpy() for kind in ("alone", "sent"))
    return {"labels": labels.numpy(), "answers_alone": alone, "answers": sent}


@torch.inference_mode()
def _boxes(judge: nn.Module, decoded: dict[str, torch.Tensor], targets: list[dict]) -> dict:
    """Return what a detector finds in the decoded pictures, and what is in them."""
    sides = {"true": targets, "alone": judge(decoded["alone"]), "decoded": judge(decoded["sent"])}
    return {
        f"{key}_{kind}": [one[key].numpy() for one in found]
        for kind, found in sides.items()
        for key in ("boxes", "labels", "scores")
        if key in found[0]
    }

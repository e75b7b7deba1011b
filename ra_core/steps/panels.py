"""What the figures of pictures before and behind a codec are fed: two ways to send them, at equal accuracy."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from ra_core.chain import Chain
from ra_core.channels import Coded, to_arrays
from ra_core.codecs import CODECS, Codec, load_codec
from ra_core.codecs.jpeg_files import block_bits
from ra_core.data import as_batch
from ra_core.errors import ParameterError
from ra_core.judges import load_judge
from ra_core.methods import TRANSFERRED
from ra_core.metrics import to_8bit
from ra_core.models.proxies import make_proxy
from ra_core.params import Profile
from ra_core.runs import CodingRun, ladder_of, resolve
from ra_core.steps.common import pictures_of, set_threads
from ra_core.steps.rates import networks_of, transferred
from ra_core.steps.trainings import trained

PREPROCESSED = ("npp_qa", f"{TRANSFERRED}.*", "npp", "npp_mse")  # the first of them that was measured
ENDS = ("npp_qa", "post", "both")
SHOWN = 4  # pictures
METRICS = {"top1": "right answers", "map50": "mAP@0.5"}


@dataclass(frozen=True)
class Equal:
    """The codec alone at one quality, and a preprocessor at the one where a judge is most nearly as accurate.

    Both are rows of `rate_accuracy.csv`.
    """

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


def equal_accuracy(rates: pd.DataFrame, judge: str, quality: float | None = None) -> Equal:
    """Find the quality at which a preprocessor comes nearest to a judge's accuracy on the codec alone at `quality`.

    `rates` are the rows of one codec. Without a quality it is the middle one of the codec alone. The preprocessor is
    the first of `PREPROCESSED` in the table, of several seeds the first; of equally near qualities it is the one with
    the most similar bytes. Raises `ParameterError` for a quality, preprocessor or judge that was not measured.
    """
    rows = rates[rates["recognizer"] == judge].sort_values("bytes_mean", kind="stable")
    alone, names = rows[rows["method"] == "codec"], rows["method"].unique()
    measured = [name for kind in PREPROCESSED for name in names if re.fullmatch(kind, name)]
    if quality is None and len(alone):
        quality = alone["quality"].iloc[len(alone) // 2]
    named = alone[alone["quality"] == quality]
    if not measured or named.empty:
        raise ParameterError(
            f"the table has no row of {judge} for the codec alone at quality {quality} and for a preprocessor; it has "
            f"the qualities {', '.join(f'{q:g}' for q in alone['quality'])} and the preprocessors "
            f"{', '.join(measured) or 'none'}."
        )
    alone, mine = named.iloc[0], rows[rows["method"] == measured[0]]
    mine = mine[mine["seed"] == mine["seed"].min()]
    by, far = (mine["value"] - alone.value).abs().round(6), np.log(mine["bytes_mean"] / alone.bytes_mean).abs()
    return Equal(alone, mine.iloc[np.lexsort((far, by))[0]])


def sending_chain(profile: Profile, dataset: str, codec: str, method: str, quality: float, seed: int) -> Chain:
    """Return the chain of a preprocessor and a codec at a quality, by the name of its method in the rate table."""
    trained_for = method.removeprefix(TRANSFERRED)
    if trained_for != method:
        return transferred(profile, dataset, codec, trained_for, seed)(quality)
    run = resolve(profile, dataset, method, seed, codec, quality)
    return run.chain(networks_of(profile, dataset, run), quality)


def panel_of(profile: Profile, dataset: str, codec: str, found: Equal, count: int = SHOWN) -> dict:
    """Return what `figures.coding_panel` and `detection_panel` draw, and `bit_panel` where bits can be mapped.

    These are the first test pictures, classes in turn, with what the source says of them, or without one the first
    judge; those of several sizes are cut to one.
    """
    set_threads(profile.threads)
    settings, coder = profile.coding(dataset), load_codec(codec)
    pictures = first_in_turn(pictures_of(profile, dataset, "test", settings.pictures), count)
    clean, labels = as_batch(pictures)
    chain = sending_chain(profile, dataset, codec, found.sent["method"], found.sent.quality, int(found.sent.seed))
    with torch.inference_mode():
        sent = to_8bit(chain.pre(clean))
    panel, decoded = {"compared": found.sentence(), "classes": np.array(pictures.classes)}, {}
    alone = Coded(coder, found.alone.quality)
    for kind, channel, given in (("alone", alone, clean), ("sent", chain.channel, sent)):
        decoded[kind], sizes = channel.transmit(given)
        panel |= {f"quality_{kind}": channel.quality, f"bytes_{kind}": sizes.numpy()}
        if chain.channel.shrink == 1:  # else their blocks are not those of the clean picture
            files = channel.codec.encode(to_arrays(given), channel.quality)
            panel |= _bits(channel.codec, kind, files, given, channel.quality)
    shown = {"clean": clean, "sent": sent, "alone": decoded["alone"], "decoded": decoded["sent"]}
    panel |= {kind: np.stack(to_arrays(images)).transpose(0, 3, 1, 2) for kind, images in shown.items()}
    judge = load_judge(settings.judges[0], pictures.classes)
    with torch.inference_mode():
        alone, sent = (judge(decoded[kind]) for kind in ("alone", "sent"))
    if judge.metric == "top1":
        given = {"labels": labels, "answers_alone": alone.argmax(1), "answers": sent.argmax(1)}
        return panel | {key: answers.numpy() for key, answers in given.items()}
    for kind, boxes in (("true", labels), ("alone", alone), ("decoded", sent)):
        keys = (key for key in ("boxes", "labels", "scores") if key in boxes[0])
        panel |= {f"{key}_{kind}": [one[key].numpy() for one in boxes] for key in keys}
    return panel


def first_in_turn(pictures, count: int = SHOWN):
    """Return the first pictures of a set, classes in turn; where there are boxes, simply the first."""
    chosen = list(range(min(count, len(pictures))))
    if not pictures.boxed:
        labels = pictures.labels.tolist()
        turn = [labels[:i].count(labels[i]) for i in range(len(labels))]
        chosen = sorted(range(len(labels)), key=lambda i: (turn[i], labels[i]))[:count]
    return pictures.subset(torch.tensor(chosen), pictures.name)


def pair_at(run: CodingRun, pictures) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pictures, what is handed to the codec, and what a recognizer is shown, (B, 3, H, W) each.

    The run is trained first where it is not, and taken at its middle rung. Pictures of several sizes are cut to one.
    """
    chain, (images, _) = run.chain(trained(run)), as_batch(pictures)
    with torch.inference_mode():
        sent = images if chain.pre is None else to_8bit(chain.pre(images))
        return images, sent, replace(chain, pre=None)(sent, torch.arange(len(sent)))["stored"]


def through_every_chain(
    profile: Profile, dataset: str, codec: str, seed: int, pictures
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return what a recognizer is shown (B, 3, H, W) and the bytes of the files (B,), by method, `codec` first.

    At the middle rung of the ladder; what is not trained yet is trained first. Raises `ParameterError` where the
    profile trains no postprocessor for the codec.
    """
    if not ladder_of(profile, dataset, codec).both_ends:
        raise ParameterError(
            f"profile {profile.name} trains only one end of codec {codec!r} on {dataset}; "
            f"set both_ends: true for it, or choose one of {', '.join(profile.coding(dataset).both_ends) or 'none'}."
        )
    images, runs = as_batch(pictures)[0], {method: resolve(profile, dataset, method, seed, codec) for method in ENDS}
    chains = {"codec": runs["both"].chain({})} | {method: run.chain(trained(run)) for method, run in runs.items()}
    found = {method: chain(images, torch.arange(len(images))) for method, chain in chains.items()}
    return {method: (out["stored"], out["bytes"]) for method, out in found.items()}


def _bits(coder: Codec, kind: str, files: list[bytes], images: torch.Tensor, quality: float) -> dict:
    """Return the bits of each block: of the very files for JPEG, by the proxy for HEVC, of others nothing."""
    if coder.suffix == ".jpg":
        bits, by = np.stack([block_bits(file) for file in files]), "a block of 8 × 8, counted in the file"
    elif stand_in := CODECS[coder.name].stand_in:
        proxy = make_proxy("BlockDCT", codec=stand_in)
        bits, by = proxy.bit_map(images, quality).numpy(), "a block of 16 × 16, estimated by the proxy"
    else:
        return {}
    return {f"bits_{kind}": bits, "bits_by": by}

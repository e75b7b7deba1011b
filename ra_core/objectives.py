"""What a training minimises: how a batch is prepared, and the named terms that its networks are judged by.

An objective has `settings` (what a resumed run must agree with), `frozen` (networks that are used but not trained),
`prepare` (in full precision: what happens to the pictures before the networks) and `terms` (under autocast). One that
is `divisible` has terms that are means over the pictures, so that several processes can share a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.nn import functional as F

from ra_core.channels import Channel, Coded
from ra_core.channels.coded import smaller, with_gradient
from ra_core.codecs import Codec
from ra_core.data.boxes import by_size
from ra_core.data.draws import draw
from ra_core.judges import Judge, mean_over
from ra_core.losses import preprocessing_terms, restoration_terms, straight_through
from ra_core.methods import Method
from ra_core.metrics import to_8bit
from ra_core.models.preprocessors import preprocess


class Objective(Protocol):
    """The door between the training loop and what is trained."""

    settings: dict
    frozen: list[nn.Module]
    divisible: bool  # absent: it is not

    def prepare(self, images: torch.Tensor, labels, generator: torch.Generator) -> dict:
        """Return what `terms` needs of one batch of clean pictures (B, 3, H, W)."""

    def terms(self, networks: dict[str, nn.Module], batch: dict) -> dict[str, torch.Tensor]:
        """Return the terms of a batch by name; `loss` is the one to minimise."""


def recognition_term(kind: str | Callable | None, judge: Judge, seen, clean, labels, *numbers) -> torch.Tensor:
    """Return the recognition loss of pictures (B, 3, H, W): (B,), or a scalar where it is a detector's own.

    `kind` is None (zeros), `labels` (the judge's own loss), `soft_labels` (what the judge thinks of `seen` is to be
    what it thinks of `clean`) or a function (judge, seen, clean, labels), which is given the random `numbers` that it
    asks for and each of an ensemble's judges in turn. The gradient reaches `seen`.
    """
    if kind is None:
        return seen.new_zeros(len(seen))
    if kind == "labels":
        return judge.task_loss(seen, labels)
    if kind == "soft_labels":
        return judge.distance(seen, clean)
    return mean_over(judge.members, lambda each: kind(each, seen, clean, labels, *numbers))


@dataclass
class Restoration:
    """A processor (and perhaps a transformer) behind a channel: loss = distortion + lambda * recognition.

    The gradient of `recognition` reaches the processor in `ra` and `ra_unsupervised`; in `ra_transformer` it ends at
    the transformer, whose input is cut off. `plain` does not run the judge, `ra_unsupervised` does not look at labels.
    Source: Liu et al. 2019, section 3.
    """

    method: Method
    channel: Channel
    judge: Judge | None = None
    divisible = True

    @property
    def settings(self) -> dict:
        return {
            "mode": self.method.name, "weight": self.method.weight, "channel": repr(self.channel),
            "recognizer": getattr(self.judge, "name", None) if self.method.recognition else None,
        }  # fmt: skip

    @property
    def frozen(self) -> list[nn.Module]:
        return [] if self.judge is None else [self.judge]

    def prepare(self, images, labels, generator):
        known = _to(labels, images.device) if self.method.needs_labels else None
        batch = {"degraded": self.channel(images, generator=generator), "target": images, "labels": known}
        if self.method.random_numbers:
            numbers = draw(torch.rand, (len(images), self.method.random_numbers), generator, images.device)
            batch["numbers"] = numbers.to(images.device)
        return batch

    def terms(self, networks, batch):
        target = batch["target"]
        processed = networks["processor"](batch["degraded"]).float()
        distortion = F.mse_loss(processed, target)
        if self.method.recognition is None:
            return {"loss": distortion, "distortion": distortion}
        seen = networks["transformer"](processed.detach()).float() if self.method.transformer else processed
        given = [batch[key] for key in ("labels", "numbers") if key in batch]
        recognition = recognition_term(self.method.recognition, self.judge, seen, target, *given).mean()
        loss = distortion + self.method.weight * recognition
        return {"loss": loss, "distortion": distortion, "recognition": recognition}


class Rung(NamedTuple):
    """One quality of a codec, the lambda of the task there, and what an adaptive preprocessor is told."""

    quality: float
    weight: float
    strength: float


@dataclass
class Preprocessing:
    """Networks around a real codec: the value comes from the codec, the gradient from its proxy.

    `networks` hold a `preprocessor`, a `postprocessor` that restores what was decoded before it is judged, or both.
    Without a preprocessor the codec gets the clean pictures. Where there are `tables`, JPEG quantises by them. Without
    either no proxy is needed. In each step every picture is
    given one rung of `ladder` at random. `judge` is a frozen recognizer or detector. `recognition` is `labels`
    (cross-entropy, or a detector's own losses, for which the whole batch has one rung); `soft_labels`, which looks at
    none: what the judge thinks of the received picture is to be what it thinks of the clean one; or None for a
    preprocessor that only saves bits. With `shrink` above 1 the pictures are sent that many times smaller a side and
    enlarged behind the codec. A postprocessor needs a `restoration_weight`. Pictures of several sizes are dealt
    with size by size, so that nothing but real pixels is looked at, coded or counted; each picture counts the same.
    """

    codec: Codec
    proxy: nn.Module | None
    judge: Judge
    ladder: tuple[Rung, ...]
    recognition: str | None = "labels"
    mse_weight: float = 0.5  # as published
    restoration_weight: float = 0.0
    shrink: float = 1

    def __post_init__(self):
        if self.proxy is not None:
            self.proxy.requires_grad_(False).eval()  # a judge is frozen from the start

    @property
    def settings(self) -> dict:
        found = {
            "codec": repr(self.codec), "proxy": type(self.proxy).__name__, "judge": getattr(self.judge, "name", None),
            "ladder": [list(rung) for rung in self.ladder], "recognition": self.recognition,
            "mse_weight": self.mse_weight,
        }  # fmt: skip
        usual = {"restoration_weight": 0.0, "shrink": 1}
        return found | {key: getattr(self, key) for key in usual if getattr(self, key) != usual[key]}

    @property
    def frozen(self) -> list[nn.Module]:
        return [self.judge] if self.proxy is None else [self.proxy, self.judge]

    @property
    def divisible(self) -> bool:
        return not (self.recognition == "labels" and self.judge.loss_of_batch)

    def prepare(self, images, labels, generator):
        any_rung = partial(torch.randint, len(self.ladder))
        if not self.divisible:  # a detector has one loss of its own for a whole batch
            drawn = any_rung((1,), generator=generator).expand(len(images))
        else:
            drawn = draw(any_rung, (len(images),), generator)
        rungs = [self.ladder[i] for i in drawn.tolist()]
        quality, weight, strength = (torch.tensor(column).to(images) for column in zip(*rungs, strict=True))
        known = _to(labels, images.device) if self.recognition == "labels" else None
        return {
            "images": images, "labels": known,
            "quality": quality, "weight": weight, "strength": strength, "by_size": by_size(labels),
        }  # fmt: skip

    def terms(self, networks, batch):
        if not batch["by_size"]:
            return self._terms(networks, batch)
        count, sums = len(batch["images"]), {}
        for (height, width), chosen in batch["by_size"].items():
            part = {key: _chosen(value, chosen) for key, value in batch.items()}
            part["images"] = part["images"][..., :height, :width]
            for key, value in self._terms(networks, part).items():
                sums[key] = sums.get(key, 0) + len(chosen) / count * value
        return sums

    def _terms(self, networks: dict[str, nn.Module], batch: dict) -> dict[str, torch.Tensor]:
        """Return the terms of pictures of one size."""
        images, post = batch["images"], networks.get("postprocessor")
        sent, received, bits = self._send(networks.get("preprocessor"), networks.get("tables"), batch)
        seen = received if post is None else post(received).float()
        task, weight = recognition_term(self.recognition, self.judge, seen, images, batch["labels"]), batch["weight"]
        terms = preprocessing_terms(sent, images, bits, task, weight if task.ndim else weight[0], self.mse_weight)
        if post is None:
            return terms
        # Cut off from the preprocessor, which keeps the loss it has alone and may drop what the task does not need.
        restored = post(received.detach()).float() if received.requires_grad else seen
        return restoration_terms(terms, restored, images, self.restoration_weight)

    def _send(self, pre, tables, batch: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what enters the codec, what comes back and its bits, with the gradient of the proxy."""
        images, quality = batch["images"], batch["quality"]
        if pre is tables is None:
            return images, *self._transmit(images, quality)
        sent = images if pre is None else preprocess(pre, images, batch["strength"]).float()
        with torch.autocast(images.device.type, enabled=False):
            steps = {} if tables is None else {"tables": tables(quality)}
            pictures, guess = self._guess(sent, quality, **steps)
        decoded, bits = self._transmit(sent.detach(), quality, **steps)
        return sent, straight_through(decoded, pictures), straight_through(bits, guess)

    def _guess(self, sent: torch.Tensor, quality: torch.Tensor, **tables) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the proxy makes of pictures, at their size, and its bits."""
        if self.shrink == 1:
            guess = self.proxy(sent, quality, **tables)
            return guess["pictures"], guess["bits"]
        small = with_gradient(sent, smaller(sent, self.shrink)).clamp(0, 1)
        guess = self.proxy(small, quality, **tables)
        return with_gradient(guess["pictures"], tuple(sent.shape[-2:])), guess["bits"]

    @torch.no_grad()
    def _transmit(self, sent: torch.Tensor, quality: torch.Tensor, tables=None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the real codec makes of each picture at its quality, with `tables` of its own, and its bits."""
        decoded, bits = torch.empty_like(sent), torch.empty(len(sent), device=sent.device)
        stored = to_8bit(sent)
        for level in quality.unique():
            chosen = quality == level
            codec = self.codec if tables is None else self.codec.with_tables(tables[chosen][0].tolist())
            decoded[chosen], sizes = Coded(codec, level.item(), self.shrink).transmit(stored[chosen])
            bits[chosen] = 8.0 * sizes.to(bits)
        return decoded, bits


def _chosen(values, chosen: list[int]):
    """Return some pictures' share of a tensor or list that has one entry a picture; of anything else all."""
    if isinstance(values, list):
        return [values[index] for index in chosen]
    return values[chosen] if torch.is_tensor(values) else values


def _to(labels, device):
    """Return labels, one tensor or a detector's list of dicts, on a device."""
    if isinstance(labels, list):
        return [{key: value.to(device) for key, value in target.items()} for target in labels]
    return labels.to(device)


@dataclass
class RateDistortion:
    """A learned proxy: `weight` times the squared error of its pictures (in [0, 1]), plus bits a pixel.

    Source: Minnen et al. 2018, equation 2; the published training takes `weight` between 128 and 8192.
    """

    weight: float
    divisible = False  # the networks draw noise for the pictures they are given

    @property
    def settings(self) -> dict:
        return {"objective": "rate-distortion", "weight": self.weight}

    @property
    def frozen(self) -> list[nn.Module]:
        return []

    def prepare(self, images, labels, generator):
        return {"images": images}

    def terms(self, networks, batch):
        images = batch["images"]
        out = networks["proxy"](images)
        pixels = images.shape[-2] * images.shape[-1]
        distortion = F.mse_loss(out["raw"].float(), images)
        bpp_y, bpp_z = ((out[key] / pixels).mean() for key in ("bits_y", "bits_z"))
        loss = self.weight * distortion + bpp_y + bpp_z
        return {"loss": loss, "distortion": distortion, "bpp": bpp_y + bpp_z, "bpp_y": bpp_y, "bpp_z": bpp_z}

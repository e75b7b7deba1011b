"""A codec that keeps the highest bits; a proxy, judges and preprocessors of a few numbers: what makes an objective."""

import copy
import zlib
from dataclasses import dataclass

import numpy as np
import tiny
import torch
from torch import nn

from ra_core.codecs.base import Codec, Qualities
from ra_core.judges import Detector
from ra_core.objectives import Preprocessing, Rung

LADDER = (Rung(3, 0.5, 0.0625), Rung(4, 2.0, 0.25), Rung(6, 8.0, 1.0))
ONE = LADDER[1:2]


@dataclass(frozen=True)
class Posterise(Codec):
    """A codec that keeps the highest bits of each value, as many as its quality."""

    offset: int = 0  # of what it gives back
    name, suffix = "posterise", ".post"
    qualities = Qualities("bits", 1, 8, better="up")

    def available(self):
        return True

    def _encode(self, picture, quality):
        height, width, _ = picture.shape
        kept = picture >> (8 - quality)
        return bytes([height, width, quality]) + zlib.compress(kept.tobytes())

    def _decode(self, file):
        height, width, quality = file[:3]
        kept = np.frombuffer(zlib.decompress(file[3:]), np.uint8).reshape(height, width, 3)
        return (kept << (8 - quality)) + np.uint8(self.offset)


class Pretend(nn.Module):
    """A proxy that is nothing like the codec, and another one in training mode."""

    def __init__(self):
        super().__init__()
        self.gain, self.norm = nn.Parameter(torch.tensor([0.9, 0.5, 0.7]).view(3, 1, 1)), nn.BatchNorm2d(3)

    def forward(self, images, quality=None):
        raw = self.gain * self.norm(images) + 0.01 * quality.view(-1, 1, 1, 1)
        bits_y = quality * images.square().sum((1, 2, 3)) + self.gain.sum()
        bits_z = images[:, 0].sum((1, 2))
        return {
            "pictures": raw.clamp(0, 1), "raw": raw, "bits": bits_y + bits_z, "bits_y": bits_y, "bits_z": bits_z
        }  # fmt: skip


class Finder(Detector):
    """A detector whose losses are plain sums over the pictures and boxes it is given."""

    name = "finder"

    def __init__(self):
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.tensor([0.2, 0.3, 0.5]).view(3, 1, 1), requires_grad=False)

    def forward(self, images):
        return [{"boxes": torch.zeros(0, 4)} for _ in images]

    def soft_labels(self, images):
        return (self.weight * images).mean(3).transpose(1, 2).sigmoid()  # a place a row

    def losses(self, images, targets):
        seen = (self.weight * images).sum(1)
        inside = [seen[i, int(t[1]) : int(t[3])].mean() for i, t in enumerate(b["boxes"][0] for b in targets)]
        labels = torch.cat([target["labels"] for target in targets]).float().mean()
        return {"boxes": sum(inside), "classes": labels * images.square().mean()}


class Change(nn.Module):
    """A preprocessor of one number a channel; an adaptive one also takes the strength."""

    def __init__(self, adaptive: bool = False):
        super().__init__()
        self.adaptive = adaptive
        self.factor = nn.Parameter(torch.tensor([0.9, 1.3, 0.6]).view(3, 1, 1))
        self.told = []

    def forward(self, images, strength=None):
        self.told.append(strength)
        out = self.factor * images
        return out * strength.view(-1, 1, 1, 1).sqrt() if self.adaptive else out


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    return tiny.pictures(count, seed).batch(torch.arange(count))[0]


def labels(count: int = 6) -> torch.Tensor:
    return torch.arange(count) % 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def objective(ladder=ONE, recognition="labels", **changes) -> Preprocessing:
    given = {"codec": Posterise(), "proxy": Pretend(), "judge": tiny.source()} | changes
    return Preprocessing(**given, ladder=ladder, recognition=recognition)


def terms_of(what: Preprocessing, net: nn.Module, pictures=None, known="theirs", seed: int = 0) -> dict:
    pictures = images() if pictures is None else pictures
    known = labels(len(pictures)) if isinstance(known, str) else known
    return what.terms({"preprocessor": net}, what.prepare(pictures, known, generator(seed)))


def sent_through(codec: Codec, sent: torch.Tensor, qualities) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what comes back and the bits, one picture at a time."""
    decoded, bits = [], []
    for picture, quality in zip(sent, qualities, strict=True):
        array = (picture.detach() * 255 + 0.5).floor().byte().permute(1, 2, 0).numpy()
        [file] = codec.encode([array], int(quality))
        decoded.append(torch.from_numpy(codec.decode([file])[0]).permute(2, 0, 1).float() / 255)
        bits.append(8.0 * len(file))
    return torch.stack(decoded), torch.tensor(bits)


def expected_gradient(what: Preprocessing, net: Change, batch: dict, task_of) -> torch.Tensor:
    """Return the gradient of the loss, put together from those of its parts at the codec's values."""
    net, proxy = copy.deepcopy(net), copy.deepcopy(what.proxy).eval()
    sent = net(batch["images"]).clamp(0, 1)
    received = sent_through(what.codec, sent, batch["quality"])[0].requires_grad_()
    [at_received] = torch.autograd.grad(task_of(received), received)
    guess = proxy(sent, batch["quality"])
    through_pictures = (guess["pictures"] * at_received).sum()
    through_bits = guess["bits"].mean() / batch["images"][0, 0].numel()
    distortion = (sent - batch["images"]).square().mean()
    return torch.autograd.grad(through_pictures + through_bits + what.mse_weight * distortion, net.factor)[0]

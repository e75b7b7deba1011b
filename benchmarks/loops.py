"""Our training loop beside the published one, ready to be timed step by step."""

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from copy import deepcopy
from itertools import islice
from pathlib import Path

import torch
from published import PublishedLoop
from timing import clock
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from ra_core.chain import Chain
from ra_core.channels import make_channel
from ra_core.data.folders import load_tree
from ra_core.evaluation import evaluate
from ra_core.judges.recognizer import IMAGENET_MEAN, IMAGENET_STD, Recognizer
from ra_core.methods import find_method
from ra_core.models.blocks import for_inference
from ra_core.models.processors import PReLU, make_processor
from ra_core.objectives import Restoration
from ra_core.training import fit

CLASSES = 8


class _Enough(Exception):
    """The steps to be timed are done."""


class Clocked:
    """An objective that stops the training loop once `steps` steps after the first `skipped` were timed."""

    def __init__(self, objective, skipped: int, steps: int, device: torch.device):
        self.objective, self.settings, self.frozen = objective, objective.settings, objective.frozen
        self.first, self.last, self.device, self.calls = skipped, skipped + steps, device, 0
        self.terms, self.divisible = objective.terms, getattr(objective, "divisible", False)

    def prepare(self, *batch):
        if self.calls == self.first:
            self.started = clock(self.device)
        if self.calls == self.last:
            self.seconds = clock(self.device) - self.started
            raise _Enough
        self.calls += 1
        return self.objective.prepare(*batch)


class Ready:
    """Tensors that lie on the device, as pictures and as channel: a data path that costs nothing."""

    name = "ready"

    def __init__(self, channel, batch: int, device: torch.device):
        self.images, self.labels = torch.rand(batch, 3, 224, 224, device=device), torch.zeros(batch).long()
        self.degraded = channel(self.images.cpu(), generator=torch.Generator()).to(device)

    def __len__(self):
        return len(self.images)

    def digests(self):
        """Yield nothing: there is no file to tell apart."""
        yield from ()

    def training_batch(self, indices, generator):
        return self.images, self.labels

    def __call__(self, images, generator=None):
        return self.degraded


def networks(task: str) -> tuple[nn.Module, nn.Module]:
    """Return a processor and a recognizer that still wants gradients, the same at every call."""
    torch.manual_seed(0)
    return make_processor("SRResNet", 4 if task == "sr" else 1), resnet18(num_classes=CLASSES).eval()


def tiny_recognizer() -> nn.Module:
    """Return a recognizer of some weights, to rehearse with."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES)).eval()


def tiny_networks(task: str) -> tuple[nn.Module, nn.Module]:
    """Return networks that rehearse what the published ones are to do."""
    torch.manual_seed(0)
    return make_processor("SRResNet", 4 if task == "sr" else 1, width=4, blocks=1), tiny_recognizer()


def stepping(
    task: str, mode: str, processor: nn.Module, judge: Recognizer, batch: int, device: str | torch.device = "cpu",
    bf16: bool = True,
) -> Callable[[], dict]:  # fmt: skip
    """Return what gives the terms of a step of networks that lie on a device with ready tensors, in channels-last."""
    layout, side = {"device": device, "memory_format": torch.channels_last}, 224 // make_channel(task).scale
    degraded, target = (torch.rand(batch, 3, each, each).to(**layout) for each in (side, 224))
    prepared = {"degraded": degraded, "target": target, "labels": torch.zeros(batch, dtype=torch.int64, device=device)}
    objective = Restoration(find_method(mode), make_channel(task), judge)

    def terms() -> dict:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            return objective.terms({"processor": processor}, prepared)

    return terms


class OurLoop:
    """Our training step and evaluation, as a run of the book takes them, on networks that `make(task)` gives."""

    def __init__(
        self, task: str, mode: str, root: Path, scratch: Path, batch: int, device: torch.device,
        make: Callable[[str], tuple[nn.Module, nn.Module]] = networks,
    ):  # fmt: skip
        self.processor, net = make(task)
        self.recognizer = Recognizer(net, "resnet18", IMAGENET_MEAN, IMAGENET_STD).made_fast(device)
        self.channel, self.batch, self.device = make_channel(task), batch, device
        self.objective = Restoration(find_method(mode), self.channel, self.recognizer)
        self.training, self.validation = (load_tree(root, part) for part in ("train", "val"))
        self.scratch = scratch

    def seconds(self, skipped: int, steps: int, objective=None, pictures=None) -> float:
        """Return the seconds of `steps` steps after the first `skipped`."""
        clocked = Clocked(objective or self.objective, skipped, steps, self.device)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder, redirect_stdout(io.StringIO()):
            try:
                fit(
                    {"processor": self.processor}, clocked, pictures or self.training, folder=Path(folder),
                    steps=10**6, batch=self.batch, device=str(self.device), precision="bf16",
                    channels_last=True, checkpoint_seconds=float("inf"),
                )  # fmt: skip
            except _Enough:
                return clocked.seconds
        raise RuntimeError("the training ended before it was timed")

    def ready_seconds(self, skipped: int, steps: int) -> float:
        """Return the seconds of as many steps on tensors that lie ready on the device."""
        ready = Ready(self.channel, self.batch, self.device)
        return self.seconds(skipped, steps, Restoration(self.objective.method, ready, self.recognizer), ready)

    def evaluate(self) -> float:
        """Go once through the validation pictures; return the mean SSIM."""
        chain = Chain(self.channel, for_inference(deepcopy(self.processor), self.device))
        return evaluate(chain, {"source": self.recognizer}, self.validation, self.batch, self.device).ssim.mean().item()

    def flops(self) -> float:
        """Return the floating-point operations of one step, forward and backward."""
        ready = Ready(self.channel, self.batch, self.device)
        batch = {"degraded": ready.degraded, "target": ready.images, "labels": ready.labels.to(self.device)}
        with FlopCounterMode(display=False) as counter:
            self.objective.terms({"processor": self.processor.to(self.device)}, batch)["loss"].backward()
        return counter.get_total_flops()


def their_loop(
    task: str, mode: str, root: Path, scratch: Path, batch: int, device: torch.device, workers: int,
    make: Callable[[str], tuple[nn.Module, nn.Module]] = networks,
) -> PublishedLoop:  # fmt: skip
    processor, recognizer = make(task)
    nets = with_torchs_prelu(processor), recognizer
    return PublishedLoop(task, find_method(mode).weight, *nets, root, scratch, batch, device, workers)


def with_torchs_prelu(net: nn.Module, prelu: type[nn.PReLU] = nn.PReLU) -> nn.Module:
    """Put torch's PReLU, with which the published code trained, in the place of ours, which differs in speed only."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, PReLU):
                setattr(module, name, prelu())
    return net


def their_seconds(loop: PublishedLoop, skipped: int, steps: int) -> float:
    """Return the seconds of `steps` published steps after the first `skipped`."""
    batches = loop.batches()
    for batch in islice(batches, skipped):
        loop.step(batch)
    started = clock(loop.device)
    for batch in islice(batches, steps):
        loop.step(batch)
    return clock(loop.device) - started

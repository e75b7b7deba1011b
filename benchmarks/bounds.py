"""Counts what a training step must compute, move and keep, and what that takes a card at least; nothing is timed.

`python benchmarks/bounds.py` writes runs/benchmarks/bounds.json, which the book's status page shows. The steps run on
fake tensors, which have a shape and no values, under bf16 autocast, at any batch in seconds. Of a step it counts the
floating-point operations of convolutions and products, the bytes that operators read and write (every tensor once an
operator, as if nothing were fused and nothing read twice), and the most bytes that are alive at a time.
"""

import argparse
import gc
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from loops import stepping, with_torchs_prelu
from timing import about
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from ra_core.files import write_json
from ra_core.judges.recognizer import IMAGENET_MEAN, IMAGENET_STD, Recognizer
from ra_core.models.blocks import Residual
from ra_core.models.efficientnet_lite import efficientnet_lite
from ra_core.models.processors import make_processor

CARD = {"name": "H100", "bytes_s": 3.35e12, "flops": 989e12, "memory": (24e9, 80e9)}  # dense bf16, as its maker states
SPARE = 0.9  # of a card's memory is to be had: libraries and fragments take the rest
KINDS = {
    "convolution": "convolutions", "batch_norm": "normalisation", "prelu": "rectifiers", "relu": "rectifiers",
    "hardtanh": "rectifiers", "threshold": "rectifiers", "add": "additions",
}  # fmt: skip


class Ledger(TorchDispatchMode):
    """Counts the bytes that operators read and write, by kind, and the most bytes that are alive at a time."""

    def __init__(self):
        super().__init__()
        self.moved, self.alive, self.peak = Counter(), {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        read, written = tensors((args, kwargs)), tensors(made)
        if not func.is_view and func.namespace == "aten":
            kind = next((kind for name, kind in KINDS.items() if name in func.__name__), "other")
            self.moved[kind] += sum(map(size_of, read)) + sum(map(size_of, written))
        for tensor in written:
            storage = tensor.untyped_storage()
            self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.peak = max(self.peak, self.kept())
        return made

    def kept(self) -> int:
        """Return the bytes that are alive of what was made under this ledger."""
        self.alive = {key: row for key, row in self.alive.items() if not row[0].expired()}
        return sum(size for _, size in self.alive.values())


def tensors(tree) -> list[torch.Tensor]:
    """Return every tensor in nested arguments once."""
    return list({id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}.values())


def size_of(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor; what is expanded is there once."""
    sides = [side for side, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return torch.Size(sides).numel() * tensor.element_size()


def counted(work: Callable[[], torch.Tensor]) -> dict:
    """Return what `work`, which gives a loss, and its backward pass compute, move and keep.

    `kept` are the bytes that the forward pass leaves for the backward one, `peak` the most in both.
    """
    gc.collect()
    with FlopCounterMode(display=False) as flops, Ledger() as ledger:
        loss = work()
        gc.collect()
        kept = ledger.kept()
        loss.backward()
    moved = dict(ledger.moved)
    return {"flops": flops.get_total_flops(), "moved": moved, "kept": kept, "peak": ledger.peak}


class _AsOnCUDA(nn.PReLU):
    """torch's PReLU under autocast as a GPU has it: in the precision of its input."""

    def forward(self, x):
        return torch.prelu(x, self.weight.to(x.dtype))


def checkpointed(processor: nn.Module) -> nn.Module:
    """Let residual blocks keep only their input for the backward pass, which computes them again."""
    for block in processor.modules():
        if isinstance(block, Residual):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return processor


def published(task: str) -> tuple[nn.Module, nn.Module]:
    """Return the published processor of a task and EfficientNet-Lite0, both with random weights."""
    return make_processor("SRResNet", 4 if task == "sr" else 1), efficientnet_lite("lite0").eval()


def count_step(task: str, mode: str, batch: int, again: bool = False, make: Callable = published) -> dict:
    """Return what a step of a task and mode takes at a batch; with `again`, residual blocks are computed twice."""
    with FakeTensorMode():
        processor, net = make(task)
        with_torchs_prelu(processor, _AsOnCUDA)
        judge = Recognizer(net, "counted", IMAGENET_MEAN, IMAGENET_STD)
        terms = stepping(task, mode, checkpointed(processor) if again else processor, judge, batch)
        return counted(lambda: terms()["loss"])


def count_wide(task: str, batch: int) -> dict:
    """Return what the two 9 x 9 convolutions take in a step."""
    small, whole = 56 if task == "sr" else 224, 224
    with FakeTensorMode():
        first, last = nn.Conv2d(3, 64, 9, padding=4), nn.Conv2d(64, 3, 9, padding=4)
        degraded = torch.rand(batch, 3, small, small)
        features = torch.rand(batch, 64, whole, whole, dtype=torch.bfloat16, requires_grad=True)

        def work():
            with torch.autocast("cpu", torch.bfloat16):
                made = first(degraded), last(features)
            return sum(each.sum() for each in made)

        return counted(work)


def bounds(row: dict, wide: dict, plain: dict) -> dict:
    """Return the numbers of a step as the book shows them: GFLOP, GB, and milliseconds at the card's rates."""
    moved = sum(row["moved"].values())
    convolutions = row["moved"].get("convolutions", 0)
    return {
        "gflop": row["flops"] / 1e9, "moved_gb": {kind: size / 1e9 for kind, size in row["moved"].items()},
        "compute_ms": 1000 * row["flops"] / CARD["flops"],
        "convolutions_ms": 1000 * convolutions / CARD["bytes_s"],
        "others_ms": 1000 * (moved - convolutions) / CARD["bytes_s"],
        "wide_flops": wide["flops"] / row["flops"], "wide_bytes": wide["moved"]["convolutions"] / moved,
        "recognizer_flops": 1 - plain["flops"] / row["flops"],
        "recognizer_bytes": 1 - sum(plain["moved"].values()) / moved,
    }  # fmt: skip


def memory(task: str, batch: int) -> dict:
    """Return the GB that a step of `ra` keeps and holds at most, and the largest batch that cards have room for."""
    found = {}
    for name, again in (("as it is", False), ("blocks computed again", True)):
        row = count_step(task, "ra", batch, again)
        most = [int(SPARE * size / (row["peak"] / batch)) for size in CARD["memory"]]
        found[name] = {"kept_gb": row["kept"] / 1e9, "peak_gb": row["peak"] / 1e9, "largest_batch": most}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what a training step computes, moves and keeps.")
    parser.add_argument("--batch", type=int, default=64, help="pictures of 224 pixels a step")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/bounds.json"))
    options = parser.parse_args()
    steps, held = {}, {}
    for task in ("sr", "dn"):
        row, plain = (count_step(task, mode, options.batch) for mode in ("ra", "plain"))
        steps[task] = bounds(row, count_wide(task, options.batch), plain)
        held[task] = memory(task, options.batch)
        print(task, steps[task], held[task])
    found = {"batch": options.batch, "card": CARD, "steps": steps, "memory": held}
    write_json(options.output, about(torch.device("cpu")) | found)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()

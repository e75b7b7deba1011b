"""Training of the small recognizers that ship with the package: for CIFAR-10 and for solar cells."""

import json
import platform
import time
from itertools import accumulate
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F

from ra_core.data import Pictures, fingerprint
from ra_core.errors import DataError, ParameterError
from ra_core.files import atomic, write_json
from ra_core.models import efficientnet_lite
from ra_core.models.cell_nets import CELL_FAMILIES, ON_IMAGENET, begin_from_imagenet
from ra_core.models.cifar_nets import FAMILIES
from ra_core.training.checkpoint import load_checkpoint, save_checkpoint

# Epochs of each cycle of the learning rate; few enough for all five of CIFAR-10 to fit into an hour on two cores.
CYCLES = {
    "resnet20": (14,), "resnet26": (9,), "vgg8": (9,), "densenet17": (5, 4), "mobilenet": (8,),
    "cell_resnet20": (24,), "cell_vgg8": (24,), "cell_mobilenet": (24,), "cell_lite0": (8,), "cell_lite1": (8,),
}  # fmt: skip
RECIPE = {
    "optimiser": "SGD with Nesterov momentum 0.9",
    "batch": 128,
    "peak_lr": 0.2,
    "warm_up": 0.2,
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    "augmentation": "mirror, random crop of 32 out of 40 (reflected border)",
    "precision": "bf16 autocast",
    "mean": (0.4914, 0.4822, 0.4465),  # of CIFAR-10's training pictures
    "std": (0.2470, 0.2435, 0.2616),
}
CELL_RECIPE = RECIPE | {
    "batch": 32,
    "peak_lr": 0.05,
    "augmentation": "one of the eight turns and mirrors, shift by up to 8 pixels, gain of 0.8 to 1.2",
    "mean": (0.605,) * 3,  # of the training cells
    "std": (0.154,) * 3,
}

LITE_RECIPE = CELL_RECIPE | {
    "peak_lr": 0.005,
    "trained": "a linear layer on five frozen stages of EfficientNet-Lite, published ImageNet weights",
    "mean": efficientnet_lite.MEAN,
    "std": efficientnet_lite.STD,
}


def augment(images: torch.Tensor, generator: torch.Generator, pad: int = 4) -> torch.Tensor:
    """Mirror and shift each picture (B, 3, H, W) of any type at random, by up to `pad` pixels each way."""
    count, _, height, width = images.shape
    padded = F.pad(images.float(), (pad,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    picture = torch.arange(count)[:, None, None]
    # Indexing around a slice puts the channel axis last.
    return padded[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def augment_cells(images: torch.Tensor, generator: torch.Generator, shift: int = 8) -> torch.Tensor:
    """Turn, mirror, shift and brighten each grey picture (B, 3, S, S) at random, as cells look alike from all sides."""
    grey, count = images[:, :1], len(images)
    turns = torch.randint(8, (count,), generator=generator).tolist()
    grey = torch.stack(
        [torch.rot90(one.flip(-1) if t > 3 else one, t % 4, (-2, -1)) for one, t in zip(grey, turns, strict=True)]
    )
    by = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
    gain = 0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    return (gain * grey.roll(by, (-2, -1))).expand(-1, 3, -1, -1)


def normalise(images: torch.Tensor, recipe: dict = RECIPE) -> torch.Tensor:
    """Map pictures in [0, 255] to zero mean and unit variance a channel."""
    mean, std = (torch.tensor(recipe[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (images / 255 - mean) / std


@torch.inference_mode()
def accuracy(net: nn.Module, pictures: Pictures, recipe: dict = RECIPE) -> float:
    """Return the top-1 accuracy of `net` in evaluation mode, in percent."""
    net.eval()
    right = 0
    batch = 4 * recipe["batch"]
    for images, labels in zip(pictures.images.split(batch), pictures.labels.split(batch), strict=True):
        right += (net(normalise(images.float(), recipe)).argmax(1) == labels).sum().item()
    return 100 * right / len(pictures)


def _begin_cycle(net: torch.nn.Module, steps: int, recipe: dict) -> tuple:
    """Return a fresh optimiser and its schedule: up over a fifth of the steps, then linearly down to zero."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": recipe["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
        lr=recipe["peak_lr"], momentum=0.9, nesterov=True,
    )  # fmt: skip
    rising = max(1, round(recipe["warm_up"] * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rising, (steps - step) / max(1, steps - rising))
    )
    return optimiser, schedule


def train_recognizer(
    name: str,
    train: Pictures,
    test: Pictures,
    folder: Path,
    epochs: int = 0,
    seed: int = 0,
    validation: Pictures | None = None,
) -> dict:
    """Train the family `name` on `train`, write `folder/name.safetensors` with its sidecar, and return the sidecar.

    `epochs` of 0 takes the cycles of the recognizers that ship. In each cycle the learning rate rises for a fifth of
    the steps and falls linearly to zero; `test` is looked at once, at the end, and
    `validation` after every epoch. After each epoch a checkpoint is
    kept, from which a killed run goes on.
    Raises `ParameterError` for an unknown family, and `DataError` for fewer pictures than a batch.
    """
    families = FAMILIES | CELL_FAMILIES
    if name not in families:
        raise ParameterError(f"recognizer {name!r} cannot be trained; choose one of {', '.join(families)}.")
    recipe, vary = (RECIPE, augment) if name in FAMILIES else (CELL_RECIPE, augment_cells)
    recipe = LITE_RECIPE if name in ON_IMAGENET else recipe
    if len(train) < recipe["batch"]:
        raise DataError(f"{train.name} has {len(train)} pictures; at least a batch of {recipe['batch']} is needed.")
    cycles = (epochs,) if epochs else CYCLES[name]
    epochs, batch, start = sum(cycles), recipe["batch"], time.perf_counter()
    torch.manual_seed(seed)
    net = families[name](len(train.classes)).to(memory_format=torch.channels_last)
    if name in ON_IMAGENET:
        begin_from_imagenet(net, ON_IMAGENET[name])
    beginnings = dict(zip(accumulate(cycles, initial=0), cycles, strict=False))  # first epoch: length
    checkpoint, first, seconds = Path(folder) / f"{name}.checkpoint.pt", 0, 0.0
    settings = recipe | {"cycles": list(cycles), "seed": seed, "data": train.name, "pictures": len(train)}
    if (state := load_checkpoint(checkpoint, settings)) is not None:
        net.load_state_dict(state["net"])
        first, seconds = state["epoch"], state["seconds"]
        begun = max(epoch for epoch in beginnings if epoch <= first)
        optimiser, schedule = _begin_cycle(net, beginnings[begun] * (len(train) // batch), recipe)
        if begun < first:
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
    for epoch in range(first, epochs):
        if epoch in beginnings:
            optimiser, schedule = _begin_cycle(net, beginnings[epoch] * (len(train) // batch), recipe)
        generator = torch.Generator().manual_seed(1000 * seed + epoch)
        net.train()
        losses = []
        for indices in torch.randperm(len(train), generator=generator).split(batch)[: len(train) // batch]:
            images = normalise(vary(train.images[indices], generator), recipe)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(images.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), train.labels[indices], label_smoothing=recipe["label_smoothing"])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
        spent = seconds + time.perf_counter() - start
        seen = "" if validation is None else f"  validation {accuracy(net, validation, recipe):.1f} %"
        print(
            f"{name}  epoch {epoch + 1}/{epochs}  loss {torch.stack(losses).mean():.3f}{seen}  {spent:.0f} s",
            flush=True,
        )
        state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        save_checkpoint(checkpoint, state | {"epoch": epoch + 1, "seconds": spent, "settings": settings})
    sidecar = {
        "name": name, "classes": list(train.classes), "mean": recipe["mean"], "std": recipe["std"],
        "input": "RGB in [0, 1], {} x {}".format(*train.images.shape[-2:]),
        "parameters": sum(p.numel() for p in net.parameters()),
        "recipe": recipe | {"epochs": epochs, "cycles": list(cycles)}, "seed": seed,
        "trained_on": train.name, "train_fingerprint": fingerprint(train), "train_pictures": len(train),
        "tested_on": test.name, "test_fingerprint": fingerprint(test), "test_pictures": len(test),
        "test_top1": round(accuracy(net, test, recipe), 2),
        "seconds": round(seconds + time.perf_counter() - start), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "machine": platform.machine(),
    }  # fmt: skip
    weights = {k: v.contiguous() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    with atomic(Path(folder) / f"{name}.safetensors") as path:
        path.write_bytes(save(weights, metadata={"sidecar": json.dumps(sidecar)}))
    write_json(Path(folder) / f"{name}.json", sidecar)
    checkpoint.unlink(missing_ok=True)
    return sidecar

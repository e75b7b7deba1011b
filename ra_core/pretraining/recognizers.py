"""Training of the small recognizers that ship with the package: for CIFAR-10 and for solar cells."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from ra_core.data import Pictures, fingerprint
from ra_core.errors import DataError, ParameterError
from ra_core.models import efficientnet_lite
from ra_core.models.cell_nets import CELL_FAMILIES, ON_IMAGENET, begin_from_imagenet
from ra_core.models.cifar_nets import FAMILIES, OF_HALVES
from ra_core.pretraining.shipping import ship
from ra_core.training import fit

# Epochs of each cycle of the learning rate; few enough for all five of CIFAR-10 to fit into an hour on two cores.
CYCLES = {
    "resnet20": (14,), "resnet26": (9,), "vgg8": (9,), "densenet17": (5, 4), "mobilenet": (8,),
    "resnet20_even": (12,), "resnet20_odd": (12,), "vgg8_even": (8,), "vgg8_odd": (8,),
    "cell_resnet20": (24,), "cell_vgg8": (24,), "cell_mobilenet": (24,), "cell_lite0": (8,), "cell_lite1": (8,),
}  # fmt: skip
RECIPE = {
    "optimiser": "SGD with Nesterov momentum 0.9", "batch": 128, "peak_lr": 0.2, "warm_up": 0.2, "weight_decay": 5e-4,
    "label_smoothing": 0.1, "augmentation": "mirror, random crop of 32 out of 40 (reflected border)",
    "precision": "bf16 autocast", "mean": (0.4914, 0.4822, 0.4465), "std": (0.2470, 0.2435, 0.2616),  # of CIFAR-10
}  # fmt: skip
CELL_RECIPE = RECIPE | {
    "batch": 32, "peak_lr": 0.05, "mean": (0.605,) * 3, "std": (0.154,) * 3,  # of the training cells
    "augmentation": "one of the eight turns and mirrors, shift by up to 8 pixels, gain of 0.8 to 1.2",
}  # fmt: skip
LITE_RECIPE = CELL_RECIPE | {
    "peak_lr": 0.005, "mean": efficientnet_lite.MEAN, "std": efficientnet_lite.STD,
    "trained": "a linear layer on five frozen stages of EfficientNet-Lite, published ImageNet weights",
}  # fmt: skip


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


@dataclass(frozen=True)
class Augmented(Pictures):
    """Pictures of which a training sees what `vary(images, generator)` makes of them, floats in [0, 255]."""

    vary: Callable

    def training_batch(self, indices, generator):
        """Return varied pictures (B, 3, H, W), float in [0, 1], and labels (B,)."""
        return self.vary(self.images[indices], generator) / 255, self.labels[indices]


class Recognition:
    """Cross-entropy with smoothed labels, as an objective of `ra_core.training.fit`."""

    frozen = ()

    def __init__(self, name: str, recipe: dict, cycles: tuple[int, ...]):
        self.recipe, self.settings = recipe, {"recognizer": name, "recipe": recipe, "cycles": list(cycles)}

    def prepare(self, images, labels, generator):
        """Return normalised pictures and their labels."""
        images = normalize(images, self.recipe["mean"], self.recipe["std"])
        return {"images": images, "labels": labels.to(images.device)}

    def terms(self, networks, batch):
        """Return the loss."""
        logits = networks["recognizer"](batch["images"]).float()
        return {"loss": F.cross_entropy(logits, batch["labels"], label_smoothing=self.recipe["label_smoothing"])}


@torch.inference_mode()
def accuracy(net: nn.Module, pictures: Pictures, recipe: dict = RECIPE) -> float:
    """Return the top-1 accuracy of `net` in evaluation mode, in percent."""
    net.eval()
    right, device = 0, next(net.buffers(), torch.empty(0)).device
    for indices in torch.arange(len(pictures)).split(4 * recipe["batch"]):
        images, labels = pictures.batch(indices)
        logits = net(normalize(images.to(device), recipe["mean"], recipe["std"]))
        right += (logits.argmax(1).cpu() == labels).sum().item()
    return 100 * right / len(pictures)


def nesterov(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.SGD:
    """Return SGD with Nesterov momentum 0.9 that decays the weights of layers, and neither biases nor norms."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)


def train_recognizer(
    name: str, train: Pictures, test: Pictures, folder: Path, epochs: int = 0, seed: int = 0, device: str = "auto",
) -> dict:  # fmt: skip
    """Train the family `name` on `train`, write `folder/name.safetensors` with its sidecar, and return the sidecar.

    `epochs` of 0 takes the cycles of the recognizers that ship. Each cycle has an optimizer of its own, and its
    learning rate rises for a fifth of the steps and falls linearly to zero; `test` is looked at once, at the end. A
    killed run goes on from the checkpoints in `folder/name.run`, which is removed at the end. Raises `ParameterError`
    for an unknown family, and `DataError` for fewer pictures than a batch.
    """
    if name not in CYCLES:
        raise ParameterError(f"recognizer {name!r} cannot be trained; choose one of {', '.join(CYCLES)}.")
    recipe, vary = (RECIPE, augment) if name in FAMILIES | OF_HALVES else (CELL_RECIPE, augment_cells)
    recipe = LITE_RECIPE if name in ON_IMAGENET else recipe
    batch, cycles = recipe["batch"], (epochs,) if epochs else CYCLES[name]
    if len(train) < batch:
        raise DataError(f"{train.name} has {len(train)} pictures; at least a batch of {batch} is needed.")
    torch.manual_seed(seed)
    net = (FAMILIES | OF_HALVES | CELL_FAMILIES)[name](len(train.classes))
    if name in ON_IMAGENET:
        begin_from_imagenet(net, ON_IMAGENET[name])
    run, seconds = Path(folder) / f"{name}.run", 0.0
    for number, length in enumerate(cycles):
        report = fit(
            {"recognizer": net}, Recognition(name, recipe, cycles), Augmented(**vars(train), vary=vary),
            folder=run / str(number), steps=length * (len(train) // batch), batch=batch, drop_last=True,
            lr=recipe["peak_lr"], schedule="linear",
            optimiser=lambda parameters, lr: nesterov(parameters, lr, recipe["weight_decay"]),
            seed=1000 * seed + number, device=device, precision="bf16", channels_last=True, name=name,
        )  # fmt: skip
        seconds += report["wall_seconds"]
    facts = {
        "name": name, "classes": list(train.classes), "mean": recipe["mean"], "std": recipe["std"],
        "input": "RGB in [0, 1], {} x {}".format(*train.images.shape[-2:]),
        "recipe": recipe | {"epochs": sum(cycles), "cycles": list(cycles)}, "seed": seed,
        "tested_on": test.name, "test_fingerprint": fingerprint(test), "test_pictures": len(test),
        "test_top1": round(accuracy(net, test, recipe), 2), "seconds": round(seconds),
    }  # fmt: skip
    return ship(net, facts, train, run)

"""The published way of training and evaluating a processor, for timing.

Written anew from a description of that code, with what made it slow kept: pictures are read, degraded and turned
into tensors one by one, JPEG passes through a file, the recognizer's weights collect gradients nobody uses, it runs
also where lambda is 0, everything is fp32 in the usual memory layout, each step waits for its numbers and prints
them, and SSIM takes picture after picture with a dense window made for each. Two things are kinder than it was:
validation builds no graph (that code asked for so, in a way PyTorch no longer knows), and noise comes from
PyTorch's own generator.
"""

import io
import math
import os
from contextlib import redirect_stdout
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import datasets, transforms
from torchvision.transforms.functional import to_tensor

ENDLESS = 2**40  # pictures of an epoch
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def degrade(task: str, picture: Image.Image, folder: Path, number: int) -> torch.Tensor:
    """Return what is left of one picture, (3, H, W)."""
    if task == "sr":
        return to_tensor(picture.resize((picture.width // 4, picture.height // 4), Image.Resampling.BICUBIC))
    if task == "dn":
        clean = to_tensor(picture)
        return (clean + 0.1 * torch.randn(clean.shape)).clamp(0, 1)
    return through_file(picture, folder / f"{os.getpid()}-{number}.jpeg")


def through_file(picture: Image.Image, path: Path) -> torch.Tensor:
    """Return a picture after JPEG of quality 10 in a temporary file."""
    picture.save(path, quality=10)
    decoded = to_tensor(Image.open(path))
    path.unlink()
    return decoded


class Pairs(Dataset):
    """Degraded picture, clean picture, class: item by item, from a tree of class folders."""

    def __init__(self, task: str, root: Path, part: str, scratch: Path):
        crop = [transforms.RandomCrop(224), transforms.RandomHorizontalFlip()]
        crop = crop if part == "train" else [transforms.CenterCrop(224)]
        steps = transforms.Compose([transforms.Resize(256), *crop])
        self.pictures = datasets.ImageFolder(str(root / part), steps)
        self.task, self.scratch, self.fixed = task, scratch, part != "train"

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, number):
        picture, label = self.pictures[number]
        if self.fixed:
            torch.manual_seed(number)
        return degrade(self.task, picture, self.scratch, number), to_tensor(picture), label


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Return pictures as the recognizer wants them, channel by channel."""
    result = images.clone()
    for channel in range(3):
        result[:, channel] = (images[:, channel] - MEAN[channel]) / STD[channel]
    return result


def ranks(logits: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    """Return top-1 and top-5 in percent."""
    found = logits.topk(5, 1).indices.t() == labels
    return [100 * found[:k].any(0).float().mean() for k in (1, 5)]


def window() -> torch.Tensor:
    taps = torch.tensor([math.exp(-((i - 5) ** 2) / (2 * 1.5**2)) for i in range(11)])
    taps = (taps / taps.sum())[:, None]
    return (taps @ taps.t()).expand(3, 1, 11, 11).contiguous()


def ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the SSIM of one picture (1, 3, H, W) by five dense convolutions."""
    weights = window().to(image)

    def blur(x):
        return F.conv2d(x, weights, padding=5, groups=3)

    x, y = blur(image), blur(target)
    xx, yy = blur(image * image) - x * x, blur(target * target) - y * y
    xy = blur(image * target) - x * y
    quality = (2 * x * y + 0.01**2) * (2 * xy + 0.03**2)
    return (quality / ((x * x + y * y + 0.01**2) * (xx + yy + 0.03**2))).mean()


def ssims(images: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Return the SSIM of every picture, one after the other."""
    return [ssim(images[i : i + 1], targets[i : i + 1]).item() for i in range(len(images))]


class PublishedLoop:
    """The published loop on given networks; it lasts over several rounds of timing, as do the gradients it keeps."""

    def __init__(
        self, task: str, weight: float, processor: nn.Module, recognizer: nn.Module, root: Path, scratch: Path,
        batch: int, device: torch.device, workers: int,
    ):  # fmt: skip
        self.weight, self.device = weight, device
        self.processor, self.recognizer = processor.to(device), recognizer.to(device).eval()
        self.optimiser = torch.optim.Adam(self.processor.parameters(), lr=1e-4)
        settings = {"batch_size": batch, "num_workers": workers, "pin_memory": device.type == "cuda"}
        pairs = Pairs(task, root, "train", scratch)
        # ImageNet's epoch lasts; that of a few pictures would end, and workers start anew, while it is timed.
        self.training = DataLoader(pairs, sampler=RandomSampler(pairs, True, ENDLESS), **settings)
        self.validation = DataLoader(Pairs(task, root, "val", scratch), **settings)

    def batches(self):
        """Yield training batches without end."""
        yield from self.training

    def step(self, batch: tuple) -> None:
        """Take one step and print its numbers."""
        degraded, target, labels = (part.to(self.device, non_blocking=True) for part in batch)
        self.processor.train()
        output = self.processor(degraded)
        distortion = F.mse_loss(output, target)
        logits = self.recognizer(normalised(output))
        recognition = F.cross_entropy(logits, labels)
        self.optimiser.zero_grad()
        (distortion + self.weight * recognition).backward()
        self.optimiser.step()
        self.show(distortion, recognition, ranks(logits, labels))

    def show(self, distortion, recognition, shares) -> None:
        psnr = 10 * math.log10(1 / distortion.item())
        with redirect_stdout(io.StringIO()):
            print(distortion.item(), recognition.item(), *(share.item() for share in shares), psnr)

    @torch.no_grad()
    def evaluate(self) -> float:
        """Go once through the validation pictures; return the mean SSIM."""
        self.processor.eval()
        found = []
        for batch in self.validation:
            degraded, target, labels = (part.to(self.device) for part in batch)
            output = self.processor(degraded)
            logits = self.recognizer(normalised(output))
            found += ssims(output, target)
            self.show(F.mse_loss(output, target) + 1e-9, F.cross_entropy(logits, labels), ranks(logits, labels))
        return sum(found) / len(found)

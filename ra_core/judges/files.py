"""Judges out of files: what a sidecar says, done around a network of torchvision or a black box."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from ra_core.data.boxes import Target, clip, common_name
from ra_core.errors import ParameterError, RAError, WeightsError
from ra_core.judges.base import Judge
from ra_core.judges.decoders import DECODERS, best
from ra_core.judges.detector import Detector, torchvision_detectors, unresized
from ra_core.judges.recognizer import Recognizer, torchvision_classifiers
from ra_core.judges.runtimes import Opened, open_onnx, open_tflite, open_torchscript
from ra_core.judges.sidecar import Sidecar, find_sidecar, weights_of
from ra_core.models.weights import load_weights

FILL = 114 / 255  # of what a fitted picture leaves free; the grey that detectors are trained with
LEAST_PROBABILITY = 1e-7


class FileRecognizer(Recognizer):
    """A classifier out of a file. Where its sidecar names the classes, it answers in the order of the pictures'."""

    def __init__(self, net: nn.Module, name: str, sidecar: Sidecar):
        super().__init__(net, name, (0,) * 3, (1,) * 3)  # the sidecar's scaling is done in `net`
        self.own = sidecar.classes if isinstance(sidecar.classes, list) else None
        self.order = None

    def with_classes(self, classes):
        classes = tuple(classes)
        if self.own and len(classes) == len(self.own):
            own = [common_name(name) for name in self.own]
            if unknown := [name for name in classes if common_name(name) not in own]:
                raise ParameterError(
                    f"recognizer {self.name!r} does not know {unknown[0]!r}; write classes in its sidecar as the "
                    "pictures name them, in the order of its answer."
                )
            self.order = [own.index(common_name(name)) for name in classes]
        return self

    def forward(self, images):
        logits = super().forward(images)
        return logits if self.order is None else logits[:, self.order]

    def look(self, images, clean, labels, pictures):
        self.with_classes(pictures.classes)
        return super().look(images, clean, labels, pictures)


class FileNet(nn.Module):
    """What is in a file, fed with pictures (B, 3, H, W), RGB in [0, 1]; `net` is one of torchvision, or opened."""

    def __init__(self, sidecar: Sidecar, net: nn.Module | Opened):
        super().__init__()
        self.sidecar, self.net = sidecar, net
        self.batch = getattr(net, "batch", None)

    def fed(self, images: torch.Tensor) -> tuple[torch.Tensor, float, float]:
        """Return pictures as the file takes them, and by how much they became wider and higher.

        A black box is fed with 8-bit pictures, resized as Pillow does it.
        """
        if self.sidecar.black_box:
            images = (255 * images).round().to("cpu", torch.uint8)
        images, across, down = resized(images, *self.sidecar.input, self.sidecar.resize)
        scaling, images = self.sidecar.scaling, images if self.sidecar.black_box else 255 * images
        images = images.flip(1) if scaling.channels == "BGR" else images
        mean, std = (images.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (scaling.mean, scaling.std))
        return (images.float() / scaling.divisor - mean) / std, across, down

    def answered(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return what the file gives, for as many pictures at a time as it takes."""
        if isinstance(self.net, nn.Module):
            return [self.net(x)]
        batch = self.batch or len(x)
        parts = [F.pad(part, (0,) * 7 + (batch - len(part),)) for part in x.split(batch)]
        found = zip(*(self.net.run(part) for part in parts), strict=True)
        return [torch.cat(output)[: len(x)] for output in found]

    def forward(self, images):
        logits = self.answered(self.fed(images)[0])[0].to(images.device)
        if self.sidecar.output == "probabilities":
            logits = logits.clamp(min=LEAST_PROBABILITY).log()
        return logits[:, int(self.sidecar.background) :]


class FileDetectorNet(FileNet):
    """The same of a detector: a list of pictures to what it finds in each."""

    def forward(self, images: list[torch.Tensor]) -> list[Target]:
        fed = [self.fed(image[None]) for image in images]
        if self.sidecar.decoder == "faster_rcnn":
            found = [self.net.run(x)[1][0] for x, *_ in fed]
        else:
            outputs = self.answered(torch.cat([x for x, *_ in fed]))
            decode = DECODERS[self.sidecar.decoder]
            boxes, scores = decode(outputs, len(self.sidecar.names), *self.sidecar.input)
            found = [best(*of_one) for of_one in zip(boxes, scores, strict=True)]
        answers = []
        for image, answer, (_, across, down) in zip(images, found, fed, strict=True):
            height, width = image.shape[-2:]
            boxes = clip(answer["boxes"] / torch.tensor([across, down, across, down]), width, height)
            kept = {"boxes": boxes, "scores": answer["scores"], "labels": answer["labels"].long()}
            answers.append({key: value.to(image.device) for key, value in kept.items()})
        return answers


def resized(images: torch.Tensor, height: int, width: int, rule: str) -> tuple[torch.Tensor, float, float]:
    """Return pictures brought to a size, and by how much they became wider and higher.

    `squeeze` forgets the shape. `crop` keeps it, fills the size and cuts around the middle; `fit` keeps it and leaves
    grey at the right and at the bottom. `none` leaves a picture as it is. Values are uint8, or float in [0, 1].
    """
    before = images.shape[-2:]
    if rule == "none":
        return images, 1.0, 1.0
    down, across = height / before[0], width / before[1]
    if rule != "squeeze":
        down = across = (min if rule == "fit" else max)(down, across)
    after = (height, width) if rule == "squeeze" else tuple(max(1, round(side * down)) for side in before)
    if after != before:
        images = F.interpolate(images, after, mode="bilinear", antialias=True)
    if rule == "crop":
        top, left = (after[0] - height) // 2, (after[1] - width) // 2
        images = images[..., top : top + height, left : left + width]
    if rule == "fit":
        fill = FILL if images.is_floating_point() else round(255 * FILL)
        images = F.pad(images, (0, width - after[1], 0, height - after[0]), value=fill)
    return images, after[1] / before[1], after[0] / before[0]


def load_file(name: str) -> Judge | None:
    """Return the judge that `judges/<name>.json` describes; None where there is none of that name.

    It is tried on two pictures. Raises `ParameterError` for a sidecar that is wrong or an extra that is missing, and
    `WeightsError` for a file that is damaged, that could do harm, or that does not fit its sidecar.
    """
    if (sidecar := find_sidecar(name)) is None:
        return None
    path = weights_of(name, sidecar)
    try:
        judge = _make(name, sidecar, path)
    except RAError:
        raise
    except Exception as error:  # each framework raises its own
        lines = str(error).split("\n") if str(error) else [type(error).__name__]
        reason = lines[-1 if "TorchScript interpreter" in lines[0] else 0].strip().rstrip(".").replace(". ", ", ")
        raise WeightsError(f"{path} does not run as {name}.json says ({reason}); mend one of the two.") from error
    judge.black_box, judge.family, judge.stated = sidecar.black_box, sidecar.family, sidecar.top1 or sidecar.map50
    return judge


def _make(name: str, sidecar: Sidecar, path: Path) -> Judge:
    if not sidecar.black_box:
        net = load_weights(_torchvision(sidecar), path)
        return Detector(net, name, sidecar.names) if sidecar.detects else _tried(FileNet(sidecar, net), name)
    if sidecar.framework == "torchscript":
        opened = open_torchscript(path, sidecar.engine, in_a_list=sidecar.detects)
    else:
        opened = (open_onnx if sidecar.framework == "onnx" else open_tflite)(path)
    if opened.size and opened.size != tuple(sidecar.input):
        stated, taken = ("{} x {}".format(*size) for size in (sidecar.input, opened.size))
        raise ValueError(f"it takes {taken} pixels, high and wide, and input says {stated}")
    if not sidecar.detects:
        return _tried(FileNet(sidecar, opened), name)
    net = FileDetectorNet(sidecar, opened)
    with torch.inference_mode():
        net([torch.rand(3, *sidecar.input)] * 2)
    return Detector(net, name, sidecar.names)


def _tried(net: FileNet, name: str) -> FileRecognizer:
    """Return a classifier after it has named two pictures, at once or one after the other."""
    judge, wanted = FileRecognizer(net.eval(), name, net.sidecar), len(net.sidecar.names)
    pictures = torch.rand(2, 3, *net.sidecar.input, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if net.batch is None and net.sidecar.black_box:
            try:
                net.batch = None if len(judge(pictures)) == 2 else 1
            except Exception:  # it may have been made for one picture only without saying so
                net.batch = 1
        found = judge(pictures)
    if found.shape != (2, wanted):
        given = found.shape[-1] + net.sidecar.background
        raise ValueError(f"it gives {given} numbers a picture and {wanted + net.sidecar.background} are expected")
    return judge


def _torchvision(sidecar: Sidecar) -> nn.Module:
    """Return an architecture of torchvision for the classes of a sidecar, without weights."""
    from torchvision import models

    known = torchvision_detectors() if sidecar.detects else torchvision_classifiers()
    if sidecar.architecture not in known:
        raise ValueError(
            f"torchvision has no {'detector' if sidecar.detects else 'classifier'} {sidecar.architecture!r}"
        )
    if not sidecar.detects:
        return models.get_model(sidecar.architecture, num_classes=len(sidecar.names) + sidecar.background)
    outputs = len(sidecar.names) + 1  # 0 is the background
    net = models.get_model(sidecar.architecture, weights=None, weights_backbone=None, num_classes=outputs)
    scaling = sidecar.scaling
    net.transform.image_mean = [mean * scaling.divisor / 255 for mean in scaling.mean]
    net.transform.image_std = [std * scaling.divisor / 255 for std in scaling.std]
    return unresized(net)

"""Detectors: the small ones that ship and torchvision's pretrained ones, frozen."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ra_core.data.boxes import Target, common_name
from ra_core.detection import MOST_DETECTIONS, drawn_mean_ap, interval_of, mean_ap
from ra_core.errors import ParameterError
from ra_core.judges.base import JUDGES, Judge
from ra_core.judges.trunks import TRUNKS
from ra_core.metrics import Interval
from ra_core.models.weights import fetched, load_weights, read_sidecar
from ra_core.paths import ASSETS, project_root

SHIPPED = ASSETS / "detectors"


class Detector(Judge):
    """A frozen detector: pictures (B, 3, H, W), or a list of (3, H, W), RGB in [0, 1], to what it finds in each.

    An answer is a dict of `boxes` (n, 4), `scores` (n,) and `labels` (n,); `classes` names the labels from 1. Pictures
    are taken at the size they come in; padding happens in here.
    """

    metric = "map50"
    loss_of_batch = True

    def __init__(self, net: nn.Module, name: str, classes: Iterable[str]):
        super().__init__(net, name)
        self.classes = tuple(classes)
        self.own_labels: torch.Tensor | None = None  # of `classes`, where these are not the network's
        self.eval()

    def with_classes(self, classes: Iterable[str]) -> "Detector":
        """Let labels, of answers and of targets, count `classes` from 1; boxes of other classes are not answered.

        Names are compared by `common_name`. Raises `ParameterError` for a class that the detector does not know.
        """
        known, classes = [common_name(name) for name in self.classes], tuple(classes)
        if unknown := [name for name in classes if common_name(name) not in known]:
            raise ParameterError(
                f"detector {self.name!r} does not know {', '.join(map(repr, unknown))}; name detectors that do, or say "
                "in data.names what it calls that, or null to leave it out."
            )
        if classes != self.classes:
            own = torch.tensor([known.index(common_name(name)) + 1 for name in classes])
            self.own_labels, self.classes = (own if self.own_labels is None else self.own_labels[own - 1], classes)
        return self

    def forward(self, images) -> list[Target]:
        found = self.net(list(images))
        if self.own_labels is None:
            return found
        answers = []
        for answer in found:
            same = answer["labels"][:, None] == self.own_labels.to(answer["labels"].device)
            kept = same.any(1)
            labels = same[kept].int().argmax(1) + 1
            answers.append({key: value[kept] for key, value in answer.items()} | {"labels": labels})
        return answers

    def soft_labels(self, images) -> torch.Tensor:
        """Return how likely each class is at every place, before boxes are drawn: (B, places, classes), in [0, 1].

        With FCOS it is weighted by how central the place is, as its scores are; of Faster R-CNN it is the
        likelihood of any object in its first stage. The gradient reaches the pictures, which are of one size.
        """
        pictures, _ = self.net.transform(list(images))
        features = list(self.net.backbone(pictures.tensors).values())
        if hasattr(self.net, "rpn"):
            objectness, _ = self.net.rpn.head(features)
            return torch.cat([level.flatten(1) for level in objectness], 1).sigmoid()[..., None]
        answer = self.net.head(features)
        likely = answer["cls_logits"].sigmoid()
        return likely * answer["bbox_ctrness"].sigmoid() if "bbox_ctrness" in answer else likely

    def losses(self, images, targets: list[Target]) -> dict[str, torch.Tensor]:
        """Return the detector's own losses by name, each a scalar; their gradient reaches the pictures.

        Faster R-CNN draws the boxes it looks at from torch's global generator.
        """
        targets = [{key: target[key] for key in ("boxes", "labels")} for target in targets]
        if (own := self.own_labels) is not None:
            targets = [t | {"labels": own.to(t["labels"].device)[t["labels"] - 1]} for t in targets]
        for module in self.net.modules():  # torchvision returns losses in training mode only
            module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)
        try:
            return self.net(list(images), targets)
        finally:
            self.eval()

    def task_loss(self, images, labels):
        """Return the sum of its own losses, one number for the whole batch."""
        return sum(self.losses(images, labels).values())

    def distance(self, images, clean):
        """Return the squared distance of each picture's `soft_labels` to the clean one's, (B,)."""
        with torch.no_grad():
            wanted = self.soft_labels(clean).float()
        return (self.soft_labels(images).float() - wanted).square().sum((1, 2))

    def look(self, images, clean, labels, pictures):
        with torch.autocast(images.device.type, enabled=False):  # the ends of a box need more than eight bits
            return {"found": [{key: value.cpu() for key, value in answer.items()} for answer in self(images)]}

    def verdict(self, looks, pictures):
        return Detected([answer for look in looks for answer in look["found"]], pictures.all_targets())


@dataclass
class Detected:
    """A `Verdict` of a detector: its answers and what is really there, a dict of boxes and labels a picture each.

    The score is the mean average precision at an overlap of one half; intervals are bootstrapped.
    """

    found: list[Target]
    targets: list[Target]
    metric = "map50"

    @cached_property
    def scored(self) -> tuple[float, np.ndarray]:
        """The score and what it would be on other draws of the pictures; boxes are matched once."""
        return drawn_mean_ap(self.found, self.targets)

    def value(self) -> float:
        return self.scored[0] if "scored" in self.__dict__ else mean_ap(self.found, self.targets)[self.metric]

    def interval(self) -> Interval:
        return interval_of(*self.scored)

    def difference(self, other: "Detected") -> Interval:
        (mine, drawn), (theirs, other_drawn) = self.scored, other.scored
        return interval_of(mine - theirs, drawn - other_drawn, lowest=-100.0)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the surest `boxes` (N, M, 4), `scores` and `labels` (N, M); M is the most that count, label 0 none."""
        filled = {"boxes": np.zeros((len(self.found), MOST_DETECTIONS, 4), np.float32)}
        filled |= {key: np.zeros(filled["boxes"].shape[:2], kind) for key, kind in (("scores", "f4"), ("labels", "i2"))}
        for n, answer in enumerate(self.found):
            surest = answer["scores"].argsort(descending=True)[:MOST_DETECTIONS]
            for key, rows in filled.items():
                rows[n, : len(surest)] = answer[key][surest]
        return filled

    def drawn(self) -> np.ndarray:
        return self.scored[1]


def load_detector(name: str, weights: str | Path | None = None, folder: Path = SHIPPED) -> Detector:
    """Return a trained detector by name.

    `name` is one of the three small ones (their files lie in `folder`), or an FCOS, Faster R-CNN or RetinaNet of
    torchvision (with its COCO weights), for instance `fcos_resnet50_fpn`. `path/to/fcos` is one of the small ones as
    `python -m ra_core.pretraining.detectors fcos --folder path/to` leaves it, the path beginning at the project.
    `weights`, a safetensors file, takes the place of what they bring.
    Raises `ParameterError` for an unknown name, `WeightsError` for weights that cannot be had or do not fit.
    """
    kind = Path(name).name
    if kind not in TRUNKS:
        return _torchvision(name, weights)
    if kind != name:
        folder = project_root() / Path(name).expanduser().parent
    from ra_core.judges.detector_nets import make_detector

    sidecar = read_sidecar(folder / f"{kind}.json", {"classes"}, f"train {kind} or install again")
    net = make_detector(kind, len(sidecar["classes"]))
    path, sha256 = (weights, None) if weights else (folder / f"{kind}.safetensors", sidecar.get("sha256"))
    return Detector(load_weights(net, path, sha256), name, sidecar["classes"])


def torchvision_detectors() -> list[str]:
    """Return the names of torchvision's detectors that can judge: others resize, or want masks or key points."""
    from torchvision import models

    known, families = models.list_models(module=models.detection), ("fcos_", "fasterrcnn_", "retinanet_")
    return [name for name in known if name.startswith(families)]


def _torchvision(name: str, weights: str | Path | None) -> Detector:
    from torchvision import models

    if name not in torchvision_detectors():
        known = ", ".join([*TRUNKS, *torchvision_detectors()])
        raise ParameterError(f"detector {name!r} is unknown; choose one of {known}.")
    published = models.get_model_weights(name).DEFAULT
    classes, chosen = published.meta["categories"], published if weights is None else None
    with fetched(f"COCO weights of {name}", published.url):
        net = models.get_model(name, weights=chosen, weights_backbone=None, num_classes=len(classes))
    net = unresized(net if weights is None else load_weights(net, weights))
    return Detector(net, name, classes[1:])  # 0: the background


def unresized(net: nn.Module) -> nn.Module:
    """Let a detector of torchvision take pictures as they come, and return it."""
    from ra_core.judges.detector_nets import Unresized  # slow to import

    net.transform = Unresized(net.transform.image_mean, net.transform.image_std)
    return net


for _name in TRUNKS:
    JUDGES.add(_name, partial(load_detector, _name))

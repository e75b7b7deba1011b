"""Detectors: torchvision's FCOS, Faster R-CNN and RetinaNet, small ones that ship and pretrained ones, frozen.

The small ones look for objects of about 24 to 130 pixels. Their features begin as those of a shipped recognizer
that works on the picture at half its size.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from ra_core.assets import ASSETS
from ra_core.data.boxes import Target, common_name
from ra_core.errors import ParameterError, WeightsError
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.recognizers import load_recognizer, read_sidecar
from ra_core.models.weights import fetched, load_weights

SHIPPED = ASSETS / "detectors"
CHANNELS = 64  # of each level of the pyramid
NEW_WIDTH = 128  # of the stages that a recognizer lacks
SIZE_DIVISIBLE = 32  # the coarsest level's stride


@dataclass(frozen=True)
class Trunk:
    """Which recognizer gives the features: after how many layers strides 8 (and 16) are reached, and how wide."""

    recognizer: str
    cuts: tuple[int, ...]
    widths: tuple[int, ...]


TRUNKS = {
    "fcos": Trunk("resnet20", (11,), (64,)),
    "faster_rcnn": Trunk("resnet26", (14,), (64,)),
    "retinanet": Trunk("vgg8", (14, 17), (128, 192)),
}


class Pyramid(nn.Module):
    """A recognizer's layers, continued to strides 8, 16 and 32 and merged from coarse to fine (Lin et al. 2017)."""

    def __init__(self, classifier: nn.Sequential, cuts: tuple[int, ...], widths: tuple[int, ...]):
        super().__init__()
        layers = list(classifier)
        layers[0][0] = _at_half_size(layers[0][0])
        stages = [nn.Sequential(*layers[a:b]) for a, b in zip((0, *cuts), cuts, strict=False)]
        widths = list(widths)
        while len(stages) < 3:
            stages.append(_new_stage(widths[-1]))
            widths.append(NEW_WIDTH)
        self.stages, self.out_channels = nn.ModuleList(stages), CHANNELS
        self.merge = FeaturePyramidNetwork(widths, CHANNELS)

    def forward(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        levels = OrderedDict()
        for level, stage in enumerate(self.stages):
            levels[str(level)] = x = stage(x)
        return self.merge(levels)


def _at_half_size(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution of stride 2 that gives what `conv` (3 x 3) gives on the means of 2 x 2 pixels."""
    wide = nn.Conv2d(conv.in_channels, conv.out_channels, 6, stride=2, padding=2, bias=False)
    with torch.no_grad():
        wide.weight.copy_(conv.weight.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4)
    return wide


def _new_stage(c_in: int) -> nn.Sequential:
    layers = []
    for width, stride in ((c_in, 2), (NEW_WIDTH, 1)):
        layers += [nn.Conv2d(width, NEW_WIDTH, 3, stride, 1, bias=False), nn.BatchNorm2d(NEW_WIDTH), nn.ReLU()]
    return nn.Sequential(*layers)


class AsTheyCome(GeneralizedRCNNTransform):
    """Normalises pictures and pads a batch to one size, but never resizes."""

    def __init__(self, mean: Iterable[float], std: Iterable[float]):
        super().__init__(1, 1, list(mean), list(std), size_divisible=SIZE_DIVISIBLE)

    def resize(self, image, target=None):
        return image, target


def make_detector(name: str, classes: int, trained_features: bool = False) -> nn.Module:
    """Return a fresh detector `fcos`, `faster_rcnn` or `retinanet` for so many classes, labelled from 1.

    `trained_features` lets its features begin as those of the shipped recognizer of its trunk.
    Sources: Tian et al. 2019 (FCOS), Ren et al. 2015 (Faster R-CNN), Lin et al. 2017 (RetinaNet).
    Raises `ParameterError` for another name.
    """
    if name not in TRUNKS:
        raise ParameterError(f"detector {name!r} is none of the small ones; choose one of {', '.join(TRUNKS)}.")
    trunk = TRUNKS[name]
    sidecar = read_sidecar(trunk.recognizer)
    if trained_features:
        classifier = load_recognizer(trunk.recognizer).net.requires_grad_(True)
    else:
        classifier = FAMILIES[trunk.recognizer](len(sidecar["classes"]))
    net = _BUILDERS[name](Pyramid(classifier, trunk.cuts, trunk.widths), classes + 1)  # 0 is the background
    net.transform = AsTheyCome(sidecar["mean"], sidecar["std"])
    return net


def _tower() -> nn.Sequential:
    """Return what stands before the answers of a head: without the usual GroupNorm, which costs as much as the rest."""
    layers = []
    for _ in range(2):
        conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


def _fcos(features: Pyramid, labels: int) -> FCOS:
    # Half of what is usual for these strides: each level takes boxes of half the size, so all three are of use,
    # and twice the radius, so the points around the middle that count stay the same.
    anchors = AnchorGenerator(((4,), (8,), (16,)), ((1.0,),) * 3)
    net = FCOS(features, labels, anchor_generator=anchors, center_sampling_radius=3.0, score_thresh=0.05)
    net.head.classification_head.conv, net.head.regression_head.conv = _tower(), _tower()
    return net


def _retinanet(features: Pyramid, labels: int) -> RetinaNet:
    sizes = tuple((base, round(base * 2 ** (1 / 3)), round(base * 2 ** (2 / 3))) for base in (28, 56, 112))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
    net = RetinaNet(features, labels, anchor_generator=anchors, detections_per_img=100)
    net.head.classification_head.conv, net.head.regression_head.conv = _tower(), _tower()
    return net


def _faster_rcnn(features: Pyramid, labels: int) -> FasterRCNN:
    width = 192
    return FasterRCNN(
        features,
        rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3),
        rpn_pre_nms_top_n_train=500, rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200, rpn_post_nms_top_n_test=100, rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(features.out_channels * 7**2, width), box_predictor=FastRCNNPredictor(width, labels),
        box_batch_size_per_image=64,
    )  # fmt: skip


_BUILDERS = {"fcos": _fcos, "faster_rcnn": _faster_rcnn, "retinanet": _retinanet}


class Detector(nn.Module):
    """A frozen detector: pictures (B, 3, H, W), or a list of (3, H, W), RGB in [0, 1], to what it finds in each.

    An answer is a dict of `boxes` (n, 4), `scores` (n,) and `labels` (n,); `classes` names the labels from 1. Pictures
    are taken at the size they come in. Normalisation and padding happen in here. Its weights get no gradient, the
    pictures do; BatchNorm stays as it was trained whatever `train()` is called on around it.
    """

    def __init__(self, net: nn.Module, name: str, classes: Iterable[str]):
        super().__init__()
        self.net, self.name, self.classes = net.requires_grad_(False), name, tuple(classes)
        self.net.zero_grad()  # of gradients from before
        self.net.transform = AsTheyCome(net.transform.image_mean, net.transform.image_std)
        self.own_labels: torch.Tensor | None = None  # of `classes`, where these are not the network's
        self.eval()

    def speak(self, classes: Iterable[str]) -> "Detector":
        """Let labels, of answers and of targets, count `classes` from 1; boxes of other classes are not answered.

        Names are compared by `ra_core.data.boxes.common_name`. Raises `ParameterError` for a class that the detector
        does not know.
        """
        known, classes = [common_name(name) for name in self.classes], tuple(classes)
        unknown = [name for name in classes if common_name(name) not in known]
        if unknown:
            raise ParameterError(
                f"detector {self.name!r} does not know {', '.join(map(repr, unknown))}; name detectors that do, or say "
                "in data.names what it calls that, or null to leave it out."
            )
        if classes != self.classes:
            own = torch.tensor([known.index(common_name(name)) + 1 for name in classes])
            self.own_labels, self.classes = (own if self.own_labels is None else self.own_labels[own - 1], classes)
        return self

    def train(self, mode: bool = True):
        return super().train(False)

    def forward(self, images) -> list[Target]:
        found = self.net(list(images))
        return found if self.own_labels is None else [self._translated(answer) for answer in found]

    def _translated(self, answer: Target) -> Target:
        """Return an answer with labels of `classes`, without the boxes of others."""
        same = answer["labels"][:, None] == self.own_labels.to(answer["labels"].device)
        kept = same.any(1)
        return {key: value[kept] for key, value in answer.items()} | {"labels": same[kept].int().argmax(1) + 1}

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

        `targets` has `boxes` and `labels` of each picture. Faster R-CNN draws the boxes it looks at from torch's
        global generator. Raises `ParameterError` for a label that the detector does not know.
        """
        highest = max((int(t["labels"].max()) for t in targets if len(t["labels"])), default=0)
        if highest > len(self.classes):
            raise ParameterError(
                f"a target has label {highest}, detector {self.name!r} knows 1 to {len(self.classes)}; load the "
                "pictures with the detector's classes."
            )
        targets = [{key: target[key] for key in ("boxes", "labels")} for target in targets]
        if self.own_labels is not None:
            own = self.own_labels
            targets = [t | {"labels": own.to(t["labels"].device)[t["labels"] - 1]} for t in targets]
        for module in self.net.modules():  # torchvision returns losses in training mode only
            module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)
        try:
            return self.net(list(images), targets)
        finally:
            self.eval()


def load_detector(name: str, weights: str | Path | None = None, folder: Path = SHIPPED) -> Detector:
    """Return a trained detector by name.

    `name` is one of the three small ones (their files lie in `folder`), or an FCOS, Faster R-CNN or RetinaNet of
    torchvision (with its COCO weights), for instance `fcos_resnet50_fpn`. `path/to/fcos` is one of the small ones as
    `python -m ra_core.pretraining.detectors fcos --folder path/to` leaves it, the path beginning at the project.
    `weights`, a safetensors file, takes the place of what they bring.
    Raises `ParameterError` for an unknown name, `WeightsError` for weights that cannot be had or do not fit.
    """
    kind = Path(name).name
    if kind != name:
        from ra_core.paths import project_root

        folder = project_root() / Path(name).expanduser().parent
    if kind not in TRUNKS:
        return _torchvision(name, weights)
    path = folder / f"{kind}.json"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read ({error}); train {kind} or install again.") from error
    net = load_weights(make_detector(kind, len(classes)), weights or folder / f"{kind}.safetensors")
    return Detector(net, name, classes)


def _torchvision(name: str, weights: str | Path | None) -> Detector:
    from torchvision import models

    # The other families resize by themselves, or want masks or key points to be trained on.
    known = [
        n for n in models.list_models(module=models.detection) if n.startswith(("fcos_", "fasterrcnn_", "retinanet_"))
    ]
    if name not in known:
        raise ParameterError(f"detector {name!r} is unknown; choose one of {', '.join([*TRUNKS, *known])}.")
    published = models.get_model_weights(name).DEFAULT
    classes = published.meta["categories"]
    with fetched(f"COCO weights of {name}", published.url):
        chosen = published if weights is None else None
        net = models.get_model(name, weights=chosen, weights_backbone=None, num_classes=len(classes))
    if weights is not None:
        load_weights(net, weights)
    return Detector(net, name, classes[1:])  # the first is the background

"""Small detectors: torchvision's FCOS, Faster R-CNN and RetinaNet on the features of a shipped recognizer.

They look for objects of about 24 to 130 pixels. Their features begin as those of a recognizer that works on the
picture at half its size.
Sources: Tian et al. 2019 (FCOS), Ren et al. 2015 (Faster R-CNN), Lin et al. 2017 (RetinaNet).
"""

from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from ra_core.judges.recognizer import SHIPPED, sidecar_of
from ra_core.judges.trunks import TRUNKS
from ra_core.models.cifar_nets import FAMILIES
from ra_core.models.weights import load_weights

CHANNELS = 64  # of each level of the pyramid
NEW_WIDTH = 128  # of the stages that a recognizer lacks
BOX_WIDTH = 192  # of the second stage of Faster R-CNN
SIZE_DIVISIBLE = 32  # the coarsest level's stride


class Pyramid(nn.Module):
    """A recognizer's layers, continued to strides 8, 16 and 32 and merged from coarse to fine (Lin et al. 2017)."""

    def __init__(self, classifier: nn.Sequential, cuts: tuple[int, ...], widths: tuple[int, ...]):
        super().__init__()
        layers, widths = list(classifier), list(widths)
        layers[0][0] = _at_half_size(layers[0][0])
        stages = [nn.Sequential(*layers[a:b]) for a, b in zip((0, *cuts), cuts, strict=False)]
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


class Unresized(GeneralizedRCNNTransform):
    """Normalises pictures and pads a batch to one size, but never resizes."""

    def __init__(self, mean: Iterable[float], std: Iterable[float]):
        super().__init__(1, 1, list(mean), list(std), size_divisible=SIZE_DIVISIBLE)

    def resize(self, image, target=None):
        return image, target


def _with_towers(net: FCOS | RetinaNet) -> FCOS | RetinaNet:
    """Replace what stands before the answers of the heads: the usual GroupNorm costs as much as the rest."""
    for head in (net.head.classification_head, net.head.regression_head):
        head.conv = nn.Sequential()
        for _ in range(2):
            conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
            head.conv.extend([conv, nn.ReLU()])
    return net


def _fcos(features: Pyramid, labels: int) -> FCOS:
    # Half of what is usual for these strides: each level takes boxes of half the size, so all three are of use,
    # and twice the radius, so the points around the middle that count stay the same.
    anchors = AnchorGenerator(((4,), (8,), (16,)), ((1.0,),) * 3)
    net = FCOS(features, labels, anchor_generator=anchors, center_sampling_radius=3.0, score_thresh=0.05)
    return _with_towers(net)


def _retinanet(features: Pyramid, labels: int) -> RetinaNet:
    sizes = tuple((base, round(base * 2 ** (1 / 3)), round(base * 2 ** (2 / 3))) for base in (28, 56, 112))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 3)
    return _with_towers(RetinaNet(features, labels, anchor_generator=anchors, detections_per_img=100))


def _faster_rcnn(features: Pyramid, labels: int) -> FasterRCNN:
    return FasterRCNN(
        features,
        rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3),
        rpn_pre_nms_top_n_train=500, rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=200, rpn_post_nms_top_n_test=100, rpn_batch_size_per_image=128,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(CHANNELS * 7**2, BOX_WIDTH), box_predictor=FastRCNNPredictor(BOX_WIDTH, labels),
        box_batch_size_per_image=64,
    )  # fmt: skip


BUILD = {"fcos": _fcos, "faster_rcnn": _faster_rcnn, "retinanet": _retinanet}


def make_detector(name: str, classes: int, trained_features: bool = False) -> nn.Module:
    """Return a fresh detector, one of `TRUNKS`, for so many classes, labelled from 1.

    `trained_features` lets its features begin as those of the shipped recognizer of its trunk. Raises `ParameterError`
    for another name.
    """
    recognizer, cuts, widths = TRUNKS.find(name)
    sidecar = sidecar_of(recognizer)
    classifier = FAMILIES[recognizer](len(sidecar["classes"]))
    if trained_features:
        load_weights(classifier, SHIPPED / f"{recognizer}.safetensors", sidecar.get("sha256"))
    net = BUILD[name](Pyramid(classifier, cuts, widths), classes + 1)  # 0 is the background
    net.transform = Unresized(sidecar["mean"], sidecar["std"])
    return net

"""Recognition terms beside labels and soft labels: what else a source can say of a restored picture.

Each is a function (judge, seen, clean, labels) of pictures (B, 3, H, W) in [0, 1] to a loss (B,) whose gradient reaches
`seen`. One that is random is given numbers too, (B, its `random_numbers`) in [0, 1), which follow from the step.
"""

import torch
from torch import nn
from torch.nn import functional as F

TEMPERATURE = 4.0  # of `softened`; as usual in distillation
LARGEST_SHIFT, SMALLEST, LARGEST = 0.125, 0.75, 1.25  # of `diverse`: share of a side, and of the size


def softened(judge, seen, clean, labels):
    """Return the KL divergence of what is thought of the clean picture from what is thought of `seen`, softened.

    Both at temperature T, times T squared, so that its gradient keeps its size.
    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """
    with torch.no_grad():
        wanted = (judge(clean).float() / TEMPERATURE).log_softmax(1)
    given = (judge(seen).float() / TEMPERATURE).log_softmax(1)
    return TEMPERATURE**2 * F.kl_div(given, wanted, reduction="none", log_target=True).sum(1)


def logits_apart(judge, seen, clean, labels):
    """Return the mean squared distance of the logits to those of the clean picture."""
    with torch.no_grad():
        wanted = judge(clean).float()
    return (judge(seen).float() - wanted).square().mean(1)


def features_apart(judge, seen, clean, labels):
    """Return the squared distance of the features to those of the clean picture, over the squared length of these.

    Features are the maps that the network pools at its end, so that where something lies counts. A perceptual loss of
    the task's own network is the idea of Kim et al., "Beyond Image Super-Resolution for Image Recognition with
    Task-Driven Perceptual Loss" (SR4IR), CVPR 2024; the distance and its scale are this project's.
    """
    with torch.no_grad():
        wanted = features(judge, clean).flatten(1)
    given = features(judge, seen).flatten(1)
    return (given - wanted).square().sum(1) / wanted.square().sum(1).clamp_min(1e-12)


def features(judge: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the maps (B, C, h, w) that enter the last adaptive pooling of a judge's network."""
    pools = [layer for layer in judge.modules() if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)]
    kept: list[torch.Tensor] = []
    with pools[-1].register_forward_pre_hook(lambda layer, given: kept.append(given[0])):
        judge(images)
    return kept[0].float()


def diverse(judge, seen, clean, labels, numbers):
    """Return the cross-entropy of each picture after it was resized and shifted at random.

    Source: Xie et al., "Improving Transferability of Adversarial Examples with Input Diversity", CVPR 2019.
    """
    return F.cross_entropy(judge(resized_and_shifted(seen, numbers)).float(), labels, reduction="none")


diverse.needs_labels, diverse.random_numbers = True, 3


def resized_and_shifted(images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return pictures (B, 3, H, W) at their size, what is on each resized and shifted by its `numbers` (B, 3).

    Bilinear, with a gradient; beyond the border lies the border. Numbers of 0.5 leave the pictures as they are.
    """
    size = SMALLEST + (LARGEST - SMALLEST) * numbers[:, 0]
    shift = 2 * LARGEST_SHIFT * (2 * numbers[:, 1:] - 1)  # the grid has sides of 2
    maps = torch.zeros(len(images), 2, 3, device=images.device)
    maps[:, 0, 0] = maps[:, 1, 1] = 1 / size
    maps[:, :, 2] = shift
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

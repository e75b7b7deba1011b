"""What a codec's chain is measured by: bits a pixel, and a judge's accuracy or mean average precision."""

import torch

from ra_core.evaluation import Answers


def summary(answers: Answers, pictures, judge: str) -> dict:
    """Return the mean bits a pixel, PSNR and score of a judge: `top1` or `map50`, percent."""
    found = {"bpp": bits_per_pixel(answers, pictures), "psnr": answers.psnr.mean().item()}
    return found | {metric_of(answers, judge): score(answers, pictures, judge)}


def bits_per_pixel(answers: Answers, pictures) -> float:
    """Return the bits of the files over the pixels of the clean pictures, as a mean over pictures."""
    if sizes := getattr(pictures, "sizes", ()):
        return (8 * answers.bytes / torch.tensor(sizes, dtype=torch.float64).prod(1)).mean().item()
    height, width = pictures.batch(torch.tensor([0]))[0].shape[-2:]
    return 8 * answers.bytes.double().mean().item() / (height * width)


def metric_of(answers: Answers, judge: str) -> str:
    """Return what a judge is measured by."""
    return "map50" if judge in answers.detections else "top1"


def score(answers: Answers, pictures, judge: str) -> float:
    """Return a judge's accuracy, or mean average precision at an overlap of one half, in percent."""
    if judge not in answers.detections:
        return answers.share(judge)
    from ra_core.detection import mean_ap

    return mean_ap(answers.detections[judge], pictures.all_targets())["map50"]

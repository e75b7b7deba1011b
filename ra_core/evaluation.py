"""Chain x recognizers -> what each recognizer answered on each picture, and tidy rows of it."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from ra_core.chain import Chain
from ra_core.data import is_labelled
from ra_core.data.boxes import in_batches
from ra_core.errors import ParameterError
from ra_core.metrics import paired_difference, proportion_interval, psnr, ssim, topk_correct
from ra_core.models.recognizers import is_detector
from ra_core.training.memory import evaluation_memory_hint
from ra_core.training.prefetch import prefetch
from ra_core.training.processes import Team

ACCURACY_COLUMNS = [
    "profile", "task", "mode", "seed", "recognizer", "role", "n",
    "top1", "top1_low", "top1_high", "top5", "psnr", "ssim",
]  # fmt: skip
PAIRED_COLUMNS = ["profile", "task", "mode", "seed", "recognizer", "role", "n", "difference", "low", "high"]


@dataclass
class Answers:
    """What one chain did, picture by picture.

    PSNR (dB) and SSIM (where it was asked for) are (N,), behind a real codec also the `bytes` of each file; each
    recognizer has `top1` and `top5` (right or not), `answer` (class index) and `confidence` (probability of the
    answer), all (N,). A detector has in `detections` what it found, one dict of boxes, scores and labels a picture;
    `precision` keeps its score and that on other draws of the pictures (`ra_core.coding.curves.precision`), once they
    were asked for.
    """

    psnr: torch.Tensor
    ssim: torch.Tensor | None
    by_recognizer: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    bytes: torch.Tensor | None = None
    detections: dict[str, list[dict]] = field(default_factory=dict)
    precision: dict[str, tuple[float, np.ndarray]] = field(default_factory=dict)

    def share(self, recognizer: str, rank: str = "top1") -> float:
        """Return the accuracy of a recognizer in percent."""
        return 100 * self.by_recognizer[recognizer][rank].double().mean().item()


@torch.inference_mode()
def evaluate(
    chain: Chain,
    recognizers: dict,
    pictures,
    batch: int = 250,
    device: str | torch.device = "cpu",
    with_ssim: bool = True,
    team: Team | None = None,
) -> Answers:
    """Run every picture once through the chain and show the result to every recognizer or detector.

    The processes of a `team` share the batches; each returns the answers of all.
    On large pictures SSIM costs more than a recognizer; without it `ssim` is None. Where the pictures have no labels,
    right is what the same recognizer answers to the clean picture. Raises `TrainingError` where memory is short.
    """
    quality: dict[str, list] = {"psnr": [], "ssim": [], "bytes": []}
    detections: dict[str, list] = {name: [] for name, r in recognizers.items() if is_detector(r)}
    classifiers = {name: r for name, r in recognizers.items() if name not in detections}
    answers = {name: {"top1": [], "top5": [], "answer": [], "confidence": []} for name in classifiers}
    batches = in_batches(pictures, batch)
    batches = batches[team.part(len(batches))] if team else batches
    read = prefetch(pictures.batch, batches, getattr(pictures, "prefetch", 0))
    with evaluation_memory_hint(device):
        for indices, (images, labels) in zip(batches, read, strict=True):
            images = images.to(device)
            out = chain(images, indices)
            quality["psnr"].append(psnr(out["stored"], images))
            if with_ssim:
                quality["ssim"].append(ssim(out["stored"], images))
            if "bytes" in out:
                quality["bytes"].append(out["bytes"])
            for name, found in detections.items():
                found += [{k: v.cpu() for k, v in one.items()} for one in recognizers[name](out["seen"])]
            labels = labels.to(device) if classifiers else labels
            for name, recognizer in classifiers.items():
                logits = recognizer(out["seen"]).float()
                if is_labelled(pictures):
                    check_classes(name, logits.shape[1], pictures)
                else:
                    labels = recognizer(images).argmax(1)
                confidence, answer = logits.softmax(1).max(1)
                record = answers[name]
                record["top1"].append(topk_correct(logits, labels, 1))
                record["top5"].append(topk_correct(logits, labels, 5))
                record["answer"].append(answer)
                record["confidence"].append(confidence)

    def everyones(parts):
        return team.gather(parts) if team else parts

    def joined(parts):
        return torch.cat(everyones([part.cpu() for part in parts]))

    detections = {name: everyones(found) for name, found in detections.items()}
    by_recognizer = {name: {k: joined(v) for k, v in record.items()} for name, record in answers.items()}
    similar = joined(quality["ssim"]) if with_ssim else None
    sizes = joined(quality["bytes"]) if any(everyones([bool(quality["bytes"])])) else None
    return Answers(joined(quality["psnr"]), similar, by_recognizer, sizes, detections)


def check_classes(name: str, known: int, pictures) -> None:
    """Refuse a recognizer of other classes, whose answers would be wrong without a word."""
    if known != len(pictures.classes):
        raise ParameterError(
            f"recognizer {name!r} knows {known} classes and {pictures.name} has {len(pictures.classes)}; "
            "name a recognizer that was trained on these classes."
        )


def accuracy_rows(answers: Answers, source: str, **keys) -> list[dict]:
    """Return one row a recognizer in the columns of `accuracy.csv`; `keys` are profile, task, mode and seed.

    Accuracies are percent with a 95 % interval; PSNR is the mean of the pictures' values in dB, absent for
    `oracle`.
    """
    oracle = keys["mode"] == "oracle"
    rows = []
    for name, record in answers.by_recognizer.items():
        top1, low, high = proportion_interval(record["top1"])
        scores = {
            "top1": top1, "top1_low": low, "top1_high": high, "top5": answers.share(name, "top5"),
            "psnr": np.nan if oracle else answers.psnr.mean().item(),
            "ssim": np.nan if oracle else answers.ssim.mean().item(),
        }  # fmt: skip
        rows.append(keys | _who(name, source, record) | scores)
    return rows


def paired_rows(answers: Answers, plain: Answers, source: str, **keys) -> list[dict]:
    """Return one row a recognizer: its gain over `plain` on the same pictures, in points, with interval."""
    rows = []
    for name, record in answers.by_recognizer.items():
        difference, low, high = paired_difference(record["top1"], plain.by_recognizer[name]["top1"])
        rows.append(keys | _who(name, source, record) | {"difference": difference, "low": low, "high": high})
    return rows


def _who(name: str, source: str, record: dict[str, torch.Tensor]) -> dict:
    return {"recognizer": name, "role": "source" if name == source else "unseen", "n": len(record["top1"])}


def table(rows: list[dict], columns: list[str]) -> pd.DataFrame:
    """Return rows as a table with exactly the contracted columns, rounded to four decimals."""
    return pd.DataFrame(rows, columns=columns).round(4)


def evaluate_clean(recognizers: dict, pictures, source: str, batch: int = 250) -> pd.DataFrame:
    """Return each recognizer's accuracy on clean pictures: recognizer, role, n, top1 with interval, top5."""
    rows = accuracy_rows(evaluate(Chain(), recognizers, pictures, batch, with_ssim=False), source, mode="oracle")
    return table(rows, ["recognizer", "role", "n", "top1", "top1_low", "top1_high", "top5"])


def confusion_counts(recognizer, pictures, batch: int = 250) -> np.ndarray:
    """Return how often a clean picture of each class (rows) was given each answer (columns)."""
    answers = evaluate(Chain(), {"it": recognizer}, pictures, batch, with_ssim=False).by_recognizer["it"]["answer"]
    counts = np.zeros((len(pictures.classes),) * 2, dtype=int)
    np.add.at(counts, (pictures.labels.numpy(), answers.numpy()), 1)
    return counts

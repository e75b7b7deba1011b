"""Chain x judges -> what each judge said of each picture, and tidy rows of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ra_core.chain import Chain
from ra_core.data.boxes import in_batches
from ra_core.judges import Judge, Verdict, members_of
from ra_core.metrics import psnr, ssim
from ra_core.training.batches import prefetch
from ra_core.training.memory import evaluation_memory_hint
from ra_core.training.processes import Team

ACCURACY_COLUMNS = [
    "profile", "task", "mode", "seed", "recognizer", "role", "n",
    "top1", "top1_low", "top1_high", "top5", "psnr", "ssim",
]  # fmt: skip
PAIRED_COLUMNS = ["profile", "task", "mode", "seed", "recognizer", "role", "n", "difference", "low", "high"]
CLEAN_COLUMNS = ["recognizer", "role", "n", "top1", "top1_low", "top1_high", "top5", "family", "black_box"]
RATE_COLUMNS = [
    "profile", "dataset", "task", "method", "codec", "quality", "seed", "recognizer", "role", "n",
    "bpp", "bytes_mean", "metric", "value", "value_low", "value_high", "psnr",
]  # fmt: skip


@dataclass
class Answers:
    """What one chain did, picture by picture.

    `psnr` (dB), `ssim` (where it was asked for), the `bytes` of each file behind a real codec, and `pixels` of each
    clean picture are (N,); `verdicts` has what each judge said.
    """

    psnr: torch.Tensor
    ssim: torch.Tensor | None
    bytes: torch.Tensor | None
    pixels: torch.Tensor
    verdicts: dict[str, Verdict]

    @property
    def bpp(self) -> float:
        """The bits of the files over the pixels of the clean pictures, as a mean over pictures."""
        return (8 * self.bytes.double() / self.pixels).mean().item()

    def summary(self, judge: str) -> dict:
        """Return the means that a training is watched by, and the score of a judge by the name of its metric."""
        verdict = self.verdicts[judge]
        means = {"bpp": None if self.bytes is None else self.bpp, "psnr": self.psnr.mean().item()}
        means["ssim"] = None if self.ssim is None else self.ssim.mean().item()
        return {key: mean for key, mean in means.items() if mean is not None} | {verdict.metric: verdict.value()}


@torch.inference_mode()
def evaluate(
    chain: Chain,
    judges: dict[str, Judge],
    pictures,
    batch: int = 250,
    device: str | torch.device = "cpu",
    with_ssim: bool = True,
    team: Team | None = None,
) -> Answers:
    """Run every picture once through the chain and show the result to every judge.

    The processes of a `team` share the batches; each returns the answers of all. On large pictures SSIM costs more
    than a recognizer; without it `ssim` is None. Where the pictures have no labels, right is what the same recognizer
    says of the clean picture. Warns of a judge that reaches far less on clean pictures than its sidecar states. Raises
    `TrainingError` where memory is short.
    """
    measured: dict[str, list] = {"psnr": [], "ssim": [], "bytes": [], "pixels": []}
    looks: dict[str, list] = {name: [] for name in judges}
    batches = in_batches(pictures, batch)
    batches = batches[team.part(len(batches))] if team else batches
    read = prefetch(pictures.batch, batches, getattr(pictures, "prefetch", 0))
    with evaluation_memory_hint(device):
        for indices, (images, labels) in zip(batches, read, strict=True):
            images = images.to(device, memory_format=torch.channels_last)  # what convolutions are fastest on
            out = chain(images, indices)
            measured["psnr"].append(psnr(out["stored"], images))
            measured["pixels"].append(torch.full((len(images),), images.shape[-2] * images.shape[-1]))
            if with_ssim:
                measured["ssim"].append(ssim(out["stored"], images))
            if out["bytes"] is not None:
                measured["bytes"].append(out["bytes"])
            for name, judge in judges.items():
                looks[name].append(judge.look(out["seen"], images, labels, pictures))

    def gathered(parts: list) -> list:
        return team.gather(parts) if team else parts

    joined = {key: gathered([part.cpu() for part in parts]) for key, parts in measured.items()}
    joined = {key: torch.cat(parts) if parts else None for key, parts in joined.items()}
    verdicts = {name: judges[name].verdict(gathered(found), pictures) for name, found in looks.items()}
    if chain == Chain():  # clean pictures
        for name, judge in judges.items():
            judge.warn_if_far(verdicts[name])
    return Answers(**joined, verdicts=verdicts)


def tidy(answers: Answers, source: str, **keys) -> list[dict]:
    """Return one row a judge with all that was measured, in the columns of every table; `keys` come with each.

    Scores are percent with a 95 % interval, also by the names of `accuracy.csv`; PSNR (dB) and SSIM are means of the
    pictures' values, bits a pixel and bytes those of the files. What was not measured is NaN.
    """
    fidelity = {
        name: np.nan if v is None else v.mean().item() for name, v in vars(answers).items() if name in ("psnr", "ssim")
    }
    files = {"bpp": np.nan, "bytes_mean": np.nan}
    if answers.bytes is not None:
        files = {"bpp": answers.bpp, "bytes_mean": answers.bytes.double().mean().item()}
    rows = []
    for name, verdict in answers.verdicts.items():
        value, low, high = verdict.interval()
        top5 = verdict.value("top5") if verdict.metric == "top1" else np.nan
        rows.append({
            **keys, **who(name, source, answers), **fidelity, **files, "metric": verdict.metric,
            "value": value, "value_low": low, "value_high": high,
            "top1": value, "top1_low": low, "top1_high": high, "top5": top5,
        })  # fmt: skip
    return rows


def paired(answers: Answers, plain: Answers, source: str, **keys) -> list[dict]:
    """Return one row a judge: its gain over `plain` on the same pictures, in points, with interval."""
    rows = []
    for name, verdict in answers.verdicts.items():
        difference, low, high = verdict.difference(plain.verdicts[name])
        rows.append({**keys, **who(name, source, answers), "difference": difference, "low": low, "high": high})
    return rows


def who(name: str, source: str, answers: Answers) -> dict:
    """Return which judge a row is of, its role, and of how many pictures."""
    return {"recognizer": name, "role": "source" if name in members_of(source) else "unseen", "n": len(answers.psnr)}


def table(rows: list[dict], columns: list[str], digits: int = 4) -> pd.DataFrame:
    """Return rows as a table with exactly the contracted columns, rounded."""
    return pd.DataFrame(rows, columns=columns).round(digits)


def evaluate_clean(judges: dict[str, Judge], pictures, source: str, batch: int = 250) -> pd.DataFrame:
    """Return each recognizer's accuracy on clean pictures, and of what kind it is, in `CLEAN_COLUMNS`."""
    rows = tidy(evaluate(Chain(), judges, pictures, batch, with_ssim=False), source)
    kinds = [{"family": judge.family, "black_box": judge.black_box} for judge in judges.values()]
    return table([row | kind for row, kind in zip(rows, kinds, strict=True)], CLEAN_COLUMNS)


def confusion_counts(recognizer: Judge, pictures, batch: int = 250) -> np.ndarray:
    """Return how often a clean picture of each class (rows) was given each answer (columns)."""
    verdict = evaluate(Chain(), {"it": recognizer}, pictures, batch, with_ssim=False).verdicts["it"]
    counts = np.zeros((len(pictures.classes),) * 2, dtype=int)
    np.add.at(counts, (pictures.labels.numpy(), verdict.answer.numpy()), 1)
    return counts

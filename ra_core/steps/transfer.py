"""What transfers to recognizers that a training did not see, and what is left of it when a picture is changed later."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from ra_core.bd_rate import counts
from ra_core.channels import Coded, resize
from ra_core.codecs import load_codec
from ra_core.evaluation import PAIRED_COLUMNS, evaluate, paired, table
from ra_core.judges import members_of
from ra_core.methods import name_parts
from ra_core.metrics import mean_interval, to_8bit
from ra_core.params import Profile
from ra_core.paths import profile_folder
from ra_core.runs import resolve
from ra_core.steps.common import load_judges, pictures_of, set_threads, write_table
from ra_core.steps.restoration import right_answers
from ra_core.steps.trainings import trained
from ra_core.training import pick_device

TRANSFER_COLUMNS = ["profile", "task", "mode", "seed", "sources", "n", "psnr", "psnr_loss"]
TRANSFER_COLUMNS += [
    name + end for name in ("own", "unseen", "share", "beyond") for end in ("", "_low", "_high")
]  # fmt: skip
LATER_COLUMNS = [*PAIRED_COLUMNS, "change", "top1", "plain", "psnr"]


def _scaled(images: torch.Tensor, factor: float) -> torch.Tensor:
    height, width = (max(1, round(factor * side)) for side in images.shape[-2:])
    return resize(images, (height, width))


def _shifted(images: torch.Tensor) -> torch.Tensor:
    return F.pad(images, (1, 0, 1, 0), mode="replicate")[..., :-1, :-1]


# What becomes of a stored picture before it is judged; pictures (B, 3, H, W) of 8 bits.
CHANGES: dict[str, Callable] = {
    "as restored": lambda images: images,
    "shifted by a pixel": _shifted,
    "resized to 3/4 and back": lambda images: resize(_scaled(images, 0.75), tuple(images.shape[-2:])),
    "shown 5/4 as large": lambda images: _scaled(images, 1.25),
    "coded as JPEG 75": lambda images: Coded(load_codec("jpeg"), 75).transmit(images)[0],
}


class Link(nn.Module):
    """A function of pictures as a link of a chain."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def evaluate_later(profile: Profile, task: str, modes: list[str]) -> pd.DataFrame:
    """Return what modes gain on `plain` when their pictures are changed before they are judged (`CHANGES`).

    What a recognizer is shown is what is changed: of `ra_transformer` that is the transformer's picture, of 8 bits
    too, and `psnr` is that of this picture before the change. `top1` and `plain` are percent, both after the change.
    Rows are of the first seed.
    """
    set_threads(profile.threads)
    device, test = pick_device(profile.device), pictures_of(profile, task, "test")
    judges, seed, rows, answers = load_judges(profile.recognizers, device, test.classes), profile.seeds[0], [], {}
    for mode in ["plain", *modes]:
        run = resolve(profile, task, mode, seed)
        chain = run.chain(trained(run, device))
        if chain.transformer is not None:
            chain = replace(chain, post=nn.Sequential(chain.post, Link(to_8bit), chain.transformer))
        keys = {"profile": profile.name, "task": task, "mode": run.parameters["mode"], "seed": seed}
        for name, change in CHANGES.items():
            shown = replace(chain, transformer=Link(change))
            found = evaluate(shown, judges, test, profile.evaluation_batch, device, with_ssim=False)
            plain = answers.setdefault(name, found)
            more = {"change": name, "psnr": found.psnr.mean().item()}
            for row in paired(found, plain, run.parameters["source"], **keys) if mode != "plain" else ():
                scores = {"top1": found.verdicts, "plain": plain.verdicts}
                rows.append(row | more | {key: said[row["recognizer"]].value() for key, said in scores.items()})
    return table(rows, LATER_COLUMNS)


def measure_transfer(profile: Profile, task: str) -> pd.DataFrame:
    """Return a row for each mode and seed: what it gains on its sources, and on those that it did not see.

    All numbers are points of top-1 on the same pictures, as means over recognizers, with 95 % intervals over pictures:
    `own` and `unseen` are the gains on `plain`, `share` is the second over the first in percent, where the first lies
    above zero, and `beyond` by how much a mode beats `ra` on recognizers that neither saw: of several lambdas the
    nearest in PSNR that costs as much or more, if there is one, so that no gain is bought. It reads what
    `evaluate_task` wrote.
    """
    accuracy = pd.read_csv(profile_folder(profile.name) / task / "accuracy.csv")
    sources = {mode: members_of(profile.mode(mode, task).source(profile.source)) for mode in profile.modes}
    usual = [mode for mode in profile.modes if name_parts(mode)[0] == "ra" and sources[mode] == [profile.source]]
    rows = []
    for seed in profile.seeds:
        names, right = right_answers(profile, task, seed)
        psnr = accuracy[accuracy["seed"] == seed].groupby("mode")["psnr"].first()
        for mode in [mode for mode in profile.modes if mode != "plain"]:
            own = np.isin(names, sources[mode])
            gain = right[mode] - right["plain"]
            keys = {"profile": profile.name, "task": task, "mode": mode, "seed": seed}
            row = keys | {"sources": "+".join(sources[mode]), "n": gain.shape[1]}
            row |= {"psnr": psnr[mode], "psnr_loss": psnr["plain"] - psnr[mode]}
            row |= _interval("own", gain[own]) | _interval("unseen", gain[~own])
            row |= _share(gain[own].mean(0), gain[~own].mean(0)) if row["own_low"] > 0 and not own.all() else {}
            dearer = [name for name in usual if psnr[name] <= psnr[mode]]
            if dearer and mode not in usual:
                nearest = max(dearer, key=psnr.get)
                both = ~np.isin(names, [*sources[mode], profile.source])
                row |= _interval("beyond", (right[mode] - right[nearest])[both])
            rows.append(row)
    return table(rows, TRANSFER_COLUMNS)


def transfer_tables(profile: Profile, later: list[str]) -> dict[str, pd.DataFrame]:
    """Return the tables `paired`, `transfer` and `later` of all tasks; those modes of the profile are changed `later`.

    The last two are written as `runs/<profile>/transfer.csv` and `later.csv`.
    """
    paired = [pd.read_csv(profile_folder(profile.name) / task / "paired.csv") for task in profile.tasks]
    modes = [mode for mode in later if mode in profile.modes]
    found = {
        "transfer": [measure_transfer(profile, task) for task in profile.tasks],
        "later": [evaluate_later(profile, task, modes) for task in profile.tasks],
    }
    written = {name: write_table(profile, name, pd.concat(rows)) for name, rows in found.items()}
    return {"paired": pd.concat(paired), **written}


def _interval(name: str, differences: np.ndarray) -> dict[str, float]:
    """Return the mean of differences (R, N) in points; recognizers that see the same pictures are averaged first."""
    if not len(differences):  # all of them took part
        return {}
    return dict(zip((name, f"{name}_low", f"{name}_high"), mean_interval(100 * differences.mean(0)), strict=True))


def _share(own: np.ndarray, unseen: np.ndarray) -> dict[str, float]:
    """Return the mean of `unseen` over that of `own`, (N,) each, in percent, its interval by drawing pictures anew."""
    drawn = counts(len(own))
    low, high = np.percentile(100 * (drawn @ unseen) / (drawn @ own), [2.5, 97.5])
    return {"share": 100 * unseen.mean() / own.mean(), "share_low": low, "share_high": high}

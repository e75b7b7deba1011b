"""Bytes against accuracy: every way to send pictures, measured on one set, as curves and as BD-rates."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.data import DATASETS
from ra_core.errors import ParameterError
from ra_core.evaluation import RATE_COLUMNS, evaluate, table, tidy
from ra_core.files import write_text
from ra_core.judges import Judge
from ra_core.params import Ladder, Profile
from ra_core.paths import profile_folder
from ra_core.runs import AtStrength, CodingRun, ladder_of, needed, resolve
from ra_core.steps.common import load_judges, pictures_of, set_threads
from ra_core.steps.curves import BD_COLUMNS, SAME_BYTES_COLUMNS, Curve, bd_rows, same_bytes_rows
from ra_core.steps.filters import FILTERS, choose_filters
from ra_core.steps.train import trained
from ra_core.training import pick_device

SHRINK = 2
TRANSFERRED = "npp_qa for "  # and then the codec that it was trained for, behind another
UNSEEN_QUALITIES = "npp_qa at unseen qualities"  # only those an adaptive one was not trained on


@dataclass(frozen=True)
class Measurement:
    """What every curve of a data set and codec is measured with."""

    codec: str
    judges: dict[str, Judge]
    pictures: object
    batch: int
    device: torch.device

    def curve(self, method: str, seed: int, chain_at: Callable[[float], Chain], qualities: list[float]) -> Curve:
        """Send all pictures at each quality and show what arrives to every judge."""
        found = {}
        for quality in qualities:
            given = (self.judges, self.pictures, self.batch, self.device)
            found[quality] = evaluate(chain_at(quality), *given, with_ssim=False)
            name, answers = next(iter(self.judges)), found[quality]
            print(
                f"{self.codec} {method} at {quality:g}: {answers.bytes.double().mean():.0f} bytes, "
                f"{answers.verdicts[name].value():.1f} % on {name}",
                flush=True,
            )
        return Curve(method, self.codec, seed, found)

    def sent(self, pre: Callable[[float], nn.Module | None] = lambda quality: None, shrink: int = 1):
        """Return the chain at each quality of the codec, `pre` being what stands before it there."""
        coder = load_codec(self.codec)
        return lambda quality: Chain(channel=Coded(coder, quality, shrink), pre=pre(quality))


def codec_curves(profile: Profile, dataset: str, measure: Measurement) -> list[Curve]:
    """Measure every method the profile has for a codec, the codec alone first; train what is missing."""
    steps = ladder_of(profile, dataset, measure.codec)
    curves = [measure.curve("codec", 0, measure.sent(), steps.curve)]
    chosen = choose_filters(profile, dataset, measure)
    for name in steps.baselines:
        if name == "downscale":
            chain_at = measure.sent(shrink=SHRINK)
        else:
            make = FILTERS[name][chosen[name]]
            chain_at = measure.sent(lambda quality, make=make: make())
        curves.append(measure.curve(name, 0, chain_at, steps.curve))
    runs = needed(profile, dataset, measure.codec)
    groups: dict[tuple[int, str], list[CodingRun]] = {}  # those of one quality each make one curve
    for seed in profile.seeds:
        for run in (run for run in runs if run.seed == seed):
            groups.setdefault((seed, run.parameters["method"]), []).append(run)
    for (seed, method), group in groups.items():
        nets = {run.parameters["quality"]: (run, trained(run, measure.device)) for run in group}

        def chain_at(quality, nets=nets):
            run, found = nets.get(quality) or nets[None]
            return run.chain(found, quality)

        curves.append(measure.curve(method, seed, chain_at, steps.curve if None in nets else list(nets)))
    return curves


def transfer_curves(profile: Profile, dataset: str, measure: Measurement) -> list[Curve]:
    """Measure a codec that no preprocessor was trained for: alone, and behind each adaptive preprocessor.

    Its strengths are those of `transferred_strengths`.
    """
    settings, seed = profile.coding(dataset), profile.seeds[0]
    qualities = settings.transfer[measure.codec]
    curves = [measure.curve("codec", 0, measure.sent(), qualities)]
    for trained_for, steps in settings.codecs.items():
        if steps.rungs:
            run = resolve(profile, dataset, "npp_qa", seed, trained_for)
            net = trained(run, measure.device)["preprocessor"]
            strengths = transferred_strengths(run, steps, qualities)
            chain_at = measure.sent(lambda q, net=net, strengths=strengths: AtStrength(net, strengths[q]))
            curves.append(measure.curve(TRANSFERRED + trained_for, seed, chain_at, qualities))
    return curves


def transferred_strengths(run: CodingRun, steps: Ladder, qualities: list[float]) -> dict[float, float]:
    """Return the strength at each quality of another codec: that at the same place of the ladder's own curve."""
    places = np.linspace(0, len(steps.curve) - 1, len(qualities))
    matched = np.interp(places, range(len(steps.curve)), steps.curve)
    return {quality: run.strength_at(at) for quality, at in zip(qualities, matched, strict=True)}


def at_unseen_qualities(curves: list[Curve], steps: Ladder | None) -> list[tuple[Curve, Curve]]:
    """Return the curves of adaptive preprocessors at qualities they were not trained on, each with the codec alone.

    Both have the same qualities, as with fewer points a curve is another one; where one is left, there is none.
    """
    known = [quality for quality, _ in steps.rungs] if steps else []
    adaptive = [curve for curve in curves if curve.method == "npp_qa"]
    rest = {q for curve in adaptive for q in curve.answers if q not in known}
    if len(rest) < 2:
        return []

    def part(curve: Curve, method: str) -> Curve:
        return replace(curve, method=method, answers={q: a for q, a in curve.answers.items() if q in rest})

    return [(part(curve, UNSEEN_QUALITIES), part(curves[0], "codec")) for curve in adaptive]


def evaluate_codec(profile: Profile, dataset: str, codec: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure one codec on the test pictures of a data set and return its rate table and its BD-rates.

    They are written as `runs/<profile>/<dataset>/rates-<codec>.csv` and `bd-<codec>.csv`; `same_bytes-<codec>.csv`
    beside them says what each method scores at the bytes of the codec alone.
    """
    set_threads(profile)
    settings, device = profile.coding(dataset), pick_device(profile.device)
    if codec not in settings.all_codecs:
        known = ", ".join(settings.all_codecs)
        raise ParameterError(f"profile {profile.name} measures no codec {codec!r} on {dataset}; choose one of {known}.")
    pictures = pictures_of(profile, dataset, "test", settings.pictures)
    judges = load_judges(settings.judges, device, pictures.classes)
    measure = Measurement(codec, judges, pictures, settings.evaluation_batch, device)
    curves = (codec_curves if codec in settings.codecs else transfer_curves)(profile, dataset, measure)
    compared = [(curve, curves[0]) for curve in curves[1:]]
    unseen = at_unseen_qualities(curves, settings.codecs.get(codec))
    source, keys = settings.source, {"profile": profile.name, "dataset": dataset}
    kind = DATASETS[dataset].kind if dataset in DATASETS else "detection"
    rates = [
        row
        for curve in curves
        for quality, answers in curve.answers.items()
        for row in tidy(answers, source, method=curve.method, codec=codec, quality=quality, seed=curve.seed, task=kind)
    ]
    bds = [row for pair in compared + unseen for row in bd_rows(*pair, source)]
    same = [row for pair in compared for row in same_bytes_rows(*pair, source)]
    tables = {
        "rates": table([keys | row for row in rates], RATE_COLUMNS),
        "bd": table([keys | row for row in bds], BD_COLUMNS, digits=3),
        "same_bytes": table([keys | row for row in same], SAME_BYTES_COLUMNS),
    }
    for name, rows in tables.items():
        write_text(profile_folder(profile.name) / dataset / f"{name}-{codec}.csv", rows.to_csv(index=False))
    return tables["rates"], tables["bd"]


def merge_rates(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the tables of all data sets and codecs together as `runs/<profile>/rate_accuracy.csv` and `bd_rate.csv`.

    What was not measured yet is measured first.
    """
    merged, root = [], profile_folder(profile.name)
    for stem, target in (("rates", "rate_accuracy"), ("bd", "bd_rate")):
        parts = []
        for dataset, settings in profile.preprocessing.items():
            for codec in settings.all_codecs:
                path = root / dataset / f"{stem}-{codec}.csv"
                if not path.exists():
                    evaluate_codec(profile, dataset, codec)
                parts.append(pd.read_csv(path))
        rows = pd.concat(parts, ignore_index=True)
        write_text(root / f"{target}.csv", rows.to_csv(index=False))
        merged.append(rows)
    return merged[0], merged[1]

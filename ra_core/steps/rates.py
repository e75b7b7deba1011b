"""Bytes against accuracy: every way to send pictures, measured on one set, as curves and as BD-rates."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd
import torch
from torch import nn

from ra_core.bd_rate import bd_rate
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.errors import ParameterError
from ra_core.evaluation import RATE_COLUMNS, evaluate, table, tidy
from ra_core.judges import Judge
from ra_core.methods import TRANSFERRED, UNSEEN_QUALITIES
from ra_core.models.filters import Bilateral, Gaussian, Saliency
from ra_core.params import Profile
from ra_core.params.coding import ends_and_middle
from ra_core.runs import CodingRun, find_run, needed, resolve
from ra_core.steps.common import around_codecs, load_judges, merged, pictures_of, set_threads, write_table
from ra_core.steps.curves import BD_COLUMNS, SAME_BYTES_COLUMNS, Curve, bd_rows, same_bytes_rows
from ra_core.steps.trainings import trained
from ra_core.training import pick_device

FILTERS: dict[str, dict[str, nn.Module]] = {
    "gaussian": {f"sigma {s:g}": Gaussian(s) for s in (0.5, 0.8, 1.2, 2.0)},
    "bilateral": {f"sigma {s:g}, tone {t:g}": Bilateral(s, t) for s in (1.0, 2.0) for t in (0.05, 0.15)},
}
FILTER_PICTURES = 200  # of validation
FILTER_COLUMNS = ["dataset", "codec", "filter", "setting", "bd", "chosen"]
SHRINK = 2
ChainAt = Callable[[float], Chain]  # by the codec's quality


@dataclass(frozen=True)
class Measurement:
    """What every curve of a data set and codec is measured with."""

    codec: str
    judges: dict[str, Judge]
    pictures: object
    batch: int
    device: torch.device

    def curve(self, method: str, seed: int, chain_at: ChainAt, qualities: list[float]) -> Curve:
        """Send all pictures at each quality and show what arrives to every judge."""
        found, name = {}, next(iter(self.judges))
        for quality in qualities:
            given = (self.judges, self.pictures, self.batch, self.device)
            answers = found[quality] = evaluate(chain_at(quality), *given, with_ssim=False)
            print(
                f"{self.codec} {method} at {quality:g}: {answers.bytes.double().mean():.0f} bytes, "
                f"{answers.verdicts[name].value():.1f} % on {name}",
                flush=True,
            )
        return Curve(method, self.codec, seed, found)

    def sent(self, pre: nn.Module | None = None, shrink: float = 1) -> ChainAt:
        """Return the codec's chain at each quality behind `pre`."""
        coder = load_codec(self.codec)
        return lambda quality: Chain(channel=Coded(coder, quality, shrink), pre=pre)


def choose_filters(profile: Profile, dataset: str, measure: Measurement) -> dict[str, nn.Module]:
    """Measure every setting of the filters a profile asks for beside a codec, and return each filter at its best.

    The best has the lowest BD-rate on the source, on validation pictures. All settings are written as
    `runs/<profile>/<dataset>/filters-<codec>.csv`, their BD-rate NaN where they share no accuracy with the codec alone.
    """
    settings = profile.coding(dataset)
    steps, source = settings.codecs.get(measure.codec), settings.source
    best, rows = {}, []
    for name in (name for name in (steps.baselines if steps else ()) if name in FILTERS):
        if not rows:
            pictures = pictures_of(profile, dataset, "validation", FILTER_PICTURES)
            measure = replace(measure, judges={source: measure.judges[source]}, pictures=pictures)
            qualities = ends_and_middle(steps.curve)
            alone = measure.curve("codec", 0, measure.sent(), qualities).line(source)
        curves = {key: measure.curve(name, 0, measure.sent(net), qualities) for key, net in FILTERS[name].items()}
        bds = {key: bd_rate(alone, curve.line(source)) for key, curve in curves.items()}
        lowest = min(bds, key=lambda key: np.nan_to_num(bds[key], nan=np.inf))
        rows += [(dataset, measure.codec, name, key, bd, key == lowest) for key, bd in bds.items()]
        best[name] = FILTERS[name][lowest]
    table = pd.DataFrame(rows, columns=FILTER_COLUMNS).round({"bd": 3})
    write_table(profile, f"{dataset}/filters-{measure.codec}", table)
    return best


def ways(profile: Profile, dataset: str, measure: Measurement) -> Iterator[tuple[str, int, ChainAt, list[float]]]:
    """Yield method, seed, chains and qualities of all that a codec is measured with, first the codec alone.

    Where no preprocessor was trained for it, that are the adaptive ones of others. What is missing is trained.
    """
    settings, codec = profile.coding(dataset), measure.codec
    steps = settings.codecs.get(codec)
    qualities = steps.curve if steps else settings.transfer[codec]
    if steps and "saliency" in steps.baselines and measure.judges[settings.source].metric != "top1":
        raise ParameterError(f"baseline saliency asks a recognizer, and {settings.source} is a detector; take it out.")
    receiver = _receiver(steps.receiver, measure.device) if steps and steps.receiver else None
    runs = sorted(needed(profile, dataset, codec), key=lambda run: profile.seeds.index(run.seed))
    yield "codec", 0, measure.sent(), qualities
    filters = choose_filters(profile, dataset, measure)
    if not steps:
        for other in dict.fromkeys(run.parameters["codec"] for run in runs):
            chain_at = transferred(profile, dataset, codec, other, profile.seeds[0], measure.device)
            yield TRANSFERRED + other, profile.seeds[0], chain_at, qualities
        return
    shrink = max([steps.shrink, *(run.shrink for run in runs)])  # of finished runs they alone know it
    bare = {name: (net, 1) for name, net in filters.items()}
    bare["downscale"] = None, shrink if shrink > 1 else SHRINK
    if "saliency" in steps.baselines:
        bare["saliency"] = Saliency(measure.judges[settings.source]), shrink
    for name in steps.baselines:
        yield name, 0, measure.sent(*bare[name]), qualities
    if receiver:
        yield "post", 0, restored(measure.sent(), receiver), qualities
    for (seed, method), group in groupby(runs, lambda run: (run.seed, run.parameters["method"])):
        by_quality = {run.parameters["quality"]: run for run in group}
        at = qualities if None in by_quality else list(by_quality)
        chain_at = _chains(profile, dataset, by_quality, measure.device)
        yield method, seed, chain_at, at
        if receiver and method == "npp_qa":
            yield "both", seed, restored(chain_at, receiver), at


def restored(chain_at: ChainAt, processor: nn.Module) -> ChainAt:
    """Return chains at each quality with a processor behind the codec."""
    return lambda quality: replace(chain_at(quality), post=processor)


def _receiver(name: str, device: torch.device) -> nn.Module:
    """Return the processor of a finished run. Raises `ParameterError` unless it keeps the size of pictures."""
    run = find_run(name)
    if not run.method.restores or run.channel.scale > 1:
        raise ParameterError(f"receiver {name} is no restoration at the pictures' own size; name one of dn or jpeg.")
    return run.load(device)["processor"]


def networks_of(profile: Profile, dataset: str, run: CodingRun, device="cpu") -> dict[str, nn.Module]:
    """Return the networks of a run by name; of one that is only judged, the pictures it learned from may be missing."""
    return run.load(device) if profile.coding(dataset).trained else trained(run, device)


def _chains(profile: Profile, dataset: str, runs: dict[float | None, CodingRun], device: torch.device) -> ChainAt:
    """Return the chain at each quality of runs by their quality, or of one run, by None, that has all."""
    nets = {quality: networks_of(profile, dataset, run, device) for quality, run in runs.items()}

    def chain_at(quality: float) -> Chain:
        key = None if None in runs else quality
        return runs[key].chain(nets[key], quality)

    return chain_at


def transferred(profile: Profile, dataset: str, codec: str, trained_for: str, seed: int, device="cpu") -> ChainAt:
    """Return the chain at each quality of a codec behind the adaptive preprocessor of another.

    Its strength is that at the same place of the other's own curve.
    """
    settings = profile.coding(dataset)
    qualities, curve = settings.transfer[codec], settings.codecs[trained_for].curve
    places = np.linspace(0, len(curve) - 1, len(qualities))
    matched = dict(zip(qualities, np.interp(places, range(len(curve)), curve), strict=True))
    run = resolve(profile, dataset, "npp_qa", seed, trained_for)
    nets, coder = networks_of(profile, dataset, run, device), load_codec(codec)
    return lambda quality: run.chain(nets, quality, run.strength_at(matched[quality]), coder)


def at_unseen_qualities(curves: list[Curve], known: Container[float]) -> list[tuple[Curve, Curve]]:
    """Return the curves of adaptive preprocessors at qualities not `known` to training, each with the codec alone.

    Both have the same qualities, as with fewer points a curve is another one; where one is left, there is none.
    """
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
    set_threads(profile.threads)
    settings, device = profile.coding(dataset), pick_device(profile.device)
    if codec not in settings.all_codecs:
        known = ", ".join(settings.all_codecs)
        raise ParameterError(f"profile {profile.name} measures no codec {codec!r} on {dataset}; choose one of {known}.")
    pictures = pictures_of(profile, dataset, "test", settings.pictures)
    judges = load_judges(settings.judges, device, pictures.classes)
    measure = Measurement(codec, judges, pictures, settings.evaluation_batch, device)
    curves = [measure.curve(*way) for way in ways(profile, dataset, measure)]
    compared = [(curve, curves[0]) for curve in curves[1:]]
    known = {rung.quality for run in needed(profile, dataset, codec) for rung in run.rungs}
    unseen = at_unseen_qualities(curves, known)
    source, keys = settings.source, {"profile": profile.name, "dataset": dataset}
    kind = "detection" if pictures.boxed else "classification"
    rates = [
        keys | row
        for curve in curves
        for quality, answers in curve.answers.items()
        for row in tidy(answers, source, method=curve.method, codec=codec, quality=quality, seed=curve.seed, task=kind)
    ]
    bds = [keys | row for pair in compared + unseen for row in bd_rows(*pair, source)]
    same = [keys | row for pair in compared for row in same_bytes_rows(*pair, source)]
    write_table(profile, f"{dataset}/same_bytes-{codec}", table(same, SAME_BYTES_COLUMNS))
    rates = write_table(profile, f"{dataset}/rates-{codec}", table(rates, RATE_COLUMNS))
    return rates, write_table(profile, f"{dataset}/bd-{codec}", table(bds, BD_COLUMNS, digits=3))


def merge_rates(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the tables of all data sets and codecs together as `runs/<profile>/rate_accuracy.csv` and `bd_rate.csv`.

    What was not measured yet is measured first.
    """
    rates, bds = (merged(profile, around_codecs(profile), name, evaluate_codec) for name in ("rates", "bd"))
    return write_table(profile, "rate_accuracy", rates), write_table(profile, "bd_rate", bds)

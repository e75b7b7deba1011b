"""Bytes against accuracy: every way to send pictures, measured on one set, as curves and as BD-rates."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

from ra_core.bd_rate import bd_rate
from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.coding import (
    AtStrength,
    chain_of,
    ladder,
    load_judges,
    load_nets,
    pictures_of,
    preprocessor_parameters,
    strength_at,
    train_preprocessor,
    whole,
)
from ra_core.coding.curves import (
    BD_COLUMNS,
    RATE_COLUMNS,
    SAME_BYTES_COLUMNS,
    Curve,
    bd_rows,
    line_of,
    rate_rows,
    same_bytes_rows,
)
from ra_core.coding.scores import score
from ra_core.errors import ParameterError
from ra_core.evaluation import evaluate
from ra_core.experiments import set_threads
from ra_core.files import write_text
from ra_core.models.filters import Bilateral, Gaussian
from ra_core.params import Profile
from ra_core.params.coding import UNSEEN_QUALITIES, Ladder, ends_and_middle
from ra_core.paths import profile_folder
from ra_core.training import pick_device

FILTERS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "gaussian": {f"sigma {s:g}": (lambda s=s: Gaussian(s)) for s in (0.5, 0.8, 1.2, 2.0)},
    "bilateral": {
        f"sigma {s:g}, tone {t:g}": (lambda s=s, t=t: Bilateral(s, t)) for s in (1.0, 2.0) for t in (0.05, 0.15)
    },
}
FILTER_PICTURES = 200  # of validation, by which the best setting is found
FILTER_COLUMNS = ["dataset", "codec", "filter", "setting", "bd", "chosen"]
SHRINK = 2


def measure(
    method: str, codec: str, seed: int, chain_at: Callable[[float], Chain], qualities, judges, pictures, batch, device
) -> Curve:
    """Send all pictures at each quality and show what arrives to every judge."""
    found = {}
    for quality in qualities:
        found[quality] = evaluate(chain_at(quality), judges, pictures, batch, device, with_ssim=False)
        name, answers = next(iter(judges)), found[quality]
        print(
            f"{codec} {method} at {quality:g}: {answers.bytes.double().mean():.0f} bytes, "
            f"{score(answers, pictures, name):.1f} % on {name}",
            flush=True,
        )
    return Curve(method, codec, seed, found)


def sent_by(codec: str, pre: Callable[[float], nn.Module | None] = lambda quality: None, shrink: int = 1):
    """Return the chain at each quality of a codec, `pre` being what stands before it there."""
    coder = load_codec(codec)
    return lambda quality: Chain(channel=Coded(coder, whole(quality), shrink), pre=pre(quality))


def choose_filters(profile: Profile, dataset: str, codec: str, judges, device) -> pd.DataFrame:
    """Measure every setting of the filters a profile asks for beside a codec, on validation pictures.

    A row a setting: its BD-rate on the source (NaN where it shares no accuracy with the codec alone), and `chosen`
    for the lowest of each filter. Written as `runs/<profile>/<dataset>/filters-<codec>.csv`.
    """
    settings, steps = profile.coding(dataset), ladder(profile, dataset, codec)
    names = [name for name in steps.baselines if name in FILTERS]
    pictures = pictures_of(profile, dataset, "validation", FILTER_PICTURES) if names else None
    source, qualities = {settings.source: judges[settings.source]}, ends_and_middle(steps.curve)

    def line(name: str, chain_at) -> tuple:
        found = measure(name, codec, 0, chain_at, qualities, source, pictures, settings.evaluation_batch, device)
        return line_of(found, pictures, settings.source)

    alone = line("codec", sent_by(codec)) if names else None
    rows = []
    for name in names:
        scores = {
            setting: bd_rate(alone, line(name, sent_by(codec, lambda quality, make=make: make())))
            for setting, make in FILTERS[name].items()
        }
        best = min(scores, key=lambda setting: np.nan_to_num(scores[setting], nan=np.inf))
        rows += [(dataset, codec, name, setting, bd, setting == best) for setting, bd in scores.items()]
    found = pd.DataFrame(rows, columns=FILTER_COLUMNS).round({"bd": 3})
    write_text(profile_folder(profile.name) / dataset / f"filters-{codec}.csv", found.to_csv(index=False))
    return found


def codec_curves(profile: Profile, dataset: str, codec: str, judges, pictures, device) -> list[Curve]:
    """Measure every method the profile has for a codec, the codec alone first; train what is missing."""
    settings, steps = profile.coding(dataset), ladder(profile, dataset, codec)
    common = (judges, pictures, settings.evaluation_batch, device)
    curves = [measure("codec", codec, 0, sent_by(codec), steps.curve, *common)]
    chosen = choose_filters(profile, dataset, codec, judges, device).query("chosen").set_index("filter")["setting"]
    for name in steps.baselines:
        if name == "downscale":
            chain_at = sent_by(codec, shrink=SHRINK)
        else:
            make = FILTERS[name][chosen[name]]
            chain_at = sent_by(codec, lambda quality, make=make: make())
        curves.append(measure(name, codec, 0, chain_at, steps.curve, *common))
    for seed in profile.seeds:
        for method in (["npp_qa"] if steps.rungs else []) + (["post", "both"] if steps.both_ends else []):
            chain_at = around(steps, codec, trained(profile, dataset, codec, method, None, seed, device))
            curves.append(measure(method, codec, seed, chain_at, steps.curve, *common))
        for method, qualities in (("npp", steps.single), ("npp_mse", steps.npp_mse)):
            nets = {q: trained(profile, dataset, codec, method, q, seed, device) for q in qualities}
            if nets:
                chain_at = sent_by(codec, lambda q, nets=nets: AtStrength(nets[q]["preprocessor"], 1.0))
                curves.append(measure(method, codec, seed, chain_at, qualities, *common))
    return curves


def around(steps: Ladder, codec: str, nets: dict[str, nn.Module]) -> Callable[[float], Chain]:
    """Return the chain at each quality of a codec for the networks of a run that has all qualities."""
    return lambda quality: chain_of(nets, codec, quality, strength_at(steps, quality))


def transfer_curves(profile: Profile, dataset: str, codec: str, judges, pictures, device) -> list[Curve]:
    """Measure a codec that no preprocessor was trained for: alone, and behind each adaptive preprocessor.

    Its strengths are those of `transferred_strengths`.
    """
    settings = profile.coding(dataset)
    qualities = settings.transfer[codec]
    common = (judges, pictures, settings.evaluation_batch, device)
    curves = [measure("codec", codec, 0, sent_by(codec), qualities, *common)]
    for trained_for, steps in settings.codecs.items():
        if not steps.rungs:
            continue
        nets = trained(profile, dataset, trained_for, "npp_qa", None, profile.seeds[0], device)
        net, strengths = nets["preprocessor"], transferred_strengths(steps, qualities)
        chain_at = sent_by(codec, lambda q, net=net, strengths=strengths: AtStrength(net, strengths[q]))
        name = f"npp_qa for {trained_for}"
        curves.append(measure(name, codec, profile.seeds[0], chain_at, qualities, *common))
    return curves


def transferred_strengths(steps: Ladder, qualities: list[float]) -> dict[float, float]:
    """Return the strength at each quality of another codec: that at the same place of the ladder's own curve."""
    places = np.linspace(0, len(steps.curve) - 1, len(qualities))
    matched = np.interp(places, range(len(steps.curve)), steps.curve)
    return {quality: strength_at(steps, at) for quality, at in zip(qualities, matched, strict=True)}


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


def trained(
    profile: Profile, dataset: str, codec: str, method: str, quality, seed: int, device="cpu"
) -> dict[str, nn.Module]:
    """Return the networks of a run by name, trained first where they are not."""
    run = (profile, dataset, codec, method, quality, seed)
    nets = load_nets(train_preprocessor(*run), preprocessor_parameters(*run))
    return {name: net.to(device, memory_format=torch.channels_last) for name, net in nets.items()}


def evaluate_codec(profile: Profile, dataset: str, codec: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure one codec on the test pictures of a data set and return its rate table and its BD-rates.

    They are written as `runs/<profile>/<dataset>/rates-<codec>.csv` and `bd-<codec>.csv`; `same_bytes-<codec>.csv`
    beside them says what each method scores at the bytes of the codec alone.
    """
    set_threads(profile)
    settings, device = profile.coding(dataset), pick_device(profile.device)
    known = [*settings.codecs, *settings.transfer]
    if codec not in known:
        raise ParameterError(
            f"profile {profile.name} measures no codec {codec!r} on {dataset}; choose one of {', '.join(known)}."
        )
    pictures = pictures_of(profile, dataset, "test", settings.pictures)
    judges = load_judges(dataset, settings.judges, device, pictures.classes)
    make = codec_curves if codec in settings.codecs else transfer_curves
    curves = make(profile, dataset, codec, judges, pictures, device)
    compared = [(curve, curves[0]) for curve in curves[1:]]
    compared += at_unseen_qualities(curves, settings.codecs.get(codec))
    keys = {"profile": profile.name, "dataset": dataset}
    rates = pd.DataFrame(
        [keys | row for curve in curves for row in rate_rows(curve, pictures, settings.source, dataset)],
        columns=RATE_COLUMNS,
    ).round(4)
    bds = pd.DataFrame(
        [keys | row for pair in compared for row in bd_rows(*pair, pictures, settings.source)], columns=BD_COLUMNS
    ).round(3)
    same = pd.DataFrame(
        [keys | row for curve in curves[1:] for row in same_bytes_rows(curve, curves[0], pictures, settings.source)],
        columns=SAME_BYTES_COLUMNS,
    ).round(4)
    folder = profile_folder(profile.name) / dataset
    for name, rows in (("rates", rates), ("bd", bds), ("same_bytes", same)):
        write_text(folder / f"{name}-{codec}.csv", rows.to_csv(index=False))
    return rates, bds


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

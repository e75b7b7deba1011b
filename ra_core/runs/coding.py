"""Runs around a codec: a preprocessor before it, a postprocessor behind it, or both."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import CODECS, Codec, load_codec
from ra_core.data import as_batch, is_labelled, load_part
from ra_core.errors import DataError, ParameterError
from ra_core.evaluation import evaluate
from ra_core.methods import coding, find_method
from ra_core.models.jpeg_tables import QuantTables
from ra_core.models.preprocessors import interpolated, make_preprocessor, preprocess
from ra_core.models.processors import make_processor
from ra_core.objectives import Preprocessing, Rung
from ra_core.params import Ladder, LearnedProxy, Profile, own_folder
from ra_core.paths import profile_folder, project_root, run_folder
from ra_core.runs.proxies import REFERENCES, load_proxy
from ra_core.runs.run import Run

STRENGTH = 1 / 8  # of a preprocessor, for a lambda of 1; published


class AtStrength(nn.Module):
    """A preprocessor as a link of a chain: an adaptive one is told the strength once and for all."""

    def __init__(self, net: nn.Module, strength: float):
        super().__init__()
        if net.adaptive and not strength > 0:
            raise ValueError(f"a preprocessor of strength {strength} does not exist; give a number above 0.")
        self.net, self.strength = net, strength

    def forward(self, images):
        return preprocess(self.net, images, self.strength if self.net.adaptive else None)


@dataclass(frozen=True)
class CodingRun(Run):
    """A training of one method around one codec on one data set."""

    recorded = ("profile", "dataset", "method", "codec", "quality", "seed", "source")
    validations = 1

    @property
    def name(self):
        made = run_name(*(self.parameters[key] for key in ("method", "codec", "quality")))
        return f"{self.parameters['dataset']}/{made}/seed{self.seed}"

    @property
    def codec(self) -> Codec:
        """The real codec."""
        return load_codec(self.parameters["codec"])

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The qualities that it is trained on."""
        return tuple(Rung(*rung) for rung in self.parameters["rungs"])

    @property
    def middle(self) -> Rung:
        """The rung at which it is validated and shown."""
        return self.rungs[len(self.rungs) // 2]

    @property
    def described(self):
        return {"coder": self.codec.describe()}

    def splits(self):
        data = own_folder(self.data) if self.own_pictures else None
        home, folder = project_root(), profile_folder(self.parameters["profile"]) / self.parameters["dataset"]
        return {
            part: load_part(self.parameters["dataset"], part, count, data, home, folder)
            for part, count in (("train", 0), ("validation", self.validation_pictures))
        }

    def judge(self, pictures, device):
        alone = self.own_pictures and not (is_labelled(pictures) or pictures.boxed)
        if self.parameters["recognition"] == "labels" and alone:
            raise DataError(
                f"{self.name} learns from labels, and {self.parameters['data']['source']} holds pictures alone; state "
                "recognition: soft_labels, or add a table labels.csv or class folders."
            )
        return super().judge(pictures, device)

    def networks(self):
        makers = {
            "preprocessor": partial(make_preprocessor, "NPPQA" if self.method.adaptive else "NPP"),
            "postprocessor": partial(make_processor, scale=1),
            "tables": lambda: QuantTables(tuple(rung.quality for rung in self.rungs)),
        }
        found = {}
        for name in self.method.trains:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                found[name] = makers[name](**self.parameters.get(name, {}))
        return found

    def objective(self, judge, splits):
        parameters, proxy = self.parameters, None
        if "proxy" in parameters:
            learned = LearnedProxy(**parameters.get("learned_proxy", {}))
            references = as_batch(splits["validation"], REFERENCES)[0]
            told = (parameters[key] for key in ("profile", "device"))
            proxy = load_proxy(parameters["proxy"], parameters["codec"], references, learned, *told)
        extra = {key: parameters[key] for key in ("mse_weight", "restoration_weight", "shrink") if key in parameters}
        recognition = self.method.recognition if callable(self.method.recognition) else parameters["recognition"]
        return Preprocessing(self.codec, proxy, judge, self.rungs, recognition, **extra)

    def strength_at(self, quality: float) -> float:
        """Return the strength for any quality: that of the rungs, interpolated in log2 between them.

        Of several rungs of one quality the first counts: of the two that are published for QP 40 it lies nearer to
        the line through its neighbours.
        """
        return interpolated({rung.quality: rung.strength for rung in reversed(self.rungs)}, quality)

    def chain(self, networks, quality=None, strength=None, codec=None):
        """Return its networks around its codec, or another `codec`, at a quality and a strength.

        Without a quality it is the middle rung's, without a strength that of the quality.
        """
        rung = self.middle if quality is None else Rung(quality, 0.0, self.strength_at(quality))
        pre = networks.get("preprocessor")
        pre = pre and AtStrength(pre, rung.strength if strength is None else strength)
        codec = codec or self.codec
        if tables := networks.get("tables"):
            codec = codec.with_tables(tables.at(rung.quality))
        shrink = self.shrink if "preprocessor" in networks else 1  # without networks it is the codec alone
        return Chain(Coded(codec, rung.quality, shrink), networks.get("postprocessor"), pre=pre)

    def validate(self, networks, judge, splits, team):
        shown = (splits["validation"], self.evaluation_batch, team.device)
        answers = evaluate(self.chain(networks), {"source": judge}, *shown, with_ssim=False, team=team)
        return {"quality": self.middle.quality} | answers.summary("source")


def run_name(method: str, codec: str, quality: float | None = None) -> str:
    """Return the folder's name of a run: method, codec, and its quality unless it has all of them."""
    return f"{method}-{codec}" + ("" if find_method(method).adaptive else f"-{quality:g}")


def ladder_of(profile: Profile, dataset: str, codec: str) -> Ladder:
    """Return the qualities of a codec. Raises `ParameterError` where no preprocessor is trained for it."""
    known = profile.coding(dataset).codecs
    if codec not in known:
        raise ParameterError(
            f"profile {profile.name} trains no preprocessor for codec {codec!r} on {dataset}; "
            f"choose one of {', '.join(known)}."
        )
    return known[codec]


def resolve_coding(
    profile: Profile, dataset: str, method: str, codec: str, quality: float | None, seed: int
) -> CodingRun:
    """Return the run of one method, codec, quality and seed on a data set of a profile."""
    if method not in coding():
        raise ParameterError(f"method {method!r} is unknown; choose one of {', '.join(coding())}.")
    settings, steps, chosen = profile.coding(dataset), ladder_of(profile, dataset, codec), find_method(method)
    rungs = [Rung(q, weight, STRENGTH * weight) for q, weight in steps.rungs if chosen.adaptive or q == quality]
    if not rungs:
        known = ", ".join(f"{q:g}" for q, _ in steps.rungs)
        raise ParameterError(f"quality {quality!r} is no rung of the ladder; choose one of {known}.")
    if "tables" in chosen.trains and (CODECS.find(codec).stand_in != "jpeg" or steps.proxy != "BlockDCT"):
        raise ParameterError(
            f"method {method!r} learns tables of quantisation, which {codec} with proxy {steps.proxy} has not; "
            "name a JPEG codec with proxy BlockDCT."
        )
    quality = None if chosen.adaptive else quality
    parameters = {
        "profile": profile.name, "dataset": dataset, "method": method, "codec": codec, "quality": quality, "seed": seed,
        "rungs": [list(rung) for rung in rungs], "coder": repr(load_codec(codec)), "source": settings.source,
        "recognition": settings.recognition if chosen.recognition else None,
        "training": steps.training_of(method, settings.training).model_dump(),
        "device": profile.device, "threads": profile.threads,
    }  # fmt: skip
    if settings.data:
        parameters["data"] = settings.data.model_dump(exclude={"test", "test_per_class"})
    if "preprocessor" in chosen.trains:  # else nothing stands before the codec, and no gradient passes through it
        weight = (method == "npp_mse" and settings.npp_mse_weight) or settings.mse_weight
        parameters |= {"preprocessor": settings.preprocessor.model_dump(), "proxy": steps.proxy, "mse_weight": weight}
        if steps.shrink > 1:
            parameters["shrink"] = steps.shrink
        if steps.proxy != "BlockDCT":
            parameters["learned_proxy"] = profile.proxy.model_dump()
    elif "tables" in chosen.trains:
        parameters["proxy"] = steps.proxy
    if "postprocessor" in chosen.trains:
        parameters["postprocessor"] = settings.postprocessor.model_dump()
        parameters["restoration_weight"] = settings.restoration_weight
    folder = run_folder(profile.name, dataset, run_name(method, codec, quality), seed)
    cache = getattr(settings.data, "cache", "none")  # boxed pictures have none
    return CodingRun(parameters, folder, settings.evaluation_batch, settings.validation_pictures, cache)

"""The table of methods: what each trains, which recognition term it has, and how it is named and drawn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import ra_core.recognition_terms as terms
from ra_core.errors import ParameterError
from ra_core.registry import Registry

METHODS = Registry("method")
TRANSFERRED = "npp_qa for "  # in tables, and then the codec that it was trained for, behind another
UNSEEN_QUALITIES = "npp_qa at unseen qualities"  # in tables: only those an adaptive one was not trained on
ALIASES = {"ra_transform": "ra_transformer"}  # the name in the published code; its README says ra_transformer


@dataclass(frozen=True)
class Method:
    """One row of the table.

    `trains` names the networks of the chain that learn. `recognition` is the kind of recognition term: None, `labels`,
    `soft_labels`, a function (judge, seen, clean, labels) -> (B,) or scalar, or `data` where the data set's settings
    say which; `weight` is its lambda. An `adaptive` method is trained once for all qualities of a codec. `sources` are
    the judges it learns from where they are not the profile's source.
    """

    name: str
    trains: tuple[str, ...]
    title: str
    colour: str
    marker: str
    recognition: str | Callable | None = None
    weight: float = 0.0
    adaptive: bool = False
    sources: tuple[str, ...] = ()

    @property
    def restores(self) -> bool:
        """Whether it is a mode of recognition-aware restoration; otherwise it works around a codec."""
        return "processor" in self.trains

    @property
    def needs_labels(self) -> bool:
        """Whether its recognition term looks at labels."""
        return self.recognition == "labels" or getattr(self.recognition, "needs_labels", False)

    def source(self, usual: str | None) -> str | None:
        """Return the name of what it learns from: sources of its own, or the `usual` one."""
        return "+".join(self.sources) or usual

    @property
    def random_numbers(self) -> int:
        """How many random numbers in [0, 1) its recognition term is given with each picture."""
        return getattr(self.recognition, "random_numbers", 0)

    @property
    def transformer(self) -> bool:
        """Whether the recognition term passes through a transformer T and ends there."""
        return "transformer" in self.trains


# Colours from the palettes of Okabe and Ito and of Tol; a test proves that every kind of eye tells them apart.
for row in (
    Method("plain", ("processor",), "plain", "#0072B2", "o"),
    Method("ra", ("processor",), "RA", "#D55E00", "s", "labels", 1e-3),
    Method("ra_transformer", ("processor", "transformer"), "RA + transformer", "#882255", "^", "labels", 1e-2),
    # 10 on the mean over ImageNet's 1,000 classes, as published, is 0.01 on the sum.
    Method("ra_unsupervised", ("processor",), "RA unsupervised", "#009E73", "D", "soft_labels", 1e-2),
    Method("ra_kl", ("processor",), "RA, KL", "#56B4E9", "v", terms.softened, 1e-3),
    Method("ra_logits", ("processor",), "RA, logits", "#332288", "<", terms.logits_apart, 1e-3),
    Method("ra_features", ("processor",), "RA, features", "#CC79A7", "p", terms.features_apart, 1e-3),
    Method("ra_diverse", ("processor",), "RA, diverse inputs", "#E69F00", "h", terms.diverse, 1e-3),
    Method("npp_qa", ("preprocessor",), "NPP-QA", "#D55E00", "s", "data", adaptive=True),
    Method("npp", ("preprocessor",), "NPP, one a quality", "#0072B2", "^", "data"),
    Method("npp_mse", ("preprocessor",), "NPP without task", "#56B4E9", "v"),
    Method("post", ("postprocessor",), "RA after", "#332288", "<", "data", adaptive=True),
    Method("both", ("preprocessor", "postprocessor"), "both ends", "#882255", "*", "data", adaptive=True),
    Method("tables", ("tables",), "learned tables", "#9431F9", "p", "data", adaptive=True),
    Method("npp_tables", ("preprocessor", "tables"), "NPP-QA, learned tables", "#E69F00", "h", "data", adaptive=True),
):
    METHODS.add(row.name, row)


def restoring() -> list[str]:
    """Return the names of the modes of restoration, in the order of the book."""
    return [name for name, method in METHODS.items() if method.restores]


def coding() -> list[str]:
    """Return the names of the methods around a codec."""
    return [name for name, method in METHODS.items() if not method.restores]


def find_method(name: str, weight: float | None = None) -> Method:
    """Return the method of that name with lambda `weight` (None: its usual one); `ra` with lambda 0 is `plain`.

    A mode may bring what is its own behind an @: a lambda, as `ra@0.01`, one point of a sweep; the judges it learns
    from, as `ra@vgg8` or the ensemble `ra@resnet20+vgg8`; or both, as `ra@vgg8@0.01`.
    Raises `ParameterError` for an unknown name or a weight that is negative or not finite.
    """
    base, sources, own = name_parts(name)
    method = METHODS.find(ALIASES.get(base, base))
    if "@" in name:
        method = _with_own(method, name, sources, own)
    if weight is None or own is not None:
        return method
    if not 0 <= weight < float("inf"):
        raise ParameterError(f"lambda {weight} is not allowed for {name}; give a finite number of 0 or more.")
    if method.name == "ra" and weight == 0:
        return METHODS["plain"]
    return replace(method, weight=weight if method.recognition else 0.0)


def name_parts(name: str) -> tuple[str, tuple[str, ...], float | None]:
    """Return the base of a mode's name, the sources behind its @ and the lambda behind that, where it has them."""
    base, *own = name.split("@")
    weight = _number(own[-1]) if own else None
    sources = "@".join(own[:-1] if weight is not None else own)
    return base, tuple(sources.split("+")) if sources else (), weight


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _with_own(method: Method, name: str, sources: tuple[str, ...], weight: float | None) -> Method:
    """Return a mode with sources, a lambda or both of its own, under the one name that it has then."""
    allowed = method.restores and method.recognition and (sources or weight is not None)
    if not allowed or not all(sources) or len({*sources}) < len(sources) or not 0 < (weight or 1.0) < float("inf"):
        raise ParameterError(
            f"mode {name!r} is not allowed; write a mode with a recognition term, @ and a lambda above 0 (ra@0.01), "
            "different judges to learn from (ra@vgg8, ra@resnet20+vgg8), or both (ra@vgg8@0.01)."
        )
    parts = [method.name, "+".join(sources), "" if weight is None else f"{weight:g}"]
    weight = method.weight if weight is None else weight
    return replace(method, name="@".join(filter(None, parts)), weight=weight, sources=sources)

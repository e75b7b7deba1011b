"""The table of methods: what each trains, which recognition term it has, and how it is named and drawn."""

from collections.abc import Callable
from dataclasses import dataclass, replace

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
    say which; `weight` is its lambda. An `adaptive` method is trained once for all qualities of a codec.
    """

    name: str
    trains: tuple[str, ...]
    title: str
    colour: str
    marker: str
    recognition: str | Callable | None = None
    weight: float = 0.0
    adaptive: bool = False

    @property
    def restores(self) -> bool:
        """Whether it is a mode of recognition-aware restoration; otherwise it works around a codec."""
        return "processor" in self.trains

    @property
    def needs_labels(self) -> bool:
        """Whether its recognition term looks at labels."""
        return self.recognition == "labels" or getattr(self.recognition, "needs_labels", False)

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

    A name such as `ra@0.01` is that of a mode with a lambda of its own, one point of a sweep.
    Raises `ParameterError` for an unknown name or a weight that is negative or not finite.
    """
    base, swept, number = name.partition("@")
    method = METHODS.find(ALIASES.get(base, base))
    if swept:
        return _swept(method, name, number)
    if weight is None:
        return method
    if not 0 <= weight < float("inf"):
        raise ParameterError(f"lambda {weight} is not allowed for {name}; give a finite number of 0 or more.")
    if method.name == "ra" and weight == 0:
        return METHODS["plain"]
    return replace(method, weight=weight if method.recognition else 0.0)


def _swept(method: Method, name: str, number: str) -> Method:
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not (method.restores and method.recognition and 0 < weight < float("inf")):
        raise ParameterError(
            f"mode {name!r} is not allowed; write a mode with a recognition term, @ and a lambda above 0: ra@0.01."
        )
    return replace(method, name=f"{method.name}@{weight:g}", weight=weight)

"""The registry of data sets: each registers itself from its own file, in this package or in a module of one's own."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ra_core.data.pictures import VALIDATION_PER_CLASS, PictureSet, evenly_spaced, split_train
from ra_core.errors import ParameterError
from ra_core.registry import Registry

DATASETS = Registry("data set")
KINDS = ("classification", "detection")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataSet:
    """A data set by name: what is asked of its pictures (`KINDS`), what readers call it, and how it is loaded.

    `load(part)` returns one of `parts`; where `validation` is not among them, it is set aside from `train`. By keyword,
    it gets those of these options that it names: `count`, the first of which are wanted (0: all), and `source` and
    `home` of a profile.
    """

    name: str
    kind: str
    title: str
    load: Callable[..., PictureSet]
    parts: tuple[str, ...]

    def splits(self, wanted: tuple[str, ...], held_out: int = VALIDATION_PER_CLASS, **options) -> dict[str, PictureSet]:
        """Return the parts `wanted`, as `split_parts` does."""
        known = inspect.signature(self.load).parameters
        given = {key: value for key, value in options.items() if key in known}
        return split_parts(partial(self.load, **given), wanted, self.parts, held_out, self.title)

    def part(self, name: str, count: int = 0, **options) -> PictureSet:
        """Return one part, or `count` of its pictures: the first, or at even distances where `load` takes no count."""
        return evenly_spaced(self.splits((name,), count=count, **options)[name], count)


def split_parts(load: Callable, wanted: tuple[str, ...], parts: tuple[str, ...], held_out: int, title: str) -> dict:
    """Return the parts `wanted`; where `parts` has no `validation`, `held_out` pictures a class of `train` are it.

    Raises `ParameterError` for an unknown part.
    """
    if unknown := [part for part in wanted if part not in PARTS]:
        raise ParameterError(f"{title} has no part {unknown[0]!r}; choose one of {', '.join(PARTS)}.")
    whole = {part: load(part) for part in wanted if part in parts and (part != "train" or "validation" in parts)}
    aside = {} if len(whole) == len(set(wanted)) else split_train(load("train"), held_out)
    return {part: (whole | aside)[part] for part in wanted}


def dataset(name: str, *, kind: str, title: str, parts: tuple[str, ...] = PARTS) -> Callable[[Callable], Callable]:
    """Return a decorator that registers a function `load(part)` as a data set (see `DataSet`).

    Raises `ParameterError` for another kind, or a name that is taken.
    """
    if kind not in KINDS:
        raise ParameterError(f"data set {name!r} has the kind {kind!r}; choose one of {', '.join(KINDS)}.")

    def register(load: Callable) -> Callable:
        DATASETS.add(name, DataSet(name, kind, title, load, parts))
        return load

    return register

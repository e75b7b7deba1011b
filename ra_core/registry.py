"""Things by name, each registered by its own file: tasks, methods, codecs, networks, judges, data sets."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping

from ra_core.errors import ParameterError


class Registry(Mapping):
    """What is known of one kind, in the order of registration; an unknown name raises `ParameterError`."""

    def __init__(self, kind: str):
        self.kind, self._known = kind, {}

    def add(self, name: str, thing):
        """Register a thing and return it. Raises `ParameterError` where another has that name."""
        if name in self._known and self._known[name] is not thing:
            raise ParameterError(f"{self.kind} {name!r} is registered already; give yours another name.")
        self._known[name] = thing
        return thing

    def register(self, name: str) -> Callable:
        """Return a decorator that registers a class or function under a name."""
        return lambda thing: self.add(name, thing)

    def find(self, name: str):
        """Return the thing of that name. Raises `ParameterError` that lists the known names, the nearest first."""
        if not isinstance(name, str) or name not in self._known:
            near = nearest(name, self._known)
            hint = f"did you mean {near!r}? Known are" if near else "choose one of"
            raise ParameterError(f"{self.kind} {name!r} is unknown; {hint} {', '.join(self._known) or 'none'}.")
        return self._known[name]

    def __getitem__(self, name: str):
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return the known name that is most like the one that was given, or nothing where none is."""
    return next(iter(difflib.get_close_matches(str(name), known, n=1)), "")


def load_extensions(modules: list[str]) -> None:
    """Import modules of one's own, which register what they bring. Raises `ParameterError` for one that fails."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ParameterError:
            raise
        except Exception as error:  # a stranger's file may raise anything
            raise ParameterError(
                f"extension {module!r} cannot be imported ({type(error).__name__}: {error}); "
                "name a Python module that lies in the project's folder or on PYTHONPATH."
            ) from error

"""The only reader of `params/`."""

import sys
from pathlib import Path

import ra_core.human_yaml as human_yaml
from ra_core.errors import ParameterError
from ra_core.files import read_text
from ra_core.params.profile import Profile, profile_model
from ra_core.paths import project_root
from ra_core.registry import load_extensions
from ra_core.strict import checked


def header(name: str, text: str) -> tuple[str, str]:
    """Return the command and the description that the text of a profile's file begins with."""
    comments = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    return comments[0] if comments else f"make book PROFILE={name}", " ".join(comments[1:])


def load_profile(name: str, overrides: dict | None = None, folder: Path | None = None) -> Profile:
    """Return the profile `params/<name>.yaml`, with `overrides` merged into it.

    A profile that is overridden is named `<name>-custom`, so that its runs lie apart from the profile's own.
    Raises `ParameterError` naming file, key, value and what is allowed.
    """
    folder = folder or project_root() / "params"
    path = folder / f"{name}.yaml"
    if Path(name).name != name or not path.exists():  # runs/<name> would lie elsewhere
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ParameterError(f"profile {name!r} is unknown; choose one of {known} (they lie in {folder}).")
    if not human_yaml.is_name(name):
        raise ParameterError(f"{path} has a name that cannot be a profile's; {human_yaml.NAMES}.")
    try:
        values = human_yaml.parse(read_text(path))
    except (OSError, ValueError) as error:  # a text that is not UTF-8 raises the latter as well
        raise ParameterError(f"{path} cannot be read as YAML ({error}); mend it.") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise ParameterError(f"{path} holds a {type(values).__name__}; it must hold keys with values.")
    values = _merged(values, overrides or {})
    where = f"{path} with overrides" if overrides else str(path)
    if "name" in values:
        raise ParameterError(f"{where}: name = {values['name']!r} is not allowed; a profile has the name of its file.")
    _load_extensions(values, folder)
    return checked(profile_model(), where, values | {"name": f"{name}-custom" if overrides else name})


def _merged(base: dict, changes: dict) -> dict:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _load_extensions(values: dict, folder: Path) -> None:
    """Import the modules that a profile names, which lie in the project's folder or on PYTHONPATH."""
    named = values.get("extensions") or []
    if isinstance(named, list) and all(isinstance(name, str) for name in named):  # else the schema refuses it
        if named and str(folder.parent) not in sys.path:
            sys.path.insert(0, str(folder.parent))
        load_extensions(named)

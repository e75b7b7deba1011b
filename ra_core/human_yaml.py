"""YAML as people mean it: 1e-4 is a number, and a key that stands twice, or is no text, is an error."""

import re

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            text = key.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")
            if not text or key.value in seen:
                problem = f"the key {key.value!r} stands twice" if text else "a key is no text; put it into quotes"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


NAMES = "a name has letters, digits, _, - and ., begins with a letter, and is no word such as no, on or null"


def is_name(name: str) -> bool:
    """Say whether a name stays what it is in a path, on a command line and as a value in YAML (see `NAMES`)."""
    return bool(re.fullmatch(r"[^\W\d_][\w.-]*", name)) and parse(name) == name


def parse(text: str) -> object:
    """Return what a YAML text says. Raises `ValueError` with a reason of one line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the latter two of a date, and of a deep nest
        raise ValueError(" ".join(str(error).split())) from error

"""YAML as people mean it: 1e-4 is a number, 010 and 1:30 are none, and a key is a text that stands once."""

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


_NUMBERS = {
    "float": r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d+(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "int": r"[-+]?(0|[1-9][\d_]*|0b[01_]+|0x[\da-fA-F_]+)",
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in _NUMBERS]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _kind, _pattern in _NUMBERS.items():  # YAML's own take 010 for eight, 1:30 for ninety, and 1e-4 for a text
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^({_pattern})$"), list("-+.0123456789"))


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

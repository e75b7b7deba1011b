"""The command line of one training: `python -m ra_core.training --task dn --mode ra`, or the same by a launcher."""

import argparse
from pathlib import Path

from ra_core import human_yaml
from ra_core.errors import ParameterError, exit_status
from ra_core.params import load_profile
from ra_core.training.processes import is_first, part_ways


def parser() -> argparse.ArgumentParser:
    """Return what the command understands."""
    found = argparse.ArgumentParser(prog="python -m ra_core.training", description=main.__doc__)
    found.add_argument("--profile", default="quick", help="one of params/")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--overrides", default="", help="changes of the profile, as YAML: {tasks: {dn: ...}}")
    restoration = found.add_argument_group("a processor")
    restoration.add_argument("--task", help="sr, dn or jpeg")
    restoration.add_argument("--mode", default="ra", help="plain, ra, ra_transformer or ra_unsupervised")
    coding = found.add_argument_group("or networks around a codec")
    coding.add_argument("--dataset", help="cells, scenes or your own")
    coding.add_argument("--codec", help="one of those the profile trains for")
    coding.add_argument("--method", default="npp_qa", help="npp, npp_qa, npp_mse, post or both")
    coding.add_argument("--quality", type=float, help="of npp and npp_mse, which have one a quality")
    return found


def train(given: argparse.Namespace) -> Path:
    """Do the training that was asked for and return its run folder. Raises `ParameterError` where it is unclear."""
    try:
        overrides = human_yaml.parse(given.overrides) or {}
    except ValueError as error:
        raise ParameterError(f"--overrides {given.overrides!r} is not YAML ({error}); mend it.") from error
    if not isinstance(overrides, dict):
        raise ParameterError(f"--overrides {given.overrides!r} holds no keys with values; write {{key: value}}.")
    profile = load_profile(given.profile, overrides)
    from ra_core.runs import resolve
    from ra_core.steps import train as train_run

    if given.task and not given.dataset:
        return train_run(resolve(profile, given.task, given.mode, given.seed))
    if given.dataset and given.codec and not given.task:
        return train_run(resolve(profile, given.dataset, given.method, given.seed, given.codec, given.quality))
    raise ParameterError("nothing to train was named; give --task, or --dataset with --codec.")


def main(arguments: list[str] | None = None) -> int:
    """Train one run of a profile unless that is done, and print its folder. Return 0, or 1 after one sentence."""
    given = parser().parse_args(arguments)

    def work() -> None:
        folder = train(given)
        if is_first():
            print(folder)

    try:
        return exit_status(work)
    finally:
        part_ways()

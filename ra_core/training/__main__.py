"""The command line of one training: `python -m ra_core.training --task dn --mode ra`, or the same by a launcher."""

import argparse
import sys

import ra_core.human_yaml as human_yaml
from ra_core.cores import is_rank_zero
from ra_core.errors import ParameterError, exit_status
from ra_core.params import load_profile
from ra_core.training.processes import shutdown


def train(given: argparse.Namespace) -> None:
    """Train what was asked for; rank zero prints its folder. Raises `ParameterError` where it is unclear."""
    from ra_core.runs import resolve  # these two build on this package
    from ra_core.steps import train as train_run

    try:
        overrides = dict(human_yaml.parse(given.overrides) or {})
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"--overrides {given.overrides!r} holds no keys with values ({error}); write YAML: {{key: value}}."
        ) from error
    profile = load_profile(given.profile, overrides)
    if given.task and not given.dataset:
        run = resolve(profile, given.task, given.mode, given.seed)
    elif given.dataset and given.codec and not given.task:
        run = resolve(profile, given.dataset, given.method, given.seed, given.codec, given.quality)
    else:
        raise ParameterError("nothing to train was named; give --task, or --dataset with --codec.")
    folder = train_run(run)
    if is_rank_zero():
        print(folder)


def main(arguments: list[str] | None = None) -> int:
    """Train one run of a profile unless that is done, and print its folder. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_core.training", description=main.__doc__)
    parser.add_argument("--profile", default="quick", help="one of params/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overrides", default="", help="changes of the profile, as YAML: {tasks: {dn: ...}}")
    restoration = parser.add_argument_group("a processor")
    restoration.add_argument("--task", help="sr, dn or jpeg")
    restoration.add_argument("--mode", default="ra", help="plain, ra, ra_transformer or ra_unsupervised")
    coding = parser.add_argument_group("or networks around a codec")
    coding.add_argument("--dataset", help="cells, scenes or your own")
    coding.add_argument("--codec", help="one of those the profile trains for")
    coding.add_argument("--method", default="npp_qa", help="npp_qa, npp, npp_mse, post, both, tables or npp_tables")
    coding.add_argument("--quality", type=float, help="of npp and npp_mse, which have one a quality")
    given = parser.parse_args(arguments)
    try:
        return exit_status(lambda: train(given))
    finally:
        shutdown()


if __name__ == "__main__":
    sys.exit(main())

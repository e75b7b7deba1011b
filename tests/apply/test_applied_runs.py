from pathlib import Path

from ra_core.apply.applied_runs import EXAMPLE
from ra_core.coding import planned
from ra_core.params import load_profile


def test_the_run_that_is_named_as_an_example_is_one_of_the_book():
    runs, profile, dataset, name, seed = Path(EXAMPLE).parts
    assert name in planned(load_profile(profile), dataset) and (runs, seed) == ("runs", "seed0")

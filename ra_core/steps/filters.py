"""Classical filters before a codec: which setting of each is best, found on validation pictures."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from torch import nn

from ra_core.bd_rate import bd_rate
from ra_core.files import write_text
from ra_core.models.filters import Bilateral, Gaussian
from ra_core.params import Profile
from ra_core.params.coding import ends_and_middle
from ra_core.paths import profile_folder
from ra_core.runs import ladder_of
from ra_core.steps.common import pictures_of

FILTERS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "gaussian": {f"sigma {s:g}": (lambda s=s: Gaussian(s)) for s in (0.5, 0.8, 1.2, 2.0)},
    "bilateral": {
        f"sigma {s:g}, tone {t:g}": (lambda s=s, t=t: Bilateral(s, t)) for s in (1.0, 2.0) for t in (0.05, 0.15)
    },
}
FILTER_PICTURES = 200  # of validation
FILTER_COLUMNS = ["dataset", "codec", "filter", "setting", "bd", "chosen"]


def choose_filters(profile: Profile, dataset: str, measure) -> dict[str, str]:
    """Measure every setting of the filters a profile asks for beside a codec, and return the best setting of each.

    The best has the lowest BD-rate on the source. `measure` is the codec's `ra_core.steps.rates.Measurement`. All
    settings are written as `runs/<profile>/<dataset>/filters-<codec>.csv`, their BD-rate NaN where they share no
    accuracy with the codec alone.
    """
    settings, steps = profile.coding(dataset), ladder_of(profile, dataset, measure.codec)
    names = [name for name in steps.baselines if name in FILTERS]
    source, rows = settings.source, []
    if names:
        pictures = pictures_of(profile, dataset, "validation", FILTER_PICTURES)
        measure = replace(measure, judges={source: measure.judges[source]}, pictures=pictures)
        qualities = ends_and_middle(steps.curve)
        alone = measure.curve("codec", 0, measure.sent(), qualities).line(source)
    for name in names:
        scores = {}
        for setting, make in FILTERS[name].items():
            curve = measure.curve(name, 0, measure.sent(lambda quality, make=make: make()), qualities)
            scores[setting] = bd_rate(alone, curve.line(source))
        best = min(scores, key=lambda setting: np.nan_to_num(scores[setting], nan=np.inf))
        rows += [(dataset, measure.codec, name, setting, bd, setting == best) for setting, bd in scores.items()]
    found = pd.DataFrame(rows, columns=FILTER_COLUMNS).round({"bd": 3})
    write_text(profile_folder(profile.name) / dataset / f"filters-{measure.codec}.csv", found.to_csv(index=False))
    return dict(found[found["chosen"].astype(bool)][["filter", "setting"]].itertuples(index=False))

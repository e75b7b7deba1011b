"""Classical filters before a codec: which setting of each is best, found on validation pictures."""

from dataclasses import replace

import numpy as np
import pandas as pd
from torch import nn

from ra_core.bd_rate import bd_rate
from ra_core.models.filters import Bilateral, Gaussian
from ra_core.params import Profile
from ra_core.params.coding import ends_and_middle
from ra_core.steps.common import pictures_of, write_table

FILTERS: dict[str, dict[str, nn.Module]] = {
    "gaussian": {f"sigma {s:g}": Gaussian(s) for s in (0.5, 0.8, 1.2, 2.0)},
    "bilateral": {f"sigma {s:g}, tone {t:g}": Bilateral(s, t) for s in (1.0, 2.0) for t in (0.05, 0.15)},
}
FILTER_PICTURES = 200  # of validation
FILTER_COLUMNS = ["dataset", "codec", "filter", "setting", "bd", "chosen"]


def choose_filters(profile: Profile, dataset: str, measure) -> dict[str, nn.Module]:
    """Measure every setting of the filters a profile asks for beside a codec, and return each filter at its best.

    The best has the lowest BD-rate on the source. `measure` is the codec's `ra_core.steps.rates.Measurement`. All
    settings are written as `runs/<profile>/<dataset>/filters-<codec>.csv`, their BD-rate NaN where they share no
    accuracy with the codec alone.
    """
    settings = profile.coding(dataset)
    steps, source = settings.codecs[measure.codec], settings.source
    best, rows = {}, []
    for name in (name for name in steps.baselines if name in FILTERS):
        if not rows:
            pictures = pictures_of(profile, dataset, "validation", FILTER_PICTURES)
            measure = replace(measure, judges={source: measure.judges[source]}, pictures=pictures)
            qualities = ends_and_middle(steps.curve)
            alone = measure.curve("codec", 0, measure.sent(), qualities).line(source)
        curves = {key: measure.curve(name, 0, measure.sent(net), qualities) for key, net in FILTERS[name].items()}
        bds = {key: bd_rate(alone, curve.line(source)) for key, curve in curves.items()}
        lowest = min(bds, key=lambda key: np.nan_to_num(bds[key], nan=np.inf))
        rows += [(dataset, measure.codec, name, key, bd, key == lowest) for key, bd in bds.items()]
        best[name] = FILTERS[name][lowest]
    table = pd.DataFrame(rows, columns=FILTER_COLUMNS).round({"bd": 3})
    write_table(profile, f"{dataset}/filters-{measure.codec}", table)
    return best

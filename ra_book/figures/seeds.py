"""The mean of several trainings (seeds) with an interval that covers the choice of pictures and of the seed."""

import numpy as np
import pandas as pd
from scipy.stats import t as student


def over_seeds(rows: pd.DataFrame, keys: list[str], numbers: list[str]) -> pd.DataFrame:
    """Average the seeds of prepared rows: one row for each of `keys`, with the means of `numbers`.

    Rows may have `value`, `low` and `high`: a number and its 95 % interval over pictures, for one fixed training. A
    mean of S seeds is uncertain for two independent reasons. Other pictures would shift all seeds alike, as all answer
    the same ones, so that more seeds do not help: this half-width is the mean of those of the seeds. Other seeds would
    give another mean: its half-width is t · s / √S, with s the standard deviation of the S values and t the 95 % point
    of Student's t with S - 1 degrees of freedom. Variances of independent causes add, hence
    half = √(pictures² + seeds²), below and above the mean each on its own, as intervals of shares are not symmetric.
    What chance of pictures remains in s is counted twice: the interval is rather too wide than too narrow.

    Ends stay within `least` and `most`. The values of one seed stay as they are; a mean is NaN where a value is.
    """
    groups = rows.groupby(keys, sort=False)
    means, counts = groups[numbers].mean(), groups[numbers].count()
    sizes = groups.size()
    means = means.where(counts.eq(sizes, axis=0))
    if {"value", "low", "high"} <= set(numbers):
        several = sizes > 1
        spread = student.ppf(0.975, sizes - 1) * groups["value"].std() / np.sqrt(sizes)
        for end, side in (("low", -1), ("high", 1)):
            half = np.hypot((means[end] - means["value"]).mul(side).clip(lower=0), spread)
            end_of_mean = (means["value"] + side * half).clip(means["least"], means["most"])
            means[end] = means[end].mask(several, end_of_mean)
    return means.reset_index()

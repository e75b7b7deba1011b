"""A study with people: a blinded sheet of pictures with two answers each, and what the choices that come back say.

Which answer stands where is in the key alone, a table that the sheet does not hold.
"""

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy.special import ndtri, stdtrit

from ra_core.channels import to_arrays
from ra_core.errors import DataError, ParameterError
from ra_core.metrics import TAIL

SIDES = ("left", "right")
CHOICES = (*SIDES, "both", "neither")
PREFERENCES = ("ra", "plain", "both", "neither")
COLUMNS = ["person", "item", "choice"]
TEMPLATE = Path(__file__).with_name("study.html")


def draw(plain: Sequence[str], ra: Sequence[str], count: int, seed: int) -> pd.DataFrame:
    """Draw `count` of the pictures whose two answers differ, and return the key of a sheet, a row an item.

    `plain` and `ra` are what one recognizer answers to each picture behind the two processors. `item` is a name that
    says nothing, `picture` the number of the picture, `side` where the answer behind RA stands: as often left as right.
    Raises `ParameterError` where too few differ.
    """
    differ = np.flatnonzero(np.array(plain) != np.array(ra))
    if not 2 <= count <= len(differ):
        raise ParameterError(
            f"{count} items were asked for and the two answers differ on {len(differ)} of {len(ra)} pictures; ask for "
            "at least 2 and at most as many as differ, or look at more pictures."
        )
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(differ)[:count]
    sides = rng.permutation(np.resize(rng.permutation(SIDES), count))
    items = [f"i{number:06x}" for number in rng.choice(16**6, count, replace=False)]
    answers = {name: [said[number] for number in chosen] for name, said in (("plain", plain), ("ra", ra))}
    return pd.DataFrame({"item": items, "picture": chosen, "side": sides, **answers})


def sheet(key: pd.DataFrame, images: torch.Tensor) -> str:
    """Return the page that people click through, with the clean pictures (N, 3, H, W) of a key's items inside.

    It holds no side, and loads nothing. Who opens it saves choices as CSV with the columns `COLUMNS`.
    """
    shown = []
    for row, pixels in zip(key.itertuples(), to_arrays(images), strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        left, right = (row.ra, row.plain) if row.side == "left" else (row.plain, row.ra)
        picture = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        shown.append({"item": row.item, "picture": picture, "left": left, "right": right})
    items = json.dumps(shown).replace("<", "\\u003c")  # no answer ends the script that they lie in
    return TEMPLATE.read_text(encoding="utf-8").replace("[] /* the items */", items)


def read_choices(files: Iterable[Path], key: pd.DataFrame) -> pd.DataFrame:
    """Return all choices of people on the sheet of a key: `person`, `item`, `choice`, and `prefers` of `PREFERENCES`.

    A person may have left items out. Raises `DataError` for a file that is no such table, has a choice or an item that
    the sheet does not have, or a second choice of a person on the same item.
    """
    found = [pd.DataFrame(columns=[*COLUMNS, "file"]), *(_read(Path(file), set(key["item"])) for file in files)]
    choices = pd.concat(found, ignore_index=True)
    again = choices[choices.duplicated(["person", "item"])]
    if len(again):
        person, item, _, file = again.iloc[0]
        raise DataError(
            f"{file} has a second choice of person {person!r} on item {item!r}; the same sheet was put in twice, so "
            "take one of them out."
        )
    side = choices["item"].map(key.set_index("item")["side"])
    of_sides = pd.Series(np.where(choices["choice"] == side, "ra", "plain"), index=choices.index)
    return choices[COLUMNS].assign(prefers=choices["choice"].where(~choices["choice"].isin(SIDES), of_sides))


def _read(file: Path, items: set[str]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0].replace(". ", ": ").rstrip(".")
        raise DataError(f"{file} cannot be read as a table ({said}); take the file as the sheet saved it.") from error
    if missing := [name for name in COLUMNS if name not in rows]:
        raise DataError(f"{file} has no column {missing[0]!r}; take the file as the sheet saved it.")
    for column, allowed, why in (
        ("item", items, "the key does not have; it was saved by another sheet"),
        ("choice", set(CHOICES), f"is none of {', '.join(CHOICES)}"),
    ):
        if wrong := sorted(set(rows[column]) - allowed):
            raise DataError(f"{file} has the {column} {wrong[0]!r}, which {why}; take the file out.")
    return rows[COLUMNS].assign(file=str(file))


@dataclass(frozen=True)
class Preference:
    """The share of choices for RA among those for one of the two, in percent, with its 95 % interval.

    `by_people` over the number of people, plus `by_pictures`, is the variance of that share, taken as a fraction.
    """

    share: float
    low: float
    high: float
    choices: int
    by_people: float
    by_pictures: float


def preference(choices: pd.DataFrame) -> Preference:
    """Return how many of the choices that `read_choices` gives prefer RA, with NaN interval for fewer than two people.

    Choices of one person are alike, and so are those on one picture, so both count as samples: the variance is that of
    sums over people and over pictures, less what both have counted. The interval is Wilson's, with Student's t for few
    people, of as many independent choices as would have this variance; where all agree, of P * I / (P + I).
    Source: Cameron, Gelbach and Miller, "Robust Inference With Multiway Clustering", Journal of Business & Economic
    Statistics 29(2), 2011, section 2; it comes close to 95 % on simulated people, and above where they are few.
    """
    decided = choices[choices["prefers"].isin(["ra", "plain"])]
    people, pictures, n = decided["person"].nunique(), decided["item"].nunique(), len(decided)
    votes = (decided["prefers"] == "ra").astype(float)
    share = votes.mean()
    if min(people, pictures) < 2:
        return Preference(100 * share, math.nan, math.nan, n, math.nan, math.nan)
    alone = share * (1 - share) / n  # the variance if every choice were a sample of its own
    off = {name: (votes - share).groupby(decided[name]).sum() / n for name in ("person", "item")}
    by_people = max(people / (people - 1) * (off["person"] ** 2).sum(), alone)
    by_pictures = max(pictures / (pictures - 1) * (off["item"] ** 2).sum() - alone, 0.0)
    independent = alone * n / (by_people + by_pictures) if alone else people * pictures / (people + pictures)
    t2 = float(stdtrit(min(people, pictures) - 1, TAIL)) ** 2 / independent
    middle, half = share + t2 / 2, math.sqrt(t2 * (alone * n + t2 / 4))
    ends = ((middle - half) / (1 + t2), (middle + half) / (1 + t2))
    return Preference(100 * share, *(100 * end for end in ends), n, people * by_people, by_pictures)


def people_needed(width: float, by_people: float, by_pictures: float = 0.0) -> float:
    """Return how many people make the 95 % interval `width` points wide, infinity where only more pictures can.

    The variances are those of `Preference`. With `by_pictures` 0 four times as many people halve the width.
    """
    room = (width / 200 / float(ndtri(TAIL))) ** 2 - by_pictures
    return max(2, math.ceil(by_people / room)) if room > 0 else math.inf


def alpha(counts: np.ndarray) -> float:
    """Return Krippendorff's alpha of nominal choices: 1 where people agree, 0 as by chance, NaN where nothing differs.

    `counts` (items, choices) says how many people made each choice on each item; items that one person saw say nothing.
    Source: Hayes and Krippendorff, "Answering the Call for a Standard Reliability Measure for Coding Data",
    Communication Methods and Measures 1(1), 2007.
    """
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts.sum(1) > 1]
    people, totals, n = counts.sum(1), counts.sum(0), counts.sum()
    expected = n**2 - (totals**2).sum()
    if not expected:
        return math.nan
    observed = ((people**2 - (counts**2).sum(1)) / (people - 1)).sum()
    return 1 - (n - 1) * observed / expected

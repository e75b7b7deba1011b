"""What the report says beside the paper, only where it means something."""

import pandas as pd
from drawn import make_accuracy

from ra_book import figures
from ra_book.figures import measured
from ra_book.report import published_tables
from ra_core.params import load_profile
from ra_core.paths import project_root

PUBLISHED = pd.read_csv(project_root() / "book" / "published.csv")
NAMES = {"resnet18": "source", "resnet50": "unseen", "swin_t": "unseen"}


def test_a_table_gives_every_difference_to_the_paper():
    accuracy = make_accuracy(recognizers=NAMES, seeds=3)
    table = figures.beside_published(accuracy, PUBLISHED, "sr")
    both = ("resnet18", "resnet50")  # the paper does not know the third
    assert set(table.index) == {(mode, name) for mode in ("plain", "RA", "RA unsupervised") for name in both}
    mine = accuracy[(accuracy["task"] == "sr") & (accuracy["recognizer"] == "resnet50")]
    means = mine.groupby("mode")["top1"].mean()
    row = table.loc[("RA", "resnet50")]
    assert row["here, top-1 in %"].startswith(f"{means['ra']:.1f} [")
    assert row["published, top-1 in %"] == "66.7"
    assert row["difference in points"] == measured.signed(means["ra"] - 66.7)
    assert row["here, gain on plain"] == measured.signed(means["ra"] - means["plain"])
    assert row["published, gain on plain"] == measured.signed(66.7 - 58.8)
    assert table.loc[("plain", "resnet18"), "difference of the gains"] == "–"


def test_only_a_run_on_imagenet_is_set_beside_the_paper():
    few = make_accuracy(recognizers=NAMES)  # as a folder of one's own that the paper's recognizers judge
    accuracy = few.assign(n=50_000)
    assert published_tables(load_profile("imagenet"), few, PUBLISHED) == ""
    text = published_tables(load_profile("imagenet"), accuracy, PUBLISHED)
    assert text.count("| mode | recognizer |") == 3 and "**Super-resolution**" in text
    assert text.count("| RA | resnet18 |") == 3
    for name in ("quick", "imagenet_sample"):
        assert published_tables(load_profile(name), accuracy, PUBLISHED) == ""

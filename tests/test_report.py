"""What the report says beside the paper, only where it means something, and the account of speed."""

import json

import pandas as pd
import pytest
from drawn import make_accuracy

from ra_core import figures
from ra_core.errors import OutputError
from ra_core.params import load_profile
from ra_core.report import published_tables, throughput_text
from ra_core.runs import project_root

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
    assert row["difference in points"] == figures.tables.signed(means["ra"] - 66.7)
    assert row["here, gain on plain"] == figures.tables.signed(means["ra"] - means["plain"])
    assert row["published, gain on plain"] == figures.tables.signed(66.7 - 58.8)
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


ROW = {"ratio": {"median": 4.0, "low": 3.5, "high": 4.25}, "target": 3.5, "ours": 1.82, "published": 0.45}
FOUND = {
    "made": "2030-01-02T03:04:05+00:00", "git": {"commit": "0123456789", "dirty": True},
    "machine": {"device": "cpu (x86_64, 2 threads)", "cores": 2}, "settings": {"rounds": 3},
    "gpu": {}, "training": {"dn ra": ROW}, "parts": {"SSIM": {"ratio": ROW["ratio"], "target": None}},
}  # fmt: skip


def test_speed_that_was_not_measured_is_said_to_be_so(tmp_path):
    assert "`make bench`" in throughput_text(tmp_path / "none.json")


def test_speed_is_shown_with_spread_target_machine_and_commit(tmp_path):
    path = tmp_path / "throughput.json"
    path.write_text(json.dumps(FOUND))
    text = throughput_text(path)
    assert "| dn ra | 4.00 | 3.50 to 4.25 | 3.5 | 1.82 | 0.45 |" in text.splitlines()
    assert "| SSIM | 4.00 | 3.50 to 4.25 | – | – | – |" in text.splitlines()
    for said in ("cpu (x86_64, 2 threads), 2 cores", "0123456+", "2030-01-02"):
        assert said in text


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps(FOUND | {"parts": {"SSIM": {}}})])
def test_a_file_that_no_benchmark_wrote_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "throughput.json"
    path.write_text(content)
    with pytest.raises(
        OutputError, match=r"throughput\.json is not what a benchmark wrote .*run `make bench`\."
    ):
        throughput_text(path)

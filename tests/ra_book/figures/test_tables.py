"""Tables say what the data say, sorted, with units and signs, and what was not measured."""

import json

import drawn
import numpy as np
import pandas as pd
import pytest
from drawn import JUDGES, MODES, PIXELS, make_accuracy, make_agreement, make_bd, make_paired, make_rates

from ra_book import figures
from ra_book.figures import measured, tables
from ra_core.errors import ParameterError

ACCURACY = make_accuracy()
PAIRED = make_paired(ACCURACY)
RATES, BD = make_rates(), make_bd()
FIRST = "bytes at equal accuracy, % [95 % interval]"


def value(mode: str, recognizer: str, column: str = "top1", task: str = "sr") -> float:
    rows = ACCURACY[(ACCURACY["task"] == task) & (ACCURACY["mode"] == mode)]
    return rows.loc[rows["recognizer"] == recognizer, column].item()


def read_markdown(text: str) -> list[list[str]]:
    """Return the cells of a pipe table, its second line left out."""
    lines = [line.replace("\\|", "\0").strip("| \n").split(" | ") for line in text.splitlines()]
    assert all(cell in (":--", "--:") for cell in lines[1])
    return [[cell.replace("\0", "|") for cell in line] for i, line in enumerate(lines) if i != 1]


def test_markdown_round_trip():
    table = pd.DataFrame({"mode": ["RA", "a|b"], "top-1 in %": ["49.0 [46.8, 51.2]", "–"], "n": [3, 4]}).set_index(
        "mode"
    )
    assert read_markdown(figures.to_markdown(table)) == [
        ["mode", "top-1 in %", "n"], ["RA", "49.0 [46.8, 51.2]", "3"], ["a|b", "–", "4"]
    ]  # fmt: skip


def test_accuracy_table_gives_top1_interval_psnr_and_ssim():
    table = figures.accuracy_table(ACCURACY, "sr")
    recognizers = ["resnet20 (source)", "vgg8 (unseen)", "mobilenet (unseen)"]
    assert list(table.index) == [*recognizers, "PSNR in dB", "SSIM"]
    assert list(table.columns) == [figures.look(mode).label for mode in MODES]
    top1, low, high = (value("ra", "vgg8", column) for column in ("top1", "top1_low", "top1_high"))
    assert table.loc["vgg8 (unseen)", "RA"] == f"{top1:.1f} [{low:.1f}, {high:.1f}]"
    assert table.loc["PSNR in dB", "clean (oracle)"] == "–"
    assert table.loc["PSNR in dB", "RA"] == f"{value('ra', 'vgg8', 'psnr'):.2f}"
    assert table.loc["SSIM", "RA"] == "0.625"


def test_paired_and_headline_tables_give_gains_with_sign_and_interval():
    worse = PAIRED.assign(difference=-PAIRED["difference"], low=-PAIRED["high"], high=-PAIRED["low"])
    assert figures.paired_table(PAIRED, "sr").loc["resnet20 (source)", "RA"] == "+12.0 [+10.5, +14.5]"
    assert figures.paired_table(worse, "sr").loc["vgg8 (unseen)", "RA"] == "−12.0 [−14.5, −10.5]"
    table = figures.headline_table(ACCURACY, PAIRED)
    row = table.loc[("Denoising", "RA unsupervised")]
    assert row["source (resnet20): gain on plain in points"] == "+36.0 [+34.5, +38.5]"
    unseen = (value("ra_unsupervised", "vgg8", task="dn") + value("ra_unsupervised", "mobilenet", task="dn")) / 2
    assert row["mean of 2 unseen: top-1 in %"] == f"{unseen:.1f}"
    assert table.loc[("Denoising", "plain"), "source (resnet20): gain on plain in points"] == "–"
    assert list(table.index.get_level_values(0).unique()) == ["Super-resolution", "Denoising", "JPEG restoration"]


def test_paper_table_keeps_the_two_data_sets_apart():
    table = figures.paper_table(ACCURACY, drawn.make_published())
    titles = [f"{name}, {role}" for name in ("CIFAR-10", "ImageNet (published)") for role in ("source", "unseen")]
    assert [column.split(":")[0] for column in table.columns] == titles
    top1 = f"{value('ra', 'resnet20'):.1f} (+12.0)"
    assert list(table.loc[("Super-resolution", "RA")])[::2] == [top1, "59.5 (+9.5)"]
    assert table.loc[("Super-resolution", "RA unsupervised")].iloc[2] == "49.0 (−1.0)"
    assert table.loc[("Super-resolution", "plain")].iloc[3] == "50.0"


def test_status_table_sorts_the_runs_and_marks_changes():
    run = {
        "task": "jpeg", "mode": "ra", "seed": 1, "git": {"commit": "abcdef0123456789", "dirty": True},
        "device": "cpu",
        "wall_seconds": 123.4, "peak_memory_mb": 1234.5, "images_per_s": 400.2,
        "parameters": {"processor": 24_000, "transformer": 1000}, "metrics": {"psnr": 21.404, "top1": 49.04},
        "started": "2025-01-01T10:00:00",
    }  # fmt: skip
    runs = [run, {**run, "mode": "plain"}, {"task": "sr", "mode": "ra", "seed": 0}, {**run, "seed": 0, "git": {}}]
    table = figures.status_table(json.loads(json.dumps(runs)))
    assert list(table.index) == [("sr", "ra", "0"), ("jpeg", "plain", "1"), ("jpeg", "ra", "0"), ("jpeg", "ra", "1")]
    assert list(table.loc[("jpeg", "ra", "1")]) == [
        "cpu", "25,000", "123.4", "1,234", "400", "21.40", "49.0", "abcdef0+", "2025-01-01 10:00"
    ]  # fmt: skip
    assert set(table.loc[("sr", "ra", "0")]) == {"–"}
    alike = figures.status_table([run, {**run, "mode": "plain"}])  # from one commit and device, which the page names
    assert not {"device", "commit"} & set(alike) and {"device", "commit"} < set(table)


def test_a_notebook_shows_tables_whole_the_same_every_time_and_beneath_their_units():
    records = [{"name": f"row {number}", "value in %": str(number)} for number in range(200)]
    rows = pd.DataFrame(records).rename(columns={"value in %": "value"})
    shown, again = (tables.row_table(rows, {"name": "name"}, {"value in %": "value"})._repr_html_() for _ in range(2))
    assert all(f"row {number}<" in shown for number in range(200))
    assert shown == again and "value in %" in shown


def test_bd_table_is_sorted_and_says_where_there_is_no_overlap():
    numbers = {"bd": np.nan, "low": np.nan, "high": np.nan, "no_overlap": 0.8}
    lost, wide = ((BD["method"] == "npp") & (BD["recognizer"] == name) for name in ("net", "wide"))
    bd = BD.assign(**{key: BD[key].mask(lost, value) for key, value in numbers.items()})
    bd = bd.assign(low=bd["low"].mask(wide), high=bd["high"].mask(wide))
    table = figures.bd_table(bd)
    assert table.index.names == ["codec", "recognizer", "method"]
    assert list(table.columns) == [FIRST, "compared over, %", "draws without overlap, %"]
    assert list(table.index.get_level_values("codec").unique()) == ["JPEG", "WebP", "HEIC"]
    source, unseen = table.loc["JPEG"].loc["net (source)"], table.loc["JPEG"].loc["wide (unseen)"]
    assert list(source.index) == ["Gaussian filter", "NPP-QA", "NPP, one a quality"]
    assert list(source[FIRST]) == ["−13.0 [−18.0, −9.0]", "+3.0 [−2.0, +7.0]", "no overlap"]
    assert list(source.loc["NPP, one a quality"]) == ["no overlap", "–", "80.0"]
    assert list(source.loc["NPP-QA"]) == ["+3.0 [−2.0, +7.0]", "top-1 70.0 to 79.5", "1.0"]
    assert list(unseen.index) == ["Gaussian filter", "NPP, one a quality", "NPP-QA"]
    assert unseen.loc["NPP, one a quality", FIRST] == "−9.0 [not known]"
    two = figures.bd_table(pd.concat([bd, bd.assign(dataset="scenes", metric="map50")]))
    assert len(two) == 2 * len(table)
    assert two.loc[("scenes", "JPEG", "net (source)", "NPP-QA"), "compared over, %"] == "mAP@0.5 70.0 to 79.5"


def test_seeds_of_a_bd_rate_are_averaged_and_one_without_overlap_is_not_hidden():
    bd = make_bd({"jpeg": ["codec", "npp_qa"]}, {"net": "source"}, seeds=2)
    assert figures.bd_table(bd).iloc[0, 0] == "+1.0 [−24.9, +26.7]"  # seeds at +3 and −1: 12.7 · 2.8 / √2 = 25.4
    bd.loc[1, "bd"] = np.nan
    assert figures.bd_table(bd).iloc[0, 0] == "no overlap"


def test_rate_table_shows_bytes_bits_and_every_recognizer():
    table = figures.rate_table(RATES[RATES["codec"] == "jpeg"])
    assert list(table.columns) == [
        "bytes a picture", "bits a pixel", "net (source): top-1, % [95 % interval]",
        "wide (unseen): top-1, % [95 % interval]", "PSNR, dB",
    ]  # fmt: skip
    assert len(table) == 4 * 3
    expected = ["1,095", "0.100", "62.0 [59.0, 64.5]", "59.0 [56.0, 61.5]", "30.0"]
    assert list(table.loc[("codec alone", "10")]) == expected
    assert table.loc[("NPP-QA", "10")].iloc[2] == "63.0 [49.9, 75.9]"  # the mean of two seeds
    with pytest.raises(ParameterError, match="jpeg, webp, heic"):
        figures.rate_table(RATES)


def test_one_for_all_stands_beside_its_own_wherever_both_were_measured():
    rates = make_rates({"jpeg": ["codec", "npp_qa", "npp"], "heic": ["codec", "npp_qa"]}, seeds=1)
    rates = rates[(rates.method != "npp") | (rates.quality != 50)]
    rates.loc[rates.method == "npp", "value"] -= 2.25
    table = figures.one_for_all_table(rates)
    assert len(table) == 2 * len(JUDGES)
    assert {place[:2] for place in table.index} == {(figures.codec_title("jpeg"), q) for q in ("10", "75")}
    assert set(table["difference, points"]) == {"+2.2"}
    first = table.iloc[0]
    assert first["one for all: %"] == "62.0" and first["its own: %"] == "59.8"
    assert first["one for all: bytes"] == f"{0.07 * PIXELS / 8:.0f}"
    assert len(figures.one_for_all_table(rates[rates.method != "npp"])) == 0


def test_transfer_table_marks_what_was_seen_and_says_where_there_is_no_overlap():
    between = BD[BD["method"] == "npp_qa"].assign(method="npp_qa at unseen qualities", bd=-7.0, low=-9.0, high=-5.0)
    bd = pd.concat([BD.assign(bd=BD["bd"].mask(BD["method"] == "npp")), between[between["codec"] == "jpeg"]])
    bd = bd[~((bd["codec"] == "heic") & (bd["recognizer"] == "wide"))]
    table = figures.transfer_table(bd)
    assert list(table.columns) == ["net (source)", "wide (unseen)"]
    assert list(table.index) == [
        ("JPEG (trained for)", "NPP-QA"), ("JPEG (trained for)", "NPP, one a quality"),
        ("JPEG (trained for)", "Gaussian filter"), ("JPEG (trained for)", "NPP-QA, unseen qualities"),
        ("WebP (unseen)", "NPP-QA for JPEG"), ("WebP (unseen)", "NPP-QA for HEIC"),
        ("HEIC (trained for)", "NPP-QA"),
    ]  # fmt: skip
    assert list(table.iloc[0]) == ["+3.0 [−2.0, +7.0]", "−1.0 [−6.0, +3.0]"]
    assert list(table.iloc[1]) == ["no overlap", "no overlap"]
    assert list(table.iloc[3]) == ["−7.0 [−9.0, −5.0]"] * 2
    assert table.iloc[6, 1] == "not measured"
    assert len(figures.bd_table(bd)) == len(bd) and figures.transfer_heatmap(bd)  # which leaves them out


def test_the_table_at_the_same_bytes_says_where_there_is_no_overlap():
    table = figures.same_bytes_table(drawn.make_same_bytes())
    assert list(table.columns) == ["codec alone, top-1 %", "NPP-QA, %", "RA after, %", "both ends, %"]
    assert list(table.loc[("net (source)", "1,000")]) == [
        "70.0", "71.0 (+1.0 [−1.0, +2.0])", "75.0 (+5.0 [+3.0, +6.0])", "79.0 (+9.0 [+7.0, +10.0])",
    ]  # fmt: skip
    assert list(table.loc[("wide (unseen)", "2,000")])[1::2] == ["no overlap", "82.0 (+12.0 [not known])"]
    with pytest.raises(ParameterError, match="gain"):
        figures.same_bytes_table(drawn.make_same_bytes().drop(columns="gain"))


SIDECAR = {"name": "net", "parameters": 272_474, "test_top1": 89.5, "test_pictures": 10_000, "train_pictures": 50_000}
SIDECAR |= {"recipe": {"epochs": 14}, "seconds": 901}
FILTERS = pd.DataFrame(
    [("gaussian", "sigma 1", -3.25, False), ("gaussian", "sigma 2", -9.0, True), ("bilateral", "x", np.nan, True)],
    columns=["filter", "setting", "bd", "chosen"],
)
HEADERS = pd.DataFrame({"quality": (50, 5), "bytes_mean": (2000.0, 800.4), "payload_mean": (1600.0, 400.4)})
COST = pd.DataFrame(
    [("NPP", "before", 9_422_235, 186_500.4, 812.345, 296, 224, 2), ("jpeg", "encode", np.nan, np.nan, 0.25, 8, 8, 1)],
    columns=["network", "use", "parameters", "macs_per_pixel", "ms_per_picture", "width", "height", "threads"],
)
HELD_OUT = {"pictures": 24, "fingerprint": "x", "bpp": 0.1504, "bpp_y": 0.1391, "bpp_z": 0.0113, "psnr": 30.27}


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (figures.recognizer_table([SIDECAR, {"name": "other", "parameters": 1000}]), {
            "net": ["272,474", "89.50", "10,000", "50,000", "14", "901"], "other": ["1,000", *"–––––"],
        }),
        (figures.filter_table(FILTERS), {
            ("Gaussian filter", "sigma 1"): ["−3.2", ""], ("Gaussian filter", "sigma 2"): ["−9.0", "yes"],
            ("bilateral filter", "x"): ["–", "yes"],
        }),
        (figures.header_table(HEADERS.assign(header_mean=400.0)), {
            "5": ["800", "400", "400", "50.0"], "50": ["2,000", "400", "1,600", "20.0"],
        }),
        (figures.cost_table(COST), {
            ("NPP", "before"): ["9,422,235", "186,500", "812.3", "296 × 224", "2"],
            ("jpeg", "encode"): ["–", "–", "0.2", "8 × 8", "1"],
        }),
        (figures.proxy_table({"hyper-64": {"held_out": {"scenes": HELD_OUT, "cells": HELD_OUT}}}), {
            ("hyper-64", f"{name} (24)"): ["0.150", "0.139", "0.011", "30.3"] for name in ("scenes", "cells")
        }),
        (figures.agreement_table(make_agreement()), {
            ("Solar cells (40)", "BlockDCT", "JPEG", "10"): ["0.95", "1.04", "38.0", "–"],
            ("Solar cells (40)", "BlockDCT", "JPEG", "75"): ["0.99", "0.97", "41.3", "0.84 [0.80, 0.88]"],
            ("Solar cells (40)", "Hyperprior", "HEIC", "32"): ["0.91", "1.25", "33.3", "0.50 [−0.02, 1.00]"],
        }),
    ],
)  # fmt: skip
def test_a_table_has_a_line_for_each_row_in_order(table, lines):
    assert dict(zip(table.index, table.to_numpy().tolist(), strict=True)) == lines and list(table.index) == list(lines)


def test_what_rounds_to_zero_has_no_minus():
    assert [measured.signed(value) for value in (-0.04, 0.0, -0.06)] == ["+0.0", "+0.0", "−0.1"]

"""Tables of bytes, headers and transfer show what was measured and say what was not."""

import pandas as pd
import pytest
from drawn import JUDGES, PIXELS, make_bd, make_rates

from ra_book import figures
from ra_core.errors import ParameterError

RATES, BD = make_rates(), make_bd()


def test_rate_table_shows_bytes_bits_and_every_recognizer():
    table = figures.rate_table(RATES[RATES["codec"] == "jpeg"])
    assert list(table.columns) == [
        "bytes a picture", "bits a pixel", "net (source): top-1, % [95 % interval]",
        "wide (unseen): top-1, % [95 % interval]", "PSNR, dB",
    ]  # fmt: skip
    assert len(table) == 4 * 3
    expected = ["1,095", "0.100", "62.0 [59.0, 64.5]", "59.0 [56.0, 61.5]", "30.0"]
    assert list(table.loc[("codec alone", "10")]) == expected
    assert table.loc[("NPP-QA", "10")].iloc[2] == "63.0 [60.0, 65.5]"  # the mean of two seeds
    with pytest.raises(ParameterError, match="rows are of jpeg and heic: show one codec at a time"):
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


def test_filter_table_marks_the_setting_that_is_taken():
    rows = [("gaussian", "sigma 1", -3.25, False), ("gaussian", "sigma 2", -9.0, True)]
    rows += [("bilateral", "sigma 1", float("nan"), True)]
    table = figures.filter_table(pd.DataFrame(rows, columns=["filter", "setting", "bd", "chosen"]))
    assert list(table["bytes at equal accuracy, %"]) == ["−3.2", "−9.0", "–"]
    assert list(table["taken"]) == ["", "yes", "yes"]


def test_header_table_says_what_is_no_picture():
    headers = pd.DataFrame(
        [(50, 2000.0, 400.0, 1600.0), (5, 800.4, 400.0, 400.4)],
        columns=["quality", "bytes_mean", "header_mean", "payload_mean"],
    )
    table = figures.header_table(headers)
    assert list(table.index) == ["5", "50"]
    assert table.to_numpy().tolist() == [["800", "400", "400", "50.0"], ["2,000", "400", "1,600", "20.0"]]


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

"""Rows of tables: exactly the contracted columns, and intervals of the same pictures."""

import boxed
import numpy as np
import pytest
import torch

from ra_core.chain import Chain
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.evaluation import (
    ACCURACY_COLUMNS,
    CLEAN_COLUMNS,
    PAIRED_COLUMNS,
    RATE_COLUMNS,
    Answers,
    evaluate,
    paired,
    table,
    tidy,
)
from ra_core.judges import Classified, Detected
from ra_core.metrics import paired_difference, proportion_interval

KEYS = {"profile": "quick", "task": "sr", "mode": "ra", "seed": 3}


def made_answers(**right: list[int]) -> Answers:
    """Return answers to pictures of 4 x 8 pixels, the given ones right at first and all at fifth."""
    verdicts = {}
    for name, flags in right.items():
        top1 = torch.tensor(flags).bool()
        verdicts[name] = Classified(top1, torch.ones_like(top1), top1.long(), top1.float())
    values = torch.tensor([20.0, 30.0, 25.0, 21.0]), torch.tensor([0.5, 0.7, 0.6, 0.2])
    return Answers(*values, torch.tensor([8, 16, 8, 8]), torch.full((4,), 32), verdicts)


def test_accuracy_rows_hold_exactly_the_contract():
    assert ",".join(ACCURACY_COLUMNS) == (
        "profile,task,mode,seed,recognizer,role,n,top1,top1_low,top1_high,top5,psnr,ssim"
    )
    answers = made_answers(mine=[1, 1, 0, 1], other=[0, 0, 0, 1])
    rows = tidy(answers, "mine", **KEYS)
    assert table(rows, ACCURACY_COLUMNS).to_csv(index=False).splitlines() == [
        ",".join(ACCURACY_COLUMNS),
        "quick,sr,ra,3,mine,source,4,75.0,30.0642,95.4413,100.0,24.0,0.5",
        "quick,sr,ra,3,other,unseen,4,25.0,4.5587,69.9358,100.0,24.0,0.5",
    ]
    assert (rows[0]["top1"], rows[0]["top1_low"], rows[0]["top1_high"]) == proportion_interval(
        answers.verdicts["mine"].top1
    )
    assert set(CLEAN_COLUMNS) - set(ACCURACY_COLUMNS) == {"family", "black_box"}


def test_rate_rows_hold_exactly_the_contract():
    keys = {"profile": "quick", "dataset": "cells", "task": "classification", "method": "npp", "codec": "jpeg"}
    rows = tidy(made_answers(mine=[1, 1, 0, 1]), "mine", **keys, quality=40.0, seed=0)
    assert table(rows, RATE_COLUMNS).to_csv(index=False).splitlines() == [
        "profile,dataset,task,method,codec,quality,seed,recognizer,role,n,bpp,bytes_mean,metric,value,value_low,"
        "value_high,psnr",
        "quick,cells,classification,npp,jpeg,40.0,0,mine,source,4,2.5,10.0,top1,75.0,30.0642,95.4413,24.0",
    ]


def test_bits_a_pixel_are_those_of_each_file_over_the_pixels_of_its_own_picture():
    answers = made_answers(mine=[1, 1, 0, 1])
    answers.pixels = torch.tensor([8, 16, 32, 64])
    assert answers.bpp == pytest.approx((8 + 8 + 2 + 1) / 4)
    assert answers.summary("mine") == pytest.approx({"bpp": 4.75, "psnr": 24, "ssim": 0.5, "top1": 75})
    pictures, codec = boxed.mixed(5), load_codec("jpeg")
    sizes = [len(codec.encode([pictures.picture(i)], 30)[0]) for i in range(5)]
    found = evaluate(Chain(Coded(codec, 30)), {}, pictures, 2)
    areas = [64**2, 50**2, 64**2, 64**2, 50**2]
    assert found.pixels.tolist() == areas
    assert found.bpp == pytest.approx(np.mean([8 * size / area for size, area in zip(sizes, areas, strict=True)]))


def test_paired_rows_hold_exactly_the_contract():
    assert ",".join(PAIRED_COLUMNS) == "profile,task,mode,seed,recognizer,role,n,difference,low,high"
    ra = made_answers(mine=[1, 1, 0, 1], other=[0, 1, 0, 0])
    plain = made_answers(mine=[0, 1, 0, 0], other=[1, 1, 0, 0])
    rows = paired(ra, plain, "other", **KEYS)
    assert all(set(row) == set(PAIRED_COLUMNS) for row in rows)
    assert list(table(rows, PAIRED_COLUMNS).columns) == PAIRED_COLUMNS
    found = {row["recognizer"]: row for row in rows}
    assert found["mine"]["difference"] == 50 and found["other"]["difference"] == -25
    assert found["mine"]["role"] == "unseen" and found["other"]["role"] == "source"
    assert {row["n"] for row in rows} == {4} and {row["mode"] for row in rows} == {"ra"}
    for name, row in found.items():
        pair = (answers.verdicts[name].top1 for answers in (ra, plain))
        assert (row["difference"], row["low"], row["high"]) == paired_difference(*pair)
        assert row["low"] < row["difference"] < row["high"]


def test_a_detector_s_rows_are_of_its_precision_and_its_gain_is_paired():
    pictures = boxed.pictures(12)
    good = evaluate(Chain(Coded(load_codec("jpeg"), 30)), {"bright": boxed.Bright()}, pictures, batch=5)
    targets = pictures.all_targets()
    bad = [one | {"boxes": one["boxes"] + 500 * (number % 4 == 0)} for number, one in enumerate(targets)]
    bad = Detected([one | {"scores": torch.ones(1)} for one in bad], targets)
    row = tidy(good, "bright")[0]
    assert (row["metric"], row["value"]) == ("map50", pytest.approx(100)) and np.isnan(row["top5"])
    assert bad.value() < 90 and bad.interval()[1] < bad.value() < bad.interval()[2] < 100
    difference, low, high = good.verdicts["bright"].difference(bad)
    assert difference == pytest.approx(100 - bad.value()) and 0 < low < difference < high
    assert bad.drawn().shape == (1000,) and bad.difference(bad) == (0, 0, 0)


def test_the_paired_interval_is_of_the_same_pictures():
    """The same two accuracies say more when the answers differ on few pictures."""

    def long_answers(flags):
        answers = made_answers(it=flags)
        answers.psnr = torch.zeros(len(flags))
        return answers

    right, shifted = [1, 1, 0, 0] * 25, [0, 0, 1, 1] * 25
    better = [1, 1, 1, 0, *right[4:]]

    def width(a, b):
        row = paired(long_answers(a), long_answers(b), "it", **KEYS)[0]
        return row["high"] - row["low"], row["difference"]

    assert width(better, right)[1] == width(better, shifted)[1] == 1
    assert width(better, right)[0] < width(better, shifted)[0] / 3


def test_a_table_without_rows_keeps_its_columns():
    assert list(table([], PAIRED_COLUMNS).columns) == PAIRED_COLUMNS and len(table([], PAIRED_COLUMNS)) == 0

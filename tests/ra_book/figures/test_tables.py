"""Tables say what the data say, sorted, with units and signs."""

import json

import pandas as pd
from drawn import MODES, make_accuracy, make_paired, make_published

from ra_book import figures
from ra_book.figures import rows

ACCURACY = make_accuracy()


PAIRED = make_paired(ACCURACY)


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
    for table in (figures.accuracy_table(ACCURACY, "sr"), figures.headline_table(ACCURACY, PAIRED)):
        header, *lines = read_markdown(figures.to_markdown(table))
        assert header == [*table.index.names, *table.columns]
        assert lines == table.reset_index().to_numpy().tolist()


def test_accuracy_table_gives_top1_interval_psnr_and_ssim():
    table = figures.accuracy_table(ACCURACY, "sr")
    assert list(table.columns) == [
        "resnet20 (source), top-1 in %", "vgg8 (unseen), top-1 in %", "mobilenet (unseen), top-1 in %",
        "PSNR in dB", "SSIM",
    ]  # fmt: skip
    assert list(table.index) == [figures.look(mode).label for mode in MODES]
    top1, low, high = (value("ra", "vgg8", column) for column in ("top1", "top1_low", "top1_high"))
    assert table.loc["RA", "vgg8 (unseen), top-1 in %"] == f"{top1:.1f} [{low:.1f}, {high:.1f}]"
    assert table.loc["clean (oracle)", "PSNR in dB"] == "–"
    assert table.loc["RA", "PSNR in dB"] == f"{value('ra', 'vgg8', 'psnr'):.2f}"
    assert table.loc["RA", "SSIM"] == "0.625"


def test_paired_and_headline_tables_give_gains_with_sign_and_interval():
    worse = PAIRED.assign(difference=-PAIRED["difference"], low=-PAIRED["high"], high=-PAIRED["low"])
    assert figures.paired_table(PAIRED, "sr").loc["RA", "resnet20 (source), points"] == "+12.0 [+10.5, +14.5]"
    assert figures.paired_table(worse, "sr").loc["RA", "vgg8 (unseen), points"] == "−12.0 [−14.5, −10.5]"
    table = figures.headline_table(ACCURACY, PAIRED)
    row = table.loc[("Denoising", "RA unsupervised")]
    assert row["source (resnet20): gain on plain in points"] == "+36.0 [+34.5, +38.5]"
    unseen = (value("ra_unsupervised", "vgg8", task="dn") + value("ra_unsupervised", "mobilenet", task="dn")) / 2
    assert row["mean of 2 unseen: top-1 in %"] == f"{unseen:.1f}"
    assert table.loc[("Denoising", "plain"), "source (resnet20): gain on plain in points"] == "–"
    assert list(table.index.get_level_values(0).unique()) == ["Super-resolution", "Denoising", "JPEG restoration"]


def test_paper_table_keeps_the_two_data_sets_apart():
    table = figures.paper_table(ACCURACY, make_published())
    titles = [f"{name}, {role}" for name in ("CIFAR-10", "ImageNet (published)") for role in ("source", "unseen")]
    assert [column.split(":")[0] for column in table.columns] == titles
    top1 = f"{value('ra', 'resnet20'):.1f} (+12.0)"
    assert list(table.loc[("Super-resolution", "RA")])[::2] == [top1, "59.5 (+9.5)"]
    assert table.loc[("Super-resolution", "RA unsupervised")].iloc[2] == "49.0 (−1.0)"
    assert table.loc[("Super-resolution", "plain")].iloc[3] == "50.0"


def test_recognizer_table_shows_what_is_known():
    sidecar = {
        "name": "net", "parameters": 272_474, "test_top1": 89.5, "test_pictures": 10_000,
        "train_pictures": 50_000,
        "recipe": {"epochs": 14}, "seconds": 901,
    }  # fmt: skip
    table = figures.recognizer_table([sidecar, {"name": "other", "parameters": 1000}])
    assert list(table.loc["net"]) == ["272,474", "89.50", "10,000", "50,000", "14", "901"]
    assert list(table.loc["other"]) == ["1,000", *["–"] * 5]


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


def test_what_rounds_to_zero_has_no_minus():
    assert [rows.signed(value) for value in (-0.04, 0.0, -0.06)] == ["+0.0", "+0.0", f"{rows.MINUS}0.1"]


def test_long_tables_are_shown_whole():
    records = [{"name": f"row {number}", "value": str(number)} for number in range(200)]
    shown = figures.tables.records_table(records, ["name"])._repr_html_()
    assert all(f"row {number}<" in shown for number in range(200))

"""Pages on what is carried along say what `results/` holds, and nothing else."""

import pytest
from drawn import make_accuracy, make_bd, make_paired, make_same_bytes, points

from ra_book import carried, figures

DETECTORS = {"one": "unseen", "other": "unseen"}


def make(gains: dict[tuple[str, str], tuple[float, float, float]]):
    """Rows as the evaluation writes them of detectors, with some gains of `ra` as wanted."""
    modes = ["oracle", "unprocessed", "plain", "ra"]
    accuracy = make_accuracy(("dn", "sr"), modes, DETECTORS).assign(top5=float("nan"))
    paired = make_paired(accuracy)
    for (task, judge), numbers in gains.items():
        here = (paired["task"] == task) & (paired["recognizer"] == judge)
        paired.loc[here, ["difference", "low", "high"]] = numbers
    return accuracy, paired


def test_a_table_has_a_line_for_each_task_and_detector_and_their_mean():
    accuracy, paired = make({("sr", "one"): (4.0, 1.0, 6.0), ("sr", "other"): (1.0, -2.0, 3.0)})
    table = figures.transferred_table(accuracy, paired)
    tasks, judges = ("Super-resolution", "Denoising"), ("one", "other", "mean of them")
    assert list(table.index) == [(task, judge) for task in tasks for judge in judges]
    assert list(table.columns) == [
        *(f"{figures.look(mode).label}, mAP@0.5 in %" for mode in ("oracle", "unprocessed", "plain", "ra")),
        "gain of RA on plain, points",
    ]
    gains = table["gain of RA on plain, points"]
    assert gains["Super-resolution", "one"] == "+4.0 [+1.0, +6.0]"
    assert gains["Super-resolution", "mean of them"] == "+2.5 [\N{MINUS SIGN}0.5, +4.5]"
    [row] = accuracy.query("task == 'dn' and mode == 'ra' and recognizer == 'other'").itertuples()
    assert table.loc[("Denoising", "other"), "RA, mAP@0.5 in %"].startswith(f"{row.top1:.1f} [{row.top1_low:.1f}, ")


def test_the_page_counts_what_is_shown(tmp_path):
    for about in carried.TRANSFERRED:
        assert carried.transferred_text(tmp_path, about).startswith("Not measured")
    accuracy, paired = make({
        ("sr", "one"): (4.0, 1.0, 6.0), ("sr", "other"): (1.0, -2.0, 3.0),
        ("dn", "one"): (-3.0, -5.0, -1.0), ("dn", "other"): (-1.0, -2.0, 1.0),
    })  # fmt: skip
    folder = tmp_path / "results" / "photos_detection_voc"
    folder.mkdir(parents=True)
    accuracy.to_csv(folder / "accuracy.csv", index=False)
    paired.to_csv(folder / "paired.csv", index=False)
    text = carried.transferred_text(tmp_path, "detection")
    assert "Pascal VOC, 2,000 pictures" in text and "COCO" not in text
    assert "`RA` is above `plain` in 2 of 4 comparisons, with the whole interval in 1" in text
    assert "with the whole interval below it in 1." in text and "+4.0 [+1.0, +6.0]" in text


def test_bytes_of_photographs_stand_by_recognizer_and_method(tmp_path):
    about = "before_a_codec"
    assert carried.coded_text(tmp_path, about).startswith("Not measured") and carried.coded_figure(tmp_path) is None
    folder = tmp_path / "results" / "photos_coding"
    folder.mkdir(parents=True)
    bd, same = make_bd(), make_same_bytes().assign(codec="jpeg-optimized")
    bd.to_csv(folder / "bd_rate.csv", index=False)
    same.to_csv(folder / "same_bytes.csv", index=False)
    parts = dict(zip(bd["codec"].unique(), carried.coded_text(tmp_path, about).split("**")[2::2], strict=True))
    for row in bd.itertuples():
        lines = parts[row.codec].splitlines()
        titles, [found] = lines[3].split(" | "), [line for line in lines if f" {row.recognizer} (" in line]
        said = f"{row.bd:+.1f} [{row.low:+.1f}, {row.high:+.1f}]".replace("-", "\N{MINUS SIGN}")
        [place] = [at for at, title in enumerate(titles) if title.strip(" |") == figures.look(row.method).label]
        assert found.split(" | ")[place].strip(" |") == said
    assert carried.coded_figure(tmp_path).alt.startswith("Gain of top-1")


@pytest.mark.parametrize("about", carried.CLASSES)
def test_gains_stand_by_the_classes_that_training_saw(tmp_path, about):
    assert carried.classes_text(tmp_path, about).startswith("Not measured")
    assert carried.classes_figure(about, tmp_path) is None
    for gain, ((half, _), name) in enumerate(carried.CLASSES[about].items(), start=1):
        rows = make_paired(make_accuracy(("sr",), ["plain", "ra"], {f"vgg8_{half}": "unseen"}))
        (tmp_path / "results" / name).mkdir(parents=True)
        rows.assign(difference=gain, low=gain - 1, high=gain + 1).to_csv(
            tmp_path / "results" / name / "paired.csv", index=False
        )
    text = carried.classes_text(tmp_path, about)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    saw = [seen for half, seen in carried.CLASSES[about] if half == "even"]
    assert lines[0] == ["judged on", "judge", *(f"RA, saw {seen}" for seen in saw)]
    assert [line[:2] for line in lines[2:]] == [["the even classes", "vgg8"], ["the odd classes", "vgg8"]]
    assert [cell.split()[0] for line in lines[2:] for cell in line[2:]] == [f"+{gain}.0" for gain in range(1, 7)]
    figure = carried.classes_figure(about, tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["judged on the even classes", "judged on the odd classes"]
    for axes, first in zip(figure.axes, (1, 4), strict=True):
        found = sorted(points(axes)[figures.look("ra").colour, True], key=lambda point: point[1])
        assert [x for x, *_ in found] == [first, first + 1, first + 2]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"vgg8, saw {seen}" for seen in saw]
    assert f"RA +2.5 with the same, RA +3.5 with {saw[1]}, RA +4.5 with the others" in figure.alt

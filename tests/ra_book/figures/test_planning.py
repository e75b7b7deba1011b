"""Figures and tables of costs say what the rows say."""

import pandas as pd
import pytest

from ra_book import figures
from ra_book.planning import MACHINES, MEASURED
from ra_core.errors import ParameterError

COSTS = pd.DataFrame(
    [
        {
            "profile": name, "machine": machine, "trainings": 12, "pictures": 1e6, "pmacs": 1.5,
            "training_hours": hours, "evaluation_hours": 0.25, "hours": hours / 2, "images_per_s_low": 3.25,
            "images_per_s_high": 1234.0, "peak_memory_mb": 2500.0, "missing": "",
        }
        for name, hours in (("slow", 480.0), ("fast", 0.01)) for machine in ("cpu", "h100")
    ]
    + [{"profile": "away", "machine": "cpu", "missing": "its pictures are not here."}]
)  # fmt: skip
TRAININGS = pd.DataFrame(
    [("sr", "ra", seed, "cpu (2 threads)", 100, 1800.0, 50.0 + seed, 900.0 + seed, seed == 2) for seed in (0, 1, 2)],
    columns=MEASURED,
).assign(profile="fast")
COMPARED = TRAININGS[:2].assign(predicted_images_per_s=[100.0, 25.5], predicted_peak_memory_mb=1000.0)
SCALING = pd.DataFrame(
    [
        {
            "part": part, "run": "ra", "gpus": gpus, "bottleneck": "disk" if gpus > 1 else "step",
            "images_per_s": 100.0 if gpus == 1 else 400.0, "hours": 3.0 / gpus, "gb_per_s": 0.04,
            "same_batch_images_per_s": 90.0, "resource": resource, "cores": 21.4,
            "compute": 1.0 if gpus == 1 else 0.9, "coding": 0.0, "network": 0.0 if gpus == 1 else 0.1,
            "allows": allows * (1 if resource == "disk" else gpus),
        }
        for part in ("sr", "dn") for gpus in (1, 8) for resource, allows in (("step", 100.0), ("disk", 400.0))
    ]
)  # fmt: skip


def test_planned_costs_are_marked_as_model_measured_or_not_counted():
    found = figures.planned_costs(COSTS, TRAININGS).reset_index()
    assert list(found["profile"]) == ["slow", "slow", "fast", "fast", "fast", "away"]
    assert list(found["from"]) == ["model"] * 4 + ["measured", "not counted"]
    slow, fast, taken = found.iloc[0], found.iloc[2], found.iloc[4]
    assert (slow["trainings together"], slow["side by side"], slow["evaluation"]) == (
        "20 days",
        "10.0 days",
        "15.0 min",
    )
    assert (slow["images/s"], slow["memory, GB"]) == ("3.2–1,234", "2.5")
    assert fast["trainings together"] == "36 s"
    assert (taken["trainings together"], taken["images/s"], taken["runs"]) == ("1.0 h", "50–51", "2")
    assert (found.iloc[5][["runs", "images/s"]] == "–").all()


def test_machines_say_what_is_assumed():
    found = figures.machine_table(MACHINES.values())
    assert found.loc["assumed"].iloc[0].startswith("nothing") and "all but the peaks" in found.loc["assumed"].iloc[1]
    assert "bf16 989.00" in found.loc["10¹² operations/s"].iloc[1]


def test_bars_are_as_long_as_the_hours():
    figure = figures.cost_bars(COSTS)
    (axes,) = figure.axes
    assert sorted(bar.get_width() for bar in axes.patches) == [0.005, 0.005, 240.0, 240.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slow", "fast"]
    assert "slow 10.0 days on cpu" in figure.alt and "fast 18 s on h100" in figure.alt
    with pytest.raises(ParameterError, match="no profile could be counted"):
        figures.cost_bars(COSTS[COSTS["missing"] != ""])


def test_predicted_stands_beside_measured():
    found = figures.compared_trainings(COMPARED)
    assert list(found["predicted / measured"]) == ["2.00", "0.50"] and list(found["memory predicted"]) == ["1,000"] * 2
    figure = figures.compared_rates(COMPARED)
    points = figure.axes[0].lines[0]
    assert list(points.get_xdata()) == [50.0, 51.0] and list(points.get_ydata()) == [100.0, 25.5]
    assert "lies between 0.50 and 2.00" in figure.alt
    empty = figures.compared_rates(COMPARED[:0])
    assert "no training of this profile is finished" in empty.alt
    assert figures.compared_trainings(COMPARED[:0]).empty


def test_a_device_is_said_in_few_words():
    said = ("cpu (x86_64, 2 threads)", "cuda (NVIDIA H100 80GB HBM3)", "mps (arm64, 8 threads)", "cpu")
    rows = pd.concat([COMPARED[:1].assign(device=one) for one in said])
    devices = figures.compared_trainings(rows).index.get_level_values("device")
    assert list(devices) == ["cpu × 2", "NVIDIA H100 80GB HBM3", "mps × 8", "cpu"]


def test_every_profile_has_its_middle_lowest_and_highest_ratio():
    others = COMPARED.assign(profile="other", peak_memory_mb=500.0, predicted_peak_memory_mb=[400.0, 600.0])
    shipped = COMPARED[:1].assign(shipped=True, predicted_images_per_s=1e6)
    found = figures.compared_profiles(pd.concat([others, COMPARED, shipped])).loc["other"]
    assert found["trainings"] == "2"
    assert found["images/s, predicted / measured"] == "1.25 (0.50 to 2.00)"
    assert found["peak memory, predicted / measured"] == "1.00 (0.80 to 1.20)"


def test_lines_are_what_each_resource_allows_and_rings_what_bounds():
    figure = figures.bounds_by_gpus(SCALING, "ra")
    axes = figure.axes[0]
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
    assert drawn["step"] == ([1, 8], [100, 800]) and drawn["disk"] == ([1, 8], [400, 400])
    assert list(axes.lines[-1].get_ydata()) == [100, 400]
    assert "sr on 1 by step (100/s)" in figure.alt and "dn on 8 by disk (400/s)" in figure.alt
    with pytest.raises(ParameterError, match="no training 'plain' to draw; choose one of ra"):
        figures.bounds_by_gpus(SCALING, "plain")


def test_the_table_of_scaling_has_a_row_for_each_training_and_number():
    found = figures.scaling_table(SCALING)
    assert len(found) == 4 and list(found["GPUs"]) == ["1", "8", "1", "8"]
    assert list(found["bounded by"][:2]) == ["step", "disk"] and found["one training"].iloc[0] == "3.0 h"
    assert list(found["waits, of a step"][:2]) == ["–", "sums 10%"]
    assert set(found["cores a GPU needs"]) == {"21"}
    other = figures.scaling_table(SCALING.assign(run="npp_qa-heic"))
    assert set(other.index.get_level_values("training")) == {"npp_qa-heic"}


def test_storage_is_shown_with_two_digits_where_it_is_little():
    found = figures.storage_table({"mine": {"pictures": 143.4, "weights": 0.125}})
    assert list(found.loc["mine"]) == ["143", "0.12"]

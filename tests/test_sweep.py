"""A lambda in the name of a mode: one point of a sweep, from the profile to the figure."""

import drawn
import numpy as np
import pandas as pd
import pytest
from refusal import refusal

from ra_book import figures
from ra_book.figures.look import look, method_rank
from ra_book.report import _plain_name, report_values
from ra_core.errors import ParameterError
from ra_core.params import load_profile
from ra_core.runs import resolve
from ra_core.steps import evaluate_task

SWEEP = ["plain", "ra@0.0001", "ra@0.01", "ra", "ra_unsupervised@0.1"]


def test_a_profile_lists_its_sweep(write):
    settings = write("modes: [plain, ra@1e-4, ra@1e-2]\ntasks: {sr: {weights: {ra: 0.5}}}")
    assert settings.modes == ["plain", "ra@0.0001", "ra@0.01"]
    assert settings.mode("ra@1e-4", "sr").weight == 1e-4  # what a task says of `ra` is not of this
    parameters = resolve(settings, "sr", "ra@1e-2").parameters
    assert (parameters["mode"], parameters["weight"]) == ("ra@0.01", 0.01)


@pytest.mark.parametrize(
    "text", ["modes: [ra@0.1, ra@1e-1]", "modes: [ra@zero]", "tasks: {sr: {weights: {ra@0.1: 0.5}}}"]
)
def test_a_wrong_sweep_is_refused(write, text):
    assert "ra@" in refusal(ParameterError, write, text)


def test_a_sweep_is_named_by_lambda_and_paler_below():
    small, large = look("ra@0.0001"), look("ra@0.01")
    assert (small.label, large.label) == ("RA, λ 0.0001", "RA, λ 0.01")
    assert small.marker == large.marker == look("ra").marker
    brightness = [
        sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (look("ra").colour, large.colour, small.colour)
    ]
    assert brightness == sorted(set(brightness))
    modes = ["ra_unsupervised@0.1", "ra@0.01", "oracle", "ra@0.0001", "plain", "ra"]
    assert sorted(modes, key=method_rank) == ["oracle", "plain", "ra", "ra@0.0001", "ra@0.01", "ra_unsupervised@0.1"]


def swept() -> pd.DataFrame:
    """Rows with two sweeps of two lambdas, every PSNR and top-1 another number."""
    rows = drawn.make_accuracy(tasks=("sr",))
    names = {"ra": "ra@0.0001", "ra_transformer": "ra@0.01", "ra_unsupervised": "ra_unsupervised@0.1"}
    return rows.assign(mode=rows["mode"].replace(names))


def test_the_front_joins_the_lambdas_of_a_mode_in_their_order():
    rows = swept()
    source = figures.accuracy_against_psnr(rows, "sr").axes[0]
    assert {"0.0001", "0.01", "0.1"} <= {text.get_text() for text in source.texts}
    expected = rows[(rows["role"] == "source") & rows["mode"].str.startswith("ra@")].sort_values("psnr")
    joined = [line.get_xydata().tolist() for line in source.lines if len(line.get_xdata()) == 2]
    assert expected[["psnr", "top1"]].to_numpy().tolist() in joined


def test_every_figure_and_table_takes_a_sweep():
    rows = swept()
    paired = drawn.make_paired(drawn.make_accuracy(tasks=("sr",)))
    paired = paired.assign(mode=paired["mode"].replace({"ra_transformer": "ra@0.01"}))
    for draw in (figures.accuracy_heatmap, figures.accuracy_against_psnr):
        assert "λ 0.01" in draw(rows, "sr").alt
    assert "RA, λ 0.01" in figures.accuracy_table(rows, "sr").columns
    assert "λ 0.01" in figures.headline(rows).alt and "λ 0.01" in figures.paired_forest(paired, "sr").alt
    log = drawn.make_log(recognition=True)
    assert "λ 0.01" in figures.training_curves({"ra@0.01": log, "plain": log}, "sr").alt
    answers = drawn.make_answers(versions=("oracle", "unprocessed", "plain", "ra@0.01"))
    assert "RA, λ 0.01" in figures.picture_panel({"ra@0.01": np.zeros((2, 3, 4, 4))}, answers, [0, 1]).alt


def test_a_sweep_trains_and_reports_every_lambda(tiny_project):
    settings = load_profile("tiny", {"modes": SWEEP, "tasks": {"dn": {"training": {"steps": 2}}}})
    accuracy, paired = evaluate_task(settings, "dn")
    assert list(accuracy["mode"].unique()) == ["oracle", "unprocessed", *SWEEP]
    assert list(paired["mode"].unique()) == SWEEP[1:]
    runs = tiny_project / "runs" / "tiny-custom" / "dn"
    weights = {mode: (runs / mode / "seed0" / "processor.safetensors").read_bytes() for mode in SWEEP}
    assert len(set(weights.values())) == len(SWEEP)
    values = report_values(settings, accuracy, paired)
    assert {"dn_ra_source", "dn_ra_0_01_gain", "dn_ra_unsupervised_0_1_psnr"} <= set(values)
    assert _plain_name("ra") == "ra"

import numpy as np
import pandas as pd
import pytest
from tiny import profile

from ra_core.steps import boundaries, boundary_tables, evaluate_task
from ra_core.steps.boundaries import BOUNDARY_COLUMNS, PREDICTION_COLUMNS, predicted, sources_of
from ra_core.steps.common import load_judges

pytestmark = pytest.mark.usefixtures("tiny_project")


def sources(*modes: str):
    return profile(modes=["plain", "ra", *modes])


def test_sources_are_those_of_ra_alone_at_its_usual_lambda():
    settings = sources("ra@tiny:another", "ra@0.1", "ra@tiny:recognizer+tiny:another", "ra_unsupervised")
    assert sources_of(settings, "dn") == {"tiny:recognizer": "ra", "tiny:another": "ra@tiny:another"}


def test_every_pair_of_source_and_recognizer_has_a_row(tiny_project):
    settings = sources("ra@tiny:another")
    _, paired = evaluate_task(settings, "dn")
    tables = boundary_tables(settings, count=5)
    rows = tables["boundaries"]
    folder = tiny_project / "runs" / "tiny"
    assert list(rows) == BOUNDARY_COLUMNS and list(tables["prediction"]) == PREDICTION_COLUMNS
    pd.testing.assert_frame_equal(pd.read_csv(folder / "boundaries.csv"), rows)
    assert (folder / "dn" / "prediction.csv").exists() and tables["prediction"].empty  # of two sources
    pairs = [(a, b) for a in settings.recognizers for b in settings.recognizers]
    assert list(zip(rows["source"], rows["recognizer"], strict=True)) == pairs and set(rows["n"]) == {5}
    own = rows[rows["role"] == "source"]
    assert (own["source"] == own["recognizer"]).all() and len(own) == 2
    assert own["agreement"].tolist() == [100, 100] and own["cosine"].tolist() == pytest.approx([1, 1])
    one, other = rows[rows["role"] == "unseen"]["cosine"]  # it is that of a pair, whichever is the source
    assert one == pytest.approx(other) and abs(one) < 1
    gains = paired[paired["mode"].isin(["ra", "ra@tiny:another"])]["difference"]
    assert rows["gain"].tolist() == pytest.approx(gains.tolist(), abs=1e-3)
    percent = rows[["agreement", "crossed", "crossed_random", "nearer"]]
    assert percent.stack().between(0, 100).all()


def test_a_black_box_has_no_gradient_and_no_row(tiny_project, monkeypatch):
    settings = sources()
    evaluate_task(settings, "dn")

    def load(names, device):
        found = load_judges(names, device)
        found["tiny:another"].black_box = True
        return found

    monkeypatch.setattr(boundaries, "load_judges", load)
    assert boundary_tables(settings, count=2)["boundaries"]["recognizer"].tolist() == ["tiny:recognizer"]


def pair(generator: np.random.Generator, level: float, sign: float) -> dict[str, np.ndarray]:
    """Return the values of a pair whose gain rises, or falls, with what it has in common."""
    noise = {name: generator.normal(0, 0.1, 40) for name in ("agreement", "cosine", "crossed", "gain")}
    return {name: level * (sign if name == "gain" else 1) + values for name, values in noise.items()}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rank_correlation_is_found_with_its_sign(sign):
    generator = np.random.default_rng(0)
    rows = predicted([pair(generator, level, sign) for level in range(6)])
    assert [row["predictor"] for row in rows] == ["agreement", "cosine", "crossed"]
    for row in rows:
        assert row["rho"] == pytest.approx(sign) and row["pairs"] == 6
        assert row["low"] == pytest.approx(sign, abs=0.1) and row["high"] == pytest.approx(sign, abs=0.1)


def test_without_any_relation_the_interval_is_wide_and_holds_zero():
    generator = np.random.default_rng(1)
    pairs = [
        {name: generator.normal(0, 1, 30) for name in ("agreement", "cosine", "crossed", "gain")} for _ in range(8)
    ]
    for row in predicted(pairs):
        assert row["low"] < 0 < row["high"] and row["high"] - row["low"] > 0.5

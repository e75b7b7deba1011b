import math
from dataclasses import replace

import pytest
from refusal import refusal

from ra_core import methods
from ra_core.errors import ParameterError
from ra_core.methods import METHODS, Method, coding, find_method, restoring

NAMES = ["plain", "ra", "ra_transformer", "ra_unsupervised"]


def test_the_rows_are_those_of_the_table():
    rows = [(m.name, m.trains, m.recognition, m.weight, m.adaptive) for m in METHODS.values()]
    assert rows == [
        ("plain", ("processor",), None, 0.0, False),
        ("ra", ("processor",), "labels", 1e-3, False),
        ("ra_transformer", ("processor", "transformer"), "labels", 1e-2, False),
        ("ra_unsupervised", ("processor",), "soft_labels", 1e-2, False),
        ("npp_qa", ("preprocessor",), "data", 0.0, True),
        ("npp", ("preprocessor",), "data", 0.0, False),
        ("npp_mse", ("preprocessor",), None, 0.0, False),
        ("post", ("postprocessor",), "data", 0.0, True),
        ("both", ("preprocessor", "postprocessor"), "data", 0.0, True),
        ("tables", ("tables",), "data", 0.0, True),
        ("npp_tables", ("preprocessor", "tables"), "data", 0.0, True),
    ]
    assert restoring() == NAMES and coding() == ["npp_qa", "npp", "npp_mse", "post", "both", "tables", "npp_tables"]
    assert [name for name in NAMES if METHODS[name].needs_labels] == ["ra", "ra_transformer"]
    assert [name for name in METHODS if METHODS[name].transformer] == ["ra_transformer"]


def test_names_of_the_paper_s_readme_and_code_are_known():
    assert find_method("ra", 0.001) == METHODS["ra"]  # --mode ra --l 0.001
    assert find_method("ra", 0) == METHODS["plain"]  # --mode ra --l 0
    assert find_method("ra_transformer", 0.01) == METHODS["ra_transformer"]  # in its README
    assert find_method("ra_transform", 0.01) == METHODS["ra_transformer"]  # in its code
    assert set(methods.ALIASES) == {"ra_transform"}


def test_lambda_can_be_chosen_and_says_nothing_in_plain():
    assert find_method("ra", 0.5).weight == 0.5 and find_method("ra_transform", 0.5).transformer
    assert find_method("plain", 0.5) == METHODS["plain"] and find_method("ra").weight == 1e-3
    swept = find_method("ra@1e-02")
    assert (swept.name, swept.weight, swept.recognition) == ("ra@0.01", 0.01, "labels")
    assert find_method("ra_transform@0.5") == replace(METHODS["ra_transformer"], name="ra_transformer@0.5", weight=0.5)
    assert find_method("ra_unsupervised@0.5").recognition == "soft_labels"


@pytest.mark.parametrize("name", ["sr", "", "RA", "ra_transformers"])
def test_an_unknown_method_is_refused(name):
    message = refusal(ParameterError, find_method, name)
    assert repr(name) in message and all(known in message for known in NAMES)


@pytest.mark.parametrize("weight", [-1e-3, math.nan, math.inf])
def test_an_impossible_lambda_is_refused(weight):
    assert str(weight) in refusal(ParameterError, find_method, "ra", weight)


@pytest.mark.parametrize("name", ["plain@0.1", "ra@", "ra@x", "ra@0", "ra@-1", "ra@inf", "ra@nan", "npp@0.1"])
def test_a_lambda_that_cannot_be_swept_is_refused(name):
    assert repr(name) in refusal(ParameterError, find_method, name)


def test_a_method_with_a_term_of_its_own_says_whether_it_needs_labels():
    def term(judge, seen, clean, labels):
        return seen.mean((1, 2, 3))

    assert not Method("mine", ("processor",), "mine", "#000000", "o", term, 1.0).needs_labels
    term.needs_labels = True
    assert Method("mine", ("processor",), "mine", "#000000", "o", term, 1.0).needs_labels

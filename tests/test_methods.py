import math
from dataclasses import replace

import pytest
from refusal import refusal

import ra_core.recognition_terms as terms
from ra_core import methods
from ra_core.errors import ParameterError
from ra_core.methods import METHODS, Method, coding, find_method, name_parts, restoring

NAMES = ["plain", "ra", "ra_transformer", "ra_unsupervised"]
OTHERS = ["ra_kl", "ra_logits", "ra_features", "ra_diverse"]


def test_the_rows_are_those_of_the_table():
    rows = [(m.name, m.trains, m.recognition, m.weight, m.adaptive) for m in METHODS.values()]
    assert rows == [
        ("plain", ("processor",), None, 0.0, False),
        ("ra", ("processor",), "labels", 1e-3, False),
        ("ra_transformer", ("processor", "transformer"), "labels", 1e-2, False),
        ("ra_unsupervised", ("processor",), "soft_labels", 1e-2, False),
        ("ra_kl", ("processor",), terms.softened, 1e-3, False),
        ("ra_logits", ("processor",), terms.logits_apart, 1e-3, False),
        ("ra_features", ("processor",), terms.features_apart, 1e-3, False),
        ("ra_diverse", ("processor",), terms.diverse, 1e-3, False),
        ("npp_qa", ("preprocessor",), "data", 0.0, True),
        ("npp", ("preprocessor",), "data", 0.0, False),
        ("npp_mse", ("preprocessor",), None, 0.0, False),
        ("post", ("postprocessor",), "data", 0.0, True),
        ("both", ("preprocessor", "postprocessor"), "data", 0.0, True),
        ("tables", ("tables",), "data", 0.0, True),
        ("npp_tables", ("preprocessor", "tables"), "data", 0.0, True),
    ]
    assert restoring() == [*NAMES, *OTHERS]
    assert coding() == ["npp_qa", "npp", "npp_mse", "post", "both", "tables", "npp_tables"]
    assert [name for name in restoring() if METHODS[name].needs_labels] == ["ra", "ra_transformer", "ra_diverse"]
    assert [name for name in METHODS if METHODS[name].random_numbers] == ["ra_diverse"]
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


@pytest.mark.parametrize("name", ["plain@0.1", "ra@", "ra@0", "ra@-1", "ra@inf", "ra@nan", "npp@0.1"])
def test_a_lambda_that_cannot_be_swept_is_refused(name):
    assert repr(name) in refusal(ParameterError, find_method, name)


@pytest.mark.parametrize(
    ("name", "known", "sources", "weight"),
    [
        ("ra@vgg8", "ra@vgg8", ("vgg8",), 1e-3),
        ("ra_kl@resnet20+vgg8", "ra_kl@resnet20+vgg8", ("resnet20", "vgg8"), 1e-3),
        ("ra_transform@vgg8@1e-1", "ra_transformer@vgg8@0.1", ("vgg8",), 0.1),
        ("ra@mine:judge", "ra@mine:judge", ("mine:judge",), 1e-3),
    ],
)
def test_a_mode_may_name_the_judges_it_learns_from(name, known, sources, weight):
    found = find_method(name)
    assert (found.name, found.sources, found.weight) == (known, sources, weight)
    assert found.source("resnet20") == "+".join(sources) and METHODS["ra"].source("resnet20") == "resnet20"
    assert find_method(known) == found and name_parts(known)[1] == sources
    assert find_method(known, 0.5).weight == (weight if known.count("@") == 2 else 0.5)  # what it states itself stays


@pytest.mark.parametrize("name", ["plain@vgg8", "ra@vgg8+vgg8", "ra@vgg8+", "ra@vgg8@0", "npp@vgg8"])
def test_sources_that_cannot_be_are_refused(name):
    assert repr(name) in refusal(ParameterError, find_method, name)


def test_a_method_with_a_term_of_its_own_says_whether_it_needs_labels():
    def term(judge, seen, clean, labels):
        return seen.mean((1, 2, 3))

    assert not Method("mine", ("processor",), "mine", "#000000", "o", term, 1.0).needs_labels
    term.needs_labels = True
    assert Method("mine", ("processor",), "mine", "#000000", "o", term, 1.0).needs_labels

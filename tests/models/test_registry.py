"""Networks by name: defaults, and what is refused before anything is made."""

import pytest
from refusal import refusal
from torch import nn

from ra_core.errors import ParameterError
from ra_core.models.registry import make_by_name

KINDS = {"Line": nn.Linear, "Pool": nn.AvgPool2d}


def test_sizes_of_none_keep_their_default():
    net = make_by_name(KINDS, "part", "", "Line", {"in_features": 2, "out_features": 3, "bias": None})
    assert (net.in_features, net.out_features, net.bias is not None) == (2, 3, True)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("Lyne", "", "part 'Lyne' is unknown; choose one of Line, Pool."),
        ("Line", "", "part Line has no 'depth'; choose from in_features, out_features, bias, "),
        ("Line", "size ", "part Line has no size 'depth'; choose from in_features, "),
    ],
)
def test_unknown_names_and_sizes_are_refused(name, size, said):
    assert refusal(ParameterError, make_by_name, KINDS, "part", size, name, {"depth": 1}).startswith(said)

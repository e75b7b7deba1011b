import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core import human_yaml


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "+1e-4", "1.e-4", ".1e-3", "0.1e-3", "10e-5", "1.0e-4"])
def test_a_number_with_an_exponent_is_a_number(text):
    assert human_yaml.parse(f"lr: [-1e3, {text}]") == {"lr": [-1000.0, pytest.approx(1e-4)]}


@settings(max_examples=30)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back(number):
    assert human_yaml.parse(repr(number)) == number


@pytest.mark.parametrize("text", ["e4", "1e", "1e-", "1e4e4", "v1e4", "1-e4", "'1e-4'", "010", "08", "1:30"])
def test_other_texts_stay_texts(text):
    assert human_yaml.parse(text) == text.strip("'")


def test_the_rest_is_yaml():
    text = "a: {b: [1, 2.5, yes, ~, x]}\nc: &one {d: 1}\ne: *one\n"
    assert human_yaml.parse(text) == {"a": {"b": [1, 2.5, True, None, "x"]}, "c": {"d": 1}, "e": {"d": 1}}
    assert human_yaml.parse("") is None


@pytest.mark.parametrize("text", ["a: b: c", "[1, 2", "a: *nothing", "\ta: 1", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_yaml_has_a_reason_of_one_line(text):
    with pytest.raises(ValueError, match=r"^.+$"):
        human_yaml.parse(text)


@pytest.mark.parametrize(
    "text", ["seeds: [0]\nseeds: [1]", "{dn: {a: 1}, 'dn': {a: 2}}", "{a: 1, 2: b}", "no: 1", "[1]: 2"]
)
def test_a_key_stands_once_and_is_a_text(text):
    with pytest.raises(ValueError, match=r"^.*(twice|text).*$"):
        human_yaml.parse(text)
    assert human_yaml.parse("x: &a {b: 1, c: 1}\ny: {<<: *a, b: 2}")["y"] == {"b": 2, "c": 1}


def test_a_name_is_what_paths_commands_and_yaml_leave_as_it_is():
    assert all(map(human_yaml.is_name, ("quick", "cifar10_narrow", "v1.2-custom", "Vögel")))
    assert not any(
        map(human_yaml.is_name, ("", "2024", "1e3", "no", "On", "null", "my birds", "a/b", "a'b", "-x", "a{b}"))
    )

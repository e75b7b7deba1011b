"""How a command ends."""

import pytest

from ra_core.errors import ParameterError, exit_status


def test_a_command_ends_with_0_or_after_one_sentence_with_1(capsys):
    def fail() -> None:
        raise ParameterError("give more.")

    assert exit_status(lambda: "done") == 0
    assert exit_status(fail) == 1
    assert capsys.readouterr() == ("", "give more.\n")


def test_errors_of_other_kinds_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 / 0)

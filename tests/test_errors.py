import io

import pytest

from ra_core.errors import ParameterError, exit_status


def test_a_command_ends_with_0_or_after_one_sentence_with_1(capsys):
    def fail(error):
        raise error

    assert exit_status(lambda: "done") == 0
    assert exit_status(lambda: fail(ParameterError("give more."))) == 1
    assert capsys.readouterr() == ("", "give more.\n")
    with pytest.raises(ZeroDivisionError):  # errors of other kinds are not hidden
        exit_status(lambda: fail(ZeroDivisionError()))


def test_a_file_that_cannot_be_used_is_named(tmp_path, capsys):
    assert exit_status(lambda: (tmp_path / ("x" * 300)).exists()) == 1
    said = capsys.readouterr().err
    assert "x" * 300 in said and "too long" in said and said.count("\n") == 1
    with pytest.raises(BrokenPipeError):  # of no file
        exit_status(lambda: (_ for _ in ()).throw(BrokenPipeError(32, "Broken pipe")))


def test_a_name_that_is_no_unicode_is_spelt_out(monkeypatch):
    stream = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(stream, encoding="utf-8", errors="strict", write_through=True))
    assert exit_status(lambda: print("caf\udce9")) == 0
    assert stream.getvalue() == b"caf\\udce9\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("could not create a primitive"), OSError(12, "Cannot allocate memory")]
)
def test_a_command_without_memory_says_so(capsys, error):
    assert exit_status(lambda: (_ for _ in ()).throw(error)) == 1
    said = capsys.readouterr().err
    assert "memory" in said and said.count("\n") == 1

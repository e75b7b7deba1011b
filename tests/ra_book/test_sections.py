"""Tests of ra_book/sections.py."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from ra_book.sections import WHERE_IT_APPLIES, applicable


def heading(text: str, *tags: str):
    return new_markdown_cell(text, metadata={"tags": list(tags)})


def code(*outputs: str):
    return new_code_cell("pass", outputs=[new_output("stream", text=text) for text in outputs])


def sources(cells) -> list[str]:
    return [cell.source for cell in applicable(cells) if cell.cell_type == "markdown"]


def test_a_tagged_section_that_shows_nothing_is_left_out_with_all_its_cells():
    cells = [
        heading("# One"),
        heading("## Two", WHERE_IT_APPLIES),
        code(),
        new_markdown_cell("more"),
        heading("## Three"),
    ]
    assert sources(cells) == ["# One", "## Three"]
    assert len(applicable(cells)) == 2


def test_a_section_that_shows_something_or_has_no_tag_stays():
    cells = [heading("# One", WHERE_IT_APPLIES), code(), code("word"), heading("## Two"), code()]
    assert applicable(cells) == cells


def test_an_empty_section_at_the_end_is_left_out():
    assert sources([heading("# One"), heading("## Two", WHERE_IT_APPLIES), code()]) == ["# One"]
    assert applicable([]) == []

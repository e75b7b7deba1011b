import pytest
import tiny
import torch
from refusal import refusal

from ra_book.book import coding_pages
from ra_core import coding
from ra_core.channels import Coded
from ra_core.codecs import load_codec
from ra_core.coding.both_ends import ENDS, check_both_ends, through_every_chain
from ra_core.errors import ParameterError
from ra_core.params import load_profile

PREPROCESSING = """\
preprocessing:
  cells:
    source: tiny:recognizer
    preprocessor: {width: 2, identity: true}
    postprocessor: {width: 4, blocks: 1, residual: true}
    training: {steps: 1, batch: 5, lr: 1e-3}
    codecs:
      jpeg: {curve: [5, 60], rungs: [[5, 1], [60, 8]], both_ends: true}
      webp: {curve: [10, 60], rungs: [[10, 2]]}
"""


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A profile in a project of its own, with tiny pictures in place of solar cells."""
    tiny.project(tmp_path, tiny.PROFILE + PREPROCESSING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(coding, "load_pictures", lambda dataset, part, count=0: tiny.pictures(6))
    threads = torch.get_num_threads()
    yield load_profile("tiny")
    torch.set_num_threads(threads)


def test_the_same_pictures_go_through_every_chain(profile):
    pictures = tiny.pictures(3)
    found = through_every_chain(profile, "cells", "jpeg", 0, pictures)
    assert list(found) == ["codec", *ENDS]
    decoded, sizes = Coded(load_codec("jpeg"), 60).transmit(pictures.batch(torch.arange(3))[0])
    assert torch.equal(found["codec"][0], decoded) and torch.equal(found["codec"][1], sizes)
    assert torch.equal(found["post"][1], sizes) and not torch.equal(found["post"][0], decoded)
    assert all(seen.shape == (3, 3, 16, 16) and len(sizes) == 3 for seen, sizes in found.values())


def test_a_codec_with_one_end_is_refused(profile):
    said = refusal(ParameterError, check_both_ends, profile, "cells", "webp")
    assert said == (
        "profile tiny trains only one end of codec 'webp' on cells; set both_ends: true for it, or choose one of jpeg."
    )
    assert "trains no preprocessor for codec 'avif'" in refusal(
        ParameterError, through_every_chain, profile, "cells", "avif", 0, None
    )


def test_the_book_has_a_page_where_both_ends_are_asked_for(profile):
    pages = coding_pages(profile.preprocessing)
    assert pages["coding/both-ends-cells-jpeg"] == (
        "09_both_ends-cells-jpeg", "Solar cells: both ends of JPEG",
    )  # fmt: skip
    assert [page for page in pages if "both" in page] == ["coding/both-ends-cells-jpeg"]

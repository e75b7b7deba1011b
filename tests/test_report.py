"""The status page's account of speed. The report's other numbers are proved in test_book.py and test_experiments.py."""

import json

import pytest

from ra_core.errors import OutputError
from ra_core.report import throughput_text

ROW = {"ratio": {"median": 4.0, "low": 3.5, "high": 4.25}, "target": 3.5, "ours": 1.82, "published": 0.45}
FOUND = {
    "made": "2030-01-02T03:04:05+00:00", "git": {"commit": "0123456789", "dirty": True},
    "machine": {"device": "cpu (x86_64, 2 threads)", "cores": 2}, "settings": {"rounds": 3},
    "gpu": {}, "training": {"dn ra": ROW}, "parts": {"SSIM": {"ratio": ROW["ratio"], "target": None}},
}  # fmt: skip


def test_speed_that_was_not_measured_is_said_to_be_so(tmp_path):
    assert "`make bench`" in throughput_text(tmp_path / "none.json")


def test_speed_is_shown_with_spread_target_machine_and_commit(tmp_path):
    path = tmp_path / "throughput.json"
    path.write_text(json.dumps(FOUND))
    text = throughput_text(path)
    assert "| dn ra | 4.00 | 3.50 to 4.25 | 3.5 | 1.82 | 0.45 |" in text.splitlines()
    assert "| SSIM | 4.00 | 3.50 to 4.25 | – | – | – |" in text.splitlines()
    for said in ("cpu (x86_64, 2 threads), 2 cores", "0123456+", "2030-01-02"):
        assert said in text


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps(FOUND | {"parts": {"SSIM": {}}})])
def test_a_file_that_no_benchmark_wrote_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "throughput.json"
    path.write_text(content)
    with pytest.raises(
        OutputError, match=r"throughput\.json is not what a benchmark wrote .*run `make bench`\."
    ):
        throughput_text(path)

"""What the status page says of speed: every number with its spread and where it was measured."""

import json

import pytest

from ra_book.speed import speed_text, spent, spent_text
from ra_core.errors import OutputError

ROW = {"ratio": {"median": 4.0, "low": 3.5, "high": 4.25}, "target": 3.5, "ours": 1.82, "published": 0.45}
MADE = {
    "made": "2030-01-02T03:04:05+00:00", "git": {"commit": "0123456789", "dirty": True},
    "machine": {"device": "cpu (x86_64, 2 threads)", "cores": 2},
}  # fmt: skip
THROUGHPUT = MADE | {
    "settings": {"rounds": 3}, "gpu": {}, "training": {"dn ra": ROW},
    "parts": {"SSIM": {"ratio": ROW["ratio"], "target": None}},
}  # fmt: skip
ON_GPU = ROW | {
    "batch": 160, "published_batch": 40, "ready": {"median": 0.968, "low": 0.96, "high": 0.97}, "ready_target": 0.95,
    "tflops": 151.4, "of_product": 0.21, "of_peak": 0.153,
}  # fmt: skip
SCALING = {"encode": {"1": {"gain": 1.0}, "2": {"gain": 1.875}}}
CODING = MADE | {
    "batch": {"pictures": 8, "side": 256}, "target": 10,
    "codecs": {
        "jpeg": {
            "codec": {"at": 10}, "ratio": {}, "ratio_c": {"median": 41, "low": 30, "high": 50}, "scaling": SCALING,
        },
        "heic": {"codec": {"at": 34}, "ratio_c": ROW["ratio"], "ratio_programs": ROW["ratio"], "scaling": SCALING},
    },
}  # fmt: skip


BOUNDS = MADE | {
    "batch": 64, "card": {"name": "H100", "bytes_s": 3.35e12, "flops": 989e12, "memory": [24e9, 80e9]},
    "steps": {
        "dn": {
            "gflop": 8411.1, "moved_gb": {"convolutions": 29.42, "rectifiers": 21.2, "other": 10.1}, "compute_ms": 8.5,
            "convolutions_ms": 8.78, "others_ms": 20.54, "wide_flops": 0.06, "wide_bytes": 0.02,
            "recognizer_flops": 0.012, "recognizer_bytes": 0.18,
        }
    },
    "memory": {"dn": {"as it is": {"kept_gb": 14.6, "peak_gb": 14.68, "largest_batch": [94, 313]}}},
}  # fmt: skip
JOBS = MADE | {
    "jobs": 100, "whole_s": 615.0, "job_s": {"median": 12.0, "low": 11.0, "high": 15.0},
    "notebook_s": {"median": 7.25, "low": 6.5, "high": 9.0}, "training_s": {"median": 0.5, "low": 0.4, "high": 0.8},
}  # fmt: skip


def precision(**number) -> dict:
    return {"fp32": 71.25, "bf16": 71.75, "seeds_sd": 0.4, "difference": 0.5, "within": False} | number


PRECISION = MADE | {
    "settings": {"profile": "quick", "task": "dn", "seeds": [0, 1, 2]},
    "units": {"top1": "top-1 on the source in points", "top5": "top-5 in points", "psnr": "PSNR in dB"},
    "results": {
        "ra": {
            "top1": precision(low=-0.1, high=1.1), "top5": precision(low=0.1, high=0.9),
            "psnr": precision(bf16=71.25, difference=-1e-9, low=-0.004, high=0, within=True),
        },
    },
}  # fmt: skip


@pytest.fixture
def put(tmp_path):
    def write(kind: str, name: str, content) -> None:
        path = tmp_path / kind / "benchmarks" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


def test_speed_that_was_not_measured_is_said_to_be_so(tmp_path):
    assert "`make bench`" in speed_text(tmp_path)


def test_a_gpu_is_shown_with_what_it_could_do(tmp_path, put):
    put("runs", "throughput", THROUGHPUT)
    assert "GPU" not in speed_text(tmp_path)
    put("runs", "throughput", THROUGHPUT | {"gpu": {"sr ra": ON_GPU, "dn ra": ON_GPU | {"of_peak": None}}})
    text = speed_text(tmp_path)
    assert "| sr ra | 4.00 | 3.50 to 4.25 | 3.5 | 1.82 | 0.45 |" in text
    assert "| sr ra | 160 | 40 | 97% | 95% | 151 | 21% | 15% |" in text
    assert "| dn ra | 160 | 40 | 97% | 95% | 151 | 21% | not known |" in text


def test_speed_is_shown_with_spread_target_machine_and_commit(tmp_path, put):
    put("results", "throughput", THROUGHPUT)
    put("results", "coding", CODING)
    text = speed_text(tmp_path)
    assert "| dn ra | 4.00 | 3.50 to 4.25 | 3.5 | 1.82 | 0.45 |" in text.splitlines()
    assert "| SSIM | 4.00 | 3.50 to 4.25 | – | – | – |" in text.splitlines()
    assert "| jpeg at 10 | 41.00 | 30.00 to 50.00 | 10 | – | 1.88 |" in text.splitlines()
    assert "| heic at 34 | 4.00 | 3.50 to 4.25 | 10 | 4.00 | 1.88 |" in text.splitlines()
    for said in ("cpu (x86_64, 2 threads), 2 cores", "0123456+", "2030-01-02"):
        assert text.count(said) == 2


def test_what_a_gpu_allows_is_shown_as_counted(tmp_path, put):
    put("results", "bounds", BOUNDS)
    rows = speed_text(tmp_path).splitlines()
    assert "| dn ra | 8,411 | 29.4 | 31.3 | 8.5 | 8.8 | 20.5 | 6%, 2% | 1%, 18% |" in rows
    assert "| dn ra, as it is | 14.6 | 14.7 | 94 | 313 |" in rows and "nothing here was timed" in speed_text(tmp_path)


def test_what_a_job_costs_is_shown_part_by_part(tmp_path, put):
    put("results", "jobs", JOBS)
    text = speed_text(tmp_path)
    assert "100 trainings" in text and "took 10.2 minutes: side by side, one was finished every 6.2 seconds" in text
    rows = (
        "a job of Slurm | 12.0 | 11.0 to 15.0",
        "its notebook | 7.2 | 6.5 to 9.0",
        "its training | 0.5 | 0.4 to 0.8",
    )
    assert all(f"| {row} |" in text.splitlines() for row in rows)


def test_what_bf16_changes_is_shown_beside_the_spread_of_seeds(tmp_path, put):
    put("results", "precision-dn", PRECISION)
    text = speed_text(tmp_path)
    rows = (
        "top-1 on the source in points | 71.25 | 0.40 | 71.75 | +0.50 | -0.10 to +1.10 | no, nor told from none |",
        "top-5 in points | 71.25 | 0.40 | 71.75 | +0.50 | +0.10 to +0.90 | no |",
    )
    assert all(f"| ra | {row}" in text.splitlines() for row in rows)
    assert "| 0.40 | 71.25 | +0.00 | +0.00 to +0.00 | yes |" in text
    assert "dn, profile `quick`, over 3 seeds" in text and "2 cores" in text


def test_what_the_reader_measured_takes_the_place_of_what_was_kept(tmp_path, put):
    put("results", "throughput", THROUGHPUT)
    put("runs", "throughput", THROUGHPUT | {"made": "2031-01-01T00:00:00+00:00"})
    put("results", "coding", CODING)
    text = speed_text(tmp_path)
    assert text.count("2031-01-01") == 1 and text.count("2030-01-02") == 1 and text.count("| dn ra |") == 1


@pytest.mark.parametrize("name", ["throughput", "coding", "precision-sr"])
@pytest.mark.parametrize("content", ["", "[]", "{}", THROUGHPUT | {"parts": {"SSIM": {}}, "codecs": {"jpeg": {}}}])
def test_a_file_that_no_benchmark_wrote_is_refused_in_one_sentence(tmp_path, put, name, content):
    put("runs", name, content)
    with pytest.raises(OutputError, match=rf"{name}\.json"):
        speed_text(tmp_path)


def test_what_a_book_took_is_summed_by_notebook(tmp_path):
    for name, seconds in {"03_train-dn-ra": 120, "03_train-dn-plain": 60, "05_report": 60, "12_planning": None}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"metadata": {"papermill": {"duration": seconds}}}))
    rows = [list(row.values()) for row in spent(tmp_path)]
    assert rows == [["03_train", 2, 3, 2, 75], ["05_report", 1, 1, 1, 25]]
    assert spent(tmp_path / "none") == []
    assert spent_text(tmp_path).splitlines()[-2:] == [
        "| `03_train` | 2 | 3.0 | 2.0 | 75 |",
        "| `05_report` | 1 | 1.0 | 1.0 | 25 |",
    ]

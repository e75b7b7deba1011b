"""The plan against what was measured, and its laws: time follows work, and no resource is outrun."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from ra_book import planning
from ra_book.planning import (
    MACHINES,
    MEASURED,
    PICTURE_BYTES,
    bottleneck,
    bounds,
    compare,
    compute_seconds,
    cost,
    costs,
    images_per_second,
    main,
    measured,
    memory_mb,
    run_seconds,
    scaling,
    spread,
    step_seconds,
    storage_gb,
)
from ra_book.planning.workload import Job, Stock, Work, jobs_of
from ra_core.errors import ParameterError
from ra_core.params import load_profile

CPU, GPU = MACHINES["cpu"], MACHINES["h100"]
NETWORKS = Work(macs=2e9, moved=5e8, kept=1e8, operators=100)
JOB = Job("sr", "ra", "training", 1, 1000, 20, 20_000, 224, NETWORKS, trained=700_000, folder=True)

# Of `run.json` of finished trainings on one of two cores, beside other work: part, run, images/s, peak memory in MB.
# Of `dn plain`, seed 1: seed 0 shared its core and got 20.9 images/s, which nothing that counts work can foretell.
SMOKE = [
    ("sr", "plain", 43.29, 865.9), ("sr", "ra", 34.1, 871.3), ("sr", "ra_transformer", 35.79, 868.8),
    ("sr", "ra_unsupervised", 40.83, 868.0), ("dn", "plain", 63.98, 861.2), ("dn", "ra", 41.22, 865.6),
    ("dn", "ra_transformer", 25.28, 874.5), ("dn", "ra_unsupervised", 41.16, 865.9),
    ("jpeg", "plain", 30.44, 863.7), ("jpeg", "ra", 32.24, 871.1), ("jpeg", "ra_transformer", 35.72, 867.3),
    ("jpeg", "ra_unsupervised", 29.94, 867.9), ("cells", "npp_qa-jpeg-optimized", 3.47, 1224.9),
]  # fmt: skip
# The same of the profile quick, two trainings side by side and nothing else on the machine; fitted to none of them.
QUICK = [
    ("sr", "plain", 491.8, 924.3), ("sr", "ra", 293.92, 946.4),
    ("sr", "ra_transformer", 203.54, 979.9), ("sr", "ra_unsupervised", 254.58, 943.3),
    ("dn", "plain", 483.27, 936.8), ("dn", "ra", 285.81, 970.0),
    ("dn", "ra_transformer", 196.53, 1006.7), ("dn", "ra_unsupervised", 248.85, 971.6),
    ("jpeg", "plain", 452.63, 944.5), ("jpeg", "ra", 280.96, 970.8),
    ("jpeg", "ra_transformer", 181.13, 1009.5), ("jpeg", "ra_unsupervised", 238.61, 975.0),
    ("cells", "npp_qa-heic", 7.29, 1942.1),
]  # fmt: skip
CELLS = [
    ("cells", "npp_qa-jpeg-optimized", 6.85, 1966.9), ("cells", "post-jpeg-optimized", 8.84, 1815.4),
    ("cells", "both-jpeg-optimized", 3.83, 2370.7), ("cells", "npp-jpeg-optimized-14", 8.81, 2217.9),
    ("cells", "npp-jpeg-optimized-40", 8.71, 2218.3),
]  # fmt: skip
LONGER = {
    "cells": {
        "postprocessor": {"width": 8, "blocks": 2, "residual": True},
        "codecs": {"jpeg-optimized": {"both_ends": True, "single": [14, 40]}},
    }
}
# Seconds a core worked on a step, by `python benchmarks/planning.py`: profile, task, mode, precision, batch, seconds.
STEPS = [
    ("quick", "sr", "plain", "bf16", 32, 0.069), ("quick", "sr", "ra", "bf16", 32, 0.133),
    ("quick", "sr", "ra_transformer", "bf16", 32, 0.206), ("quick", "dn", "plain", "bf16", 32, 0.072),
    ("quick", "dn", "ra", "bf16", 32, 0.137), ("quick", "dn", "ra_transformer", "bf16", 32, 0.217),
    ("quick", "sr", "ra", "fp32", 32, 0.213), ("quick", "dn", "plain", "fp32", 32, 0.111),
    ("quick", "dn", "ra", "fp32", 32, 0.226), ("imagenet", "sr", "plain", "bf16", 4, 1.076),
    ("imagenet", "sr", "ra", "bf16", 4, 1.283), ("imagenet", "sr", "plain", "fp32", 4, 2.182),
    ("imagenet", "sr", "ra", "fp32", 4, 2.345), ("imagenet", "dn", "plain", "bf16", 2, 1.884),
]  # fmt: skip


AWAY = "data: {kind: folder, source: data/away}\nsource: resnet18\nunseen: []\n"


def table(rows: list[tuple]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["part", "run", "images_per_s", "peak_memory_mb"])
    return found.assign(seed=0, device="cpu (x86_64, 1 threads)").reindex(columns=MEASURED)


def test_steps_take_what_was_fitted_to_them():
    plans = {name: {(j.part, j.name): j for j in jobs_of(load_profile(name))} for name in ("quick", "imagenet")}
    ratios = [
        compute_seconds(plans[name][task, mode].work, CPU, precision, batch) / seconds
        for name, task, mode, precision, batch, seconds in STEPS
    ]
    assert all(0.7 < ratio < 1.3 for ratio in ratios), ratios
    assert 0.95 < spread(ratios)[0] < 1.05


@pytest.mark.parametrize(
    ("name", "changes", "rows", "factor"),
    [
        ("smoke", None, SMOKE, 3),  # trainings of a fifth of a second
        ("quick", None, QUICK, 2),
        ("quick", {"preprocessing": LONGER}, CELLS, 2),
    ],
)
def test_the_model_foretells_finished_trainings_within_a_factor(name, changes, rows, factor):
    found = compare(load_profile(name, changes), table(rows))
    assert list(zip(found["part"], found["run"], strict=True)) == [row[:2] for row in rows]
    ratios = found["predicted_images_per_s"] / found["images_per_s"]
    assert ratios.between(1 / factor, factor).all(), ratios.tolist()
    assert 1 / 2 < ratios.median() < 2
    memory = found["predicted_peak_memory_mb"] / found["peak_memory_mb"]
    assert memory.between(0.7, 1.2).all(), memory.tolist()


def test_a_training_on_two_threads_is_foretold_twice_as_fast():
    one, two = (table(SMOKE[:1]).assign(device=f"cpu (x86_64, {n} threads)") for n in (1, 2))
    ran = [compare(load_profile("smoke"), found)["predicted_images_per_s"][0] for found in (one, two)]
    assert ran[1] == 2 * ran[0]
    on_gpu = compare(load_profile("smoke"), table(SMOKE[:1]).assign(device="cuda (a GPU)"))
    assert on_gpu["predicted_images_per_s"][0] > ran[1]


@given(pictures=st.integers(1, 10**7), times=st.integers(1, 20), machine=st.sampled_from([CPU, GPU]))
def test_time_is_linear_in_pictures_and_work(pictures, times, machine):
    job = Job("sr", "ra", "training", 1, 1, 20, pictures, 224, NETWORKS)
    many = Job("sr", "ra", "training", 1, 1, 20, times * pictures, 224, NETWORKS)
    assert run_seconds(many, machine) == pytest.approx(times * run_seconds(job, machine))
    free = Work(NETWORKS.macs, NETWORKS.moved)
    seconds = [compute_seconds(work, machine, "fp32", 20) for work in (free, free.times(times))]
    assert seconds[1] == pytest.approx(times * seconds[0])


@given(
    gpus=st.integers(1, 512), batch=st.integers(1, 512), macs=st.floats(1e6, 1e12), split=st.booleans(),
    trained=st.integers(1, 10**8),
)  # fmt: skip
def test_no_training_outruns_decoding_or_the_disk(gpus, batch, macs, split, trained):
    work = Work(macs, 1e8, 1e7, 300)
    job = Job("jpeg", "ra", "training", 1, 10, batch, 10 * batch, 224, work, coders=(("jpeg", 1.0),), trained=trained,
              folder=True)  # fmt: skip
    found = bounds(job, GPU, gpus, split)
    rate, used = min(found.values()), min(gpus, batch) if split else gpus
    assert rate <= used * GPU.cores * GPU.decode and rate * PICTURE_BYTES <= GPU.storage * (1 + 1e-9)
    assert run_seconds(job, GPU, gpus, split) >= job.pictures / found["decoding"] * (1 - 1e-9)
    assert found[bottleneck(found)] == rate and set(found) == {"step", "decoding", "disk"}
    parts = step_seconds(job, GPU, used, batch / used if split else None)
    assert found["step"] == pytest.approx(used * (batch / used if split else batch) / sum(parts.values()))
    assert ("network" in parts) == (used > 1) and parts["coding"] > 0


@given(gpus=st.integers(2, 256))
def test_what_grows_with_the_gpus_and_what_does_not(gpus):
    one, many = bounds(JOB, GPU), bounds(JOB, GPU, gpus)
    assert one["step"] < many["step"] < gpus * one["step"]  # each waits for the sum of all
    assert many["decoding"] == pytest.approx(gpus * one["decoding"]) and many["disk"] == one["disk"]
    link = GPU.link if gpus <= GPU.node else GPU.network
    summing = 2 * (gpus - 1) / gpus * 4 * JOB.trained / link + GPU.collective
    assert many["step"] == pytest.approx(gpus * JOB.batch / (JOB.batch / one["step"] + summing))


def test_what_follows_each_other_in_a_step_adds_up():
    coded = replace(JOB, coders=(("jpeg", 1.0),), work=replace(NETWORKS, norms=3))
    parts = step_seconds(coded, GPU, 8)
    each = 0.5e-3 * (224 / 256) ** 2
    assert parts["compute"] == compute_seconds(NETWORKS, GPU, "fp32", 20)
    assert parts["coding"] == pytest.approx(20 * each / 16)  # on all cores
    assert parts["network"] == pytest.approx(7 / 4 * 4 * 700_000 / 450e9 + 7 * GPU.collective)
    found = bounds(coded, GPU, 8)
    assert found["step"] == pytest.approx(8 * 20 / sum(parts.values()))
    assert found["decoding"] == pytest.approx(8 * 16 / (1 / 210 + each))  # the cores that decode also code
    small = replace(coded, side=32, folder=False)
    assert step_seconds(small, GPU)["coding"] == pytest.approx(20 * 0.5e-3 / 64)  # on one
    assert set(bounds(small, GPU)) == {"step"}


def test_fast_steps_of_an_h100_with_few_cores_wait_for_decoding():
    rows = scaling(load_profile("imagenet_fast"), GPU, (1,)).drop_duplicates(["part", "run"])
    plain = rows.set_index(["part", "run"]).loc[("sr", "plain")]
    assert plain["bottleneck"] == "decoding" and plain["images_per_s"] == pytest.approx(16 * 210)
    assert plain["cores"] > 1.4 * 16
    step = rows.set_index(["part", "run"]).loc[("jpeg", "ra")]
    assert step["compute"] + step["coding"] == pytest.approx(1) and step["coding"] > 0


def test_with_the_same_whole_batch_launching_soon_bounds():
    slow = Job("sr", "ra", "training", 1, 10, 20, 200, 224, Work(1e9, 1e8, 0, 500))
    few, many = (bounds(slow, GPU, number, global_batch=True)["step"] for number in (20, 4000))
    assert few == many == pytest.approx(20 / (500 * GPU.launch))  # a picture cannot be split, and nothing is summed


def test_the_bottleneck_moves_from_decoding_to_the_disk():
    found = [bottleneck(bounds(JOB, GPU, number)) for number in (1, 64)]
    assert found == ["decoding", "disk"]
    heavy = Job("dn", "ra", "training", 1, 10, 20, 200, 224, Work(1e11, 1e9), folder=True)
    assert bottleneck(bounds(heavy, GPU)) == "step"


@pytest.mark.parametrize(("machine", "gpus"), [(CPU, 2), (GPU, 0), (CPU, -1)])
def test_gpus_that_cannot_be_are_refused(machine, gpus):
    with pytest.raises(ParameterError, match=f"{gpus} GPUs of {machine.name} are not allowed; give 1"):
        bounds(JOB, machine, gpus)


def test_a_core_decodes_and_codes_beside_its_computing():
    alone = Job("sr", "ra", "training", 1, 10, 20, 200, 256, NETWORKS)
    decoded = Job("sr", "ra", "training", 1, 10, 20, 200, 256, NETWORKS, coders=(("heic", 1.0),), folder=True)
    extra = 1 / images_per_second(decoded, CPU) - 1 / images_per_second(alone, CPU)
    assert extra == pytest.approx(1 / CPU.decode + planning.CODER_MS["heic"] / 1000)


def test_memory_is_what_lies_in_it():
    assert memory_mb(JOB, CPU) == pytest.approx(CPU.base_mb + 16 * 0.7 + 20 * 100)
    assert memory_mb(replace(JOB, held=10**6), GPU) == memory_mb(JOB, GPU)  # pictures lie in the machine's
    half = Job("sr", "ra", "training", 1, 1, 20, 20, 10, NETWORKS, "bf16", frozen=10**6, held=10**5)
    assert memory_mb(half, CPU) == pytest.approx(CPU.base_mb + 4 + 10 * 100 + 30)


def test_costs_are_sums_and_runs_go_side_by_side(write):
    profile = write(tiny.PROFILE)
    jobs, (one, two) = jobs_of(profile), (cost(profile, CPU), cost(write(tiny.PROFILE, seeds=[0, 1]), CPU))
    assert one["trainings"] == 4 and two["training_hours"] == pytest.approx(2 * one["training_hours"])
    together = one["training_hours"] + one["evaluation_hours"]
    longest = max(run_seconds(job, CPU) for job in jobs) / 3600
    assert one["hours"] == pytest.approx(max(together / 2, longest))
    many = cost(profile, GPU, gpus=100)
    assert many["hours"] == pytest.approx(max(run_seconds(job, GPU) for job in jobs) / 3600)


def test_scaling_has_a_row_for_every_training_number_and_resource(write):
    profile = write(tiny.PROFILE, data={"kind": "folder", "source": "data/imagenet"}, source="resnet18", unseen=[])
    rows = scaling(profile, GPU, (1, 8))
    assert len(rows) == 4 * 2 * 3 and set(rows["gpus"]) == {1, 8}
    assert (rows["images_per_s"] == rows.groupby(["run", "gpus"])["allows"].transform("min")).all()
    assert (rows["gb_per_s"] == rows["images_per_s"] * PICTURE_BYTES / 1e9).all()


def test_a_picture_of_imagenet_is_as_large_as_its_archives_say():
    archives, pictures = 147_897_477_120 + 6_744_924_160, 1_281_167 + 50_000
    assert archives / pictures == pytest.approx(PICTURE_BYTES, rel=1e-3)


def test_storage(write):
    profile, stock = (
        write(tiny.PROFILE, data={"kind": "folder", "source": "x"}, source="resnet18", unseen=[]),
        Stock(80, 20, 3),
    )
    jobs = jobs_of(profile, stock)
    sizes = [job.trained for job in jobs if job.kind == "training"]
    found = storage_gb(profile, jobs, stock, at_once=2)
    assert found["pictures"] == pytest.approx(100 * PICTURE_BYTES / 1e9)
    assert found["weights"] == pytest.approx(4 * sum(sizes) / 1e9)
    assert found["checkpoints"] == pytest.approx(12 * sum(sorted(sizes)[-2:]) / 1e9) and found["results"] > 0


def test_what_runs_noted_comes_before_what_was_collected(tmp_path):
    own = {"seed": 0, "device": "cpu", "wall_seconds": 2.0, "images_per_s": 8.0, "peak_memory_mb": 900.0, "metrics": {}}
    path = tmp_path / "runs" / "mine" / "sr" / "ra" / "seed0"
    path.mkdir(parents=True)
    assert measured("mine", tmp_path).empty and list(measured("mine", tmp_path).columns) == MEASURED
    (path / "run.json").write_text(json.dumps(own))
    (tmp_path / "results" / "mine").mkdir(parents=True)
    lines = ["profile,part,run,seed,device,commit,pictures,wall_seconds,images_per_s,peak_memory_mb"]
    lines += ["mine,sr,ra,0,cuda,abc,16,1,16,1000", "mine,dn,ra,0,cuda,abc,16,1,16,1000"]
    (tmp_path / "results" / "mine" / "trainings.csv").write_text("\n".join(lines) + "\n")
    found = measured("mine", tmp_path)
    assert list(found["device"]) == ["cpu", "cuda"] and list(found["part"]) == ["sr", "dn"]
    assert found["pictures"][0] == 16 and list(found.columns) == MEASURED


@pytest.fixture
def project(tmp_path, monkeypatch):
    tiny.project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_prints_a_row_for_each_profile_and_machine(project, capsys):
    (project / "params" / "away.yaml").write_text(AWAY)
    assert main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in printed if line.startswith(("| tiny", "| away"))]
    assert len(lines) == 2 * len(MACHINES)
    assert sum("| not counted |" in line for line in lines) == len(MACHINES)
    reasons = [line for line in printed if line.startswith("not counted: ")]
    assert len(reasons) == 1 and "profile away has its pictures in data/away" in reasons[0]
    assert main(["away", "--machine", "h100", "--gpus", "8", "--pictures", "900", "90", "10"]) == 0
    assert "model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--machine", "abacus"], "machine 'abacus' is unknown; choose one of cpu, h100."),
        (["nope"], "profile 'nope' is unknown; choose one of away, tiny"),
        (["away"], "state how many there are: --pictures TRAIN TEST CLASSES."),
        (["tiny", "--gpus", "0"], "0 GPUs of h100 are not allowed; give 1, or more"),
        (["tiny", "--machine", "cpu", "--gpus", "8"], "8 GPUs of cpu are not allowed; give 1, or more"),
        (["away", "--pictures", "0", "9", "2"], "--pictures [0, 9, 2] is not allowed; give three numbers"),
        (["away", "--pictures", "50", "9", "2"], "which is all of its 50 training pictures"),
    ],
)
def test_what_is_wrong_is_one_sentence(project, capsys, arguments, said):
    (project / "params" / "away.yaml").write_text(AWAY)
    assert main(arguments) == 1
    assert said in capsys.readouterr().err


def test_what_ships_costs_no_training(project, monkeypatch):
    profile = load_profile("tiny")
    whole = cost(profile, CPU)
    monkeypatch.setattr("ra_book.planning.workload.matching", lambda run: "here")
    rest = cost(profile, CPU)
    assert (rest["trainings"], rest["training_hours"]) == (0, 0) and math.isnan(rest["images_per_s_high"])
    assert rest["evaluation_hours"] == whole["evaluation_hours"] and rest["hours"] < whole["hours"]


def test_a_profile_that_cannot_be_counted_does_not_stop_the_others(project):
    (project / "params" / "away.yaml").write_text(AWAY)
    found = costs(["away", "tiny"], CPU).set_index("profile")
    assert "is not here" in found["missing"]["away"] and found["missing"]["tiny"] == ""

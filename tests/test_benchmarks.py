"""What is timed against what: both ways do the same work, and the published one keeps what made it slow."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import bare_machine
import bounds
import coding
import loops
import precision
import published
import ten_minutes
import throughput
import throughput_gpu
import throughput_processes
import timing

from ra_core import metrics
from ra_core.channels import Jpeg, from_arrays
from ra_core.models.processors import make_processor


def pictures(count: int = 2, side: int = 32) -> torch.Tensor:
    return from_arrays(coding.sample_pictures(count, side))


def test_both_ways_of_jpeg_give_the_same_pictures(tmp_path):
    arrays = coding.sample_pictures(2, 48)
    files = [published.through_file(Image.fromarray(a), tmp_path / f"{i}.jpeg") for i, a in enumerate(arrays)]
    assert torch.equal(torch.stack(files), Jpeg(10)(from_arrays(arrays)))
    assert list(tmp_path.iterdir()) == []


def test_both_ways_of_ssim_agree():
    target = pictures()
    images = (target + 0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert torch.allclose(torch.tensor(published.ssims(images, target)), metrics.ssim(images, target), atol=1e-4)


@pytest.mark.parametrize("task", ["sr", "dn", "jpeg"])
def test_both_ways_read_the_same_pictures(tmp_path, task):
    throughput.write_pictures(tmp_path, loops.CLASSES)
    pairs = published.Pairs(task, tmp_path, "val", tmp_path)
    ours = loops.load_tree(tmp_path, "val")
    degraded, target, label = pairs[0]
    assert degraded.shape == (3, 56, 56) if task == "sr" else degraded.shape == target.shape == (3, 224, 224)
    image, own_label = ours.batch(torch.tensor([0]))
    assert label == own_label.item()
    assert (image[0] - target).abs().mean() < 2 / 255  # resized by the same filter
    if task != "dn":
        expected = loops.make_channel(task)(target[None])[0]
        assert torch.allclose(degraded, expected, atol=1e-6)


def test_the_published_way_has_torchs_prelu_and_the_same_values():
    images = torch.rand(1, 3, 8, 8)
    ours, theirs = (make_processor("SRResNet", 2, width=4, blocks=1).eval() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    theirs = loops.with_torchs_prelu(theirs)
    kinds = [{type(m) for m in net.modules() if isinstance(m, nn.PReLU)} for net in (ours, theirs)]
    assert kinds == [{loops.PReLU}, {nn.PReLU}]
    assert torch.equal(ours(images), theirs(images)) and list(ours.state_dict()) == list(theirs.state_dict())


def test_the_published_step_runs_the_recognizer_also_without_lambda_and_keeps_its_gradients(tmp_path):
    throughput.write_pictures(tmp_path, loops.CLASSES)
    net, recognizer = loops.tiny_networks("dn")
    loop = published.PublishedLoop("dn", 0.0, net, recognizer, tmp_path, tmp_path, 2, torch.device("cpu"), 0)
    before = net.head[0].weight.clone()
    images = pictures()
    loop.step((images, images, torch.tensor([0, 1])))
    assert not torch.equal(net.head[0].weight, before)
    assert recognizer[-1].weight.grad is not None


class Counting:
    settings, frozen = {}, []

    def __init__(self):
        self.steps = 0

    def prepare(self, images, labels, generator):
        return {"images": images}

    def terms(self, networks, batch):
        self.steps += 1
        return {"loss": networks["processor"](batch["images"]).mean()}


def test_the_clock_stops_the_loop_after_exactly_the_steps_asked_for(tmp_path):
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    loop = loops.OurLoop("dn", "plain", tmp_path / "pictures", tmp_path, 2, torch.device("cpu"))
    loop.processor = nn.Conv2d(3, 3, 1)
    counting = Counting()
    assert loop.seconds(2, 3, objective=counting) > 0
    assert counting.steps == 5


def test_tensors_that_lie_ready_train_as_pictures_do(tmp_path):
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    loop = loops.OurLoop("dn", "plain", tmp_path / "pictures", tmp_path, 1, torch.device("cpu"))
    loop.processor = make_processor("SRResNet", 1, width=4, blocks=1)
    assert loop.ready_seconds(1, 1) > 0 and loop.flops() > 1e8


def test_crops_of_decoded_pictures_are_timed_beside_those_of_their_files(tmp_path):
    rows = throughput.time_crops(tmp_path / "crops", rounds=1, count=60, batch=2)
    assert len(rows) == 2 and all(row["ours"] > row["published"] > 0 for row in rows.values())


def is_timed(row: dict) -> bool:
    ratio = row["ratio"]
    return min(row["ours"], row["published"], row["apart"]["low"]) > 0 and ratio["low"] <= ratio["high"]


def test_what_is_timed_of_two_processes_runs_in_one(tmp_path):
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    given = [tmp_path / "pictures", tmp_path, tmp_path / "rows.json", "--batch=2", "--steps=1", "--rounds=2"]
    throughput_processes.main([*map(str, given), "--names", "tiny"])
    row = json.loads((tmp_path / "rows.json").read_text())["tiny"]
    assert is_timed(row) and f", at least 1.8 x is wanted): {row['ours']:.2f}" in throughput.line("tiny", row, 1.8)


@pytest.mark.slow
def test_two_processes_are_timed_beside_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    given = {"batch": 2, "steps": 1, "names": ["tiny"]}
    rows = throughput_processes.time_processes(tmp_path / "pictures", tmp_path, 2, **given)
    assert list(rows) == ["two processes beside one, sr ra, tiny"] and all(map(is_timed, rows.values()))


def test_what_is_timed_on_a_gpu_runs_from_end_to_end(tmp_path):
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    plan = throughput_gpu.Plan(steps=1, rounds=2, batches=(2, 1), skipped=1, side=16, workers=0)
    given = tmp_path / "pictures", tmp_path, torch.device("cpu"), loops.tiny_networks
    row = throughput_gpu.time_gpu("jpeg", plan, *given)
    assert {row["batch"], row["published_batch"]} <= {1, 2} and row["of_peak"] is None
    assert all(row[key] > 0 for key in ("ours", "published", "tflops", "of_product"))
    assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"] and row["ready"]["low"] > 0


def records(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_ten_minutes_are_rehearsed_from_end_to_end(empty_project):
    shutil.copy(Path(__file__).parents[1] / "params" / "photos.yaml", empty_project / "params")
    throughput.write_pictures(empty_project / "pictures", 2 * loops.CLASSES)
    output = empty_project / "out"
    given = ["--device", "cpu", "--tiny", "--pictures", str(empty_project / "pictures"), "--output", str(output)]
    ten_minutes.main(given)
    found = records(output)
    assert set(found) == set(ten_minutes.PARTS) and not [r for r in found.values() if {"error", "stopped"} & r.keys()]
    rows = {name: record["rows"] for name, record in found.items()}
    assert rows["tests"]["pytest"]["status"] == 0 and "skipped" in rows["tests"]["pytest"]["said"][0]
    assert rows["rates"]["jpeg ra"]["images_s"] > 0 and rows["rates"]["dn ra, largest batch"]["fits"] is True
    assert rows["ratios"]["dn ra"]["ratio"]["median"] > 0
    shares = [row["share"] for row in rows["kernels"]["dn ra"]["kernels"]]
    assert shares == sorted(shares, reverse=True) and len(shares) == 25 and 0.5 < sum(shares) <= 1 + 1e-9
    steps = rows["variants"]
    assert steps.pop("jpeg channel")["equal"] is True and len(steps) == len(ten_minutes.variants.VARIANTS)
    assert "CUDA" in steps.pop("dn, the whole step as one CUDA graph")["error"]
    first = {row["variant"]: row["first_loss"] for row in steps.values() if row["batch"] == 1}
    assert first["as it is"] > 0
    assert all(loss == pytest.approx(first["as it is"], rel=1e-2) for loss in first.values())
    (trained,) = rows["runs"].values()
    with tarfile.open(output / trained["archive"]) as tar:
        names = {Path(name).name for name in tar.getnames()}
    assert names == {"params.yaml", "run.json", "log.jsonl", "processor.safetensors"}

    shutil.rmtree(empty_project / "runs")
    ten_minutes.main([*given, "--only", "runs"])
    assert records(output)["runs"]["rows"] == rows["runs"], "it was trained anew"


def test_each_part_ends_in_time_and_none_keeps_the_next_from_its_turn(tmp_path, monkeypatch):
    def endless(job):
        yield "first", {"a": 1}
        while True:
            time.sleep(0.01)

    def broken(job):
        yield "second", ten_minutes.attempt(sum, 3)
        raise ValueError("no such thing")

    monkeypatch.setattr(ten_minutes, "PARTS", {"endless": (endless, 0.2), "broken": (broken, 9)})
    job = ten_minutes.Job(torch.device("cpu"), True, time.monotonic() + 60, tmp_path, tmp_path)
    for name in ten_minutes.PARTS:
        ten_minutes.run_part(name, job, {})
    found = records(tmp_path)
    assert found["endless"]["rows"] == {"first": {"a": 1}} and found["endless"]["stopped"]
    assert 0.1 < found["endless"]["seconds"] < 20
    assert found["broken"]["error"] == "ValueError: no such thing" and "TypeError" in str(found["broken"]["rows"])
    job.ends = time.monotonic() + 1
    assert "skipped" in ten_minutes.run_part("broken", job, {}) and not records(tmp_path)["broken"]["rows"]


def test_what_a_bare_machine_needs_is_listed_and_not_too_much(tmp_path, capsys, monkeypatch):
    (tmp_path / "one.jpg").write_bytes(bytes(2_000_000))
    bare_machine.carry(tmp_path, tmp_path / "out")
    listed = dict(line.split("\t")[:2] for line in capsys.readouterr().out.splitlines())
    assert listed[str(tmp_path)] == "2.00" and all(list(bare_machine.ROOT.glob(each)) for each in bare_machine.TREE)
    monkeypatch.setattr(bare_machine, "MOST", 1.5)
    with pytest.raises(SystemExit, match=r"MB are too much .* --pictures\.$"):
        bare_machine.carry(tmp_path, tmp_path / "out")


def test_what_was_trained_is_taken_home_once_in_as_many_archives_as_there_are(tmp_path, monkeypatch):
    profile, output = tmp_path / "runs" / "longer", tmp_path / "out"
    output.mkdir()
    monkeypatch.setattr(bare_machine, "ROOM", 10_240 + 2**14 + 2 * 1024 + 3000)

    def run(seed: int, **files: int) -> dict:
        folder = profile / "sr" / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, size in files.items():
            (folder / name.replace("_", ".")).write_bytes(bytes(size))
        return bare_machine.archive(folder, profile, output)

    assert run(0, checkpoint_pt=2000) == {"archive": "runs-0.tar"}
    assert run(0, run_json=10) == {"archive": "runs-0.tar"} == run(0)
    assert run(1, run_json=19000)["archive"] == "none has room" and run(2, checkpoint_pt=30)["archive"] == "runs-0.tar"
    shutil.rmtree(profile)
    (profile / "sr" / "seed2").mkdir(parents=True)
    bare_machine.unpack(profile, output)
    assert sorted(str(path.relative_to(profile)) for path in profile.rglob("*.*")) == [
        "sr/seed0/checkpoint.pt", "sr/seed0/run.json",
    ]  # fmt: skip


ONLY_THESE = """
import sys
given, project = set(sys.argv[1].split()), sys.argv[2]

class Absent:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        top, ours = name.partition(".")[0], frame.f_code.co_filename.startswith(project)
        if ours and ".venv" not in frame.f_code.co_filename and top not in given and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import ten_minutes
"""


def test_ten_minutes_need_no_other_packages_than_they_say():
    folder = Path(ten_minutes.__file__).parent
    own = {path.stem for path in folder.glob("*.py")} | {"ra_core"}

    def start(given: set[str]) -> str:
        command = [sys.executable, "-c", ONLY_THESE, " ".join(given), str(bare_machine.ROOT)]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr

    assert start(own | set(bare_machine.NEEDED)) == ""
    assert "ModuleNotFoundError: filelock" in start(own | set(bare_machine.NEEDED) - {"filelock"})


def test_a_step_is_counted_as_by_hand():
    def count() -> dict:
        conv, images = nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.rand(2, 3, 8, 8)
        return bounds.counted(lambda: conv(images).relu().sum())

    with FakeTensorMode():
        fake = count()
    assert fake == count()
    x, w, y, scalar = 2 * 3 * 64 * 4, 4 * 27 * 4, 2 * 4 * 64 * 4, 4
    assert fake["flops"] == 2 * (2 * (2 * 64) * 4 * 27)  # forward, and the gradient of the weights
    assert fake["moved"]["convolutions"] == (x + w + y) + (y + x + w + w)
    assert fake["moved"]["rectifiers"] == 2 * y + (scalar + y + y)  # the gradient of a sum is one number
    assert fake["kept"] == y + scalar and 2 * y < fake["peak"] < 3 * y + w


def test_a_step_whose_blocks_are_computed_again_keeps_less_and_costs_more():
    usual, again = (bounds.count_step("dn", "ra", 2, each, loops.tiny_networks) for each in (False, True))
    assert again["kept"] < usual["kept"] and again["peak"] < usual["peak"] and again["flops"] > usual["flops"]
    twice = bounds.count_step("dn", "ra", 4, make=loops.tiny_networks)
    assert twice["flops"] == 2 * usual["flops"] and twice["kept"] == pytest.approx(2 * usual["kept"], rel=1e-2)
    assert bounds.count_step("dn", "plain", 2, make=loops.tiny_networks)["flops"] <= usual["flops"]


def test_ratios_are_theirs_over_ours_with_their_spread():
    found = timing.in_turn(iter([1.0, 2.0, 4.0]).__next__, iter([4.0, 4.0, 4.0]).__next__, 3)
    assert found["ratio"] == {"median": 2.0, "low": 1.0, "high": 4.0}


def accuracy(shift: float) -> pd.DataFrame:
    rows = [
        {"mode": "ra", "seed": seed, "role": role, "top1": 60 + seed + shift, "psnr": 28.0}
        for seed in (0, 1, 2)
        for role in ("source", "unseen")
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("shift", "within"), [(0.5, True), (3.0, False)])
def test_bf16_is_judged_by_how_much_seeds_differ(shift, within):
    found = precision.compare(accuracy(0.0), accuracy(shift), "ra")["top1"]
    assert found["difference"] == pytest.approx(shift) and found["seeds_sd"] == pytest.approx(1.0)
    assert found["within"] is within


def test_precisions_are_trained_apart():
    profiles = [precision.with_precision("smoke", "sr", name, ["ra"], [0, 1]) for name in ("fp32", "bf16")]
    assert [p.task("sr").training.precision for p in profiles] == ["fp32", "bf16"]
    assert len({p.name for p in profiles}) == 2

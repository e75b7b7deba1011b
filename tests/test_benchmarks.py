"""What is timed against what: both ways do the same work, and the published one keeps what made it slow."""

import argparse
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import coding
import loops
import precision
import published
import throughput
import throughput_gpu
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


def tiny_processor(task: str) -> nn.Module:
    return make_processor("SRResNet", 4 if task == "sr" else 1, width=4, blocks=1)


def tiny_recognizer() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, loops.CLASSES))


def test_the_published_step_runs_the_recognizer_also_without_lambda_and_keeps_its_gradients(tmp_path):
    throughput.write_pictures(tmp_path, loops.CLASSES)
    net, recognizer = make_processor("SRResNet", 1, width=4, blocks=1), tiny_recognizer()
    loop = published.PublishedLoop("dn", 0.0, net, recognizer, tmp_path, tmp_path, 2, torch.device("cpu"), 0)
    before = net.head[0].weight.clone()
    images = pictures()
    loop.step((images, images, torch.tensor([0, 1])))
    assert not torch.equal(net.head[0].weight, before)
    assert recognizer[2].weight.grad is not None


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


def test_what_is_timed_on_a_gpu_runs_from_end_to_end(tmp_path, monkeypatch):
    small = {"BATCHES": (2, 1), "SIDE": 16, "SKIPPED": 1, "cores": lambda: 0}
    for name, value in small.items():
        monkeypatch.setattr(throughput_gpu, name, value)
    monkeypatch.setattr(loops, "networks", lambda task: (tiny_processor(task), tiny_recognizer()))
    throughput.write_pictures(tmp_path / "pictures", loops.CLASSES)
    options = argparse.Namespace(gpu_steps=1, rounds=2)
    row = throughput_gpu.time_gpu("jpeg", options, tmp_path / "pictures", tmp_path, torch.device("cpu"))
    assert {row["batch"], row["published_batch"]} <= {1, 2} and row["of_peak"] is None
    assert all(row[key] > 0 for key in ("ours", "published", "tflops", "of_product"))
    assert row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"] and row["ready"]["low"] > 0


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

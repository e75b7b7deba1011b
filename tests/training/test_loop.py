"""What the loop shows the networks, does to their gradients, leaves in the folder, and does when things go wrong."""

import errno
import inspect
import math
import os
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal
from torch import nn
from trouble import Spoiled

from ra_core.channels import Noise
from ra_core.errors import OutputError, ParameterError, TrainingError
from ra_core.methods import METHODS, restoring
from ra_core.models.weights import load_weights
from ra_core.training import fit, loop, pick_device
from ra_core.training.batches import seed_of


class Recording:
    """A channel without effect that notes what passes through it."""

    def __init__(self):
        self.seen, self.draws = [], []

    def __call__(self, images, generator=None, indices=None):
        self.seen.append(images.clone())
        self.draws.append(torch.rand(4, generator=generator))
        return images


def test_the_published_recipe_is_plain_adam_with_drops(tmp_path):
    defaults = {name: p.default for name, p in inspect.signature(fit).parameters.items()}
    wanted = {"lr": 1e-4, "batch": 20, "schedule": "drops", "drops": (4 / 6, 5 / 6), "optimiser": torch.optim.Adam}
    assert wanted.items() <= defaults.items() and defaults["precision"] == "fp32"
    tiny.train(tmp_path, lr=1e-4, steps=6)
    (group,) = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimiser"]["param_groups"]
    assert (group["betas"], group["eps"], group["weight_decay"], group["amsgrad"]) == ((0.9, 0.999), 1e-8, 0, False)
    assert [line["lr"] for line in tiny.log(tmp_path)] == pytest.approx([1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-6])


@pytest.mark.parametrize("optimiser", [torch.optim.Adam, torch.optim.SGD])
def test_one_step_is_one_step_of_the_optimiser(tmp_path, optimiser):
    net, trained, noise = *(tiny.networks()["processor"] for _ in range(2)), Recording()
    tiny.train(tmp_path, networks={"processor": trained}, channel=noise, steps=1, optimiser=optimiser)
    nn.functional.mse_loss(net(noise.seen[0]), noise.seen[0]).backward()
    optimiser(net.parameters(), lr=1e-3).step()
    for name, value in load_weights(trained, tmp_path / "processor.safetensors").named_parameters():
        torch.testing.assert_close(value, net.state_dict()[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["plain", "ra_transformer"])
def test_the_gradient_of_each_network_is_shortened_on_its_own(tmp_path, mode):
    lengths = {}
    for clip in (0.0, 1e-4):
        nets = tiny.networks(mode)
        tiny.train(tmp_path / str(clip), mode, networks=nets, batch=4, steps=1, clip=clip)
        state = torch.load(tmp_path / str(clip) / "checkpoint.pt", weights_only=True)
        moments = iter(state["optimiser"]["state"].values())  # a tenth of the first gradient
        lengths[clip] = [
            torch.stack([10 * next(moments)["exp_avg"].norm() for _ in net.parameters()]).norm().item()
            for net in nets.values()
        ]
    assert min(lengths[0.0]) > 1e-4
    assert lengths[1e-4] == pytest.approx([1e-4] * len(nets), rel=1e-3)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [5, 5, 2] * 2), (True, [5, 5] * 3)])
def test_every_epoch_runs_once_through_the_pictures_in_an_order_of_its_own(tmp_path, drop_last, sizes):
    pictures, channel = tiny.pictures(12), Recording()
    summary = tiny.train(tmp_path, pictures=pictures, channel=channel, steps=6, batch=5, drop_last=drop_last)
    assert [len(images) for images in channel.seen] == sizes
    assert summary["images_per_s"] * summary["wall_seconds"] == pytest.approx(sum(sizes))
    means = pictures.images.float().mean((1, 2, 3)) / 255  # a mirrored picture keeps its mean
    per_epoch, orders = len(set(sizes)) + 1 if not drop_last else 2, []
    for begin in range(0, 6, per_epoch):
        found = torch.cat(channel.seen[begin : begin + per_epoch]).mean((1, 2, 3))
        orders.append((found[:, None] - means).abs().argmin(1).tolist())
        assert len(set(orders[-1])) == len(orders[-1]) == sum(sizes[:per_epoch])
    assert orders[0] != orders[1]


def test_all_modes_of_a_seed_see_the_same_and_another_seed_sees_other_things(tmp_path):
    seen = {}
    for name, mode, seed in (("plain", "plain", 0), ("ra", "ra", 0), ("other", "plain", 1)):
        seen[name] = Recording()
        tiny.train(tmp_path / name, mode, channel=seen[name], seed=seed, steps=4)
    assert all(torch.equal(a, b) for a, b in zip(seen["plain"].seen, seen["ra"].seen, strict=True))
    pairs = zip(seen["plain"].seen, seen["other"].seen, strict=True)
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
    draws = torch.cat([*seen["plain"].draws, *seen["other"].draws])
    assert len(draws.unique()) == len(draws)  # no step's noise comes again, in this seed or another


@given(seed=st.integers(0, 1000), step=st.integers(0, 1_000_000))
def test_training_noise_is_not_that_of_evaluation(seed, step):
    # Picture number i of a test set gets the noise of seed i.
    assert 1_000_000 < seed_of(seed, step) < 2**63


def test_the_processor_of_ra_transformer_ends_as_that_of_plain_and_the_recognizer_as_it_was(tmp_path):
    source, nets = tiny.source(), tiny.networks("ra_transformer")
    before = {key: {n: p.clone() for n, p in net.named_parameters()} for key, net in nets.items()}
    frozen = {name: value.clone() for name, value in source.state_dict().items()}
    tiny.train(tmp_path / "both", "ra_transformer", networks=nets, recognizer=source)
    assert not any(torch.equal(p, before[k][n]) for k, net in nets.items() for n, p in net.named_parameters())
    assert all(torch.equal(value, frozen[name]) for name, value in source.state_dict().items())
    assert all(p.grad is None for p in source.parameters()) and not source.training
    for mode in ("plain", "ra"):
        tiny.train(tmp_path / mode, mode)
    both, plain, ra = (tiny.weights(tmp_path / name)["processor.safetensors"] for name in ("both", "plain", "ra"))
    assert both == plain != ra  # bit for bit


@pytest.mark.parametrize("mode", restoring())
def test_the_exact_files_and_terms_of_a_run(tmp_path, mode):
    recognizer = {"recognizer": None} if mode == "plain" else {}  # which plain does not need
    summary = tiny.train(tmp_path, mode, **recognizer)
    files = ["checkpoint.pt", "log.jsonl", "processor.safetensors"]
    assert tiny.names(tmp_path) == files + ["transformer.safetensors"] * (mode == "ra_transformer")
    terms = {"loss", "distortion"} | ({"recognition"} if mode != "plain" else set())
    for number, line in enumerate(tiny.log(tmp_path), 1):
        assert set(line) == terms | {"step", "steps", "lr", "images_per_s", "seconds_left"}
        assert (line["step"], line["steps"]) == (number, 6)
        assert line["loss"] == pytest.approx(line["distortion"] + METHODS[mode].weight * line.get("recognition", 0))
    assert summary["validation"] == {} and summary["wall_seconds"] > 0


@pytest.mark.parametrize(("slow", "steps"), [(False, range(2, 211, 2)), (True, range(1, 211))])
def test_about_a_hundred_lines_hold_the_means_since_the_line_before(tmp_path, monkeypatch, slow, steps):
    monkeypatch.setattr(loop.Progress, "due", lambda self: slow)  # every few seconds there is one anyway
    channel, net = Recording(), tiny.networks()["processor"]
    tiny.train(tmp_path, channel=channel, steps=210, lr=1e-12, checkpoint_seconds=600, validations=1)
    lines = tiny.log(tmp_path)
    assert [line["step"] for line in lines] == list(steps)
    sizes = [len(images) for images in channel.seen[:4]]
    losses = [nn.functional.mse_loss(net(images), images).item() for images in channel.seen[:4]]
    assert sizes == [5, 5, 2, 5]
    expected = losses if slow else [(5 * losses[0] + 5 * losses[1]) / 10, (2 * losses[2] + 5 * losses[3]) / 7]
    assert [line["distortion"] for line in lines[: len(expected)]] == pytest.approx(expected, rel=1e-4)


def test_validation_is_called_at_even_distances_and_at_the_end(tmp_path):
    values = iter((1.0, 2.0, 3.0))
    summary = tiny.train(tmp_path, validate=lambda: {"psnr": next(values)}, validations=3, checkpoint_seconds=60)
    found = [(line["step"], line["validation"]["psnr"]) for line in tiny.log(tmp_path) if "validation" in line]
    assert found == [(2, 1.0), (4, 2.0), (6, 3.0)] and summary["validation"] == {"psnr": 3.0}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_validation_is_as_precise_as_the_training_and_at_the_end_fully(tmp_path, precision):
    nets, kinds = tiny.networks(), []

    def validate():
        with torch.no_grad():
            kinds.append(nets["processor"](torch.rand(1, 3, 8, 8)).dtype)
        return {"psnr": 1.0}

    tiny.train(tmp_path, networks=nets, validate=validate, validations=3, precision=precision, checkpoint_seconds=60)
    fast = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert kinds == [fast, fast, torch.float32]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    tiny.train(tmp_path / "good")
    bad = tmp_path / "bad" / "checkpoint.pt"
    assert "step 1" in refusal(TrainingError, tiny.train, tmp_path / "bad", channel=Spoiled(1)) and not bad.exists()
    said = refusal(TrainingError, tiny.train, tmp_path / "bad", channel=Spoiled(4))
    assert "nan" in said and "step 4" in said and str(bad) in said
    before = bad.read_bytes()
    refusal(TrainingError, tiny.train, tmp_path / "bad", channel=Spoiled(1))  # the next attempt keeps it as well
    assert bad.read_bytes() == before and torch.load(bad, weights_only=True)["step"] == 3
    tiny.train(tmp_path / "bad", channel=Noise(0.1))
    assert tiny.weights(tmp_path / "bad") == tiny.weights(tmp_path / "good")


def test_weights_that_broke_under_a_finite_loss_reach_no_checkpoint(tmp_path):
    net, steps = tiny.networks()["processor"], []

    def spoil(gradient):
        steps.append(1)
        return gradient * (math.inf if len(steps) == 3 else 1)

    next(net.parameters()).register_hook(spoil)
    said = refusal(TrainingError, tiny.train, tmp_path, networks={"processor": net})
    assert "processor" in said and "step 3" in said
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["networks"]["processor"].values())


def test_a_disk_that_is_full_in_a_checkpoint_keeps_the_old_one(tmp_path, monkeypatch):
    write, kept = Path.write_bytes, []

    def full(path, content):
        if "checkpoint" in path.name and len(kept) == 2:
            write(path, bytes(content)[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        kept.extend([bytes(content)] if "checkpoint" in path.name else [])
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    said = refusal(OutputError, tiny.train, tmp_path)
    assert str(tmp_path / "checkpoint.pt") in said and "No space left on device" in said
    assert tiny.names(tmp_path) == ["checkpoint.pt", "log.jsonl"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept[-1]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"schedule": "step"}, "drops, cosine, linear"), ({"precision": "fp16"}, "fp32, bf16"), ({"device": "x"}, "auto")],
)
def test_unknown_settings_are_refused(tmp_path, changes, named):
    said = refusal(ParameterError, tiny.train, tmp_path / "run", **changes)
    assert named in said and repr(*changes.values()) in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_cuda_then_mps_then_the_cpu(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device("auto") == pick_device() == torch.device(best) and pick_device("cpu") == torch.device("cpu")
    if cuda:
        assert pick_device("cuda:1") == torch.device("cuda", 1)
    absent = "cuda:2" if cuda else "cuda"
    assert f"{absent!r}" in refusal(ParameterError, pick_device, absent)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_it_learns_in_the_precision_and_layout_and_on_the_device_asked_for(tmp_path, precision, channels_last, device):
    nets, found = tiny.networks("ra_transformer"), []

    def look(module, arguments, out):
        layout = arguments[0].is_contiguous(memory_format=torch.channels_last)
        found.append((out.dtype, layout, module.weight.is_contiguous(memory_format=torch.channels_last)))

    for net in nets.values():
        net.body[0].body[0].register_forward_hook(look)
    tiny.train(
        tmp_path, "ra_transformer", networks=nets, steps=30, lr=1e-2, precision=precision, channels_last=channels_last,
        checkpoint_seconds=60, device=device,
    )  # fmt: skip
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    assert len(found) == 60 and set(found) == {(dtype, channels_last, channels_last)}
    assert all(p.dtype == torch.float32 and p.device.type == device for p in nets["processor"].parameters())
    losses = [line["loss"] for line in tiny.log(tmp_path)]
    assert losses[-1] < 0.7 * losses[0]
    random = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["random"]
    assert set(random) == {"cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))}


def test_compiled_networks_learn_the_same_and_keep_their_names(tmp_path, monkeypatch):
    compiled, compile = [], torch.nn.Module.compile  # what was captured runs as it stands
    monkeypatch.setattr(nn.Module, "compile", lambda net: compiled.append(net) or compile(net, backend="eager"))
    for name in (False, True):
        tiny.train(tmp_path / str(name), "ra_transformer", compile=name)
        assert len(compiled) == 3 * name  # the recognizer too
    torch.compiler.reset()
    assert tiny.weights(tmp_path / "True") == tiny.weights(tmp_path / "False")

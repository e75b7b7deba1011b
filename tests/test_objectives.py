import copy
from dataclasses import dataclass

import boxed
import numpy as np
import pytest
import tiny
import torch
from posterised import (
    LADDER,
    Change,
    Finder,
    Posterise,
    Pretend,
    expected_gradient,
    generator,
    images,
    labels,
    objective,
    sent_through,
    terms_of,
)
from torch import nn
from torch.nn import functional as F
from trouble import Raises

from ra_core.channels import Coded, Downsample, to_arrays
from ra_core.channels.coded import with_gradient
from ra_core.codecs import load_codec
from ra_core.codecs.base import Qualities
from ra_core.metrics import to_8bit
from ra_core.models.proxies import make_proxy
from ra_core.objectives import RateDistortion, Rung
from ra_core.training import fit


class Noting(Posterise):
    """It notes what it was given."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "calls", [])  # a codec is frozen

    def encode(self, pictures, quality, threads=None):
        self.calls.append((quality, list(pictures)))
        return super().encode(pictures, quality, threads)


# Which quality a picture gets


def test_each_picture_gets_a_rung_of_its_own():
    batch = objective(LADDER).prepare(images(300), labels(300), generator())
    rows = list(zip(*(batch[key].tolist() for key in ("quality", "weight", "strength")), strict=True))
    assert set(rows) == set(LADDER)  # whole rungs only
    for rung in LADDER:
        assert rows.count(rung) == pytest.approx(100, abs=5 * (300 * 2 / 9) ** 0.5)
    assert rows != sorted(rows)
    same, other = (objective(LADDER).prepare(images(300), labels(300), generator(s))["quality"] for s in (0, 1))
    assert torch.equal(batch["quality"], same) and not torch.equal(same, other)
    assert batch["images"] is not None and torch.equal(batch["labels"], labels(300))


def test_a_detector_s_batch_gets_one_rung():
    targets = boxed.pictures(8).targets(torch.arange(8))
    what, drawn = objective(LADDER, judge=Finder()), []
    for seed in range(60):
        batch = what.prepare(images(8), targets, generator(seed))
        rows = set(zip(*(batch[key].tolist() for key in ("quality", "weight", "strength")), strict=True))
        assert len(rows) == 1 and batch["quality"].shape == (8,)
        drawn += rows
    assert set(drawn) == set(LADDER)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(batch["labels"], targets, strict=True))


def test_pictures_reach_the_codec_at_their_quality_in_one_call_each():
    codec, net = Noting(), Change()
    what = objective(LADDER, codec=codec)
    batch = what.prepare(images(20), labels(20), generator())
    what.terms({"preprocessor": net}, batch)
    assert sorted(quality for quality, _ in codec.calls) == [3, 4, 6]
    stored = to_arrays(net(images(20)).detach())
    for quality, given in codec.calls:
        expected = [stored[i] for i in range(20) if batch["quality"][i] == quality]
        assert all(np.array_equal(a, b) for a, b in zip(given, expected, strict=True))


def test_a_quality_between_whole_numbers_stays_one():
    class Distance(Noting):
        qualities = Qualities("distance", 0.5, 8, better="down", integer=False)

        def _encode(self, picture, quality):
            return super()._encode(picture, round(quality))

    codec = Distance()
    terms_of(objective((Rung(2.5, 1.0, 0.125),), codec=codec), Change())
    assert [quality for quality, _ in codec.calls] == [2.5]


def test_an_adaptive_preprocessor_is_told_the_strength():
    what, net, plain = objective(LADDER), Change(adaptive=True), Change()
    batch = what.prepare(images(), labels(), generator())
    what.terms({"preprocessor": net}, batch)
    assert torch.equal(net.told[0], batch["strength"])
    what.terms({"preprocessor": plain}, batch)
    assert plain.told == [None]


# The value is the codec's


def test_every_value_is_that_of_the_codec():
    what, net = objective(LADDER), Change()
    batch = what.prepare(images(), labels(), generator())
    sent = net(images()).clamp(0, 1).detach()
    decoded, bits = sent_through(Posterise(), sent, batch["quality"])
    task = F.cross_entropy(tiny.source()(decoded), labels(), reduction="none")
    terms = what.terms({"preprocessor": net}, batch)
    assert set(terms) == {"loss", "bpp", "distortion", "recognition"}
    assert all(term.shape == () for term in terms.values())
    assert terms["bpp"].item() == (bits / 256).mean().item()
    assert terms["distortion"].item() == pytest.approx((sent - images()).square().mean().item())
    assert terms["recognition"].item() == pytest.approx(task.mean().item(), rel=1e-6)
    weighted = (batch["weight"] * task).mean()
    expected = terms["bpp"] + 0.5 * terms["distortion"] + weighted
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert len(batch["weight"].unique()) > 1


def test_with_real_jpeg_the_bits_are_those_of_its_files():
    codec, net = load_codec("jpeg"), Change()
    ladder = (Rung(10, 1.0, 0.125), Rung(75, 4.0, 0.5))
    what = objective(ladder, codec=codec, proxy=make_proxy("BlockDCT", codec="jpeg"))
    batch = what.prepare(images(), labels(), generator(3))
    decoded, bits = sent_through(codec, net(images()).clamp(0, 1), batch["quality"])
    terms = what.terms({"preprocessor": net}, batch)
    assert terms["bpp"].item() == pytest.approx((bits / 256).mean().item(), rel=1e-6)
    task = F.cross_entropy(tiny.source()(decoded), labels())
    assert terms["recognition"].item() == pytest.approx(task.item(), rel=1e-5)
    terms["loss"].backward()
    assert net.factor.grad.isfinite().all() and (net.factor.grad != 0).all()


# The gradient is the proxy's


@pytest.mark.parametrize("recognition", ["labels", "soft_labels", None])
def test_the_preprocessor_gets_the_gradient_of_the_proxy(recognition):
    what, net = objective(LADDER, recognition), Change()
    batch = what.prepare(images(), labels(), generator())
    judge, clean = tiny.source(), tiny.source()(images()).softmax(1)

    def task_of(received):
        if recognition is None:
            return 0 * received.sum()
        if recognition == "labels":
            each = F.cross_entropy(judge(received), labels(), reduction="none")
        else:
            each = (judge(received).softmax(1) - clean).square().sum(1)
        return (batch["weight"] * each).mean()

    expected = expected_gradient(what, net, batch, task_of)
    what.terms({"preprocessor": net}, batch)["loss"].backward()
    assert torch.allclose(net.factor.grad, expected, rtol=1e-4, atol=1e-7)


def test_through_a_detector_both_values_and_gradients():
    pictures = boxed.pictures(4, side=64)
    clean, targets = pictures.batch(torch.arange(4))
    what, net = objective(LADDER, judge=Finder()), Change()
    batch = what.prepare(clean, targets, generator(5))
    weight = batch["weight"][0]
    expected = expected_gradient(
        what, net, batch, lambda received: weight * sum(Finder().losses(received, targets).values())
    )
    terms = what.terms({"preprocessor": net}, batch)
    decoded, bits = sent_through(what.codec, net(clean).clamp(0, 1), batch["quality"])
    task = sum(Finder().losses(decoded, targets).values())
    assert terms["recognition"].item() == pytest.approx(task.item(), rel=1e-5)
    total = (bits / 64**2).mean() + 0.5 * terms["distortion"] + weight * task
    assert terms["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    terms["loss"].backward()
    assert torch.allclose(net.factor.grad, expected, rtol=1e-4, atol=1e-7)


def test_pictures_of_several_sizes_are_dealt_with_size_by_size():
    pictures = boxed.mixed(5)  # of 64, 50, 64, 64 and 50 pixels
    padded, targets = pictures.training_batch(torch.arange(5), generator(3))
    what, net = objective(LADDER, judge=Finder()), Change()
    batch = what.prepare(padded, targets, generator(5))
    terms = what.terms({"preprocessor": net}, batch)
    terms["loss"].backward()
    again, expected = Change(), {}
    for side, chosen in ((64, [0, 2, 3]), (50, [1, 4])):
        part = what.prepare(padded[chosen][..., :side, :side], [targets[i] for i in chosen], generator(5))
        part |= {key: batch[key][chosen] for key in ("quality", "weight", "strength")} | {"by_size": {}}
        for key, value in what.terms({"preprocessor": again}, part).items():
            expected[key] = expected.get(key, 0) + len(chosen) / 5 * value
    expected["loss"].backward()
    assert set(terms) == set(expected)
    assert all(terms[key].item() == pytest.approx(expected[key].item(), rel=1e-6) for key in terms)
    assert torch.allclose(net.factor.grad, again.factor.grad) and net.factor.grad.abs().max() > 1e-6
    spoilt = dict(batch, images=batch["images"].clone())
    for number in (1, 4):
        spoilt["images"][number, :, 50:], spoilt["images"][number, :, :, 50:] = 1, 1
    assert what.terms({"preprocessor": net}, spoilt)["loss"].item() == terms["loss"].item()


def test_the_codec_under_autocast_is_the_same():
    net = Change()
    full = terms_of(objective(), net)
    with torch.autocast("cpu", torch.bfloat16):
        half = terms_of(objective(), net)
    assert torch.equal(full["bpp"], half["bpp"]) and torch.equal(full["distortion"], half["distortion"])
    assert half["recognition"].item() == pytest.approx(full["recognition"].item(), rel=0.02)
    assert all(term.dtype == torch.float32 for term in half.values())


# What is frozen stays as it was


def states(*nets: nn.Module) -> list[dict]:
    return [copy.deepcopy(net.state_dict()) for net in nets]


def assert_frozen(before: list[dict], *nets: nn.Module) -> None:
    for state, net in zip(before, nets, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in net.parameters())
        assert not any(module.training for module in net.modules())


@pytest.mark.parametrize("recognition", ["labels", "soft_labels", None])
def test_proxy_and_judge_are_frozen_whatever_they_were(tmp_path, recognition):
    proxy, judge = Pretend().train(), tiny.source()
    assert proxy.gain.requires_grad  # as a network fresh from its file
    before = states(proxy, judge)
    what, net = objective(LADDER, recognition, proxy=proxy, judge=judge), Change()
    assert what.frozen == [proxy, judge]
    terms_of(what, net)["loss"].backward()
    assert net.factor.grad.abs().max() > 0
    assert_frozen(before, proxy, judge)
    fit({"preprocessor": net}, what, tiny.pictures(), folder=tmp_path, steps=3, batch=5, lr=1e-2, device="cpu")
    assert not torch.equal(net.factor, Change().factor)
    assert_frozen(before, proxy, judge)


# Recognition without labels, and none


def test_soft_labels_never_look_at_labels():
    what, net = objective(LADDER, "soft_labels"), Change()
    expected = terms_of(what, net)
    for known in ((labels() + 1) % 3, None):
        assert terms_of(what, net, known=known) == expected
    batch = what.prepare(images(), labels(), generator())
    decoded, _ = sent_through(what.codec, net(images()).clamp(0, 1), batch["quality"])
    gap = tiny.source()(decoded).softmax(1) - tiny.source()(images()).softmax(1)
    assert expected["recognition"].item() == pytest.approx(gap.square().sum(1).mean().item(), rel=1e-4)


@pytest.mark.parametrize("known", ["theirs", None, "boxes"])
def test_without_recognition_the_judge_is_never_run(known):
    known = boxed.pictures(6).targets(torch.arange(6)) if known == "boxes" else known
    what = objective(LADDER, None, judge=Raises(), mse_weight=3.0)
    terms = terms_of(what, Change(), known=known)
    assert terms["recognition"] == 0
    assert terms["loss"].item() == pytest.approx((terms["bpp"] + 3 * terms["distortion"]).item(), rel=1e-6)


def test_soft_labels_of_a_detector_compare_what_it_thinks_of_each_place():
    what = objective(LADDER, "soft_labels", judge=Finder())
    known = boxed.pictures(6).targets(torch.arange(6))
    batch = what.prepare(images(6), known, generator())
    assert len(set(batch["weight"].tolist())) > 1  # a rung for every picture
    net = Change()
    received = torch.stack([images(6) * 0.5, images(6)])
    near, same = (what.judge.distance(one, images(6)) for one in received)
    thought = [Finder().soft_labels(one) for one in (received[0], images(6))]
    torch.testing.assert_close(near, (thought[0] - thought[1]).square().sum((1, 2)))
    assert near.shape == (6,) and near.min() > 0 and (same == 0).all()
    terms = what.terms({"preprocessor": net}, batch)
    terms["loss"].backward()
    assert net.factor.grad.abs().min() > 0


def test_two_codecs_with_the_same_settings_are_two():
    @dataclass(frozen=True)
    class Other(Posterise):
        pass

    assert Other().offset == Posterise().offset
    assert objective(codec=Other()).settings != objective(codec=Posterise()).settings


def test_pictures_are_sent_smaller_and_enlarged_and_the_gradient_goes_through_both():
    what, net = objective(recognition="soft_labels", shrink=2), Change()
    batch = what.prepare(images(), labels(), generator())
    terms = what.terms({"preprocessor": net}, batch)
    channel = Coded(what.codec, 4, 2)
    sent = (net.factor * batch["images"]).clamp(0, 1).detach()
    decoded, sizes = channel.transmit(to_8bit(sent))
    assert decoded.shape == sent.shape and terms["bpp"].item() == pytest.approx(
        8 * sizes.sum().item() / sent[:, 0].numel()
    )
    assert terms["recognition"].item() == pytest.approx(what.judge.distance(decoded, batch["images"]).mean().item())
    terms["loss"].backward()
    assert (net.factor.grad != 0).all()
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=generator()), size=32, mode="bicubic")
    for size, real in (((16, 16), Downsample(2)), ((64, 64), Downsample(2).enlarge)):
        assert (
            with_gradient(smooth.clamp(0, 1), size) - real(smooth.clamp(0, 1))
        ).abs().max() < 3 / 255  # rounded twice
    assert what.settings["shrink"] == 2 and "shrink" not in objective().settings


# Learned proxies


def test_rate_distortion_is_the_weighted_error_and_the_bits_a_pixel():
    torch.manual_seed(0)
    proxy = make_proxy("Hyperprior", n=8, m=8)
    clean = torch.rand(2, 3, 64, 80, generator=generator())
    what = RateDistortion(256.0)
    batch = what.prepare(clean, None, generator())
    torch.manual_seed(1)  # of the noise on the latents
    terms = what.terms({"proxy": proxy}, batch)
    torch.manual_seed(1)
    out = proxy(clean)
    assert set(terms) == {"loss", "distortion", "bpp", "bpp_y", "bpp_z"}
    for kind in ("y", "z"):
        expected = out[f"bits_{kind}"].sum() / (2 * 64 * 80)
        assert terms[f"bpp_{kind}"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["bpp"].item() == pytest.approx((terms["bpp_y"] + terms["bpp_z"]).item(), rel=1e-6)
    error = (out["raw"] - clean).square().mean()  # not clamped: also what lies beyond pulls back
    assert terms["distortion"].item() == pytest.approx(error.item(), rel=1e-5)
    assert terms["loss"].item() == pytest.approx((256 * error + terms["bpp"]).item(), rel=1e-5)
    terms["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in proxy.parameters())
    assert what.frozen == [] and what.settings != RateDistortion(128.0).settings

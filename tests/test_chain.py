from dataclasses import dataclass

import pytest
import torch
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Channel, Coded, Downsample, make_channel
from ra_core.codecs import load_codec
from ra_core.data import cifar10
from ra_core.metrics import to_8bit
from ra_core.models.processors import SRResNet


class Add(nn.Module):
    """Add a number to every value, and note what came in and in which mode."""

    def __init__(self, value: float):
        super().__init__()
        self.value, self.seen, self.norm = value, [], nn.BatchNorm2d(3)

    def forward(self, images):
        self.seen.append((images.clone(), self.training or self.norm.training))
        return images + self.value


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return cifar10.load("shipped", "test").batch(torch.arange(6))[0]


INDICES = torch.arange(6)


def test_an_empty_chain_is_the_oracle(images):
    out = Chain()(images, INDICES)
    assert out.pop("bytes") is None
    assert set(out) == {"degraded", "stored", "seen"} and all(torch.equal(p, images) for p in out.values())


@pytest.mark.parametrize("task", ["sr", "dn", "jpeg"])
def test_a_channel_alone_is_unprocessed_and_back_to_size(images, task):
    channel = make_channel(task)
    degraded, sizes = channel.transmit(images, indices=INDICES)
    out = Chain(channel)(images, INDICES)
    assert torch.equal(out["degraded"], degraded)
    assert torch.equal(out["bytes"], sizes) if task == "jpeg" else sizes is out["bytes"] is None
    assert torch.equal(out["stored"], to_8bit(channel.enlarge(degraded)))
    assert torch.equal(out["seen"], out["stored"]) and out["stored"].shape == images.shape
    assert not torch.equal(out["stored"], images)


def test_every_link_gets_what_the_one_before_left(images):
    pre, post, transformer = Add(2.2 / 255), Add(0.3 / 255), Add(0.2 / 255)
    out = Chain(Downsample(4), post, transformer, pre)(images, INDICES)
    sent = to_8bit(images + 2 / 255)  # pre's output is stored, so rounded
    assert torch.equal(pre.seen[0][0], images)
    assert torch.equal(out["degraded"], Downsample(4)(sent))
    assert torch.equal(post.seen[0][0], out["degraded"])
    assert torch.equal(out["stored"], to_8bit(out["degraded"] + 0.3 / 255))
    assert torch.equal(transformer.seen[0][0], out["stored"])
    assert torch.equal(out["seen"], (out["stored"] + 0.2 / 255).clamp(0, 1))


def test_the_bytes_are_those_of_what_was_sent_and_the_codec_is_between_both_ends(images):
    channel, pre, post = Coded(load_codec("jpeg"), 30), Add(-0.3), Add(2 / 255)
    out = Chain(channel, post, pre=pre)(images, INDICES)
    decoded, sizes = channel.transmit(to_8bit(images - 0.3))
    assert torch.equal(out["bytes"], sizes) and (sizes != channel.transmit(images)[1]).any()
    assert torch.equal(post.seen[0][0], decoded) and torch.equal(out["degraded"], decoded)
    assert torch.equal(out["stored"], to_8bit(decoded + 2 / 255))


def test_what_is_stored_and_seen_stays_in_range(images):
    for value in (5.0, -5.0):
        out = Chain(None, Add(value), Add(value))(images, INDICES)
        assert (out["stored"] == (value > 0)).all() and (out["seen"] == (value > 0)).all()


def test_networks_run_in_evaluation_mode_whatever_happened_between(images):
    nets = [Add(0.1), Add(0.1), Add(0.1)]
    chain = Chain(None, *nets)
    for _ in range(2):
        for net in nets:
            net.train()
        chain(images, INDICES)
    assert not any(training for net in nets for _, training in net.seen)


def test_a_call_changes_nothing_and_keeps_no_graph(images):
    torch.manual_seed(0)
    net = SRResNet(4, width=4, blocks=1)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    copied = images.clone()
    out = Chain(make_channel("sr"), net)(images, INDICES)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(images, copied) and not any(p is not None and p.requires_grad for p in out.values())
    expected = net.eval()(make_channel("sr")(images)).detach()
    assert torch.equal(out["stored"], to_8bit(expected))


def test_under_autocast_networks_are_less_precise_and_the_channel_is_not(images):
    @dataclass(frozen=True)
    class Blur(Channel):
        def __call__(self, images, generator=None, indices=None):
            return nn.functional.conv2d(images, torch.full((3, 1, 3, 3), 1 / 9), padding=1, groups=3)

    post, transformer = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    for net in (post, transformer):
        nn.init.dirac_(net.weight)
    chain = Chain(Blur(), post, transformer)
    precise = chain(images, INDICES)
    with torch.autocast("cpu", torch.bfloat16):
        out = chain(images, INDICES)
    assert torch.equal(out["degraded"], precise["degraded"])
    torch.testing.assert_close(out["seen"], precise["seen"], rtol=0, atol=0.02)  # in float32, as every judge takes it
    assert not torch.equal(out["seen"], precise["seen"])

import hashlib
import math

import pytest
import torch
from refusal import refusal
from safetensors.torch import save, save_file
from torch import nn

from ra_core.errors import WeightsError
from ra_core.models.processors import SRResNet
from ra_core.models.weights import load_weights, save_weights


def make(seed: int) -> SRResNet:
    """Return a small network with BatchNorm whose buffers are not at their defaults."""
    torch.manual_seed(seed)
    net = SRResNet(1, width=4, blocks=1)
    net(torch.rand(2, 3, 8, 8))
    return net


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def refused(path, net: nn.Module) -> str:
    """Return why `path` is refused; the network must be as it was."""
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    message = refusal(WeightsError, load_weights, net, path)
    assert equal(before, net.state_dict()) and str(path) in message
    return message


def test_round_trip_keeps_every_bit_and_buffer(tmp_path):
    net, other = make(0), make(1)
    assert not equal(net.state_dict(), other.state_dict())
    save_weights(net, tmp_path / "deep" / "it.safetensors")
    assert load_weights(other, tmp_path / "deep" / "it.safetensors") is other
    assert equal(net.state_dict(), other.state_dict())
    save_weights(net.to(memory_format=torch.channels_last), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "deep" / "it.safetensors").read_bytes()


def test_only_step_counters_may_be_absent(tmp_path):
    net, other = make(0), make(1)
    kept = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(kept) < len(net.state_dict())
    save_file(kept, tmp_path / "it")
    load_weights(other, tmp_path / "it")
    assert all(torch.equal(other.state_dict()[key], tensor) for key, tensor in kept.items())


@pytest.mark.parametrize(
    ("name", "tensor"), [("tail.0.bias", None), ("extra", torch.zeros(2)), ("tail.0.bias", torch.zeros(4))]
)
def test_a_tensor_that_is_missing_unknown_or_misshapen_is_named(tmp_path, name, tensor):
    changed = make(0).state_dict() | {name: tensor}
    save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, tmp_path / "it")
    assert repr(name) in refused(tmp_path / "it", make(1))


def test_truncated_foreign_and_missing_files_are_refused(tmp_path):
    whole = save(make(0).state_dict())
    for share in (0, 0.001, 0.1, 0.5, 0.999):
        (tmp_path / f"{share}.safetensors").write_bytes(whole[: int(share * len(whole))])
    torch.save(make(0).state_dict(), tmp_path / "torch.safetensors")
    (tmp_path / "text.safetensors").write_text("these are no weights\n" * 100)
    (tmp_path / "folder.safetensors").mkdir()
    for path in [*sorted(tmp_path.iterdir()), tmp_path / "none.safetensors"]:
        refused(path, make(1))


@pytest.mark.parametrize("spoilt", [lambda t: t * math.nan, lambda t: t + math.inf, lambda t: t.to(torch.int8)])
def test_numbers_that_no_training_leaves_are_refused(tmp_path, spoilt):
    save_file(make(0).state_dict() | {"tail.0.bias": spoilt(make(0).state_dict()["tail.0.bias"])}, tmp_path / "it")
    assert "'tail.0.bias'" in refused(tmp_path / "it", make(1))


def test_a_file_that_is_not_as_it_was_written_is_refused(tmp_path):
    content = save(make(0).half().state_dict())
    (tmp_path / "it").write_bytes(content)
    net = load_weights(make(1), tmp_path / "it", hashlib.sha256(content).hexdigest())
    assert equal(net.half().state_dict(), make(0).half().state_dict())
    (tmp_path / "it").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    load_weights(make(1), tmp_path / "it")  # nothing is known of it
    said = refusal(WeightsError, load_weights, make(1), tmp_path / "it", hashlib.sha256(content).hexdigest())
    assert str(tmp_path / "it") in said and "SHA-256" in said


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_what_cannot_be_read_just_now_is_not_called_broken(tmp_path, monkeypatch, error):
    (tmp_path / "it").write_bytes(save(make(0).state_dict()))
    monkeypatch.setattr(type(tmp_path), "read_bytes", lambda path: (_ for _ in ()).throw(error))
    said = refusal(WeightsError, load_weights, make(1), tmp_path / "it")
    assert error.strerror in said and "whole" not in said and "train" not in said

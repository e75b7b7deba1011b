"""Weights on disk: safetensors, read strictly."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from ra_core.errors import WeightsError, is_out_of_memory
from ra_core.files import atomic, read_bytes, read_json


def save_weights(net: nn.Module, path: Path) -> None:
    """Write a network's parameters and buffers to `path`, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors))


def load_weights(net: nn.Module, path: Path, sha256: str | None = None) -> nn.Module:
    """Fill `net` from a safetensors file, which must have a SHA-256 where one is known, and return it.

    Every tensor of the network must be in the file and none beside (BatchNorm's step counters may be absent).
    Raises `WeightsError` when the file is missing, cannot be read, is damaged, of another kind, or made for another
    network.
    """
    try:
        content = read_bytes(Path(path))
        tensors = load(content)
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist; name a safetensors file, or train the network first.") from None
    except OSError as error:  # which says nothing about what is in the file
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}); mend that, then run again.") from error
    except (SafetensorError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); copy or train it again.") from error
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise WeightsError(f"{path} is not as it was written: its SHA-256 is another; copy or train it again.")
    own = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    optional = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    found = optional | {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if differ := [name for name in sorted(own | found) if own.get(name) != found.get(name)]:
        known, given = (shapes.get(differ[0], "absent") for shapes in (own, found))
        raise WeightsError(
            f"{path} was made for another network than {type(net).__name__}: {differ[0]!r} is {known} there and "
            f"{given} in the file; use the network it was trained as."
        )
    state = net.state_dict()  # knows the versions of its modules; without them torch renames what looks old
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != state[name].is_floating_point() or not tensor.float().isfinite().all():
            raise WeightsError(
                f"{path} holds in {name!r} numbers that are whole ({tensor.dtype}) or not finite, which no training "
                "leaves; copy or train it again."
            )
    state.update(tensors)
    net.load_state_dict(state)
    return net


def read_sidecar(path: Path, keys: set[str], advice: str) -> dict:
    """Return the JSON beside a file of weights, which must hold some keys. Raises `WeightsError` with `advice`."""
    try:
        sidecar = read_json(path)
        if missing := sorted(keys - sidecar.keys()):
            raise ValueError(f"{', '.join(missing)} missing")
        return sidecar
    except (OSError, ValueError, AttributeError) as error:  # the last of what has no keys
        raise WeightsError(f"{path} cannot be read ({error}); {advice}.") from error


@contextmanager
def fetched(what: str, url: str) -> Iterator[None]:
    """Make `WeightsError` of any failure to take published weights from torch's cache folder or from the network."""
    try:
        yield
    except Exception as error:  # urllib, http and torch each raise their own
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        place = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        raise WeightsError(
            f"the {what} are missing or broken in {place} and could not be fetched ({reason}); put that "
            "file there, name its cache folder in the environment variable TORCH_HOME, or connect to the network once."
        ) from error

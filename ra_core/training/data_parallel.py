"""Networks whose gradients and batch normalisation are those of the batch of all processes."""

import hashlib
from functools import partial

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ra_core.errors import ParameterError, TrainingError
from ra_core.objectives import Objective
from ra_core.training.processes import Team


class DataParallel(DistributedDataParallel):
    """A network whose gradients are averaged over processes while `backward` still runs; otherwise the network."""

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:  # such as `adaptive`, by which a preprocessor is asked
            return getattr(self.module, name)


def distribute(networks: dict[str, nn.Module], team: Team) -> dict[str, nn.Module]:
    """Return networks as all processes of a team train them, normalised over the pictures of all from now on."""
    if team.size == 1:
        return networks
    for net in networks.values():
        sync_batch_norm(net.train(), team)
    ids = [team.device.index] if team.device.type == "cuda" else None
    return {name: DataParallel(net, device_ids=ids, broadcast_buffers=False) for name, net in networks.items()}


def sync_batch_norm(net: nn.Module, team: Team) -> None:
    """Replace what takes statistics of the batch; what is frozen stays, as networks know it by its class."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, _BatchNorm) and team.device.type == "cpu":
                layer.forward = partial(_forward, layer, team)
            elif isinstance(layer, _BatchNorm) and layer.training:
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(layer))


def check_processes(networks: dict[str, nn.Module], objective: Objective, settings: dict, team: Team) -> None:
    """Check that processes can share a training. Raises `ParameterError`, or `TrainingError` where they differ."""
    if team.size == 1:
        return
    if not getattr(objective, "divisible", False):
        raise ParameterError(
            "the loss of this training is not a mean over its pictures, so its batches cannot be divided among "
            f"{team.size} processes; start one."
        )
    frozen = {f"frozen network {number}": net for number, net in enumerate(objective.frozen)}
    first, *others = team.gather([settings | {key: digest(net) for key, net in (networks | frozen).items()}])
    for number, other in enumerate(others, 1):
        for key, value in first.items():
            if other[key] != value:
                raise TrainingError(
                    f"process {number} has {key} = {other[key]!r}, process 0 has {value!r}; "
                    "give every process the same profile, code, weights and pictures."
                )


def digest(net: nn.Module) -> str:
    """Return the SHA-256 of the weights of a network."""
    sha = hashlib.sha256()
    for key, value in net.state_dict().items():
        sha.update(key.encode() + value.cpu().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; the way back sums gradients."""

    @staticmethod
    def forward(ctx, x):
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient)


def _forward(norm: _BatchNorm, team: Team, x: torch.Tensor) -> torch.Tensor:
    """Do what `norm.forward(x)` does, over the batch of all processes; gradients pass through both sums.

    torch's SyncBatchNorm refuses CPUs, where several processes can be compared with one exactly.
    """
    if not (norm.training and team.divides):
        return type(norm).forward(norm, x)
    dims, shape, wide = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2), x.float()
    count = wide.new_tensor([x.numel() / x.shape[1]])
    total, count = _Sum.apply(torch.cat([wide.sum(dims), count])).split([x.shape[1], 1])
    mean = total / count
    centred = wide - mean.view(shape)
    squares = _Sum.apply(centred.square().sum(dims))
    out = centred * (squares / count + norm.eps).rsqrt().view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    norm.num_batches_tracked += 1
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    for running, now in ((norm.running_mean, mean), (norm.running_var, squares / (count - 1))):
        running.lerp_(now.detach(), momentum)
    return out.to(x.dtype)

"""Batch normalisation over a batch that several processes have in parts: the same as over the whole batch in one.

For CPUs, which torch's own `SyncBatchNorm` refuses; so that several processes can be compared with one exactly.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from ra_core.training.processes import Team


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, through which gradients pass."""

    @staticmethod
    def forward(ctx, own, team):
        ctx.team = team
        return team.all_reduce(own.clone())

    @staticmethod
    def backward(ctx, gradient):
        return ctx.team.all_reduce(gradient.clone()), None


def _forward(norm, team: Team, x: torch.Tensor) -> torch.Tensor:
    """Do what `norm.forward(x)` does, over the batch of all processes; gradients pass through both sums."""
    if not norm.training:
        return type(norm).forward(norm, x)
    dims, shape, wide = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2), x.float()
    count = wide.new_tensor([x.numel() / x.shape[1]])
    total, count = _AllReduce.apply(torch.cat([wide.sum(dims), count]), team).split([x.shape[1], 1])
    mean = total / count
    centred = wide - mean.view(shape)
    squares = _AllReduce.apply(centred.square().sum(dims), team)
    out = centred * (squares / count + norm.eps).rsqrt().view(shape)
    if norm.affine:
        out = out * norm.weight.view(shape) + norm.bias.view(shape)
    norm.num_batches_tracked += 1
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    for running, now in ((norm.running_mean, mean), (norm.running_var, squares / (count - 1))):
        running.copy_((1 - momentum) * running + momentum * now.detach())
    return out.to(x.dtype)


@contextmanager
def synced_norms(networks: Iterable[nn.Module], team: Team, count: int) -> Iterator[None]:
    """Let batch normalisation in training see the batch of all processes, `count` pictures, on a CPU.

    Nothing is done for one process, nor where each works through the whole batch, as it has fewer pictures than those.
    """
    norms = [m for net in networks for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = norms if team.size > 1 and team.device.type == "cpu" and count >= team.size else []
    for norm in norms:
        norm.forward = partial(_forward, norm, team)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward

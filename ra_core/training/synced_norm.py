"""Batch normalisation over a batch that several processes have in parts: the same as over the whole batch in one.

torch's own `SyncBatchNorm` knows neither the CPU nor a process whose picture does not count.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from ra_core.training.processes import Team


class _Normalised(torch.autograd.Function):
    """(x - mean) / deviation * weight + bias over all pictures of all processes that count; also mean and variance."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps, team, counts):
        ctx.dims, ctx.shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
        wide, channels = x.float(), x.shape[1]
        own = wide.mean(ctx.dims)
        spread = (wide - own.view(ctx.shape)).square().sum(ctx.dims)
        rows = wide.new_zeros(team.size, 2 * channels + 1)
        if counts:
            rows[team.place] = torch.cat([own, spread, own.new_tensor([x.numel() / channels])])
        team.add_up([rows])  # a table with a line of each process
        means, spreads, numbers = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
        total = numbers.sum()
        mean = (numbers * means).sum(0) / total
        squares = (spreads + numbers * (means - mean).square()).sum(0)
        inverse = (squares / total + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse, total)
        ctx.team, ctx.counts = team, counts
        variance = squares / (total - 1)
        ctx.mark_non_differentiable(mean, variance)
        out = (wide - mean.view(ctx.shape)) * (inverse * weight).view(ctx.shape) + bias.view(ctx.shape)
        return out.to(x.dtype), mean, variance

    @staticmethod
    def backward(ctx, gradient, *_):
        x, weight, mean, inverse, total = ctx.saved_tensors
        gradient = gradient.float()
        normed = (x.float() - mean.view(ctx.shape)) * inverse.view(ctx.shape)
        to_bias, to_weight = gradient.sum(ctx.dims), (gradient * normed).sum(ctx.dims)
        whole = torch.stack([to_bias, to_weight])
        ctx.team.add_up([whole])
        from_mean, from_deviation = (row.view(ctx.shape) / total for row in whole)
        to_x = (weight * inverse).view(ctx.shape) * (gradient - from_mean - normed * from_deviation)
        return (to_x * ctx.counts).to(x.dtype), to_weight, to_bias, None, None, None


def _forward(norm, team: Team, counts: bool, x: torch.Tensor) -> torch.Tensor:
    """Do what `norm.forward(x)` does, over the batch of all processes."""
    if not norm.training:
        return type(norm).forward(norm, x)
    weight = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    bias = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    out, mean, variance = _Normalised.apply(x, weight, bias, norm.eps, team, counts)
    norm.num_batches_tracked += 1
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    for running, now in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.copy_((1 - momentum) * running + momentum * now)
    return out


@contextmanager
def synced_norms(networks: Iterable[nn.Module], team: Team, counts: bool) -> Iterator[None]:
    """Let batch normalisation in training see the batch of all processes; `counts` says whether this one's part does.

    A team of one is left as it is.
    """
    norms = [m for net in networks for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = norms if team.size > 1 else []
    for norm in norms:
        norm.forward = partial(_forward, norm, team, counts)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward

"""What latent values cost: quantisation and probability models of learned codecs."""

import math

import torch
from torch import nn
from torch.nn import functional as F

SMALLEST_SCALE = 0.11  # of a Gaussian; below it a whole bin would hold all there is
SMALLEST_LIKELIHOOD = 1e-9  # so that no value costs more than 30 bits


class _LowerBound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, bound):
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp_min(bound)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def lower_bound(values: torch.Tensor, bound: float) -> torch.Tensor:
    """Return `values`, at least `bound`; a gradient that would raise a value below it still passes."""
    return _LowerBound.apply(values, bound)


def quantise(values: torch.Tensor, noise: bool) -> torch.Tensor:
    """Return values plus uniform noise of one bin (in training), or rounded, as if not for the gradient."""
    if noise:
        return values + torch.empty_like(values).uniform_(-0.5, 0.5)
    return values + (values.round() - values).detach()


def _normal_cdf(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def gaussian_likelihood(values: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the share of a Gaussian that lies within half a unit of each value."""
    distance = (values - mean).abs()  # in the lower tail, where the difference of two cdf is exact
    upper, lower = _normal_cdf((0.5 - distance) / scale), _normal_cdf((-0.5 - distance) / scale)
    return lower_bound(upper - lower, SMALLEST_LIKELIHOOD)


def bits(likelihood: torch.Tensor) -> torch.Tensor:
    """Return the bits of each picture, (B,), from likelihoods (B, C, H, W)."""
    return -likelihood.float().log2().sum((1, 2, 3))


class FlowDensity(nn.Module):
    """A density learned for each channel: four monotone scalar steps that end in a sigmoid, its cdf.

    11 parameters a channel. Source: Balle et al. 2018, "Variational image compression with a scale hyperprior",
    appendix 6.1, with steps of width one.
    """

    STEPS = 4

    def __init__(self, channels: int):
        super().__init__()
        self.stretch = nn.Parameter(torch.empty(self.STEPS, channels).normal_(0, 0.01))
        self.shift = nn.Parameter(torch.empty(self.STEPS, channels).normal_(0, 0.01))
        self.bend = nn.Parameter(torch.empty(self.STEPS - 1, channels).normal_(0, 0.01))

    def logits(self, values: torch.Tensor) -> torch.Tensor:
        """Return the logit of the cdf at values (B, C, H, W)."""
        for step in range(self.STEPS):
            stretch, shift = F.softplus(self.stretch[step]), self.shift[step]
            values = values * stretch[:, None, None] + shift[:, None, None]
            if step < self.STEPS - 1:
                values = values + self.bend[step].tanh()[:, None, None] * values.tanh()
        return values

    def likelihood(self, values: torch.Tensor) -> torch.Tensor:
        """Return the share of the density that lies within half a unit of each value (B, C, H, W)."""
        lower, upper = self.logits(values - 0.5), self.logits(values + 0.5)
        side = -torch.sign(lower + upper).detach()  # in the lower tail, where the difference is exact
        share = (torch.sigmoid(side * upper) - torch.sigmoid(side * lower)).abs()
        return lower_bound(share, SMALLEST_LIKELIHOOD)

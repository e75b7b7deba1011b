"""Learned codecs as differentiable stand-ins for real ones: a hyperprior, and one with a context model."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from ra_core.models.registry import PROXIES
from ra_core.padding import check_pictures, pad_to_multiple

STRIDE = 64  # 16 from pixels to y, 4 from y to z
SLOPE = 0.2
PEDESTAL = 2.0**-36
SMALLEST_BETA = 1e-6
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


def gaussian_likelihood(values: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return the share of a Gaussian that lies within half a unit of each value."""
    distance = (values - mean).abs()  # in the lower tail, where the difference of two cdf is exact
    upper, lower = (0.5 * torch.erfc((half - distance) / scale * -math.sqrt(0.5)) for half in (0.5, -0.5))
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


class GDN(nn.Module):
    """Divide each channel by a learned root of the channels' squares at the same place, or multiply (`inverse`).

    y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2). The parameters are roots of beta and gamma, kept positive.
    Source: Balle et al. 2016, "Density modeling of images using a generalized normalization transformation".
    """

    def __init__(self, channels: int, inverse: bool = False):
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter((torch.ones(channels) + PEDESTAL).sqrt())
        self.gamma = nn.Parameter((0.1 * torch.eye(channels) + PEDESTAL).sqrt())

    def forward(self, x):
        beta = lower_bound(self.beta, (SMALLEST_BETA + PEDESTAL) ** 0.5) ** 2 - PEDESTAL
        gamma = lower_bound(self.gamma, PEDESTAL**0.5) ** 2 - PEDESTAL
        norm = F.conv2d(x.square(), gamma[:, :, None, None], beta)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


class MaskedConv2d(nn.Conv2d):
    """A convolution that sees only what comes before a place in reading order, not the place itself.

    Source: van den Oord et al. 2016, "Pixel recurrent neural networks", mask A.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        mask = torch.ones_like(self.weight[0, 0])
        rows, columns = mask.shape
        mask[rows // 2, columns // 2 :] = 0
        mask[rows // 2 + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 5, 2, 2)


def _deconv(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(c_in, c_out, 5, 2, 2, output_padding=1)


@PROXIES.register("Hyperprior")
class Hyperprior(nn.Module):
    """A codec whose latent y is Gaussian given a second, coarser latent z: mean and scale, no context.

    Call and answer as `make_proxy` says. Sides are padded to multiples of 64 by repeating the border, and the padding
    is coded (and paid) too. Latents get noise in training and are rounded in evaluation, where gradients pass
    nevertheless. One set of weights is one rate, so `quality` is not used. `n` and `m` are channels, m of the latent y.
    Source: Minnen et al. 2018, "Joint Autoregressive and Hierarchical Priors for Learned Image Compression",
    without its context model.
    """

    def __init__(self, n: int = 64, m: int = 96):
        super().__init__()
        self.encoder = nn.Sequential(_conv(3, n), GDN(n), _conv(n, n), GDN(n), _conv(n, n), GDN(n), _conv(n, m))
        self.decoder = nn.Sequential(
            _deconv(m, n), GDN(n, inverse=True), _deconv(n, n), GDN(n, inverse=True),
            _deconv(n, n), GDN(n, inverse=True), _deconv(n, 3),
        )  # fmt: skip
        self.hyper_encoder = nn.Sequential(
            nn.Conv2d(m, n, 3, 1, 1), nn.LeakyReLU(SLOPE), _conv(n, n), nn.LeakyReLU(SLOPE), _conv(n, n)
        )
        self.hyper_decoder = nn.Sequential(
            _deconv(n, n), nn.LeakyReLU(SLOPE), _deconv(n, 3 * m // 2), nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(3 * m // 2, 2 * m, 3, 1, 1),
        )  # fmt: skip
        self.z_density = FlowDensity(n)
        _begin_with_scale_one(self.hyper_decoder[-1], m)

    def moments(self, hyper: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and scale of y from what z tells; the scale is a square, at least 0.11."""
        mean, root = hyper.chunk(2, dim=1)
        return mean, lower_bound(root.square(), SMALLEST_SCALE)

    def forward(self, images, quality=None):
        check_pictures(images, type(self).__name__)
        height, width = images.shape[-2:]
        latent = self.encoder(pad_to_multiple(images, STRIDE))
        z = quantise(self.hyper_encoder(latent), self.training)
        y = quantise(latent, self.training)
        bits_y = bits(gaussian_likelihood(y, *self.moments(self.hyper_decoder(z), y)))
        bits_z = bits(self.z_density.likelihood(z))
        raw = self.decoder(y)[..., :height, :width]
        both = {"bits_y": bits_y, "bits_z": bits_z, "bits": bits_y + bits_z}
        return {"pictures": raw.clamp(0, 1), "raw": raw} | both


@PROXIES.register("Minnen2018")
class Minnen2018(Hyperprior):
    """The hyperprior with a context model: what was coded before, in reading order, also tells mean and scale.

    14,120,867 parameters at the published n = m = 192.
    Source: Minnen et al. 2018, figure 1.
    """

    def __init__(self, n: int = 192, m: int = 192):
        super().__init__(n, m)
        self.context = MaskedConv2d(m, 2 * m, 5, padding=2)
        self.entropy_parameters = nn.Sequential(
            nn.Conv2d(4 * m, 10 * m // 3, 1), nn.LeakyReLU(SLOPE),
            nn.Conv2d(10 * m // 3, 8 * m // 3, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(8 * m // 3, 2 * m, 1),
        )  # fmt: skip
        _begin_with_scale_one(self.entropy_parameters[-1], m)

    def moments(self, hyper, y):
        return super().moments(self.entropy_parameters(torch.cat([hyper, self.context(y)], dim=1)), y)


def _begin_with_scale_one(layer: nn.Module, m: int) -> None:
    """Let a layer's second half, the roots of the scales, begin around one, where gradients reach everything."""
    with torch.no_grad():
        layer.bias[m:] = 1

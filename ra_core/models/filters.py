"""Filters before a codec, without training: the baselines a learned preprocessor must beat."""

import torch
from torch import nn
from torch.nn import functional as F


class Gaussian(nn.Module):
    """Blur by a Gaussian of standard deviation `sigma` pixels, the border continued by its own pixels."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma, self.radius = sigma, max(1, round(3 * sigma))
        taps = torch.exp(-(torch.arange(-self.radius, self.radius + 1.0) ** 2) / (2 * sigma**2))
        self.register_buffer("taps", taps / taps.sum(), persistent=False)

    def forward(self, images):
        taps = self.taps.to(images).expand(3, 1, 1, -1)  # wherever the pictures are
        padded = F.pad(images, (self.radius,) * 4, mode="replicate")
        return F.conv2d(F.conv2d(padded, taps, groups=3), taps.transpose(2, 3), groups=3)


class Bilateral(nn.Module):
    """Blur within edges: neighbours count by their distance and by how alike they are.

    `sigma` is in pixels, `tone` the standard deviation of the difference in colour, 1 being black to white.
    Source: Tomasi and Manduchi, "Bilateral Filtering for Gray and Color Images", ICCV 1998.
    """

    def __init__(self, sigma: float, tone: float):
        super().__init__()
        self.sigma, self.tone = sigma, tone

    def forward(self, images):
        radius, (height, width) = max(1, round(2 * self.sigma)), images.shape[-2:]
        padded = F.pad(images, (radius,) * 4, mode="replicate")
        total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                top, left = dy + radius, dx + radius
                other = padded[..., top : top + height, left : left + width]
                unlike = (other - images).square().mean(1, keepdim=True) / self.tone**2
                weight = torch.exp(-0.5 * (unlike + (dx**2 + dy**2) / self.sigma**2))
                total, weights = total + weight * other, weights + weight
        return total / weights


class Saliency(nn.Module):
    """Blur where a recognizer does not look, which is where its strongest answers change little with the pixels.

    `recognizer` maps pictures (B, 3, H, W) to logits with a gradient. The magnitude of the gradients of its three
    highest logits is smoothed over 8 pixels and set beside its mean over the picture: below 0.3 of it a place is a blur
    of 3 pixels, above 0.8 the picture itself, between them a mixture. These numbers were chosen on training photographs
    of 224 pixels. Source of the saliency: Simonyan et al., "Deep Inside Convolutional Networks", 2014.
    """

    def __init__(self, recognizer: nn.Module):
        super().__init__()
        self.recognizer, self.blur, self.around = recognizer, Gaussian(3.0), Gaussian(8.0)

    def forward(self, images):
        share = ((self.saliency(images) - 0.3) / 0.5).clamp(0, 1)
        return share * images + (1 - share) * self.blur(images)

    def saliency(self, images: torch.Tensor) -> torch.Tensor:
        """Return how much the recognizer looks at each pixel, with mean 1 over a picture, (B, 1, H, W)."""
        with torch.inference_mode(False), torch.enable_grad():
            seen = images.clone().requires_grad_(True)
            highest = self.recognizer(seen).topk(3).values.sum(0)  # no picture's answer depends on another one
            found = [torch.autograd.grad(value, seen, retain_graph=True)[0] for value in highest]
        strength = torch.stack(found).square().sum((0, 2))[:, None].sqrt()
        near = self.around(strength.expand(-1, 3, -1, -1))[:, :1]
        return near / near.mean((2, 3), keepdim=True).clamp_min(torch.finfo(near.dtype).tiny)

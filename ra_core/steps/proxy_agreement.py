"""How well a proxy stands in for a real codec: its rates, its pictures, and the way its gradient points."""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import nn

from ra_core.channels import Coded, to_arrays
from ra_core.codecs import Codec, load_codec
from ra_core.metrics import mean_interval, psnr, to_8bit
from ra_core.params import Profile
from ra_core.params.coding import Preprocessing, ends_and_middle
from ra_core.runs.proxies import proxies_of

COLUMNS = [
    "proxy", "codec", "quality", "n", "rate_correlation", "rate_ratio", "psnr",
    "gradient_cosine", "gradient_cosine_low", "gradient_cosine_high",
]  # fmt: skip
SIDE = 8  # of the blocks whose frequencies are made stronger and weaker
HIGHEST = 6  # sum of both numbers of a frequency; those above changed no cosine in `quick` by more than 0.01
LARGEST = 320  # pixels a side
STEP = 0.1  # by this share


def agreements(profile: Profile, settings: Preprocessing, images: torch.Tensor) -> pd.DataFrame:
    """Return `agreement` of every codec of a data set with all its proxies.

    A codec that preprocessors are trained for is asked at three qualities of its curve, any other at one. Large
    pictures are cut to `LARGEST` pixels a side, and all to whole blocks.
    """
    height, width = (min(side, LARGEST) // SIDE * SIDE for side in images.shape[-2:])
    images = images[..., :height, :width]
    places = {codec: ends_and_middle(steps.curve) for codec, steps in settings.codecs.items()}
    places |= {codec: [curve[len(curve) // 2]] for codec, curve in settings.transfer.items()}
    found = [agreement(proxies_of(profile, name, images), load_codec(name), at, images) for name, at in places.items()]
    return pd.concat(found, ignore_index=True)


def agreement(
    proxies: Mapping[str, nn.Module], codec: Codec, qualities: list[float], images: torch.Tensor
) -> pd.DataFrame:
    """Compare proxies with a codec on pictures (B, 3, H, W) in [0, 1], at least three, sides multiples of 8.

    A row a quality and proxy: `rate_correlation` (Pearson, over the pictures), `rate_ratio` (the proxy's bits over
    the file's), `psnr` between the two reconstructions (dB, mean over pictures) and `gradient_cosine`, the mean over
    pictures of the cosine between `proxy_slopes` and `codec_slopes`, with its 95 % interval.
    """
    rows = []
    stored = to_8bit(images)
    waves = bands(stored)
    for quality in qualities:
        decoded, sizes = Coded(codec, quality).transmit(stored)
        bits, real = 8.0 * sizes, codec_slopes(codec, stored, waves, quality)
        for name, proxy in proxies.items():
            with torch.no_grad():
                guess = proxy(stored, torch.full((len(stored),), float(quality)))
            cosines = torch.cosine_similarity(proxy_slopes(proxy, stored, waves, quality), real)
            cosine, low, high = mean_interval(cosines)
            rows.append({
                "proxy": name, "codec": codec.name, "quality": quality, "n": len(images),
                "rate_correlation": torch.corrcoef(torch.stack([guess["bits"].double(), bits.double()]))[0, 1].item(),
                "rate_ratio": (guess["bits"] / bits).mean().item(),
                "psnr": psnr(to_8bit(guess["pictures"]), decoded).mean().item(),
                "gradient_cosine": cosine, "gradient_cosine_low": max(low, -1), "gradient_cosine_high": min(high, 1),
            })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def bands(images: torch.Tensor) -> torch.Tensor:
    """Return what of a picture lies in each low spatial frequency of 8 x 8 blocks but the mean: (27, B, 3, H, W)."""
    pairs = [(u, v) for u in range(SIDE) for v in range(SIDE) if 0 < u + v <= HIGHEST]
    vertical, horizontal = torch.tensor(pairs).T
    place = torch.arange(SIDE, dtype=torch.float32)
    basis = torch.cos(torch.pi * (place[None] + 0.5) * place[:, None] / SIDE)  # (frequency, pixel)
    basis = basis / basis.norm(dim=1, keepdim=True)
    batch, colours, height, width = images.shape
    blocks = images.reshape(batch, colours, height // SIDE, SIDE, width // SIDE, SIDE)
    coefficients = torch.einsum("bcyixj,fi,fj->bcyxf", blocks, basis[vertical], basis[horizontal])
    parts = torch.einsum("bcyxf,fi,fj->fbcyixj", coefficients, basis[vertical], basis[horizontal])
    return parts.reshape(-1, *images.shape)


def proxy_slopes(proxy: nn.Module, images: torch.Tensor, waves: torch.Tensor, quality: float) -> torch.Tensor:
    """Return how the proxy's bits change as each of the `bands` of pictures grows, (B, 27), by their gradient."""
    inputs = images.clone().requires_grad_(True)
    with torch.enable_grad():
        bits = proxy(inputs, torch.full((len(images),), float(quality)))["bits"]
    (gradient,) = torch.autograd.grad(bits.sum(), inputs)
    return (waves * gradient).sum((2, 3, 4)).T


def codec_slopes(codec: Codec, images: torch.Tensor, waves: torch.Tensor, quality: float) -> torch.Tensor:
    """Return the same of the real files, (B, 27), by central differences of a tenth of each frequency."""

    def bits(changed):
        files = codec.encode(to_arrays(to_8bit(changed)), quality)
        return 8.0 * torch.tensor([len(file) for file in files])

    return torch.stack(
        [(bits(images + STEP * band) - bits(images - STEP * band)) / (2 * STEP) for band in waves], dim=1
    )

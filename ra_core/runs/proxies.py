"""Which proxy stands in for which codec, and learned proxies of several rates for the qualities of one codec."""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import nn

from ra_core.channels import Coded
from ra_core.codecs import CODECS, Codec, load_codec
from ra_core.errors import ParameterError
from ra_core.models.proxies import load_proxy_weights, make_proxy
from ra_core.params import LearnedProxy, Profile
from ra_core.paths import profile_folder
from ra_core.pretraining.proxies import trained_proxies

REFERENCES = 8  # pictures on which the rates of codec and proxies are compared


class LearnedLadder(nn.Module):
    """Learned proxies of several rates in place of one codec: each picture goes to the one nearest at its quality.

    Nearest is the one whose bits a pixel on `references`, pictures (B, 3, H, W), are nearest to the codec's there, as
    a ratio. It is called and answers as every proxy, but must be told the quality: a number, or one a picture (B,).
    """

    def __init__(self, proxies: Sequence[nn.Module], codec: Codec, references: torch.Tensor):
        super().__init__()
        self.proxies, pixels = nn.ModuleList(proxies), references.shape[-2] * references.shape[-1]
        with torch.no_grad():
            self.bpp = [proxy(references)["bits"].mean().item() / pixels for proxy in proxies]

        @cache
        def codec_bpp(quality: float) -> float:
            return 8 * Coded(codec, quality).transmit(references)[1].double().mean().item() / pixels

        self.codec_bpp = codec_bpp

    def nearest(self, quality: float) -> int:
        """Return the number of the proxy that stands in at a quality."""
        wanted = math.log(self.codec_bpp(quality))
        return min(range(len(self.bpp)), key=lambda i: abs(math.log(self.bpp[i]) - wanted))

    def forward(self, images, quality=None):
        if quality is None:
            raise ParameterError("a ladder of learned proxies was given no quality; give that of the codec.")
        asked = torch.as_tensor(quality, dtype=torch.float64).expand(len(images)).tolist()
        chosen = torch.tensor([self.nearest(q) for q in asked], device=images.device)
        groups = {i: torch.nonzero(chosen == i).flatten() for i in chosen.unique().tolist()}
        parts = [self.proxies[i](images[group]) for i, group in groups.items()]
        back = torch.cat(list(groups.values())).argsort()
        return {key: torch.cat([part[key] for part in parts])[back] for key in parts[0]}


def load_proxy(
    name: str, codec: str, references: torch.Tensor, learned: LearnedProxy, profile: str, device: str
) -> nn.Module:
    """Return the frozen proxy of a codec, ready to give gradients.

    `BlockDCT` stands in for codecs of block transforms. A learned one stands in for any, by weights made as `learned`
    says: those that ship, or those of the profile, trained now where they are missing; their rates are matched on
    `references`. Raises `ParameterError` where there is none.
    """
    if name == "BlockDCT":
        stand_in = CODECS.find(codec).stand_in
        if stand_in is None:
            known = ", ".join(sorted(other for other, entry in CODECS.items() if entry.stand_in))
            raise ParameterError(
                f"proxy BlockDCT cannot stand in for codec {codec!r}, only for {known}; "
                "choose a learned one, Hyperprior for instance."
            )
        return make_proxy(name, codec=stand_in).requires_grad_(False).eval()
    files = trained_proxies(learned, profile_folder(profile) / "proxies", device)
    proxies = [load_proxy_weights(path.stem, path.parent) for path in files]
    return LearnedLadder(proxies, load_codec(codec), references).requires_grad_(False).eval()


def proxy_of(profile: Profile, name: str, codec: str, references: torch.Tensor) -> nn.Module:
    """Return a proxy of a codec as a profile has it; see `load_proxy`."""
    return load_proxy(name, codec, references, profile.proxy, profile.name, profile.device)


def proxies_of(profile: Profile, codec: str, references: torch.Tensor) -> dict[str, nn.Module]:
    """Return every proxy that can stand in for a codec, by name."""
    names = [*(["BlockDCT"] if CODECS.find(codec).stand_in else []), profile.proxy.name]
    return {name: proxy_of(profile, name, codec, references) for name in names}

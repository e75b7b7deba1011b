"""Differentiable stand-ins for codecs: what a real codec does to a picture and what it costs, with gradients."""

from pathlib import Path

from torch import nn

from ra_core.models import proxy_dct, proxy_learned  # noqa: F401, they register themselves
from ra_core.models.registry import PROXIES, make
from ra_core.models.weights import load_weights, read_sidecar
from ra_core.paths import ASSETS

SHIPPED = ASSETS / "proxies"


def make_proxy(name: str, **sizes) -> nn.Module:
    """Return a fresh proxy: `Minnen2018` and `Hyperprior` (sizes `n`, `m`), `BlockDCT` (`codec`, `quality`).

    Every proxy is called as `proxy(images, quality=None)` with pictures (B, 3, H, W) in [0, 1] of any size and
    returns `pictures` (B, 3, H, W) clamped to [0, 1], `raw` (not clamped), and the bits of each picture, (B,):
    `bits`, the sum of `bits_y` (content) and `bits_z` (side information).
    Sizes that are None keep their default. Raises `ParameterError` for an unknown name, size or value.
    """
    return make(PROXIES, name, **sizes)


def proxy_stem(name: str, weight: float) -> str:
    """Return what the files of a learned proxy are called: `hyperprior-512`."""
    return f"{name.lower()}-{weight:g}"


def shipped_proxies(name: str = "") -> list[str]:
    """Return the learned proxies that ship (those of one kind), from few bits to many."""
    stems = (path.stem for path in SHIPPED.glob(f"{name.lower()}*.safetensors"))
    return sorted(stems, key=lambda stem: (stem.rpartition("-")[0], float(stem.rpartition("-")[2])))


def read_proxy_sidecar(stem: str, folder: Path = SHIPPED) -> dict:
    """Return how a learned proxy was made and what it reached on held-out pictures."""
    advice = (
        f"choose one that ships, {', '.join(shipped_proxies())}, or train it with python -m ra_core.pretraining.proxies"
    )
    return read_sidecar(folder / f"{stem}.json", {"name", "n", "m", "weight"}, advice)


def load_proxy_weights(stem: str, folder: Path = SHIPPED) -> nn.Module:
    """Return a trained learned proxy, `hyperprior-512` for instance, frozen.

    Raises `WeightsError` where it does not ship (or is not in `folder`) or was trained for other sizes.
    """
    sidecar = read_proxy_sidecar(stem, folder)
    net = make_proxy(sidecar["name"], n=sidecar["n"], m=sidecar["m"])
    return load_weights(net, folder / f"{stem}.safetensors", sidecar.get("sha256")).requires_grad_(False).eval()

"""A trained network by name, which takes pictures as people have them and gives them back in the same form."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ra_core.channels.coded import shrunk
from ra_core.data.decoding import NO_MEMORY, upright
from ra_core.errors import DataError, ParameterError, is_out_of_memory
from ra_core.networks.tiles import WHITE, geometry, run_net
from ra_core.runs import AtStrength, Run, find_run
from ra_core.training import pick_device

FORMS = (
    "a PIL picture, an array (H, W), (H, W, C) or (B, H, W, C), a tensor (H, W), (C, H, W) or (B, C, H, W), or a list "
    "of them, with C from 1 to 4 and values in uint8, uint16 or floats from 0 to 1"
)


@dataclass(frozen=True)
class Network:
    """Trained networks, one after the other, on a device, for pictures of any size; then `shrink` times smaller a side.

    Called with a picture, an array or a tensor (`FORMS`), it returns the same kind, `scale` times as large. The second
    or fourth channel is transparency, which the networks do not see. Grey stays grey. Large pictures go through in
    tiles. `nets` are the bare networks as `Run.load` gives them; they map (B, 3, H, W) in [0, 1].
    """

    nets: dict[str, nn.Module]
    device: torch.device
    strength: float | None = None  # that a preprocessor is told
    shrink: float = 1

    @property
    def scale(self) -> float:
        """How much larger its pictures are than those it is given."""
        scale = math.prod(geometry(net).scale for net in self.nets.values())
        return scale if self.shrink == 1 else scale / self.shrink

    def __call__(self, picture):
        """Return what the networks make of a picture or a list of them.

        Raises `ParameterError` for what is none, `DataError` for one that does not fit into memory.
        """
        if isinstance(picture, list | tuple):
            return [self(one) for one in picture]
        try:
            return self._made(picture)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            size = " x ".join(map(str, getattr(picture, "shape", picture.size)))
            said = f"a picture of {size} values, with what is made of it, {NO_MEMORY}, or give it in pieces."
            raise DataError(said) from error

    def _made(self, picture):
        if isinstance(picture, Image.Image):
            return self._image(picture)
        if isinstance(picture, np.ndarray):
            return self._array(picture)
        if isinstance(picture, torch.Tensor):
            return self._tensor(picture).contiguous()
        raise ParameterError(f"a picture was given as {type(picture).__name__}; give {FORMS}.")

    def _image(self, picture: Image.Image) -> Image.Image:
        """Turn a picture upright and give it back in its mode, or in the nearest of 8 bits that has all it shows."""
        picture, profile = upright(picture), picture.info.get("icc_profile", b"")
        if picture.mode[0] in "IF":  # deep grey
            values, white = np.asarray(picture), 1 if picture.mode == "F" else WHITE[torch.uint16]
            if values.size and not (values.min() >= 0 and values.max() <= white):  # said so that a NaN fails
                raise ParameterError(
                    f"a PIL picture of mode {picture.mode} must hold 0 to {white}, and this one holds "
                    f"{values.min():g} to {values.max():g}; bring its values there, or give one of mode L."
                )
            return Image.fromarray(self._array(values.astype(np.float32 if white == 1 else np.uint16)))
        mode = "L" if picture.mode in ("1", "L", "LA", "La") else "RGB"
        made = Image.fromarray(self._array(np.asarray(picture.convert(mode + "A" * picture.has_transparency_data))))
        if profile[16:20] == {"L": b"GRAY", "RGB": b"RGB "}[mode]:  # of the colours that it still has
            made.info["icc_profile"] = profile
        return made

    def _array(self, picture: np.ndarray) -> np.ndarray:
        planes = picture if picture.ndim < 3 else np.moveaxis(picture, -1, -3)
        try:
            given = torch.from_numpy(np.array(planes, dtype=picture.dtype.newbyteorder("=")))
        except TypeError as error:  # of a kind that torch does not know
            raise ParameterError(f"an array of {picture.dtype} was given; give {FORMS}.") from error
        made = self._tensor(given).numpy()
        return np.ascontiguousarray(made if picture.ndim < 3 else np.moveaxis(made, -3, -1))

    def _tensor(self, picture: torch.Tensor) -> torch.Tensor:
        """Return what is made of a picture whose channels come first; its pixels may lie as an array has them."""
        if picture.ndim in (2, 3):
            return self._tensor(picture[None])[0]
        channels = picture.shape[1] if picture.ndim == 4 else 0
        fits = picture.dtype in WHITE or picture.is_floating_point()
        if not (fits and 1 <= channels <= 4 and picture.numel()):
            raise ParameterError(f"{picture.dtype} of shape {tuple(picture.shape)} was given; give {FORMS}.")
        if picture.is_floating_point() and not (picture.min() >= 0 and picture.max() <= 1):  # said so that a NaN fails
            raise ParameterError(f"values beyond 0 to 1 were given in {picture.dtype}; divide them, or give uint8.")
        colours = 3 if channels > 2 else 1
        seen, alpha = picture[:, :colours], picture[:, colours:]
        bits = seen.view(torch.int16) if seen.dtype == torch.uint16 else seen  # which torch can compare
        grey = (bits == bits[:, :1]).flatten(1).all(1)
        made = seen.expand(-1, 3, -1, -1)
        *first, last = self.nets.values()
        for net in first:
            made = run_net(net, made, self.device)
        made = run_net(last, made, self.device, grey=grey)[:, :colours]
        if self.shrink > 1:
            made = _shrunk(made, self.shrink)
        return torch.cat([made, _resized(alpha, made.shape[-2:])], 1) if alpha.numel() else made


def _shrunk(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return pictures (B, C, H, W) as a run whose pictures are sent smaller hands them to the codec."""
    white = WHITE.get(images.dtype, 1)
    small = white * shrunk(images.float() / white, factor)
    return (small if white == 1 else small.round()).to(images.dtype)


def _resized(alpha: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return transparency (B, 1, H, W) at another size, by bicubic interpolation."""
    if alpha.shape[-2:] == size:
        return alpha
    planes = (alpha if alpha.dtype == torch.uint8 else alpha.float())[:, 0].cpu().numpy()
    layers = [Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC) for plane in planes]
    made, white = torch.from_numpy(np.stack(layers))[:, None], WHITE.get(alpha.dtype, 1)
    if alpha.dtype != torch.uint8:
        made = made.clamp(0, white) if white == 1 else made.clamp(0, white).round()
    return made.to(alpha.device, alpha.dtype)


def load(
    name: str | Path,
    device: str | torch.device = "auto",
    *,
    quality: float | None = None,
    strength: float | None = None,
    transformer: bool = False,
) -> Network:
    """Return a network by the name under which it ships, or by the folder of a finished run.

    A processor restores pictures; `transformer` adds the network it was trained with. A preprocessor gives the picture
    to be coded: an adaptive one, such as npp_qa, for a `quality` of its own codec, or at a `strength` from about 0.01
    (few bytes) to 2 (many). Raises `ParameterError` for what is no finished run, and for what does not go together.
    """
    run = find_run(name)
    if "tables" in run.method.trains:
        raise ParameterError(
            f"{name} has learned tables of quantisation, which only a codec's files can hold; "
            f"use python -m ra_core.apply INPUT OUTPUT --run {name} --quality QUALITY."
        )
    return network_of(run, device, quality=quality, strength=strength, transformer=transformer)


def network_of(
    run: Run, device: str | torch.device, *, quality: float | None, strength: float | None, transformer: bool
) -> Network:
    """Return what `load` does of a finished run; of one with tables, its preprocessor alone."""
    device = pick_device(str(device))
    networks = run.load(device)
    kind = "preprocessor" if "preprocessor" in networks else "processor"
    if kind not in networks or "postprocessor" in networks:
        raise ParameterError(
            f"{run.name} has a network behind the codec, which no standard file can hold; "
            "name the run of a processor, or of a preprocessor alone, such as npp_qa."
        )
    if transformer and "transformer" not in networks:
        raise ParameterError("a transformer was asked for, but the run has none; leave --transformer out.")
    strength = _strength(run, quality, strength)
    if kind == "preprocessor":
        return Network({kind: AtStrength(networks[kind], strength)}, device, strength, run.shrink)
    return Network({name: networks[name] for name in ("processor", *["transformer"] * transformer)}, device)


def _strength(run: Run, quality: float | None, strength: float | None) -> float | None:
    """Return the strength that an adaptive preprocessor is told. Raises `ParameterError` where it cannot be known."""
    if not run.method.adaptive and quality is strength is None:
        return None
    if run.method.adaptive and strength is None and quality is not None:
        return run.strength_at(run.codec.qualities.checked(quality))
    told = 0 if strength is None else torch.tensor(strength, dtype=torch.float32).item()  # which may be 0, or endless
    if not run.method.adaptive or not 0 < told < math.inf:
        raise ParameterError(
            f"quality {quality!r} with strength {strength!r} is not allowed; give an adaptive preprocessor (npp_qa) "
            "alone a quality of its own codec, or --strength, from about 0.01 (few bytes) to 2 (many)."
        )
    return strength

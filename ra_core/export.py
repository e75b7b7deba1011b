"""`python -m ra_core.export NAME out.onnx`: a trained network as an ONNX file, for programs without torch."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from ra_core.errors import ParameterError, exit_status
from ra_core.files import atomic
from ra_core.networks import Network, load
from ra_core.networks.tiles import geometry, padded

EXAMPLE = (2, 3, 48, 80)  # any size will do: all but the channels are dynamic


class Whole(nn.Module):
    """The networks of a `Network` on pictures (B, 3, H, W) in [0, 1] of any size, in one piece."""

    def __init__(self, network: Network):
        super().__init__()
        self.nets = nn.ModuleList(network.nets.values())

    def forward(self, images):
        for net in self.nets:
            grid, _, scale = geometry(net)
            height, width = images.shape[-2:]
            images = net(padded(images, grid))[..., : height * scale, : width * scale].clamp(0, 1)
        return images


def export(network: Network, path: Path) -> None:
    """Write a network as ONNX: `input` (B, 3, H, W), float32, RGB in [0, 1], to `output`, `scale` times as large.

    Raises `ParameterError` for pictures that are sent smaller, and where the extra `export` is not installed.
    """
    if network.shrink > 1:
        raise ParameterError(
            f"pictures of this run are sent {network.shrink:g} times smaller a side, which an ONNX file cannot do to "
            "the bit; use ra_core.load in Python, or python -m ra_core.apply for a folder."
        )
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise ParameterError(f"{' and '.join(missing)} is missing; install it with pip install -e '.[export]'.")
    dynamic = {0: "batch", 2: "height", 3: "width"}
    program = torch.onnx.export(
        Whole(network).eval(), (torch.rand(EXAMPLE, device=network.device),), dynamo=True, verbose=False,
        input_names=["input"], output_names=["output"], dynamic_shapes=(dynamic,),
    )  # fmt: skip
    program.model.metadata_props.update({"input": "RGB in [0, 1]", "scale": str(network.scale)})
    with atomic(path) as temporary:
        program.save(temporary, external_data=False)


def main(arguments: list[str] | None = None) -> int:
    """Export a network. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(prog="python -m ra_core.export", description="Write a network as an ONNX file.")
    parser.add_argument("name", help="of a network that ships, or the folder of a finished run")
    parser.add_argument("path", type=Path, metavar="OUT", help="the file to write, such as out.onnx")
    parser.add_argument("--quality", type=float, help="for which an adaptive preprocessor is written")
    parser.add_argument("--strength", type=float, help="instead of the quality")
    given = parser.parse_args(arguments)
    return exit_status(
        lambda: export(load(given.name, "cpu", quality=given.quality, strength=given.strength), given.path)
    )


if __name__ == "__main__":
    sys.exit(main())

"""The networks for torch.hub, of a clone: `torch.hub.load(CLONE, "restore", NAME, source="local")`."""

from ra_core import load as restore
from ra_core import models

__all__ = ["models", "restore"]
dependencies = ["torch", "torchvision", "filelock", "pandas", "pydantic", "safetensors", "scipy", "tqdm", "yaml"]

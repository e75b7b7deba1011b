"""Recognition-aware image processing: one chain from picture to accuracy."""

import ra_core.models  # noqa: F401, the package, before the function of that name takes its place here
from ra_core.door import load, models

__all__ = ["load", "models"]
__version__ = "0.1.0"

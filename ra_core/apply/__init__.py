"""Apply a run, or a codec alone, to every picture of a folder; as a command `python -m ra_core.apply`."""

from ra_core.apply.folder import apply
from ra_core.apply.pictures import write_pictures

__all__ = ["apply", "write_pictures"]

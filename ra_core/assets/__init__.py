"""Small data and pretrained recognizers that ship with the package."""

from pathlib import Path

ASSETS = Path(__file__).parent

"""Trained networks by name, for pictures of any kind and size, and the table of those that ship."""

from ra_core.networks.network import Network, load, network_of
from ra_core.networks.table import models

__all__ = ["Network", "load", "models", "network_of"]

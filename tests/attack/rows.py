"""All rows: importing the modules of the attacks enters them."""

from __future__ import annotations

from .acts import frames, handshake, http, local, network, overload, paths
from .row import ROWS

__all__ = ["ROWS", "frames", "handshake", "http", "local", "network", "overload", "paths"]

"""What `H3Connection` raises."""

from __future__ import annotations

__all__ = ["H3Error", "NoAvailablePushIDError"]


class H3Error(Exception):
    """The root of these exceptions."""


class NoAvailablePushIDError(H3Error):
    """The peer allows no push."""

"""Arguments of a wrong kind whose mistake would otherwise show far from where it was made."""

from __future__ import annotations

__all__ = ["check_kind"]


def check_kind(name: str, value: object, kind: type, why: str = "") -> None:
    """Raises `TypeError` unless the argument called `name` is of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}{why}")

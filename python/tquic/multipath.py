"""Several networks in one connection (multipath, draft-ietf-quic-multipath-21).

Both ends allow it with ``Config(max_paths=4)``; a client then opens paths with
`Connection.add_path`, and every change is an event of `Connection.path_event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["PathChange", "PathEvent"]

PathChange: TypeAlias = Literal["added", "validated", "available", "backup", "abandoned"]
"""What can happen to a path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathEvent:
    """Something happened to a path."""

    path: int
    """The path ID."""
    change: PathChange
    """``added``: it was opened, and its address is being validated. ``validated``: it carries data.
    ``available`` and ``backup``: the peer says whether it should be used, or only when no other can
    be. ``abandoned``: it is not used any more."""
    local: tuple[str, int] | None = None
    """Our address, when it was added and validated."""
    remote: tuple[str, int] | None = None
    """The peer's address, then."""
    error_code: int | None = None
    """Why it was abandoned: a transport error code."""
    by_peer: bool = False
    """Whether the peer began to abandon it."""

    @classmethod
    def _of(cls, path: int, change: PathChange, details: Any) -> PathEvent:
        if change in ("added", "validated"):
            local, remote = details
            return cls(path=path, change=change, local=local, remote=remote)
        if change == "abandoned":
            code, by_peer = details
            return cls(path=path, change=change, error_code=code, by_peer=by_peer)
        return cls(path=path, change=change)

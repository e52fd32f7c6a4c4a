"""Several networks in one connection (multipath, draft-ietf-quic-multipath-21).

Both ends allow it with ``Config(max_paths=4)``; a client then opens paths with
`Connection.add_path`, and every change is an event of `Connection.path_event`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tquic._scheduler import Burst, PathNews, PathState, Scheduler

__all__ = ["Burst", "PathChange", "PathEvent", "PathNews", "PathState", "Scheduler"]

PathChange: TypeAlias = Literal[
    "added", "validated", "available", "backup", "abandoned", "scheduler_failed"
]
"""What can happen to a path, and to what chooses among them."""


def check_weight(weight: int | None) -> None:
    """Weights of paths are capacities in Mbit/s."""
    if weight is not None and not 1 <= weight <= 1_000_000:
        raise ValueError("weight must be from 1 to 1000000 (Mbit/s)")


@dataclass(frozen=True, kw_only=True, slots=True)
class PathEvent:
    """Something happened to a path."""

    path: int
    """The path ID; 0 with ``scheduler_failed``, which is about none."""
    change: PathChange
    """``added``: it was opened, and its address is being validated. ``validated``: it carries data.
    ``available`` and ``backup``: the peer says whether it should be used, or only when no other can
    be. ``abandoned``: it is not used any more. ``scheduler_failed``: the scheduler in C or Python
    could not decide, and the named one does in its place; told when it fails first, and when it is
    not asked any more."""
    local: tuple[str, int] | None = None
    """Our address, when it was added and validated."""
    remote: tuple[str, int] | None = None
    """The peer's address, then."""
    error_code: int | None = None
    """Why it was abandoned: a transport error code."""
    by_peer: bool = False
    """Whether the peer began to abandon it."""
    reason: str | None = None
    """What went wrong with the scheduler."""

    @classmethod
    def _of(cls, path: int, change: PathChange, details: Any) -> PathEvent:
        if change in ("added", "validated"):
            local, remote = details
            return cls(path=path, change=change, local=local, remote=remote)
        if change == "abandoned":
            code, by_peer = details
            return cls(path=path, change=change, error_code=code, by_peer=by_peer)
        return cls(path=path, change=change)

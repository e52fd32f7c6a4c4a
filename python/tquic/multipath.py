"""Several networks in one connection (multipath, draft-ietf-quic-multipath-21).

Both ends allow it with ``Config(max_paths=4)``; a client then opens paths with
`Connection.add_path`, by ``Config(paths=["eth0", "wlan0"])``, or leaves that to a `PathManager`.
Every change is an event of `Connection.path_event`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tquic._manager import PathChoice, PathManager, PathPolicy
from tquic._netlink import Interface
from tquic._scheduler import Burst, PathNews, PathState, Scheduler

__all__ = [
    "Burst",
    "Interface",
    "PathChange",
    "PathChoice",
    "PathEvent",
    "PathManager",
    "PathNews",
    "PathPolicy",
    "PathState",
    "Scheduler",
]

PathChange: TypeAlias = Literal[
    "added", "validated", "available", "backup", "abandoned", "scheduler_failed"
]
"""What can happen to a path, and to what chooses among them."""


# The kernel's IFNAMSIZ less the NUL.
_MAX_INTERFACE = 15


def local_address(text: str) -> tuple[tuple[str, int] | None, str | None]:
    """Address and interface of a path: ``"eth0"``, ``"192.0.2.7"`` or ``"192.0.2.7@eth0"``.

    Raises:
        ValueError: it is neither.
    """
    first, at, interface = text.partition("@")
    try:
        address = (str(ipaddress.ip_address(first)), 0)
    except ValueError:
        if at:
            raise ValueError(f"{text!r}: {first!r} is not a numeric address") from None
        address, interface = None, first
    if (at or address is None) and not re.fullmatch(rf"[^\s/]{{1,{_MAX_INTERFACE}}}", interface):
        raise ValueError(f"{text!r} is neither an address nor the name of an interface")
    return address, interface or None


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

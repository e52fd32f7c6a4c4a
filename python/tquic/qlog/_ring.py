"""The newest events of connections, held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tquic import _engine
from tquic.qlog._read import Log, parse

__all__ = ["Ring", "dropped", "rings"]


@dataclass(frozen=True, slots=True)
class Ring:
    """The newest events of a connection whose `Config.qlog_mode` is ``"ring"``."""

    _native: _engine.QlogRing

    @property
    def id(self) -> str:
        """The first connection ID that the client used, in hexadecimal."""
        return self._native.id

    @property
    def role(self) -> Literal["client", "server"]:
        """Which end we are."""
        return "client" if self._native.is_client else "server"

    @property
    def failed(self) -> bool:
        """Whether the connection has ended, and not because an end closed it."""
        return self._native.failed

    def text(self) -> str:
        """What a file of it would have: the header, how many events are missing, the newest."""
        return self._native.text()

    def log(self) -> Log:
        """The same, read."""
        return parse(Path(f"{self.id}_{self.role}.sqlog"), self.text().encode())


def rings() -> list[Ring]:
    """The rings of this process: those of connections that live, oldest first, then those of the
    last 16 that failed."""
    return [Ring(native) for native in _engine.qlog_rings()]


def dropped() -> int:
    """Events of this process that found no room and are gone; those that newer ones pushed out of
    a ring do not count."""
    return _engine.qlog_dropped()

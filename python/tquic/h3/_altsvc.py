"""Alternative services (RFC 7838): where else an origin can be reached over HTTP/3."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final, NamedTuple

from tquic.h3._wire import ALPN

__all__ = ["AltSvcCache"]

# RFC 7838 section 3: the default of "ma", in seconds.
_MAX_AGE: Final = 24 * 3600
_ENTRY: Final = re.compile(
    r'\s*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)="((?:[^"\\]|\\.)*)"((?:\s*;[^,]*)?)'
)
_PARAMETER: Final = re.compile(r';\s*([a-z-]+)\s*=\s*"?([^";,\s]*)"?')


class _Alternative(NamedTuple):
    host: str
    port: int
    until: float


class AltSvcCache:
    """What origins have said of themselves, the oldest making room.

    Args:
        limit: origins that are remembered.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, int], _Alternative] = OrderedDict()

    def note(self, origin: tuple[str, int], value: str, now: float) -> None:
        """An origin has sent Alt-Svc: it replaces what it said before (RFC 7838 section 3.1)."""
        self._known.pop(origin, None)
        found = None if value.strip() == "clear" else _first_h3(value, origin[0], now)
        if found is not None:
            self._known[origin] = found
            if len(self._known) > self._limit:
                self._known.popitem(last=False)

    def lookup(self, origin: tuple[str, int], now: float) -> tuple[str, int] | None:
        """Host and port of the alternative, while it is fresh."""
        found = self._known.get(origin)
        if found is None:
            return None
        if found.until <= now:
            del self._known[origin]
            return None
        return found.host, found.port

    def drop(self, origin: tuple[str, int]) -> None:
        """The alternative does not work (RFC 7838 section 2.4)."""
        self._known.pop(origin, None)


def _first_h3(value: str, host: str, now: float) -> _Alternative | None:
    """The first alternative that speaks HTTP/3."""
    position = 0
    while (entry := _ENTRY.match(value, position)) is not None:
        protocol, authority, parameters = entry.groups()
        other, _, port = authority.rpartition(":")
        if protocol == ALPN and port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
            ages = [age for name, age in _PARAMETER.findall(parameters) if name == "ma"]
            age = int(ages[0]) if ages and ages[0].isdecimal() else _MAX_AGE
            return _Alternative(other.strip("[]") or host, int(port), now + age)
        position = entry.end()
        if value[position : position + 1] != ",":
            return None
        position += 1
    return None

"""Priorities (RFC 9218): what a client wants to have first."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Priority"]

# RFC 8941: a member of a dictionary that is an integer or a boolean, with its parameters; other
# values are recognised so far that they can be left out.
_KEY: Final = rb"[a-z*][a-z0-9_\-.*]*"
_BARE: Final = (
    rb"-?\d{1,15}(?:\.\d{1,3})?|\?[01]|\"(?:[ !#-\[\]-~]|\\[\"\\])*\""
    rb"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*|:[A-Za-z0-9+/=]*:"
)
_PARAMETERS: Final = rb"(?:;[ ]*" + _KEY + rb"(?:=(?:" + _BARE + rb"))?)*"
_INNER: Final = rb"\([^()]*\)"
_MEMBER: Final = re.compile(
    rb"(" + _KEY + rb")(?:=(" + _BARE + rb"|" + _INNER + rb"))?" + _PARAMETERS + rb"[ \t]*"
)
_COMMA: Final = re.compile(rb",[ \t]*")


class Priority(NamedTuple):
    """How urgent a response is.

    Attributes:
        urgency: 0 comes first, 7 last. Default 3.
        incremental: it is of use in pieces: share the capacity with others of the same urgency.
    """

    urgency: int = 3
    incremental: bool = False

    @classmethod
    def parse(cls, value: bytes) -> Priority:
        """From the value of a Priority field or of PRIORITY_UPDATE.

        Unknown members are left out (RFC 9218 section 4), and so are those out of range. What is
        no dictionary counts as empty (RFC 8941 section 4.2).
        """
        return _parse(value)

    def encode(self) -> bytes:
        """The value for a Priority field; ``b""`` for the default."""
        parts: list[bytes] = []
        if self.urgency != 3:
            parts.append(b"u=%d" % self.urgency)
        if self.incremental:
            parts.append(b"i")
        return b", ".join(parts)


@lru_cache(maxsize=256)
def _parse(value: bytes) -> Priority:
    members: dict[bytes, bytes | None] = {}
    value = value.strip(b" ")
    position = 0
    while position < len(value):
        found = _MEMBER.match(value, position)
        if found is None:
            return Priority()
        members[found[1]] = found[2]
        position = found.end()
        if position < len(value):
            comma = _COMMA.match(value, position)
            if comma is None or comma.end() == len(value):
                return Priority()
            position = comma.end()
    urgency, incremental = members.get(b"u"), members.get(b"i", b"?0")
    return Priority(
        int(urgency) if urgency is not None and urgency in _URGENCIES else 3,
        incremental is None or incremental == b"?1",
    )


_URGENCIES: Final = frozenset(b"%d" % urgency for urgency in range(8))

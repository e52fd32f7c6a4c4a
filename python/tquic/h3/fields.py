"""Field lines: (name, value) pairs of bytes, and those that must not be compressed."""

from __future__ import annotations

from typing import Final


class NeverIndexed(tuple[bytes, bytes]):
    """A (name, value) pair that every hop must send as a literal: RFC 9204 section 7.1.3.

    Equal to the plain pair. The decoder makes them, and the encoder keeps what they ask for, so an
    intermediary that hands fields on does right without further care.
    """

    __slots__ = ()


# Names whose values are secrets of low entropy, or worth guessing: RFC 9204 section 7.1.3.
NEVER_INDEXED: Final = frozenset(
    {b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"}
)

"""Field lines: (name, value) pairs of bytes, and those that must not be compressed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

Field: TypeAlias = tuple[bytes, bytes]
"""A field line: its name in lower case, and its value."""


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


def joined_cookies(fields: Iterable[Field]) -> list[Field]:
    """The same fields with one Cookie line for all.

    RFC 9114 section 4.2.1: clients may cut it into several, and whoever hands fields to something
    that is not HTTP/2 or HTTP/3 puts them together again.
    """
    fields = list(fields)
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    others = [pair for pair in fields if pair[0] != b"cookie"]
    return [*others, NeverIndexed((b"cookie", b"; ".join(crumbs)))]

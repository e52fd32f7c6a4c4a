"""What a server answers a request, before it is encoded."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias

from tquic.h3.server._conditions import http_date

__all__ = ["Answer", "Line", "Part", "date_line", "problem"]

Line: TypeAlias = tuple[bytes, bytes]
"""A field's name and value."""

Part: TypeAlias = bytes | tuple[int, int, int]
"""Bytes of a body, or a piece of an open file: descriptor, offset, size."""

_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")

_date: tuple[int, Line] = (0, (b"date", b""))


def date_line() -> Line:
    """The field Date, which an origin server with a clock must send (RFC 9110 section 6.6.1)."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, (b"date", http_date(now)))
    return _date[1]


@dataclass(slots=True)
class Answer:
    """Status, fields and body of a response."""

    status: int
    fields: list[Line]
    """Without :status."""
    parts: list[Part] = field(default_factory=list)
    size: int = 0
    """Bytes of the body, which are those of `parts`."""
    descriptor: int | None = None
    """That of the file in `parts`; closed by `close`."""

    def lines(self) -> list[Line]:
        """The header section."""
        return [(b":status", b"%d" % self.status), *self.fields]

    def close(self) -> None:
        """Closes the file, once the engine has it or nobody wants it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def problem(status: int, *fields: Line, head: bool = False, why: str = "") -> Answer:
    """An answer that says what is wrong, in one line of text.

    Args:
        status: the status code.
        fields: more fields.
        head: leave the body out, for a HEAD request.
        why: what the status does not say.
    """
    body = f"{status} {HTTPStatus(status).phrase}{why and f': {why}'}\n".encode()
    lines = [date_line(), _TEXT, (b"content-length", b"%d" % len(body)), *fields]
    return Answer(status, lines) if head else Answer(status, lines, [body], len(body))

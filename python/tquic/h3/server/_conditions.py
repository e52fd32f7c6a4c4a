"""Conditional requests (RFC 9110 section 13): whether a method is to be carried out at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

from tquic.h3.server._fields import Fields

__all__ = ["Validators", "http_date", "parse_http_date", "precondition", "range_applies"]

_TAG: Final = re.compile(rb'[ \t]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*')


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a resource from another (RFC 9110 section 8.8)."""

    etag: bytes
    """A strong entity tag, with its quotes."""
    modified: int
    """Seconds from 1970 to its last change."""


def http_date(seconds: int) -> bytes:
    """A time as HTTP writes it (RFC 9110 section 5.6.7)."""
    return formatdate(seconds, usegmt=True).encode()


def parse_http_date(value: bytes) -> int | None:
    """Seconds from 1970; `None` if that is no date."""
    try:
        date = parsedate_to_datetime(value.decode("ascii"))
        # Every HTTP date is in GMT, whether it says so or not.
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def precondition(method: bytes, fields: Fields, current: Validators | None) -> int | None:
    """Status 304 or 412 if the method must not be carried out, in the order of RFC 9110 section
    13.2.2; `None` if it may.

    Args:
        method: the method.
        fields: the request's fields.
        current: of the resource; `None` if there is none yet.
    """
    reads = method in (b"GET", b"HEAD")
    if (tags := fields.joined(b"if-match")) is not None:
        if not _matches(tags, current, weak=False):
            return 412
    elif (value := fields.first(b"if-unmodified-since")) is not None:
        date = parse_http_date(value)
        if date is not None and current is not None and current.modified > date:
            return 412
    if (tags := fields.joined(b"if-none-match")) is not None:
        if _matches(tags, current, weak=True):
            return 304 if reads else 412
    elif reads and (value := fields.first(b"if-modified-since")) is not None:
        date = parse_http_date(value)
        if date is not None and current is not None and current.modified <= date:
            return 304
    return None


def range_applies(fields: Fields, current: Validators, now: float) -> bool:
    """Whether If-Range lets Range count (RFC 9110 section 13.1.5)."""
    value = fields.first(b"if-range")
    if value is None:
        return True
    if value.lstrip()[:1] == b'"':
        return value.strip() == current.etag
    # A date is a strong validator only if the resource could not have changed again within its
    # second: RFC 9110 section 8.8.2.2. A weak tag is no date, and never good enough.
    date = parse_http_date(value)
    return date is not None and date == current.modified and now - date > 1


def _matches(tags: bytes, current: Validators | None, *, weak: bool) -> bool:
    """Whether a list of entity tags names the current state (RFC 9110 section 8.8.3.2)."""
    if current is None:
        return False
    if tags.strip() == b"*":
        return True
    position = 0
    while position < len(tags):
        match = _TAG.match(tags, position)
        if match is None:
            # Empty elements of a list are allowed (RFC 9110 section 5.6.1.2), other text is not.
            if tags[position : position + 1] not in b", \t":
                return False
            position += 1
            continue
        if match[2] == current.etag and (weak or not match[1]):
            return True
        position = match.end()
        if position < len(tags) and tags[position : position + 1] != b",":
            return False
        position += 1
    return False

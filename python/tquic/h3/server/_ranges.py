"""Parts of a representation: the field Range (RFC 9110 section 14)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["MAX_RANGES", "Range", "parse_range"]

# More parts than this are asked for by attackers only: RFC 9110 section 14.2 lets a server ignore
# them, and parts that overlap.
MAX_RANGES: Final = 16

_SPEC: Final = re.compile(rb"[ \t]*(\d{0,19})-(\d{0,19})[ \t]*")


class Range(NamedTuple):
    """Some of the bytes of a representation."""

    offset: int
    size: int

    def content_range(self, total: int) -> bytes:
        """The value of Content-Range (RFC 9110 section 14.4)."""
        return b"bytes %d-%d/%d" % (self.offset, self.offset + self.size - 1, total)


def parse_range(value: bytes, total: int) -> list[Range] | None:
    """The parts that a Range field asks for, of a representation with `total` bytes.

    `None`: the field is to be ignored, because it is malformed, in another unit, or asks for too
    many or overlapping parts. An empty list: none of the parts exists, which is status 416.
    """
    unit, equals, rest = value.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes":
        return None
    specs = [spec for spec in rest.split(b",") if spec.strip()]
    # RFC 9110 section 14.1.2 calls a suffix of an empty representation satisfiable, but no
    # Content-Range can say so.
    if not specs or len(specs) > MAX_RANGES or not total:
        return None
    found = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first, last = match.groups()
        if first:
            start, end = int(first), int(last) if last else total - 1
            if last and end < start:
                return None
        elif last:
            start, end = max(total - int(last), 0), total - 1
        else:
            return None
        if start < total and start <= end:
            found.append(Range(start, min(end, total - 1) - start + 1))
    return None if _overlap(found) else found


def _overlap(ranges: list[Range]) -> bool:
    end = -1
    for part in sorted(ranges):
        if part.offset <= end:
            return True
        end = part.offset + part.size - 1
    return False

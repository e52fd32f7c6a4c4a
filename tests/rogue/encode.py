"""Bytes of frames, transport parameters and HTTP/3, right or wrong."""

from __future__ import annotations

from collections.abc import Iterable

Field = tuple[bytes, bytes]

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]
OK: list[Field] = [(b":status", b"200")]

# HTTP/3 frames (RFC 9114 section 7.2).
DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
# Types of unidirectional streams.
CONTROL, PUSH, QPACK_ENCODER, QPACK_DECODER = 0, 1, 2, 3


def varint(value: int) -> bytes:
    """A variable-length integer in its shortest form (RFC 9000 section 16)."""
    for length, bits in ((1, 6), (2, 14), (4, 30), (8, 62)):
        if value < 1 << bits:
            return (value | (length.bit_length() - 1) << (8 * length - 2)).to_bytes(length)
    raise ValueError(value)


def varints(*values: int) -> bytes:
    """Several, one after the other: most frames are nothing else."""
    return b"".join(map(varint, values))


def crypto(offset: int, data: bytes) -> bytes:
    """A CRYPTO frame."""
    return varints(0x06, offset, len(data)) + data


def stream(number: int, offset: int, data: bytes, *, end: bool = False) -> bytes:
    """A STREAM frame with offset and length."""
    return varints(0x0E | end, number, offset, len(data)) + data


def new_connection_id(
    sequence: int, retire_prior_to: int, cid: bytes, token: bytes | None = None
) -> bytes:
    """A NEW_CONNECTION_ID frame."""
    token = bytes([sequence]) * 16 if token is None else token
    return varints(0x18, sequence, retire_prior_to) + bytes([len(cid)]) + cid + token


def ack(ranges: list[range]) -> bytes:
    """An ACK frame of these packet numbers, highest range first."""
    first = ranges[0]
    out = varints(0x02, first.stop - 1, 0, len(ranges) - 1, len(first) - 1)
    smallest = first.start
    for one in ranges[1:]:
        out += varints(smallest - one.stop - 1, len(one) - 1)
        smallest = one.start
    return out


def parameters(values: dict[int, bytes | int]) -> bytes:
    """Transport parameters; integers become variable-length ones."""
    out = b""
    for number, value in values.items():
        content = varint(value) if isinstance(value, int) else value
        out += varints(number, len(content)) + content
    return out


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/3."""
    return varints(kind, len(payload)) + payload


def headers(fields: Iterable[Field]) -> bytes:
    """HEADERS with nothing but literals (RFC 9204 section 4.5.6)."""
    section = b"\0\0"
    for name, value in fields:
        section += _prefixed(0x20, 3, len(name)) + name + _prefixed(0, 7, len(value)) + value
    return frame(HEADERS, section)


def settings(*pairs: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, b"".join(varints(*pair) for pair in pairs))


def _prefixed(pattern: int, bits: int, value: int) -> bytes:
    """An integer with a prefix (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([pattern | value])
    out, value = bytes([pattern | most]), value - most
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])

"""Packet headers as they stand on the wire, before protection is removed (RFC 9000 section 17)."""

from __future__ import annotations

from dataclasses import dataclass

from .frames import MalformedError, Reader
from .keys import VERSION_1, VERSION_2

# Long packet types in the order of their two bits; version 2 rotates them (RFC 9369 section 3.2).
LONG_TYPES = {
    VERSION_1: ("initial", "0rtt", "handshake", "retry"),
    VERSION_2: ("retry", "initial", "0rtt", "handshake"),
}


@dataclass(slots=True)
class LongHeader:
    """A long header and the bytes of its packet."""

    kind: str
    version: int
    destination: bytes
    source: bytes
    token: bytes
    packet: bytes
    number_offset: int


def is_long(datagram: bytes) -> bool:
    """Whether the packet at the front has a long header."""
    return bool(datagram) and bool(datagram[0] & 0x80)


def parse_long(datagram: bytes) -> tuple[LongHeader, bytes]:
    """The packet at the front of a datagram, and what follows it."""
    reader = Reader(datagram)
    first = reader.uint(1)
    version = reader.uint(4)
    destination = reader.opaque(1)
    source = reader.opaque(1)
    if version == 0:
        return LongHeader(
            "version_negotiation", 0, destination, source, b"", datagram, len(datagram)
        ), b""
    if version not in LONG_TYPES:
        raise MalformedError(f"unknown version {version:#x}")
    kind = LONG_TYPES[version][first >> 4 & 0x03]
    if kind == "retry":
        token = reader.take(max(reader.left - 16, 0))
        return LongHeader(kind, version, destination, source, token, datagram, len(datagram)), b""
    token = reader.take(reader.varint()) if kind == "initial" else b""
    length = reader.varint()
    end = reader.position + length
    if length > reader.left or length < 20:
        raise MalformedError(f"length {length} with {reader.left} bytes left")
    header = LongHeader(kind, version, destination, source, token, datagram[:end], reader.position)
    return header, datagram[end:]

"""The structs of `tquic.h` as named tuples, and back."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

__all__ = [
    "ErrorInfo",
    "Info",
    "OffloadInfo",
    "PathInfo",
    "PathValue",
    "QlogArgs",
    "QlogStats",
    "StreamInfo",
    "pack_sockaddr",
]


class StreamInfo(NamedTuple):
    """``struct tquic_stream_info``."""

    stream_id: int
    """The stream ID (RFC 9000 section 2.1)."""
    flags: int = 0
    """``TQUIC_STREAM_FLAG_...``"""

    def pack(self) -> bytes:
        """As C programs have it."""
        return struct.pack("=QIxxxx", *self)

    @classmethod
    def unpack(cls, value: bytes) -> StreamInfo:
        """From what C programs have."""
        return cls(*struct.unpack_from("=QI", value))


class QlogArgs(NamedTuple):
    """``struct tquic_qlog_args``."""

    mode: int
    """``TQUIC_QLOG_MODE_...``"""
    event_mask: int = 0x31FC1FFFC3F
    """Bits of events. Default ``QLOG_MASK_ALL``."""
    severity: int = 2
    """``TQUIC_QLOG_SEV_...``. Default extra: everything there is."""
    ring_size: int = 0
    """Bytes of the ring, or that wait for whoever takes them; 0 is 1 MiB."""
    flags: int = 0
    """Nothing yet."""

    def pack(self) -> bytes:
        """As C programs have it."""
        return struct.pack(
            "=IIQII", self.mode, self.ring_size, self.event_mask, self.severity, self.flags
        )

    @classmethod
    def unpack(cls, value: bytes) -> QlogArgs:
        """From what C programs have."""
        mode, ring_size, event_mask, severity, flags = struct.unpack_from("=IIQII", value)
        return cls(mode, event_mask, severity, ring_size, flags)


class QlogStats(NamedTuple):
    """``struct tquic_qlog_stats``."""

    events: int
    """Events written down."""
    dropped: int
    """Of them, those that found no room, or were pushed out of the ring."""

    @classmethod
    def unpack(cls, value: bytes) -> QlogStats:
        """From what C programs have."""
        return cls(*struct.unpack_from("=QQ", value))


class PathValue(NamedTuple):
    """``struct tquic_path_value``."""

    path_id: int
    """The path."""
    value: int
    """What is set."""

    def pack(self) -> bytes:
        """As C programs have it."""
        return struct.pack("=II", *self)


class OffloadInfo(NamedTuple):
    """``struct tquic_offload_info``."""

    caps: int
    """``TQUIC_OFFLOAD_CAP_...`` of this host."""
    enabled: int
    """Those in use."""

    @classmethod
    def unpack(cls, value: bytes) -> OffloadInfo:
        """From what C programs have."""
        return cls(*struct.unpack_from("=II", value))


class Info(NamedTuple):
    """``struct tquic_info``."""

    state: int
    """0 idle, 1 connecting, 2 connected, 3 closed, 4 listening."""
    version: int
    """QUIC version; 0 before the handshake."""
    bytes_sent: int
    """Bytes of UDP payload."""
    bytes_received: int
    """Bytes of UDP payload."""
    packets_sent: int
    """QUIC packets."""
    packets_received: int
    """QUIC packets."""
    packets_lost: int
    """Packets declared lost, on all paths."""
    srtt_us: int
    """Smoothed round-trip time of the first path, in microseconds."""
    min_rtt_us: int
    """Its smallest round-trip time, in microseconds."""
    cwnd: int
    """Its congestion window, in bytes."""
    bytes_in_flight: int
    """Bytes sent there and neither acknowledged nor lost."""
    paths: int
    """Number of paths."""
    mtu: int
    """Bytes of the largest UDP payload on the first path."""

    @classmethod
    def unpack(cls, value: bytes) -> Info:
        """From what C programs have."""
        return cls(*struct.unpack_from("=II9QII", value))


class PathInfo(NamedTuple):
    """``struct tquic_path_info``."""

    path_id: int
    """The path ID."""
    state: int
    """0 validating, 1 open, 2 abandoned; 0x100 is added for a backup path."""
    srtt_us: int
    """Smoothed round-trip time, in microseconds."""
    min_rtt_us: int
    """Smallest round-trip time, in microseconds."""
    cwnd: int
    """Congestion window, in bytes."""
    bytes_in_flight: int
    """Bytes sent and neither acknowledged nor lost."""
    bytes_sent: int
    """Bytes of UDP payload."""
    bytes_received: int
    """Bytes of UDP payload."""
    packets_lost: int
    """Packets declared lost."""

    @classmethod
    def unpack_all(cls, value: bytes) -> tuple[PathInfo, ...]:
        """From what C programs have."""
        return tuple(cls(*one) for one in struct.iter_unpack("=II7Q", value))


class ErrorInfo(NamedTuple):
    """``struct tquic_error``."""

    code: int
    """``TQUIC_ERR_...``, or the application's own."""
    flags: int
    """1: an application's code. 2: the peer ended the connection."""
    errno: int
    """The number of the exception that calls raise; 0 after an ordinary end."""
    reason: str
    """For people."""

    @classmethod
    def unpack(cls, value: bytes) -> ErrorInfo:
        """From what C programs have."""
        code, flags, number, reason = struct.unpack_from("=QIi112s", value)
        return cls(code, flags, number, reason.partition(b"\0")[0].decode())


def pack_sockaddr(host: str, port: int = 0) -> bytes:
    """``struct sockaddr_in`` or ``struct sockaddr_in6`` of a numeric address."""
    if ":" in host:
        address = socket.inet_pton(socket.AF_INET6, host)
        family = struct.pack("=H", socket.AF_INET6)
        return family + struct.pack("!HI16s", port, 0, address) + bytes(4)
    family = struct.pack("=H", socket.AF_INET)
    return family + struct.pack("!H4s8x", port, socket.inet_aton(host))

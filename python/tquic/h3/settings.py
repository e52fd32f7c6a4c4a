"""SETTINGS (RFC 9114 section 7.2.4): what each side tells the other first."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from tquic.h3._codec import MAX_VARINT, decode_varint, encode_varint
from tquic.h3.errors import ErrorCode, H3Error

__all__ = ["PeerSettings", "SessionLimits", "SettingId", "Settings"]

MAX_STREAMS: Final = 1 << 60
"""The most streams that a session can ever have (draft-ietf-webtrans-http3-16 section 5.6.2)."""


class SettingId(IntEnum):
    """Names of settings, by their registries."""

    QPACK_MAX_TABLE_CAPACITY = 0x01
    MAX_FIELD_SECTION_SIZE = 0x06
    QPACK_BLOCKED_STREAMS = 0x07
    ENABLE_CONNECT_PROTOCOL = 0x08
    H3_DATAGRAM = 0x33
    ENABLE_WEBTRANSPORT = 0x2B603742
    """draft-ietf-webtrans-http3, version 2"""
    WEBTRANSPORT_MAX_SESSIONS = 0xC671706A
    """Version 7"""
    WT_ENABLED = 0x2C7CF000
    """Version 16, section 9.2; the next three as well"""
    WT_INITIAL_MAX_DATA = 0x2B61
    WT_INITIAL_MAX_STREAMS_UNI = 0x2B64
    WT_INITIAL_MAX_STREAMS_BIDI = 0x2B65


# RFC 9114 section 7.2.4.1 and its registry: those that only HTTP/2 has.
_HTTP2_ONLY: Final = frozenset({0x00, 0x02, 0x03, 0x04, 0x05})
# RFC 9220 section 3 (RFC 8441 section 3), RFC 9297 section 2.1.1, and WebTransport's.
_FLAGS: Final = frozenset(
    {
        *(SettingId.ENABLE_CONNECT_PROTOCOL, SettingId.H3_DATAGRAM),
        # draft-ietf-webtrans-http3-16 section 3.1 says the same of its setting.
        *(SettingId.ENABLE_WEBTRANSPORT, SettingId.WT_ENABLED),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """What the peer may send in each WebTransport session before it is allowed more
    (draft-ietf-webtrans-http3-16 section 5.5).

    Attributes:
        data: bytes of content of all its streams together. Default 8 MiB.
        bidi_streams: bidirectional streams. Default 100; at most 2^60.
        uni_streams: unidirectional streams. Default 100; at most 2^60.
    """

    data: int = 8 << 20
    bidi_streams: int = 100
    uni_streams: int = 100

    def __post_init__(self) -> None:
        if max(self.bidi_streams, self.uni_streams) > MAX_STREAMS:
            raise ValueError("a session has at most 2^60 streams")

    def __bool__(self) -> bool:
        """Whether it declares that flow control is wanted (draft-ietf-webtrans-http3-16 section
        5.1)."""
        return bool(self.data or self.bidi_streams or self.uni_streams)


_NONE: Final = SessionLimits(data=0, bidi_streams=0, uni_streams=0)


def reserved(number: int) -> int:
    """The reserved value of that number, for exercise (RFC 9114 sections 6.2.3, 7.2.4.1, 7.2.8)."""
    return 0x1F * number + 0x21


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this side announces, and holds the peer to.

    Attributes:
        qpack_max_table_capacity: bytes of the dynamic table that the peer's encoder may use.
            Default 4096; 0 for none.
        qpack_blocked_streams: streams whose field sections may wait for that table. Default 16.
        max_field_section_size: bytes of a header or trailer section, each field counted with 32
            more (RFC 9114 section 4.2.2). Default 32768.
        enable_connect_protocol: take extended CONNECT (RFC 9220). For servers. Default no.
        h3_datagram: take HTTP datagrams (RFC 9297). Default no.
        webtransport: WebTransport sessions at a time that a server takes; a client says by any
            number that it makes some. Needs ``h3_datagram``. Default 0: none.
        session_limits: announces version 16 of draft-ietf-webtrans-http3 beside the older ones,
            with these limits for each session. The transport has to know RESET_STREAM_AT. Default
            none: older ones only.
        extra: other settings, as (identifier, value).
    """

    qpack_max_table_capacity: int = 4096
    qpack_blocked_streams: int = 16
    max_field_section_size: int = 32768
    enable_connect_protocol: bool = False
    h3_datagram: bool = False
    webtransport: int = 0
    session_limits: SessionLimits | None = None
    extra: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        pairs = self.pairs()
        for number, value in pairs:
            if not (0 <= number <= MAX_VARINT and 0 <= value <= MAX_VARINT):
                raise ValueError(f"setting {number:#x} = {value} does not fit: 0 to 2**62 - 1")
            if number in _HTTP2_ONLY:
                raise ValueError(f"setting {number:#x} belongs to HTTP/2 and must not be sent")
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a setting is there twice")
        if self.webtransport and not self.h3_datagram:
            # draft-ietf-webtrans-http3-16 section 3.1
            raise ValueError("webtransport needs h3_datagram")
        if self.session_limits is not None and not self.webtransport:
            raise ValueError("session_limits needs webtransport")

    def pairs(self) -> list[tuple[int, int]]:
        """As (identifier, value); those with the default of the RFC are left out."""
        pairs = [
            (int(SettingId.QPACK_MAX_TABLE_CAPACITY), self.qpack_max_table_capacity),
            (int(SettingId.QPACK_BLOCKED_STREAMS), self.qpack_blocked_streams),
            (int(SettingId.ENABLE_CONNECT_PROTOCOL), int(self.enable_connect_protocol)),
            (int(SettingId.H3_DATAGRAM), int(self.h3_datagram)),
            (int(SettingId.ENABLE_WEBTRANSPORT), int(self.webtransport > 0)),
            (int(SettingId.WEBTRANSPORT_MAX_SESSIONS), self.webtransport),
        ]
        if (limits := self.session_limits) is not None:
            pairs += [
                # draft-ietf-webtrans-http3-16 section 7.1: clients send it as well, with the number
                # of the version.
                (int(SettingId.WT_ENABLED), 1),
                (int(SettingId.WT_INITIAL_MAX_DATA), limits.data),
                (int(SettingId.WT_INITIAL_MAX_STREAMS_UNI), limits.uni_streams),
                (int(SettingId.WT_INITIAL_MAX_STREAMS_BIDI), limits.bidi_streams),
            ]
        limit = (int(SettingId.MAX_FIELD_SECTION_SIZE), self.max_field_section_size)
        return [limit, *((number, value) for number, value in pairs if value), *self.extra]

    def session_version(self, theirs: PeerSettings | None) -> int:
        """The version of draft-ietf-webtrans-http3 for the sessions of a connection, 0 for none.

        draft-ietf-webtrans-http3-16 section 7.1: the newest that both ends know.
        """
        if theirs is None or not self.webtransport:
            return 0
        return _draft(theirs.values, newest=16 if self.session_limits is not None else 7)

    def payload(self, *, grease: bool) -> bytes:
        """The payload of the SETTINGS frame."""
        pairs = self.pairs()
        if grease:
            # RFC 9114 section 7.2.4.1: SHOULD be there, so that peers stay tolerant.
            pairs.append((reserved(random.randrange(1 << 16)), random.randrange(1 << 16)))
        return b"".join(encode_varint(number) + encode_varint(value) for number, value in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What the peer has announced. What it has left out has the default of the RFC.

    Attributes:
        max_field_section_size: the largest section that it takes; `None` without a limit.
        webtransport: the newest version of draft-ietf-webtrans-http3 that it knows: 16, 7 or 2; 0
            if it knows none of them.
        session_limits: what each WebTransport session may be sent at first, in version 16.
        values: all of them, unknown ones included.
    """

    qpack_max_table_capacity: int = 0
    qpack_blocked_streams: int = 0
    max_field_section_size: int | None = None
    enable_connect_protocol: bool = False
    h3_datagram: bool = False
    webtransport: int = 0
    session_limits: SessionLimits = _NONE
    values: dict[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def parse(cls, payload: bytes) -> PeerSettings:
        """From the payload of a SETTINGS frame.

        Raises:
            H3Error: a connection error of H3_SETTINGS_ERROR or H3_FRAME_ERROR.
        """
        values: dict[int, int] = {}
        offset = 0
        while offset < len(payload):
            number, offset = _varint(payload, offset)
            value, offset = _varint(payload, offset)
            if number in values:
                # RFC 9114 section 7.2.4
                raise _settings_error(f"setting {number:#x} is there twice")
            if number in _HTTP2_ONLY:
                raise _settings_error(f"setting {number:#x} belongs to HTTP/2")
            if number in _FLAGS and value > 1:
                raise _settings_error(f"{SettingId(number).name} is {value}, not 0 or 1")
            values[number] = value
        return cls(
            qpack_max_table_capacity=values.get(SettingId.QPACK_MAX_TABLE_CAPACITY, 0),
            qpack_blocked_streams=values.get(SettingId.QPACK_BLOCKED_STREAMS, 0),
            max_field_section_size=values.get(SettingId.MAX_FIELD_SECTION_SIZE),
            enable_connect_protocol=bool(values.get(SettingId.ENABLE_CONNECT_PROTOCOL)),
            h3_datagram=bool(values.get(SettingId.H3_DATAGRAM)),
            webtransport=_draft(values),
            session_limits=SessionLimits(
                data=values.get(SettingId.WT_INITIAL_MAX_DATA, 0),
                # What is beyond can be used by nobody.
                bidi_streams=min(values.get(SettingId.WT_INITIAL_MAX_STREAMS_BIDI, 0), MAX_STREAMS),
                uni_streams=min(values.get(SettingId.WT_INITIAL_MAX_STREAMS_UNI, 0), MAX_STREAMS),
            ),
            values=values,
        )


def _draft(values: dict[int, int], newest: int = 16) -> int:
    """The newest version that the peer knows, up to one."""
    if not values.get(SettingId.H3_DATAGRAM):
        # draft-ietf-webtrans-http3-16 section 3.1
        return 0
    if newest >= 16 and values.get(SettingId.WT_ENABLED):
        return 16
    if values.get(SettingId.WEBTRANSPORT_MAX_SESSIONS):
        return 7
    return 2 if values.get(SettingId.ENABLE_WEBTRANSPORT) else 0


def _varint(payload: bytes, offset: int) -> tuple[int, int]:
    """The varint at offset and where it ends."""
    found = decode_varint(payload, offset)
    if found is None:
        # RFC 9114 section 7.1
        raise H3Error(ErrorCode.H3_FRAME_ERROR, "a setting is cut off by the end of the frame")
    value, size = found
    return value, offset + size


def _settings_error(reason: str) -> H3Error:
    return H3Error(ErrorCode.H3_SETTINGS_ERROR, reason)

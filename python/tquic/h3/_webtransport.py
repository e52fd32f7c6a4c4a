"""WebTransport over HTTP/3 without sockets: what a session says on its CONNECT stream, how its
streams begin, what may wait for a session that has not come (section numbers:
draft-ietf-webtrans-http3-16).

Versions 7 and 2 say the same, without flow control and in other words.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from tquic._halves import encode_reason
from tquic.h3 import _frames
from tquic.h3._codec import encode_varint
from tquic.h3._session_flow import FLOW_CAPSULES, PROHIBITED, SessionFlow
from tquic.h3.capsules import DATAGRAM, CapsuleDecoder, encode_capsule
from tquic.h3.errors import ErrorCode, FlowControlError, H3Error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "PROTOCOL",
    "PROTOCOLS",
    "PROTOCOL_16",
    "CapsuleEvent",
    "Close",
    "Drain",
    "Early",
    "Limited",
    "SessionCapsules",
    "application_code",
    "encode_close",
    "encode_drain",
    "encode_strings",
    "http_code",
    "parse_string",
    "parse_strings",
    "stream_header",
]

T = TypeVar("T")

PROTOCOL: Final = b"webtransport"
"""The :protocol of an extended CONNECT that asks for a session, before version 13."""

PROTOCOL_16: Final = b"webtransport-h3"
"""The same in version 16 (section 9.1)."""

PROTOCOLS: Final = frozenset({PROTOCOL, PROTOCOL_16})
"""All of them."""

MAX_CODE: Final = (1 << 32) - 1
"""The largest error code of an application."""

MAX_REASON: Final = 1024
"""Bytes of the reason for which a session is closed (section 6)."""

_CLOSE: Final = 0x2843
_DRAIN: Final = 0x78AE
_KNOWN: Final = frozenset({_CLOSE, _DRAIN, DATAGRAM})

# Section 4.4: where the codes of applications lie among those of HTTP/3.
_FIRST: Final = 0x52E4A40FA8DB
_LAST: Final = 0x52E5AC983162


def http_code(code: int) -> int:
    """The code on the wire for an application's code for a stream.

    Raises:
        ValueError: it does not fit 32 bits.
    """
    if not 0 <= code <= MAX_CODE:
        raise ValueError("code must be from 0 to 2^32-1")
    # Every 31st is reserved by RFC 9114 section 8.1.
    return _FIRST + code + code // 0x1E


def application_code(code: int) -> int | None:
    """The application's code for one on the wire; `None` if it is not an application's."""
    if not _FIRST <= code <= _LAST or (code - 0x21) % 0x1F == 0:
        return None
    shifted = code - _FIRST
    return shifted - shifted // 0x1F


def stream_header(session: int, *, unidirectional: bool) -> bytes:
    """What a stream of a session begins with (sections 4.2 and 4.3)."""
    kind = _frames.SESSION_STREAM if unidirectional else _frames.WT_STREAM
    return encode_varint(kind) + encode_varint(session)


# ---- The CONNECT stream ----


@dataclass(slots=True, frozen=True)
class Close:
    """The peer has ended the session."""

    code: int
    reason: str


@dataclass(slots=True, frozen=True)
class Drain:
    """The peer wants the session to be ended soon."""


@dataclass(slots=True, frozen=True)
class Limited:
    """The peer allows more streams or data, or wants more."""


CapsuleEvent: TypeAlias = "Close | Drain | Limited | bytes"
"""What a CONNECT stream tells; bytes are a datagram that came as a capsule."""


def encode_close(code: int, reason: str) -> bytes:
    """The capsule that ends a session; the stream is to be finished behind it.

    Raises:
        ValueError: the code does not fit 32 bits.
        TypeError: the reason is no `str`.
    """
    if not 0 <= code <= MAX_CODE:
        raise ValueError("code must be from 0 to 2^32-1")
    # Section 6: cut between characters.
    text = encode_reason(reason)[:MAX_REASON].decode("utf-8", "ignore")
    return encode_capsule(_CLOSE, code.to_bytes(4, "big") + text.encode())


def encode_drain() -> bytes:
    """The capsule that asks the peer to end the session."""
    return encode_capsule(_DRAIN, b"")


class SessionCapsules:
    """Reads the content of a CONNECT stream.

    Args:
        version: of the draft. Default 7.
        flow: what capsules of flow control change. Default none: they mean nothing.
    """

    def __init__(self, *, version: int = 7, flow: SessionFlow | None = None) -> None:
        known = _KNOWN | FLOW_CAPSULES | PROHIBITED if version >= 16 else _KNOWN
        self._capsules = CapsuleDecoder(types=known)
        self._flow = flow
        self._closed = False

    def receive(self, data: ReadableBuffer, end: bool = False) -> list[CapsuleEvent]:
        """What the next bytes of content say, and whether it ends behind them.

        Raises:
            H3Error: a rule is broken: reset the stream with its code.
            FlowControlError: the same.
        """
        events: list[CapsuleEvent] = []
        if not self._closed:
            for capsule in self._capsules.read(data):
                self._take(capsule.type, capsule.payload, events)
        elif memoryview(data).nbytes:
            raise _malformed("there is content behind the end of a session")
        if end and not self._closed:
            self._capsules.finish()
            # Section 6: an end without a word is one with code 0.
            self._closed = True
            events.append(Close(0, ""))
        return events

    def _take(self, kind: int, payload: bytes, events: list[CapsuleEvent]) -> None:
        if self._closed:
            raise _malformed("there is a capsule behind the end of a session")
        if kind == _CLOSE:
            self._closed = True
            events.append(_close(payload))
        elif kind == _DRAIN:
            # Section 4.7: it has no content.
            if payload:
                raise _malformed("the capsule that asks for the end of a session is not empty")
            events.append(Drain())
        elif kind in PROHIBITED:
            # Section 5.4
            raise FlowControlError(f"a capsule of type {kind:#x} limits a single stream")
        elif kind in FLOW_CAPSULES:
            # Section 5.1: ignored without flow control.
            if self._flow is not None:
                self._flow.receive(kind, payload)
                events.append(Limited())
        else:
            # RFC 9297 section 3.5
            events.append(payload)


def _close(payload: bytes) -> Close:
    code, reason = payload[:4], payload[4:]
    if len(code) < 4:
        raise _malformed("the capsule that ends a session is too short")
    # Section 6: too long, or no UTF-8.
    if len(reason) > MAX_REASON:
        raise _malformed(f"the reason for the end of a session has {len(reason)} bytes")
    try:
        return Close(int.from_bytes(code, "big"), reason.decode())
    except UnicodeDecodeError:
        raise _malformed("the reason for the end of a session is no UTF-8") from None


def _malformed(reason: str) -> H3Error:
    return H3Error(ErrorCode.H3_MESSAGE_ERROR, reason)


# ---- What comes before its session ----


class Early(Generic[T]):
    """Streams and datagrams of sessions that are not known: their requests may be on their way
    (section 4.6). The oldest make room.

    Args:
        streams: how many may wait. Default 16.
        datagrams: bytes of datagrams that may wait, each counted with 64 more. Default 64 KiB.
    """

    def __init__(self, *, streams: int = 16, datagrams: int = 64 * 1024) -> None:
        self._limit = streams
        self._streams: deque[tuple[int, T]] = deque()
        self._datagrams: deque[tuple[int, bytes]] = deque()
        self._room = datagrams

    def add_stream(self, session: int, stream: T) -> tuple[int, T] | None:
        """A stream waits; answers one that may not wait any more, and its session."""
        self._streams.append((session, stream))
        return self._streams.popleft() if len(self._streams) > self._limit else None

    def add_datagram(self, session: int, data: bytes) -> None:
        """A datagram waits."""
        self._datagrams.append((session, data))
        self._room -= _cost(data)
        while self._room < 0:
            self._room += _cost(self._datagrams.popleft()[1])

    def take(self, session: int) -> tuple[list[T], list[bytes]]:
        """The streams and datagrams of a session, which has come."""
        streams = [stream for its, stream in self._streams if its == session]
        if streams:
            self._streams = deque(one for one in self._streams if one[0] != session)
        datagrams = [data for its, data in self._datagrams if its == session]
        if datagrams:
            self._datagrams = deque(one for one in self._datagrams if one[0] != session)
            self._room += sum(map(_cost, datagrams))
        return streams, datagrams


def _cost(data: bytes) -> int:
    return len(data) + 64


# ---- The application's protocol (section 3.3): strings of RFC 9651 ----

_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_ITEM: Final = re.compile(rf'({_STRING})(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:{_STRING}|[^",; ]+))?)*')
_SEPARATOR: Final = re.compile(r"[ \t]*,[ \t]*")


def encode_strings(values: tuple[str, ...]) -> bytes:
    """A list of strings.

    Raises:
        ValueError: one has characters other than those of printable ASCII.
    """
    for value in values:
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{value!r} is no name of a protocol: printable ASCII is")
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return ", ".join(f'"{value}"' for value in quoted).encode()


def parse_strings(field: bytes) -> list[str]:
    """The strings of a list; none if the field is malformed, or has anything else in it."""
    text, position = field.decode("latin-1").strip(" "), 0
    values: list[str] = []
    while item := _ITEM.match(text, position):
        values.append(re.sub(r"\\(.)", r"\1", item[1][1:-1]))
        position = item.end()
        if position == len(text):
            return values
        separator = _SEPARATOR.match(text, position)
        if separator is None:
            break
        position = separator.end()
    return []


def parse_string(field: bytes) -> str | None:
    """One string; `None` if the field is malformed."""
    values = parse_strings(field)
    return values[0] if len(values) == 1 else None

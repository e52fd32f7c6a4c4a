"""What `H3Connection.handle_event` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "DataReceived",
    "DatagramReceived",
    "H3Event",
    "Headers",
    "HeadersReceived",
    "PushPromiseReceived",
    "WebTransportStreamDataReceived",
]

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names and values, in order; pseudo-fields first."""


class H3Event:
    """The root of HTTP events."""


@dataclass
class DataReceived(H3Event):
    """Some content of a message."""

    data: bytes
    "The bytes."

    stream_id: int
    "The stream."

    stream_ended: bool
    "Whether the message ends behind them."

    push_id: int | None = None
    "Always `None`."


@dataclass
class DatagramReceived(H3Event):
    """An HTTP datagram (RFC 9297)."""

    data: bytes
    "The bytes."

    stream_id: int
    "The stream of the request that it belongs to."


@dataclass
class HeadersReceived(H3Event):
    """A header or trailer section."""

    headers: Headers
    "The fields."

    stream_id: int
    "The stream."

    stream_ended: bool
    "Whether the message ends behind them."

    push_id: int | None = None
    "Always `None`."


@dataclass
class PushPromiseReceived(H3Event):
    """For programs that ask for it: this end allows no pushes, so it never comes."""

    headers: Headers
    "The fields of the request."

    push_id: int
    "The Push ID."

    stream_id: int
    "The stream."


@dataclass
class WebTransportStreamDataReceived(H3Event):
    """For programs that ask for it: there is no WebTransport here, so it never comes."""

    data: bytes
    "The bytes."

    stream_id: int
    "The stream."

    stream_ended: bool
    "Whether it ends behind them."

    session_id: int
    "The stream of the session's request."

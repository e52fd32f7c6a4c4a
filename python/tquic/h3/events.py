"""What `tquic.h3.Connection` tells: one class for each kind of event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tquic.h3.errors import ErrorCode
from tquic.h3.fields import Field
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings

__all__ = [
    "Data",
    "Datagram",
    "EndOfMessage",
    "Event",
    "GoAwayReceived",
    "Informational",
    "PriorityUpdated",
    "Request",
    "Response",
    "SessionStream",
    "SettingsReceived",
    "StreamFailed",
    "StreamReset",
    "StreamStopped",
    "Trailers",
    "Unblocked",
]


@dataclass(slots=True)
class Request:
    """The header section of a request has come, and is well-formed.

    Attributes:
        stream_id: its stream.
        method: such as ``b"GET"``.
        scheme: of its target; `None` for CONNECT (but not extended CONNECT, RFC 9220).
        authority: :authority, or Host if that is all there is.
        path: path and query; `None` for CONNECT.
        protocol: of an extended CONNECT; `None` for other requests.
        fields: the fields, without pseudo-fields.
        content_length: what Content-Length says. `EndOfMessage` comes only if it was right.
        priority: what the client wants (RFC 9218).
    """

    stream_id: int
    method: bytes
    scheme: bytes | None
    authority: bytes | None
    path: bytes | None
    protocol: bytes | None
    fields: list[Field]
    content_length: int | None
    priority: Priority


@dataclass(slots=True)
class Informational:
    """An interim response has come: 1xx (RFC 9110 section 15.2). Others follow."""

    stream_id: int
    status: int
    fields: list[Field]


@dataclass(slots=True)
class Response:
    """The header section of the final response has come, and is well-formed."""

    stream_id: int
    status: int
    fields: list[Field]
    content_length: int | None


@dataclass(slots=True)
class Data:
    """Some of the content of a message.

    ``data`` is a view of what was received, not copied. ``remaining`` bytes of the same DATA frame
    are still to come: they may be read by another way, see `Connection.receive_raw`.
    """

    stream_id: int
    data: memoryview
    remaining: int


@dataclass(slots=True)
class Trailers:
    """The trailer section of a message has come."""

    stream_id: int
    fields: list[Field]


@dataclass(slots=True)
class EndOfMessage:
    """A message has come whole: its content has the size that Content-Length said."""

    stream_id: int


@dataclass(slots=True)
class StreamFailed:
    """What came on a stream breaks a rule, or will not be answered: a stream error.

    Reset the stream and stop reading it with ``code``, then call `Connection.abandon`; no other
    event of it follows.

    Attributes:
        stream_id: the stream; one way only, if the peer opened it for something unknown.
        code: for RESET_STREAM and STOP_SENDING. H3_REQUEST_REJECTED on a client: the server has
            not processed the request, and will not; it may be sent again (RFC 9114 section 5.2).
        reason: which rule, for people.
        status: what a server may answer before it gives the request up, such as 431; else `None`.
    """

    stream_id: int
    code: ErrorCode
    reason: str
    status: int | None = None


@dataclass(slots=True)
class StreamReset:
    """The peer has given up sending (RESET_STREAM): the rest of its message will not come."""

    stream_id: int
    code: int


@dataclass(slots=True)
class StreamStopped:
    """The peer wants no more of our message (STOP_SENDING).

    H3_NO_ERROR on a client: the response is complete without it (RFC 9114 section 4.1).
    """

    stream_id: int
    code: int


@dataclass(slots=True)
class Unblocked:
    """Field sections that QPACK had to wait for can be decoded.

    ``size`` bytes that `Connection.receive` had held back are in the events behind this one, as
    far as no further section blocks; they count for flow control from now on.
    """

    stream_id: int
    size: int


@dataclass(slots=True)
class SettingsReceived:
    """The peer's SETTINGS have come; also `Connection.peer_settings`."""

    settings: PeerSettings


@dataclass(slots=True)
class GoAwayReceived:
    """The peer is about to end the connection (RFC 9114 section 5.2).

    On a client, `StreamFailed` with H3_REQUEST_REJECTED follows for each request that the server
    will not process: those on stream ``id`` and behind.
    """

    id: int


@dataclass(slots=True)
class PriorityUpdated:
    """The client has changed its mind on a request (RFC 9218 section 7)."""

    stream_id: int
    priority: Priority


@dataclass(slots=True)
class Datagram:
    """An HTTP datagram (RFC 9297 section 2.1) that belongs to a request; with WebTransport, the
    request may not have come yet."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class SessionStream:
    """A stream of a WebTransport session has begun (draft-ietf-webtrans-http3-16 section 4).

    What comes on it is the session's: nothing more of it is to be given to
    `Connection.receive`.

    Attributes:
        stream_id: the stream.
        session_id: the stream of the request that made the session, or will make it.
        offset: where in the stream ``data`` stands.
        data: what has come behind the header; a view of what was received.
        end: the stream ends behind it.
    """

    stream_id: int
    session_id: int
    offset: int
    data: memoryview
    end: bool


Event: TypeAlias = (
    Request
    | Informational
    | Response
    | Data
    | Trailers
    | EndOfMessage
    | StreamFailed
    | StreamReset
    | StreamStopped
    | Unblocked
    | SettingsReceived
    | GoAwayReceived
    | PriorityUpdated
    | Datagram
    | SessionStream
)

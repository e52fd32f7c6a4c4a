"""What `QuicConnectionProtocol.quic_event_received` is told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ConnectionIdIssued",
    "ConnectionIdRetired",
    "ConnectionTerminated",
    "DatagramFrameReceived",
    "HandshakeCompleted",
    "PingAcknowledged",
    "ProtocolNegotiated",
    "QuicEvent",
    "StopSendingReceived",
    "StreamDataReceived",
    "StreamReset",
]


class QuicEvent:
    """The root of all events."""


@dataclass
class ConnectionIdIssued(QuicEvent):
    """Never told: the engine keeps connection IDs to itself."""

    connection_id: bytes


@dataclass
class ConnectionIdRetired(QuicEvent):
    """Never told: the engine keeps connection IDs to itself."""

    connection_id: bytes


@dataclass
class ConnectionTerminated(QuicEvent):
    """The connection is over; the last event."""

    error_code: int
    "Of CONNECTION_CLOSE; `QuicErrorCode.INTERNAL_ERROR` after an idle timeout."

    frame_type: int | None
    "The frame at fault (PADDING if none is known); `None` if an application closed."

    reason_phrase: str
    "For people."


@dataclass
class DatagramFrameReceived(QuicEvent):
    """A datagram came (RFC 9221)."""

    data: bytes
    "Its bytes."


@dataclass
class HandshakeCompleted(QuicEvent):
    """The handshake is complete."""

    alpn_protocol: str | None
    "The application protocol; `None` if the configuration named none."

    early_data_accepted: bool
    "Whether early data (0-RTT) was accepted."

    session_resumed: bool
    "Whether an earlier session was resumed."


@dataclass
class PingAcknowledged(QuicEvent):
    """A PING was acknowledged."""

    uid: int
    "The number given to `QuicConnection.send_ping`."


@dataclass
class ProtocolNegotiated(QuicEvent):
    """The application protocol is known; comes right before `HandshakeCompleted`."""

    alpn_protocol: str | None
    "The application protocol; `None` if the configuration named none."


@dataclass
class StopSendingReceived(QuicEvent):
    """The peer does not want what is sent on a stream; the engine has reset it."""

    error_code: int
    "The peer's."

    stream_id: int
    "The stream."


@dataclass
class StreamDataReceived(QuicEvent):
    """Bytes of a stream came, in order."""

    data: bytes
    "The bytes; empty only at the end of the stream."

    end_stream: bool
    "Whether the stream ends behind them."

    stream_id: int
    "The stream."


@dataclass
class StreamReset(QuicEvent):
    """The peer gave a stream up."""

    error_code: int
    "The peer's."

    stream_id: int
    "The stream."

"""A connection under aioquic's names. The engine sends and receives for it."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from tquic._halves import encode_reason
from tquic.compat.aioquic import tls
from tquic.compat.aioquic.quic import events
from tquic.compat.aioquic.quic._link import Link
from tquic.compat.aioquic.quic.configuration import QuicConfiguration
from tquic.compat.aioquic.quic.packet import QuicErrorCode, QuicFrameType
from tquic.errors import (
    ApplicationClosed,
    ConnectionClosed,
    ConnectionRefused,
    HandshakeTimeout,
    IdleTimeout,
    StreamClosed,
    StreamStopped,
)
from tquic.stats import HandshakeInfo
from tquic.stream import Stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "NetworkAddress",
    "QuicConnection",
    "QuicConnectionError",
    "QuicConnectionState",
    "QuicNetworkPath",
    "QuicTokenHandler",
]

NetworkAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""As sockets give it: host and port, for IPv6 perhaps flow and scope, which are not used."""
QuicTokenHandler: TypeAlias = Callable[[bytes], None]
"""Called with each address token for later connections (RFC 9000 section 8.1.3)."""

# How long `close` waits for what was sent before it, in seconds. aioquic puts it on the wire at
# once; the engine must be given the time to.
_LINGER: Final = 1.0
# Bytes of datagrams that wait for the handshake, or for room, each counting 64 more.
_DATAGRAMS: Final = 1 << 20
_DATAGRAM_COST: Final = 64


class QuicConnectionError(Exception):
    """An error of the protocol."""

    def __init__(self, error_code: int, frame_type: int | None, reason_phrase: str) -> None:
        super().__init__(f"{reason_phrase} (code {error_code:#x}, frame type {frame_type})")
        self.error_code = error_code
        self.frame_type = frame_type
        self.reason_phrase = reason_phrase


class QuicConnectionState(Enum):
    """Where a connection is in its life."""

    FIRSTFLIGHT = 0
    CONNECTED = 1
    CLOSING = 2
    DRAINING = 3
    TERMINATED = 4


class QuicNetworkPath:
    """The way to the peer."""

    def __init__(self, addr: NetworkAddress, is_validated: bool = False) -> None:
        self.addr = addr
        self.is_validated = is_validated


class QuicConnection:
    """A connection: `QuicConnectionProtocol` makes it, and has it as ``_quic``.

    What is sent goes out without `QuicConnectionProtocol.transmit`. The methods by which aioquic's
    users drive a connection by hand raise `NotImplementedError`, and so does making one.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        link: Link | None = None,
        session_ticket_handler: tls.SessionTicketHandler | None = None,
        token_handler: QuicTokenHandler | None = None,
        **_: object,
    ) -> None:
        if link is None:
            _by_hand()
        self.tls: tls.Context = tls.Context()
        self._configuration = configuration
        self._link = link
        self._is_client = link.is_client
        self._session_ticket_handler = session_ticket_handler
        self._quic_logger = None
        self._close_event: events.ConnectionTerminated | None = None
        self._closing: asyncio.Task[None] | None = None
        self._handshake_complete = False
        self._terminated = False
        self._events: deque[events.QuicEvent] = deque()
        # A server's early data: what it is for is known when the handshake is complete.
        self._early: list[events.QuicEvent] = []
        # Called when there are events.
        self._on_events: Callable[[], None] = lambda: None
        # Streams that nobody reads for now, and what they owe the engine since.
        self._paused: dict[int, int] = {}
        # By unidirectional or not.
        self._next_stream_id = {False: 0, True: 2} if self._is_client else {False: 1, True: 3}
        self._pings = 0
        self._awaited: deque[tuple[int, Callable[[], None]]] = deque()
        self._datagrams: deque[bytes] = deque()
        self._datagrams_size = 0
        self._datagrams_sent = False
        link.owner = self
        link._on_token = token_handler

    # ---- What it is ----

    @property
    def configuration(self) -> QuicConfiguration:
        """Its settings."""
        return self._configuration

    @property
    def host_cid(self) -> bytes:
        """8 bytes by which this process can tell its connections apart.

        They never change. The connection IDs on the wire do, and stay in the engine.
        """
        return self._link._key.to_bytes(8, "big")

    @property
    def original_destination_connection_id(self) -> bytes:
        """The first connection ID that the client sent to; empty before the handshake is
        complete."""
        return self._link.info.original_dcid if self._link.connected else b""

    def get_peer_address(self) -> NetworkAddress | None:
        """The peer's address now."""
        host, port = self._link.remote_address
        return (host, port, 0, 0) if ":" in host else (host, port)

    @property
    def _network_paths(self) -> list[QuicNetworkPath]:
        address = self.get_peer_address()
        return [QuicNetworkPath(address, self._handshake_complete)] if address else []

    @property
    def _state(self) -> QuicConnectionState:
        if self._terminated:
            return QuicConnectionState.TERMINATED
        if self._close_event is not None:
            return QuicConnectionState.CLOSING
        done = self._handshake_complete
        return QuicConnectionState.CONNECTED if done else QuicConnectionState.FIRSTFLIGHT

    @property
    def _version(self) -> int | None:
        return self._link.info.version if self._link.connected else None

    @property
    def _remote_max_datagram_frame_size(self) -> int | None:
        return self._link.max_datagram_size or None

    # ---- Streams ----

    def get_next_available_stream_id(self, is_unidirectional: bool = False) -> int:
        """The ID of the next stream that is opened here; sending on it opens it."""
        return self._next_stream_id[is_unidirectional]

    def send_stream_data(
        self, stream_id: int, data: ReadableBuffer, end_stream: bool = False
    ) -> None:
        """Sends bytes on a stream, which is opened if it is the next one, or one behind.

        Whoever sends much without waiting is told so at 1 GiB for each stream; see
        `QuicConnectionProtocol.create_stream` for writers that can wait. After the end of the
        connection it does nothing.

        Raises:
            ValueError: the peer does not receive on this stream, or it is over.
            RuntimeError: the stream was ended or reset, or the peer does not want it.
            BufferError: 1 GiB waits to be sent.
        """
        if self._close_event is not None:
            return
        try:
            stream = self._stream_to_send(stream_id)
            stream.write(data, finish=end_stream)
        except StreamClosed as error:
            raise RuntimeError("Cannot send data: the stream was ended or reset") from error
        except StreamStopped as error:
            raise RuntimeError(f"Cannot send data: {error}") from error
        except ConnectionClosed:
            return

    def reset_stream(self, stream_id: int, error_code: int) -> None:
        """Gives up sending on a stream. Does nothing if it is over.

        Raises:
            ValueError: this end does not send on the stream, or does not know it.
        """
        if self._close_event is None and not self._is_over(stream_id):
            self._stream_to_send(stream_id).reset(error_code)

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """Gives up reading a stream, and tells the peer.

        Raises:
            ValueError: this end does not read from the stream, or does not know it.
        """
        if not self._stream_can_receive(stream_id):
            raise ValueError("Cannot stop receiving on a stream that only this end sends on")
        stream = self._link._streams.get(stream_id)
        if stream is not None:
            stream.stop(error_code)
            self._resume(stream_id)
        elif self._close_event is None:
            raise ValueError("Cannot stop receiving on an unknown stream")

    def _stream_can_send(self, stream_id: int) -> bool:
        return not stream_id & 2 or self._is_ours(stream_id)

    def _stream_can_receive(self, stream_id: int) -> bool:
        return not stream_id & 2 or not self._is_ours(stream_id)

    def _is_ours(self, stream_id: int) -> bool:
        return bool(stream_id & 1) != self._is_client

    def _is_over(self, stream_id: int) -> bool:
        known = stream_id in self._link._streams
        ours = self._is_ours(stream_id)
        return ours and not known and stream_id < self._next_stream_id[bool(stream_id & 2)]

    def _stream_to_send(self, stream_id: int) -> Stream:
        if not self._stream_can_send(stream_id):
            raise ValueError("Cannot send data on a stream that only the peer sends on")
        stream = self._link._streams.get(stream_id)
        if stream is not None:
            return stream
        if self._is_over(stream_id):
            raise ValueError("Cannot send data on a finished stream")
        if not self._is_ours(stream_id):
            raise ValueError("Cannot send data on a stream of the peer's that is over or unknown")
        return self._open(stream_id)

    def _open(self, stream_id: int) -> Stream:
        """Opens a stream, and those before it (RFC 9000 section 2.1)."""
        one_way = bool(stream_id & 2)
        while True:
            stream = self._link.open_stream(unidirectional=one_way)
            self._next_stream_id[one_way] = stream.id + 4
            if stream.id >= stream_id:
                return stream

    def _pause(self, stream_id: int) -> None:
        """Nobody reads this stream for now: the peer may only fill the window."""
        self._paused.setdefault(stream_id, 0)

    def _resume(self, stream_id: int) -> None:
        if owed := self._paused.pop(stream_id, 0):
            self._link.used(stream_id, owed)

    # ---- The connection ----

    def send_datagram_frame(self, data: bytes) -> None:
        """Sends an unreliable datagram. Where too many wait, or the connection is over, it is lost.

        Raises:
            DatagramError: it is too large, or the peer takes none.
        """
        if self._close_event is not None:
            return
        if self._handshake_complete and not self._datagrams:
            with contextlib.suppress(ConnectionClosed):
                if self._link.send_datagram(data):
                    self._datagrams_sent = True
                    return
        if self._datagrams_size + len(data) + _DATAGRAM_COST <= _DATAGRAMS:
            self._datagrams.append(bytes(data))
            self._datagrams_size += len(data) + _DATAGRAM_COST

    def send_ping(self, uid: int) -> None:
        """Sends a PING; `PingAcknowledged` with this number tells when it was answered."""
        self._await_answer(lambda: self._tell(events.PingAcknowledged(uid=uid)))

    def request_key_update(self) -> None:
        """Begins a key update (RFC 9001 section 6); if it is too early, in a round trip's time."""
        if self._close_event is not None:
            return
        if not self._handshake_complete or not self._link.update_keys():
            self._await_answer(self._update_keys)

    def _update_keys(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._link.update_keys()

    def change_connection_id(self) -> None:
        """Uses another of the connection IDs that the peer issued, if there is one."""
        with contextlib.suppress(ConnectionClosed):
            self._link.change_connection_id()

    def close(
        self,
        error_code: int = QuicErrorCode.NO_ERROR,
        frame_type: int | None = None,
        reason_phrase: str = "",
    ) -> None:
        """Closes the connection; what was sent before gets up to a second to arrive.

        Args:
            error_code: application error code.
            frame_type: must be `None`: errors of the protocol are the engine's to tell.
            reason_phrase: for people; 256 bytes reach the peer at most.

        Raises:
            TypeError: the reason is no `str`.
        """
        encode_reason(reason_phrase)
        if self._close_event is not None:
            return
        if frame_type is not None:
            warnings.warn(
                "tquic.compat.aioquic: close(frame_type=...): the peer is told an application "
                "error code, not one of the protocol",
                UserWarning,
                stacklevel=2,
            )
        self._close_event = events.ConnectionTerminated(
            error_code=error_code, frame_type=frame_type, reason_phrase=reason_phrase
        )
        link = self._link
        if link.connected and (self._datagrams_sent or any(map(_unsent, link._streams.values()))):
            self._closing = asyncio.get_running_loop().create_task(self._close_behind())
        else:
            link.close(int(error_code), reason_phrase)

    async def _close_behind(self) -> None:
        """Closes behind what was sent."""
        event = self._close_event
        assert event is not None
        try:
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                async with asyncio.timeout(_LINGER):
                    if self._datagrams_sent:
                        answer = asyncio.Event()
                        self._await_answer(answer.set)
                        await answer.wait()
                    await self._link.flush()
        finally:
            self._link.close(int(event.error_code), event.reason_phrase)

    def _await_answer(self, then: Callable[[], None]) -> None:
        with contextlib.suppress(ConnectionClosed):
            self._link.send_ping()
            self._pings += 1
            self._awaited.append((self._pings, then))

    # ---- Events ----

    def next_event(self) -> events.QuicEvent | None:
        """The next event, if there is one. Taking it makes room for more from the peer."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, events.StreamDataReceived):
            if event.stream_id in self._paused:
                self._paused[event.stream_id] += len(event.data)
            else:
                self._link.used(event.stream_id, len(event.data))
        elif isinstance(event, events.DatagramFrameReceived):
            self._link.datagram_used(len(event.data))
        return event

    def _tell(self, event: events.QuicEvent) -> None:
        self._events.append(event)
        if self._close_event is not None and not self._terminated:
            # Closed by the program: nothing but the end is told any more.
            self.next_event()
            return
        self._on_events()

    def _tell_when_connected(self, event: events.QuicEvent) -> None:
        if self._handshake_complete:
            self._tell(event)
        else:
            self._early.append(event)

    def _on_connected(self, info: HandshakeInfo) -> None:
        alpn = info.alpn if self._configuration.alpn_protocols else None
        self.tls._learn(info, alpn)
        self._handshake_complete = True
        self._tell(events.ProtocolNegotiated(alpn_protocol=alpn))
        self._tell(
            events.HandshakeCompleted(
                alpn_protocol=alpn,
                early_data_accepted=info.early_data,
                session_resumed=info.resumed,
            )
        )
        self._on_datagrams_writable()
        early, self._early = self._early, []
        for event in early:
            self._tell(event)

    def _on_data(self, stream: int, data: bytes, fin: bool) -> None:
        event = events.StreamDataReceived(data=data, end_stream=fin, stream_id=stream)
        self._tell_when_connected(event)

    def _on_stopped(self, stream: int, code: int) -> None:
        event = events.StopSendingReceived(error_code=code, stream_id=stream)
        self._tell_when_connected(event)

    def _on_reset(self, stream: int, code: int) -> None:
        self._resume(stream)
        self._tell_when_connected(events.StreamReset(error_code=code, stream_id=stream))

    def _on_datagram(self, data: bytes) -> None:
        self._tell_when_connected(events.DatagramFrameReceived(data=data))

    def _on_datagrams_writable(self) -> None:
        while self._datagrams and self._close_event is None:
            data = self._datagrams[0]
            if len(data) <= self._link.max_datagram_size:
                if not self._link.send_datagram(data):
                    return
                self._datagrams_sent = True
            self._datagrams.popleft()
            self._datagrams_size -= len(data) + _DATAGRAM_COST

    def _on_answer(self, pings: int) -> None:
        while self._awaited and self._awaited[0][0] <= pings:
            self._awaited.popleft()[1]()

    def _on_ticket(self) -> None:
        store = self._link.config.session_store
        if self._session_ticket_handler is not None and store is not None:
            info = self._link.info
            name = self._configuration.server_name or self._link.remote_address[0]
            ticket = tls.SessionTicket(store, name, tls.cipher_suite(info))
            self._session_ticket_handler(ticket)

    def _on_closed(self, error: ConnectionClosed) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if self._close_event is None:
            self._close_event = _termination(error)
        self._terminated = True
        self._awaited.clear()
        self._tell(self._close_event)

    # ---- What the engine does ----

    def connect(self, addr: NetworkAddress, now: float) -> NoReturn:
        """Not supported: see `tquic.compat.aioquic.asyncio.connect`."""
        _by_hand()

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> NoReturn:
        """Not supported: the engine receives."""
        _by_hand()

    def datagrams_to_send(self, now: float) -> NoReturn:
        """Not supported: the engine sends."""
        _by_hand()

    def get_timer(self) -> NoReturn:
        """Not supported: the engine has timers."""
        _by_hand()

    def handle_timer(self, now: float) -> NoReturn:
        """Not supported: the engine has timers."""
        _by_hand()


def _by_hand() -> NoReturn:
    raise NotImplementedError(
        "tquic.compat.aioquic has no connections to be driven by hand: the engine sends, receives "
        "and keeps time; begin with tquic.compat.aioquic.asyncio.connect or serve"
    )


def _unsent(stream: Stream) -> bool:
    """Whether something of a stream may not have arrived."""
    out = stream._out
    ended = out.ended and not out.acknowledged
    return out.error is None and (ended or stream.unacknowledged() > 0)


# Names of frames as `ConnectionClosed.frame` has them, where aioquic's differ.
_FRAMES: Final = {
    "STREAM": QuicFrameType.STREAM_BASE,
    "MAX_STREAMS": QuicFrameType.MAX_STREAMS_BIDI,
    "STREAMS_BLOCKED": QuicFrameType.STREAMS_BLOCKED_BIDI,
    "CONNECTION_CLOSE": QuicFrameType.TRANSPORT_CLOSE,
}


def _termination(error: ConnectionClosed) -> events.ConnectionTerminated:
    """The last event of a connection that the program did not close."""
    code, frame, reason = error.code, error.frame, error.reason or str(error)
    if isinstance(error, ApplicationClosed):
        assert code is not None
        return events.ConnectionTerminated(code, None, error.reason)
    if isinstance(error, IdleTimeout | HandshakeTimeout):
        reason = "Idle timeout"
    if code is None:
        refused = isinstance(error, ConnectionRefused)
        code = QuicErrorCode.CONNECTION_REFUSED if refused else QuicErrorCode.INTERNAL_ERROR
    kind = _FRAMES.get(frame or "") or QuicFrameType.__members__.get(frame or "")
    return events.ConnectionTerminated(code, kind or QuicFrameType.PADDING, reason)

"""The class that programs for aioquic subclass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tquic.compat.aioquic.quic import events
from tquic.compat.aioquic.quic.connection import NetworkAddress, QuicConnection
from tquic.compat.aioquic.quic.packet import QuicErrorCode
from tquic.errors import ConnectionClosed, StreamReset, StreamStopped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tquic.compat.aioquic.quic._link import Link
    from tquic.stream import Stream

__all__ = [
    "QuicConnectionProtocol",
    "QuicStreamAdapter",
    "QuicStreamHandler",
    "QuicStreamWriter",
    "QuicTransport",
]

QuicStreamHandler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
"""Called for each stream that the peer opens. It is not awaited: it starts a task."""


class QuicConnectionProtocol(asyncio.DatagramProtocol):
    """One connection, either side: reimplement `quic_event_received` in a subclass.

    ``_quic`` is its `QuicConnection`.
    """

    def __init__(
        self, quic: QuicConnection, stream_handler: QuicStreamHandler | None = None
    ) -> None:
        self._quic = quic
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._connected = False
        self._connected_waiter: asyncio.Future[None] | None = None
        self._ping_waiters: dict[int, asyncio.Future[None]] = {}
        self._stream_readers: dict[int, asyncio.StreamReader] = {}
        self._transport: asyncio.BaseTransport | None = None
        self._stream_handler = stream_handler
        quic._on_events = self._process_events

    # ---- For programs ----

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """Called with every event, in order.

        This one is what `create_stream` and `stream_handler` need: subclasses that use them call
        it.
        """
        if isinstance(event, events.StreamDataReceived):
            self._feed(event)
        elif isinstance(event, events.StreamReset):
            if reader := self._stream_readers.pop(event.stream_id, None):
                reader.set_exception(StreamReset(event.error_code))
        elif isinstance(event, events.ConnectionTerminated):
            for reader in self._stream_readers.values():
                reader.feed_eof()
            self._stream_readers.clear()

    async def create_stream(
        self, is_unidirectional: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a stream. The writer's `drain` waits for a peer that does not read, and the reader
        lets the peer wait.

        Raises:
            ConnectionClosed: the connection is over.
        """
        number = self._quic.get_next_available_stream_id(is_unidirectional)
        self._quic._open(number)
        return self._create_stream(number)

    async def ping(self) -> None:
        """Waits for a round trip.

        Raises:
            ConnectionError: the connection is over.
        """
        if self._closed.is_set():
            raise self._failure()
        waiter = self._loop.create_future()
        uid = id(waiter)
        self._ping_waiters[uid] = waiter
        try:
            self._quic.send_ping(uid)
            await waiter
        finally:
            self._ping_waiters.pop(uid, None)

    def request_key_update(self) -> None:
        """Begins a key update."""
        self._quic.request_key_update()

    def change_connection_id(self) -> None:
        """Uses another connection ID of the peer's."""
        self._quic.change_connection_id()

    def transmit(self) -> None:
        """Does nothing: what is sent goes out by itself."""

    def close(self, error_code: int = QuicErrorCode.NO_ERROR, reason_phrase: str = "") -> None:
        """Closes the connection; see `QuicConnection.close`."""
        self._quic.close(error_code=error_code, reason_phrase=reason_phrase)

    async def wait_closed(self) -> None:
        """Waits until the connection is over."""
        await self._closed.wait()

    async def wait_connected(self) -> None:
        """Waits until the handshake is complete.

        Raises:
            ConnectionError: it failed; tquic's subclass says how.
        """
        if self._connected_waiter is not None:
            raise RuntimeError("Already awaiting connected")
        if self._closed.is_set():
            raise self._failure()
        if not self._connected:
            self._connected_waiter = self._loop.create_future()
            try:
                await self._connected_waiter
            finally:
                self._connected_waiter = None

    # ---- For transports ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection begins, with a `QuicTransport`."""
        self._transport = transport

    def datagram_received(self, data: bytes | str, addr: NetworkAddress) -> None:
        """Never called: the engine receives."""
        raise NotImplementedError("tquic.compat.aioquic does not take datagrams: the engine does")

    def connect(self, addr: NetworkAddress, transmit: bool = True) -> None:
        """Not supported: see `tquic.compat.aioquic.asyncio.connect`."""
        self._quic.connect(addr, now=self._loop.time())

    # ---- Inside ----

    def _failure(self) -> BaseException:
        return self._quic._link.exception or ConnectionError()

    def _process_events(self) -> None:
        while (event := self._quic.next_event()) is not None:
            if isinstance(event, events.HandshakeCompleted):
                self._connected = True
                _settle(self._connected_waiter)
            elif isinstance(event, events.PingAcknowledged):
                _settle(self._ping_waiters.get(event.uid))
            elif isinstance(event, events.ConnectionTerminated):
                for waiter in (self._connected_waiter, *self._ping_waiters.values()):
                    _settle(waiter, self._failure())
                self._closed.set()
            try:
                self.quic_event_received(event)
            except Exception as error:
                # A defect of the program is told, and does not lose the events that follow.
                told = {"message": f"quic_event_received({event}) failed", "exception": error}
                self._loop.call_exception_handler({**told, "protocol": self})

    def _feed(self, event: events.StreamDataReceived) -> None:
        reader = self._stream_readers.get(event.stream_id)
        if reader is None:
            if self._stream_handler is None:
                # Nobody would read it.
                return
            reader, writer = self._create_stream(event.stream_id)
            self._stream_handler(reader, writer)
        if event.data:
            reader.feed_data(event.data)
        if event.end_stream:
            reader.feed_eof()
            self._stream_readers.pop(event.stream_id, None)

    def _create_stream(self, stream_id: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        adapter = QuicStreamAdapter(self, stream_id)
        reader = asyncio.StreamReader(loop=self._loop)
        # It pauses reading when it holds more than twice its limit.
        reader.set_transport(adapter)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        writer = QuicStreamWriter(adapter, protocol, reader, self._loop)
        if self._quic._stream_can_receive(stream_id):
            self._stream_readers[stream_id] = reader
        else:
            reader.feed_eof()
        return reader, writer


class QuicStreamAdapter(asyncio.Transport):
    """One stream as the transport of a `StreamReader` and a `StreamWriter`."""

    # Not `tquic.streams.StreamTransport`: what comes has to pass `quic_event_received`, which
    # programs override, and streams may have one direction. So this one sends and pauses, no more.

    def __init__(self, protocol: QuicConnectionProtocol, stream_id: int) -> None:
        super().__init__()
        self.protocol = protocol
        self.stream_id = stream_id
        self._quic = protocol._quic
        # Kept, for it has news after its connection forgot it. One that ended before it was told of
        # has none, and nothing to be sent.
        self._stream: Stream | None = self._quic._link._streams.get(stream_id)
        self._closing = self._stream is None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"stream_id"``, and what `QuicTransport.get_extra_info` knows."""
        if name == "stream_id":
            return self.stream_id
        return _extra_info(self._quic._link, name, default)

    def can_write_eof(self) -> bool:
        """Whether this end sends on the stream."""
        return self._quic._stream_can_send(self.stream_id)

    def write(self, data: ReadableBuffer) -> None:
        """Sends bytes. That the stream or the connection failed is told by `drain`."""
        if self._stream is not None:
            with contextlib.suppress(StreamStopped, ConnectionClosed):
                self._stream.write(data)

    def write_eof(self) -> None:
        """Ends the stream."""
        if not self._closing:
            self._closing = True
            if self._stream is not None:
                self._stream.finish()

    def close(self) -> None:
        """Ends the stream, if this end sends on it."""
        if self.can_write_eof():
            self.write_eof()
        self._closing = True

    def abort(self) -> None:
        """Gives up the stream."""
        self._closing = True
        if self._stream is not None and self.can_write_eof():
            self._stream.reset()

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing or self._quic._close_event is not None

    def pause_reading(self) -> None:
        """Lets the peer wait."""
        self._quic._pause(self.stream_id)

    def resume_reading(self) -> None:
        """Lets the peer go on."""
        self._quic._resume(self.stream_id)

    def get_write_buffer_size(self) -> int:
        """Bytes that the peer has not acknowledged."""
        return 0 if self._stream is None else self._stream.unacknowledged()


class QuicStreamWriter(asyncio.StreamWriter):
    """A writer whose `drain` waits for as long as the engine holds all that it may hold."""

    transport: QuicStreamAdapter  # pyright: ignore[reportIncompatibleMethodOverride]

    async def drain(self) -> None:
        """Waits until the engine has taken everything that was written: it holds up to 8 MiB of a
        stream that the peer has not acknowledged.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        stream = self.transport._stream
        if stream is not None:
            await stream.drain()

    async def wait_closed(self) -> None:
        """Waits until the peer has acknowledged everything, the end included.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection ended before.
        """
        stream = self.transport._stream
        if stream is not None and self.transport.can_write_eof():
            await stream.wait_finished()


class QuicTransport(asyncio.DatagramTransport):
    """Stands for the socket, which is the engine's."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"peername"`` and ``"sockname"``."""
        return _extra_info(self._link, name, default)

    def is_closing(self) -> bool:
        """Whether the connection is over."""
        return self._link.closed

    def close(self) -> None:
        """Closes the connection at once."""
        self._link.close()

    def abort(self) -> None:
        """Closes the connection at once."""
        self._link.close()

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Not supported: the socket is the engine's."""
        raise NotImplementedError("tquic.compat.aioquic sends no datagrams past the engine")


def _extra_info(link: Link, name: str, default: Any) -> Any:
    if name == "peername":
        return link.remote_address
    if name == "sockname" and link.connected:
        return link.info.local
    return default


def _settle(waiter: asyncio.Future[None] | None, error: BaseException | None = None) -> None:
    if waiter is None or waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)

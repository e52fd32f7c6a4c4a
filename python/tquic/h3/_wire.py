"""Where HTTP/3 meets QUIC: a connection whose streams are given to the state machine as they come,
and whose request streams are read as content. It lives at any home (`tquic._wait`)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import tquic.connection
import tquic.errors
import tquic.stream
from tquic import _engine
from tquic._halves import File
from tquic._wait import Home
from tquic.config import Config
from tquic.errors import ConnectionClosed, StreamClosed, StreamError, WriteBufferFull
from tquic.h3._session_stream import Stream, mapped
from tquic.h3._sessions import FAREWELLS, Session, Sessions
from tquic.h3.connection import Connection
from tquic.h3.errors import ErrorCode, H3Error, RequestFailed, code_name
from tquic.h3.events import (
    Data,
    Datagram,
    EndOfMessage,
    Event,
    GoAwayReceived,
    Informational,
    Request,
    Response,
    SessionStream,
    StreamFailed,
    StreamReset,
    Trailers,
    Unblocked,
)
from tquic.h3.fields import Field
from tquic.h3.prepared import Prepared
from tquic.h3.settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath

__all__ = ["ALPN", "Exchange", "Wire"]

ALPN: Final = "h3"
# Content up to here is copied behind the header of its frame, to be one write.
_SMALL: Final = 16 * 1024
# Content from here on is written to files by the engine.
_LONG: Final = 1 << 20


class Exchange(tquic.stream.Stream):
    """A request stream. What is read from it is the content of the peer's message; what the methods
    of `tquic.Stream` would write lacks the framing, so those named here are to be used."""

    head: Request | Response | None = None
    """What the peer's message began with."""
    trailers: list[Field] | None = None
    """What it ended with, if it did."""
    informational: list[Informational]
    """Interim responses that came before."""
    pump: Frames | None = None
    """Content that goes into a file just now."""

    def __init__(
        self, connection: tquic.connection.Connection, number: int, *, early: bool
    ) -> None:
        super().__init__(connection, number, early=early)
        self.informational = []

    @property
    def wire(self) -> Wire:
        """Its connection."""
        return cast(Wire, self._connection)

    # ---- Sending ----

    def send_request(self, fields: Iterable[Field], *, end: bool = False) -> None:
        """The header section of a request; see `Connection.send_request`."""
        self._send(self.wire.h3.send_request(self._id, fields, end=end), end)

    def send_informational(self, fields: Iterable[Field]) -> None:
        """An interim response; see `Connection.send_informational`."""
        self._send(self.wire.h3.send_informational(self._id, fields), False)

    def send_response(self, fields: Iterable[Field], *, end: bool = False) -> None:
        """The header section of a response; see `Connection.send_response`."""
        self._send(self.wire.h3.send_response(self._id, fields, end=end), end)

    def send_prepared(self, prepared: Prepared) -> None:
        """A message, or its header section; see `Connection.send_prepared`."""
        self._send(self.wire.h3.send_prepared(self._id, prepared), prepared.ends)

    async def send_content(self, data: ReadableBuffer, *, end: bool = False) -> None:
        """Content. Waits until the engine has taken it.

        Raises:
            LocalProtocolError: it does not fit what was said before.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        # Nothing waits then, so that a frame is queued whole or not at all.
        await self.drain()
        size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        header = self.wire.h3.send_data(self._id, size, end=end)
        if size <= _SMALL:
            self._send(header + bytes(data), end)
        else:
            self._out.write(header, False)
            self._send(data, end)
        await self.drain()

    async def send_content_file(
        self, path: StrPath, *, offset: int = 0, size: int | None = None
    ) -> int:
        """(Part of) a file as content, without Python; it ends the message. Answers its size.

        Raises:
            OSError: the file cannot be read.
            LocalProtocolError: its size does not fit what was said before.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        rest = max(0, Path(path).stat().st_size - offset)
        size = rest if size is None else min(size, rest)
        await self.drain()
        header = self.wire.h3.send_data(self._id, size, end=True)
        if not size:
            self.finish()
            return 0
        self._out.write(header, False)
        return await self.send_file(path, offset=offset, size=size)

    async def send_trailers(self, fields: Iterable[Field]) -> None:
        """The trailer section, which ends the message."""
        await self.drain()
        self._send(self.wire.h3.send_trailers(self._id, fields), True)

    def send_end(self) -> None:
        """Ends the message."""
        self.wire.h3.send_end(self._id)
        self.finish()

    def cancel(self, code: int = ErrorCode.H3_REQUEST_CANCELLED) -> None:
        """Gives the request up, both ways, as far as it has not ended."""
        if not self._out.ended or self._out.pending:
            self.reset(code)
        if not self._in.over:
            self.stop(code)
        self.wire.h3.abandon(self._id)
        self.wire._flush_h3()

    # ---- As the tunnel of a session ----

    def send_capsules(self, data: bytes, *, end: bool) -> None:
        """See `Tunnel`."""
        if self._out.ended or self._out.over:
            return
        header = self.wire.h3.send_data(self._id, len(data), end=end)
        try:
            self._send(header + data, end)
        except WriteBufferFull:
            self.cancel(ErrorCode.H3_EXCESSIVE_LOAD)
        except (StreamError, ConnectionClosed):
            # Why, an event will tell.
            return

    def give_up(self, code: int) -> None:
        """See `Tunnel`."""
        self.cancel(code)

    async def delivered(self) -> None:
        """See `Tunnel`."""
        await self.wait_finished()
        while not self._in.over:
            await self._in.changed.wait()

    def _send(self, data: ReadableBuffer, end: bool) -> None:
        # What a field section refers to goes first.
        self.wire._flush_h3()
        self._out.write(data, False, end)

    # ---- Receiving ----

    async def wait_head(self) -> Request | Response:
        """Waits for the beginning of the peer's message.

        Raises:
            RequestFailed: the peer gave it up, or it is malformed.
            ConnectionClosed: the connection ended before.
        """
        while self.head is None:
            self._in.check()
            await self._more()
        return self.head

    async def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the rest of the content to a file; answers how many bytes.

        The file is made if it is not there; what it holds from `offset` on is replaced. If it is
        cancelled, the request is given up; the file keeps what has come.

        Raises:
            OSError: the file cannot be written.
            RequestFailed: the peer gave it up, or its message is malformed.
            ConnectionClosed: the connection ended before.
        """
        self._check_reader()
        name = os.fspath(path)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(name, flags, 0o666)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if regular:
                os.ftruncate(descriptor, offset)
            file = File(descriptor, offset)
            while chunk := await self.read_chunk():
                file.write(chunk)
                if regular and self._is_long(file.written):
                    await self._pump(file, name)
            return file.written
        except BaseException:
            self.cancel()
            raise
        finally:
            os.close(descriptor)

    def _is_long(self, written: int) -> bool:
        """Whether it is worth it to have the engine write the rest."""
        expected = self.head.content_length if self.head is not None else None
        if expected is None:
            return written >= _LONG
        return expected - self._in.position >= _LONG

    async def _pump(self, file: File, name: str) -> None:
        """Has the engine write what comes as content, up to its end or something else."""
        self.pump = pump = Frames()
        try:
            self._native.hold(self._id)
            # What has crossed comes first.
            while not pump.held and not self._in.over:
                await self._more()
            for part in self._in.take(self._in.buffered):
                file.write(part)
            place = self.wire.h3.place(self._id)
            if self._in.over:
                return
            if place is None:
                self._native.release(self._id)
                return
            self._native.frames_to_file(self._id, name, file.base + file.written, *place)
            while pump.size is None and not self._in.over:
                await self._more()
            file.written += pump.size or 0
        except StreamClosed:
            # All had crossed already: its events bring the end.
            return
        finally:
            self.pump = None


class Frames:
    """Content that the engine writes to a file."""

    __slots__ = ("held", "size")

    def __init__(self) -> None:
        self.held = False
        self.size: int | None = None


class Wire(tquic.connection.Connection):
    """A QUIC connection that speaks HTTP/3. Subclasses say what is done with messages."""

    def __init__(
        self,
        home: Home,
        native: _engine.Connection,
        config: Config,
        remote: tuple[str, int],
        settings: Settings | None = None,
    ) -> None:
        super().__init__(home, native, config, remote)
        # The peer broke a rule of the connection: nothing that follows is looked at.
        self._failed = False
        self.h3: Final = Connection(is_client=self._is_client, settings=settings)
        self._started = False
        self._sessions: Sessions | None = None

    @property
    def sessions(self) -> Sessions:
        """Its WebTransport sessions."""
        if self._sessions is None:
            self._sessions = Sessions(self)
        return self._sessions

    # ---- For subclasses ----

    def on_request(self, exchange: Exchange, request: Request) -> None:
        """A client wants something."""

    def on_event(self, event: Event) -> None:
        """Any other event that is not told to an `Exchange`."""

    def on_stream_failed(self, stream: tquic.stream.Stream, event: StreamFailed) -> None:
        """A stream error: the stream is given up."""
        stream._give_up(event.code, RequestFailed(event.code, event.reason, by="local"))
        self.h3.abandon(event.stream_id)

    def on_reset(self, exchange: Exchange, code: int) -> None:
        """The peer gave its message up."""
        exchange._in.end(RequestFailed(code))

    def open_exchange(self) -> Exchange:
        """Opens a stream for a request.

        Raises:
            ConnectionClosed: the connection is over.
            EngineError: some thousand wait for the peer's permission already.
        """
        self._check_open()
        self._start_h3()
        number = self._native.open(True)
        exchange = self._streams[number] = Exchange(self, number, early=self._info is None)
        return exchange

    def close(self, code: int = ErrorCode.H3_NO_ERROR, reason: str = "") -> None:
        """Closes the connection, and returns at once; see `tquic.Connection.close`."""
        super().close(code, reason)

    # ---- Inside ----

    def _start_h3(self) -> None:
        """Opens the critical streams, once."""
        if self._started:
            return
        self._started = True
        with contextlib.suppress(ConnectionClosed):
            if self.h3.settings.session_limits is not None:
                self._native.tell_final_sizes()
            ids = [self.open_stream(unidirectional=True).id for _ in range(3)]
            self.h3.start(*ids)
            self._flush_h3()

    def _flush_h3(self) -> None:
        """Writes what the state machine has for the critical streams."""
        if self._failed:
            return
        for number, data in self.h3.take_output():
            stream = self._streams.get(number)
            if stream is None:
                # The connection is over.
                return
            try:
                stream._out.write(data, False)
            except WriteBufferFull:
                reason = "the peer does not read its control streams"
                self.close(ErrorCode.H3_EXCESSIVE_LOAD, reason)
            except (StreamClosed, ConnectionClosed):
                # Why, an event will tell.
                return

    def _on_connected(self, info: dict[str, Any], *_: Any) -> None:
        self._start_h3()
        super()._on_connected(info)

    def _on_stream_opened(self, number: int, *_: Any) -> None:
        # Early data may come before the handshake is complete.
        self._start_h3()
        early = self._info is None
        # A server's streams, and unidirectional ones, carry no requests.
        self._streams[number] = (
            tquic.stream.Stream(self, number, early=early)
            if number & 3
            else Exchange(self, number, early=early)
        )
        self._begun()

    def _on_data(self, number: int, data: bytes | memoryview, fin: bool) -> None:
        stream = self._streams.get(number)
        size = len(data)
        if isinstance(stream, Stream):
            stream._on_arrival(size)
            super()._on_data(number, data, fin)
            return
        if stream is None or stream._in.over:
            self._native.consumed(number, size)
            return
        held = self.h3.held(number)
        events = self._taken(self.h3.receive, number, data, fin)
        # What is content counts when it is read; all the rest counts now.
        self._told(events, number, size + held - self.h3.held(number))
        if fin and not isinstance(stream, Exchange):
            stream._in.on_data(b"", True)
            self._forget(stream)

    def _on_held(self, number: int, *_: Any) -> None:
        exchange = self._exchange(number)
        if exchange is not None and exchange.pump is not None:
            exchange.pump.held = True
            exchange._in.changed.wake()

    def _on_unframed(self, number: int, size: int, outcome: Any) -> None:
        """Content went into a file; the stream has ended, or something else follows."""
        exchange = self._exchange(number)
        if exchange is None:
            return
        remaining, header, ended, error = outcome
        incoming = exchange._in
        if exchange.pump is not None:
            exchange.pump.size = size
        # For `is_long`, and for people.
        incoming.position += size
        self._told(self._taken(self.h3.receive_raw, number, size, remaining), number, 0)
        if isinstance(error, tquic.errors.StreamReset):
            self._on_reset(number, error, 0)
        elif error is not None:
            incoming.end(error)
        elif not incoming.over:
            self._told(self._taken(self.h3.receive, number, header, ended), number, 0)
        incoming.changed.wake()

    def _on_reset(self, number: int, error: Exception, reliable_size: int) -> None:
        stream = self._streams.get(number)
        if isinstance(stream, Stream):
            super()._on_reset(number, mapped(error), reliable_size)
        elif stream is not None:
            events = self._taken(self.h3.receive_reset, number, cast(Any, error).code)
            self._told(events, number, 0)
            if not stream._in.over:
                stream._in.end(error)
            self._forget(stream)

    def _on_stopped(self, number: int, error: Exception, _: Any) -> None:
        stream = self._streams.get(number)
        if isinstance(stream, Stream):
            stream._gave_up_sending = True
            super()._on_stopped(number, mapped(error), _)
        elif stream is not None:
            cast(Any, error).code_name = code_name(cast(Any, error).code)
            events = self._taken(self.h3.receive_stop, number, cast(Any, error).code)
            stream._out.end(error)
            self._told(events, number, 0)
            self._forget(stream)
            begun = isinstance(stream, Exchange) and stream.head is not None
            if begun and cast(Any, error).code not in FAREWELLS:
                self._cut_off(number, f"the peer stopped it: {cast(Any, error).code_name}")

    def _on_finished(self, number: int, *_: Any) -> None:
        stream = self._streams.get(number)
        if isinstance(stream, Stream):
            # Given up too late: all of it was delivered, and there is no other size.
            stream._gave_up_sending = False
        super()._on_finished(number)

    def _on_final_size(self, number: int, outgoing: bool, size: int) -> None:
        stream = self._streams.get(number)
        if isinstance(stream, Stream):
            stream._on_final_size(outgoing, size)
            self._forget(stream)

    def _forget(self, stream: tquic.stream.Stream) -> None:
        if not isinstance(stream, Stream):
            super()._forget(stream)
            if self._sessions and stream._in.over:
                self._sessions.read(stream.id)
        elif stream._settled_over and self._streams.pop(stream.id, None) is not None:
            session = stream._session
            if session is not None:
                session._on_stream_over(stream)

    def _on_datagram(self, data: bytes, *_: Any) -> None:
        self._native.consumed_datagrams(1, len(data))
        self._told(self._taken(self.h3.receive_datagram, data), -1, 0)

    def _on_closed(self, error: ConnectionClosed, *_: Any) -> None:
        if error.code is not None and error.code_name == f"{error.code:#x}":
            error.code_name = code_name(error.code)
        if self._sessions is not None:
            self._sessions.end(error)
        super()._on_closed(error)

    def _taken(self, receive: Callable[..., list[Event]], *arguments: object) -> list[Event]:
        """The events; none if the connection has to be closed for an error, now or before."""
        if self._failed:
            return []
        try:
            return receive(*arguments)
        except H3Error as error:
            self._failed = True
            self.close(error.code, error.reason)
            return []

    def _told(self, events: list[Event], number: int, credit: int) -> None:
        """Passes events on, and gives flow control credit for what nobody will read."""
        credits = {number: credit}
        for event in events:
            if isinstance(event, Data):
                stream = self._streams.get(event.stream_id)
                session = self._session(event.stream_id)
                if session is not None:
                    session._on_content(event.data, end=False)
                elif stream is not None:
                    credits[event.stream_id] -= len(event.data)
                    stream._in.on_data(event.data, False)
            elif isinstance(event, SessionStream):
                credits[event.stream_id] -= len(event.data)
                self.sessions.on_stream(event, early=self._info is None)
            elif isinstance(event, Unblocked):
                credits[event.stream_id] = credits.get(event.stream_id, 0) + event.size
            else:
                route = _ROUTES.get(type(event))
                if route is None:
                    self.on_event(event)
                    self._news.wake()
                else:
                    route(self, event)
        for stream_id, size in credits.items():
            if size > 0:
                self._native.consumed(stream_id, size)
        self._flush_h3()

    def _on_head(self, event: Request | Response) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is not None:
            exchange.head = event
            exchange._in.changed.wake()
            if isinstance(event, Request):
                self.on_request(exchange, event)
            elif session := self._session(event.stream_id):
                session._on_response(event)

    def _on_informational(self, event: Informational) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is not None:
            exchange.informational.append(event)

    def _on_trailers(self, event: Trailers) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is not None:
            exchange.trailers = event.fields

    def _on_end(self, event: EndOfMessage) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is not None:
            exchange._in.on_data(b"", True)
            self._session_ends(event.stream_id)
            self._forget(exchange)

    def _on_failed(self, event: StreamFailed) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self.on_stream_failed(stream, event)
            self._cut_off(event.stream_id, event.reason)

    def _on_given_up(self, event: StreamReset) -> None:
        exchange = self._exchange(event.stream_id)
        if exchange is not None:
            self.on_reset(exchange, event.code)
            self._cut_off(event.stream_id, f"the peer gave it up: {code_name(event.code)}")

    def _session(self, number: int) -> Session | None:
        """The session that was made on a stream, even if it is over."""
        return self._sessions.of(number) if self._sessions is not None else None

    def _session_ends(self, number: int) -> None:
        """The peer has ended the stream of a session, perhaps."""
        session = self._session(number)
        if session is not None:
            session._on_content(b"", end=True)

    def _cut_off(self, number: int, why: str) -> None:
        """A session ends with its stream (draft-ietf-webtrans-http3-16 section 6)."""
        if self._sessions is not None:
            self._sessions.cut_off(number, why)

    def _on_http_datagram(self, event: Datagram) -> None:
        self.sessions.on_datagram(event.stream_id, event.data)

    def _on_goaway(self, event: GoAwayReceived) -> None:
        if self._sessions is not None:
            self._sessions.drain()
        self.on_event(event)
        self._news.wake()

    def _exchange(self, number: int) -> Exchange | None:
        stream = self._streams.get(number)
        return stream if isinstance(stream, Exchange) else None

    _handlers: ClassVar[dict[int, Callable[[Any, Any, Any, Any], None]]] = {
        **tquic.connection.Connection._handlers,
        _engine.CONNECTED: _on_connected,
        _engine.STREAM_OPENED: _on_stream_opened,
        _engine.DATA: _on_data,
        _engine.HELD: _on_held,
        _engine.UNFRAMED: _on_unframed,
        _engine.RESET: _on_reset,
        _engine.STOPPED: _on_stopped,
        _engine.FINISHED: _on_finished,
        _engine.FINAL_SIZE: _on_final_size,
        _engine.DATAGRAM: _on_datagram,
        _engine.CLOSED: _on_closed,
    }


_ROUTES: Final[dict[type, Callable[[Wire, Any], None]]] = {
    Request: Wire._on_head,
    Response: Wire._on_head,
    Informational: Wire._on_informational,
    Trailers: Wire._on_trailers,
    EndOfMessage: Wire._on_end,
    StreamFailed: Wire._on_failed,
    StreamReset: Wire._on_given_up,
    Datagram: Wire._on_http_datagram,
    GoAwayReceived: Wire._on_goaway,
}

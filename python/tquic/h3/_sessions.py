"""The WebTransport sessions of one connection, at either end: their streams, their datagrams, and
how they end (section numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, Self

import tquic.connection
from tquic.errors import ConnectionClosed, QuicError, Side
from tquic.h3._session_flow import SessionFlow
from tquic.h3._session_stream import Stream, mapped
from tquic.h3._webtransport import (
    Close,
    Drain,
    Early,
    Limited,
    SessionCapsules,
    encode_close,
    encode_drain,
    parse_string,
    stream_header,
)
from tquic.h3.errors import ErrorCode, FlowControlError, H3Error, SessionErrorCode
from tquic.h3.events import Response, SessionStream
from tquic.h3.headers import Headers

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tquic.h3._wire import Wire

__all__ = [
    "FAREWELLS",
    "Session",
    "SessionClosed",
    "SessionRefused",
    "Sessions",
    "Tunnel",
]

# With these a peer stops a CONNECT stream of which it knows enough: why, the stream says.
FAREWELLS: Final = frozenset({ErrorCode.H3_NO_ERROR, SessionErrorCode.WT_SESSION_GONE})

# Each datagram that waits counts this much more.
_OVERHEAD: Final = 64
# Bytes of datagrams that a session keeps at most: what a connection lets cross to the program at a
# time, which gets its turn before more comes.
_MAX_UNREAD: Final = 1 << 20
# Sessions that have ended which are remembered: streams of theirs may still come.
_REMEMBERED: Final = 64
# Streams that were rejected which are remembered: their sessions may still come.
_REJECTED: Final = 256


class SessionClosed(QuicError):  # noqa: N818 - what happened
    """A WebTransport session is over.

    Attributes:
        by: who ended it.
        code: the application's code; `None` if there is none because it was cut off.
        reason: why, for people.
    """

    def __init__(self, code: int | None, reason: str, *, by: Side | None) -> None:
        what = "was cut off" if code is None else f"is closed: {code}"
        super().__init__(f"the WebTransport session {what} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.by = by

    @property
    def clean(self) -> bool:
        """Whether the code is 0."""
        return self.code == 0


class SessionRefused(QuicError):  # noqa: N818 - what happened
    """The server makes no WebTransport session there; `status` and `headers` are its answer."""

    def __init__(self, status: int, headers: Headers) -> None:
        super().__init__(f"the server makes no WebTransport session there: status {status}")
        self.status = status
        self.headers = headers
        self.by = "peer"


class Tunnel(Protocol):
    """The CONNECT stream of a session; nothing here raises if it is over."""

    def send_capsules(self, data: bytes, *, end: bool) -> None:
        """Sends content."""

    def give_up(self, code: int) -> None:
        """Resets it, and stops reading."""

    def delivered(self) -> Awaitable[None]:  # pyright: ignore[reportReturnType]
        """Waits until the peer's transport has what was sent, and the peer has ended it as well."""


class Session:
    """A WebTransport session: streams and datagrams of its own on a connection with others.

    Made by `ClientConnection.webtransport`, or by `SessionRequest.accept`. As a context manager it
    closes itself: at an ordinary exit when the peer has everything that was written (at the latest
    after `Config.linger`), after an exception at once and with code 1.
    """

    # Of the streams that either end opens.
    _stream_type: ClassVar[type[Stream]] = Stream

    def __init__(
        self, wire: Wire, tunnel: Tunnel, number: int, *, offered: Sequence[str] = ()
    ) -> None:
        self._wire = wire
        self._tunnel = tunnel
        # Application protocols that this client knows.
        self._offered = offered
        self._refused: QuicError | None = None
        self._id = number
        self._flow = wire.sessions.flow()
        self._capsules = SessionCapsules(version=wire.h3.session_version, flow=self._flow)
        # Streams that the peer's limits keep back: those that were not begun, by whether they are
        # unidirectional, and those with more to send.
        self._unbegun: tuple[dict[Stream, None], dict[Stream, None]] = ({}, {})
        self._short: dict[Stream, None] = {}
        self._news = wire._home.signal()
        self._unaccepted: deque[Stream] = deque()
        self._datagrams: deque[bytes] = deque()
        self._room = min(wire.config.datagram_receive_queue, _MAX_UNREAD)
        self._closed: QuicError | None = None
        self._draining = False
        self.headers = Headers([])
        """The fields of the response on a client, of the request on a server."""
        self.protocol: str | None = None
        """What the server has chosen of the client's application protocols."""

    # ---- What it is ----

    @property
    def id(self) -> int:
        """The ID of the stream on which it was made."""
        return self._id

    @property
    def connection(self) -> tquic.connection.Connection:
        """The QUIC connection: for its facts and statistics."""
        return self._wire

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closed is not None

    @property
    def exception(self) -> QuicError | None:
        """Why it is over: `SessionClosed` or `ConnectionClosed`; `None` while it is not."""
        return self._closed

    @property
    def draining(self) -> bool:
        """Whether one of the ends wants it to be ended soon; it can be used as before."""
        return self._draining

    def __repr__(self) -> str:
        return f"<WebTransport session {self._id}, {'closed' if self.closed else 'open'}>"

    # ---- Streams ----

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream, which can be written at once.

        While the peer allows no more streams, on the connection or in the session, what is written
        waits, and so does `Stream.drain` as soon as it is much.

        Args:
            unidirectional: only this end sends on it.

        Raises:
            SessionClosed: the session is over.
            ConnectionClosed: the connection is over.
            EngineError: some thousand streams wait for the peer's permission already.
        """
        self._check_open()
        wire = self._wire
        wire._check_open()
        number = wire._native.open(not unidirectional)
        stream = self._stream_type(wire, number, early=False)
        wire._streams[number] = stream
        header = stream_header(self._id, unidirectional=unidirectional)
        # Section 4.4: a stream that is given up can still be told whose it was.
        stream._header = len(header)
        stream._join(self)
        if stream._share is not None:
            # Section 5.3: what is beyond the limit waits here, header and all.
            self._unbegun[unidirectional][stream] = None
            self._begin_streams(unidirectional)
        stream._out.write(header, False)
        self._tell_limits()
        return stream

    async def accept_stream(self) -> Stream:
        """Waits for the next stream that the peer opens.

        Raises:
            SessionClosed: the session is over, and all its streams were accepted.
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        while not self._unaccepted:
            self._check_open()
            await self._news.wait()
        return self._unaccepted.popleft()

    def __aiter__(self) -> Self:
        """The streams that the peer opens, until the session ends.

        Raises:
            SessionClosed: it ended with a code other than 0.
            ConnectionClosed: the connection ended with an error.
        """
        return self

    async def __anext__(self) -> Stream:
        try:
            return await self.accept_stream()
        except (SessionClosed, ConnectionClosed) as error:
            if error.clean:
                raise StopAsyncIteration from None
            raise

    # ---- Datagrams ----

    @property
    def max_datagram_size(self) -> int:
        """Bytes of the largest datagram that can be sent now."""
        header = len(self._wire.h3.encode_datagram(self._id, b"")) if not self.closed else 0
        return max(0, self._wire.max_datagram_size - header)

    def send_datagram(self, data: ReadableBuffer) -> bool:
        """Sends an unreliable datagram. False: too many wait, and this one was not taken.

        Args:
            data: at most `max_datagram_size` bytes; `Config.datagram_queue` bytes may wait.

        Raises:
            DatagramError: it is too large.
            SessionClosed: the session is over.
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        wire = self._wire
        return wire.send_datagram(wire.h3.encode_datagram(self._id, bytes(data)))

    async def drain_datagrams(self) -> None:
        """Waits, after `send_datagram` took one no more, until there is room.

        Raises:
            ConnectionClosed: the connection is over.
        """
        await self._wire.drain_datagrams()

    async def recv_datagram(self) -> bytes:
        """Waits for the next datagram. Those that nobody reads make room for newer ones: as many
        are kept as `Config.datagram_receive_queue` says, but 1 MiB at most for each session.

        Raises:
            SessionClosed: the session is over, and all datagrams were read.
            ConnectionClosed: the connection is over, and all datagrams were read.
        """
        while not self._datagrams:
            self._check_open()
            await self._news.wait()
        data = self._datagrams.popleft()
        self._room += len(data) + _OVERHEAD
        return data

    # ---- The end ----

    def drain(self) -> None:
        """Asks the peer to end the session soon; it goes on until one of the ends closes it."""
        if self._closed is None:
            self._draining = True
            self._tunnel.send_capsules(encode_drain(), end=False)
            self._news.wake()

    async def wait_draining(self) -> None:
        """Waits until one of the ends wants the session to be ended soon, or it is over."""
        while not self._draining and self._closed is None:
            await self._news.wait()

    def close(self, code: int = 0, reason: str = "") -> None:
        """Closes the session, and returns at once: the peer is told. Closing again does nothing.

        All of its streams are given up; what the peer has not acknowledged is lost, see `flush`.

        Args:
            code: the application's code, below 2^32. 0 is an ordinary end.
            reason: for people; 1024 bytes reach the peer at most.

        Raises:
            ValueError: the code is too large or negative.
            TypeError: the reason is no `str`.
        """
        capsule = encode_close(code, reason)
        if self._closed is None:
            self._end(SessionClosed(code, reason, by="local"))
            self._tunnel.send_capsules(capsule, end=True)

    async def flush(self) -> None:
        """Waits until the peer's transport has everything that was written to its streams so far.

        Streams that fail are left out.
        """
        streams = self._streams()
        for stream in streams:
            with contextlib.suppress(QuicError):
                await stream.drain()
        if any(not stream._out.over for stream in streams):
            self._wire._hurry()
        for stream in streams:
            with contextlib.suppress(QuicError):
                await stream._flushed()

    async def wait_closed(self) -> None:
        """Waits until the session is over; `exception` then says why."""
        while self._closed is None:
            await self._news.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._leave()
        else:
            # Cancelling, like leaving the program, is no failure.
            self.close(1 if issubclass(kind, Exception) else 0)

    async def _leave(self) -> None:
        """Closes it when the peer has everything."""
        within, linger = self._wire._home.within, self._wire.config.linger
        try:
            if self._closed is None:
                await within(linger, self.flush())
        finally:
            self.close()
        # Section 6: or the end of the connection would overtake that of the session.
        await within(linger, self._told())

    async def _told(self) -> None:
        with contextlib.suppress(QuicError, OSError):
            await self._tunnel.delivered()

    # ---- Inside ----

    def _check_open(self) -> None:
        if self._closed is not None:
            raise self._closed.with_traceback(None)

    def _streams(self) -> list[Stream]:
        """Its streams that are not over."""
        streams = self._wire._streams.values()
        return [one for one in streams if isinstance(one, Stream) and one._session is self]

    def _on_response(self, head: Response) -> None:
        """The server's answer to the request for it."""
        self.headers = Headers(head.fields)
        if not 200 <= head.status < 300:
            self._refuse(SessionRefused(head.status, self.headers), ErrorCode.H3_REQUEST_CANCELLED)
            return
        answer = self.headers.get("wt-protocol")
        self.protocol = answer and parse_string(answer.encode("latin-1"))
        if self.protocol is not None and self.protocol not in self._offered:
            # Section 3.3
            reason = f"the server chose {self.protocol!r}, which was not offered"
            error = SessionClosed(None, reason, by="local")
            self._refuse(error, SessionErrorCode.WT_ALPN_ERROR)

    def _refuse(self, error: QuicError, code: int) -> None:
        self._refused = error
        self._end(error, SessionErrorCode.WT_BUFFERED_STREAM_REJECTED)
        self._tunnel.give_up(code)

    def _on_stream(self, stream: Stream) -> None:
        """The peer has begun a stream."""
        if self._closed is None:
            self._count(stream)
        if self._closed is None:
            self._unaccepted.append(stream)
            self._news.wake()
            self._on_stream_over(stream)
        else:
            stream._session = self
            stream._give_up(SessionErrorCode.WT_SESSION_GONE, self._closed)

    def _on_rejected(self, stream: Stream) -> None:
        """A stream of the peer was given up before the session had come: it counts nevertheless."""
        if self._closed is None:
            self._count(stream)
            self._on_stream_over(stream)

    def _count(self, stream: Stream) -> None:
        try:
            if self._flow is not None:
                self._flow.stream_came(unidirectional=not stream.writable)
            stream._join(self)
        except FlowControlError as error:
            self._fail(error)

    def _on_stream_over(self, stream: Stream) -> None:
        """Nothing more will happen to a stream, perhaps: if so, the peer may open another."""
        ours = (stream.id & 1 == 0) == self._wire.is_client
        if self._flow is not None and not ours and stream._settled_over and not stream._returned:
            stream._returned = True
            self._flow.stream_went(unidirectional=not stream.writable)
            self._tell_limits()

    # ---- Its limits (section 5) ----

    def _begin_streams(self, unidirectional: bool) -> None:
        """Begins streams that waited for the peer's limit, as far as it goes."""
        assert self._flow is not None
        waiting, credit = self._unbegun[unidirectional], self._flow.streams[unidirectional]
        while waiting and credit.left > 0:
            stream = next(iter(waiting))
            del waiting[stream]
            credit.use(1)
            stream._begin()
        if waiting:
            credit.want()

    def _on_unwanted(self, stream: Stream) -> None:
        """A stream that was not begun never will be."""
        for waiting in self._unbegun:
            waiting.pop(stream, None)

    def _on_credit(self) -> None:
        """The peer allows more, perhaps, or wants more."""
        if self._flow is not None and self._closed is None:
            for unidirectional in (False, True):
                self._begin_streams(unidirectional)
            for stream in list(self._short):
                if not self._flow.data.left:
                    break
                del self._short[stream]
                stream._out.on_writable()
            self._tell_limits()

    def _on_short(self, stream: Stream) -> None:
        """A stream has more to send than it may."""
        assert self._flow is not None
        self._short[stream] = None
        if not self._flow.data.left:
            self._flow.data.want()
            self._tell_limits()

    def _tell_limits(self) -> None:
        """Tells the peer of new limits, and of its own that are in the way."""
        if self._flow is not None and self._closed is None:
            capsules = self._flow.take_output()
            if capsules:
                self._tunnel.send_capsules(capsules, end=False)

    def _fail(self, error: H3Error | FlowControlError) -> None:
        """The peer broke a rule of the session."""
        self._end(SessionClosed(None, str(error), by="local"))
        self._tunnel.give_up(error.code)

    def _on_datagram(self, data: bytes) -> None:
        if self._closed is not None:
            return
        self._datagrams.append(data)
        self._room -= len(data) + _OVERHEAD
        while self._room < 0:
            self._room += len(self._datagrams.popleft()) + _OVERHEAD
        self._news.wake()

    def _on_content(self, data: ReadableBuffer, *, end: bool) -> None:
        """More of its CONNECT stream."""
        try:
            events = self._capsules.receive(data, end)
        except (H3Error, FlowControlError) as error:
            self._fail(error)
            return
        for event in events:
            if isinstance(event, Close):
                if self._closed is None:
                    self._end(SessionClosed(event.code, event.reason, by="peer"))
                    # Section 6: the stream is to be ended in response.
                    self._tunnel.send_capsules(b"", end=True)
            elif isinstance(event, Drain):
                self._on_drain()
            elif isinstance(event, Limited):
                self._on_credit()
            else:
                self._on_datagram(event)

    def _on_drain(self) -> None:
        self._draining = True
        self._news.wake()

    def _end(self, error: QuicError, code: int = SessionErrorCode.WT_SESSION_GONE) -> None:
        """It is over: its streams are given up (section 6)."""
        if self._closed is None:
            self._closed = error
            for stream in self._streams():
                stream._leave()
                stream._give_up(code, error)
            for waiting in self._unbegun:
                waiting.clear()
            self._short.clear()
            self._wire.sessions.forget(self._id)
            self._news.wake()


class Sessions:
    """The sessions of a connection, by the IDs of their CONNECT streams."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._active: dict[int, Session] = {}
        # Those that are over while more may come on their CONNECT streams.
        self._closing: dict[int, Session] = {}
        self._ended: deque[int] = deque(maxlen=_REMEMBERED)
        self._early: Early[Stream] = Early()
        # Streams that found no room in there, by the sessions that will have them counted.
        self._rejected: deque[tuple[int, Stream]] = deque(maxlen=_REJECTED)

    @property
    def active(self) -> int:
        """How many there are."""
        return len(self._active)

    @property
    def alone(self) -> bool:
        """Section 5.1: whether there may be one session at a time only."""
        return self._wire.h3.session_version == 16 and self.flow() is None

    def flow(self) -> SessionFlow | None:
        """The limits of a new session, if both ends want some (section 5.1)."""
        ours, theirs = self._wire.h3.settings.session_limits, self._wire.h3.peer_settings
        if self._wire.h3.session_version < 16 or theirs is None or ours is None:
            return None
        return SessionFlow(ours, theirs.session_limits) if ours and theirs.session_limits else None

    def add(self, session: Session) -> None:
        """A session is asked for: what came for it before it is its own now."""
        self._active[session.id] = session
        streams, datagrams = self._early.take(session.id)
        for number, stream in list(self._rejected):
            if number == session.id:
                self._rejected.remove((number, stream))
                session._on_rejected(stream)
        for stream in streams:
            session._on_stream(stream)
        for data in datagrams:
            session._on_datagram(data)

    def of(self, number: int) -> Session | None:
        """The session that was made on a stream, even if it is over."""
        return self._active.get(number) or self._closing.get(number)

    def forget(self, number: int) -> None:
        """A session is over."""
        session = self._active.pop(number, None)
        if session is not None:
            self._closing[number] = session
            self._ended.append(number)

    def read(self, number: int) -> None:
        """Nothing more comes on a stream that may have made a session."""
        self._closing.pop(number, None)

    def refuse(self, number: int) -> None:
        """There will be no such session."""
        self._ended.append(number)
        streams, _ = self._early.take(number)
        for stream in streams:
            _reject(stream, SessionErrorCode.WT_BUFFERED_STREAM_REJECTED)

    def cut_off(self, number: int, why: str, *, by: Side = "peer") -> None:
        """The stream of a session was given up."""
        session = self._active.get(number)
        if session is not None:
            session._end(SessionClosed(None, why, by=by))
            session._tunnel.give_up(ErrorCode.H3_REQUEST_CANCELLED)
        self.read(number)

    def drain(self) -> None:
        """GOAWAY was sent or has come (section 4.7)."""
        for session in self._active.values():
            session._on_drain()

    def end(self, error: ConnectionClosed) -> None:
        """The connection is over."""
        for session in list(self._active.values()):
            session._end(error)

    def on_stream(self, event: SessionStream, *, early: bool) -> Stream:
        """A stream of a session has begun."""
        wire, number = self._wire, event.stream_id
        stream = wire._session_type._stream_type(wire, number, early=early)
        before = wire._streams.get(number)
        if before is not None:
            stream._in, stream._out = before._in, before._out
            if stream._out.error is not None:
                stream._out.error = mapped(stream._out.error)
        wire._streams[number] = stream
        # What came before was read by HTTP/3.
        stream._in.position = stream._peer_header = event.offset
        stream._in.on_data(event.data, event.end)
        session = self._active.get(event.session_id)
        if session is not None:
            session._on_stream(stream)
        elif event.session_id in self._ended:
            _reject(stream, SessionErrorCode.WT_SESSION_GONE)
        elif wire.is_client:
            # It knows what it has asked for.
            _reject(stream, SessionErrorCode.WT_BUFFERED_STREAM_REJECTED)
        else:
            oldest = self._early.add_stream(event.session_id, stream)
            if oldest is not None:
                _reject(oldest[1], SessionErrorCode.WT_BUFFERED_STREAM_REJECTED)
                self._rejected.append(oldest)
        return stream

    def on_datagram(self, session_id: int, data: bytes) -> None:
        """A datagram for a session has come."""
        session = self._active.get(session_id)
        if session is not None:
            session._on_datagram(data)
        elif not self._wire.is_client and session_id not in self._ended:
            self._early.add_datagram(session_id, data)


def _reject(stream: Stream, code: SessionErrorCode) -> None:
    """A stream belongs to no session (section 4.6)."""
    reason = f"the stream belongs to no session: {code.name}"
    stream._give_up(code, SessionClosed(None, reason, by="local"))
    # If it has come whole: nobody will read it.
    stream._in.take_all()

"""A client's connection, as a server sees it: events of QUIC to requests."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tquic import _engine
from tquic._halves import Outgoing
from tquic._hub import Hub
from tquic._wait import Waiters
from tquic.config import Config
from tquic.errors import ConnectionClosed, Side, StreamClosed
from tquic.h3 import events as e
from tquic.h3._session_stream import mapped
from tquic.h3._sessions import FAREWELLS
from tquic.h3._webtransport import PROTOCOLS
from tquic.h3._wire import Wire
from tquic.h3.errors import ErrorCode, code_name
from tquic.h3.prepared import prepare_response
from tquic.h3.priority import Priority
from tquic.h3.server._answer import problem
from tquic.h3.server._exchange import Exchange
from tquic.h3.server._limits import Limits

if TYPE_CHECKING:
    from tquic.h3.server._serving import Server

__all__ = ["ServerConnection"]

# Bytes of streams that have ended which the engine is told of together.
_TOGETHER: Final = 64 * 1024
# Seconds over which given-up requests are counted.
_RESET_TIME: Final = 10.0

_DEFAULT_PRIORITY: Final = Priority()

# RFC 9110 section 9.2.1: what a replay of early data cannot harm.
_SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class ServerConnection(Wire):
    """A connection whose requests go to a server's responder.

    Request streams are no `tquic.Stream` here, and have no tasks: their events are handled as they
    come, which is most of what makes a server fast.
    """

    def __init__(
        self,
        home: Hub,
        native: _engine.Connection,
        config: Config,
        remote: tuple[str, int],
        server: Server,
    ) -> None:
        super().__init__(home, native, config, remote, server.settings)
        self.loop = home.loop
        self.server = server
        self.limits: Limits = server.limits
        # Requests with a whole header section, until the client has the whole response.
        self._exchanges: dict[int, Exchange] = {}
        # Request streams that may bring more, and until when they are waited for.
        self._reading: dict[int, float] = {}
        # Those whose response is complete, and how much they may bring yet.
        self._unread: dict[int, int] = {}
        # Those that began as early data.
        self._early: set[int] = set()
        # Of which the client wants no answer, before it has said what they are.
        self._stopped_early: dict[int, Exception] = {}
        # Requests that wait for the client's SETTINGS.
        self._unsettled: list[Exchange] = []
        # Credit that is not urgent.
        self._used = 0
        self._given_up = 0
        self._given_up_since = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._idle = Waiters(self.loop)
        # What ASGI applications are told of each time, once somebody asked.
        self.extensions: dict[str, dict[str, Any]] | None = None

    # ---- What exchanges use ----

    @property
    def busy(self) -> bool:
        """Whether requests are under way, or responses of which the client may lack something."""
        return bool(self._exchanges or self._reading)

    @property
    def local_address(self) -> tuple[str, int]:
        """The address at which the client found this server."""
        info = self._info
        return (info.local if info is not None else None) or self.server.address

    def credit(self, number: int, size: int) -> None:
        """Bytes of a stream were used: others may come."""
        self._native.consumed(number, size)

    def outgoing(self, number: int) -> Outgoing:
        """The sending half of a stream for which the engine has no room now."""
        limit = self._config.write_buffer
        return Outgoing(self._native, number, True, limit, Waiters(self.loop))

    def on_ended(self, exchange: Exchange) -> None:
        """The response is complete, if not yet delivered."""
        if exchange.id in self._reading:
            exchange.drop_body()
            if exchange.received:
                self._read(exchange.id)
            elif exchange.request.method != b"CONNECT":
                self._discard(exchange)
            elif exchange.request.protocol not in PROTOCOLS or exchange.status >= 300:
                # A session's client ends the stream as well, when it has read why.
                self._stop(exchange.id, ErrorCode.H3_NO_ERROR)
        self.server.on_ended(exchange)

    def cancel(self, exchange: Exchange, code: int) -> None:
        """Gives an exchange up in both directions."""
        self._give_up(exchange.id, code)
        self._gone(exchange, f"given up by the server: {code_name(code)}", by="local")

    def send_instructions(self) -> None:
        """Sends what field sections refer to; before they are sent themselves."""
        self._flush_h3()

    def go_away(self, *, final: bool) -> None:
        """Tells the client to begin no more requests (RFC 9114 section 5.2)."""
        if self._started and self._closed is None:
            self.h3.send_goaway(final=final)
            self._flush_h3()
            if self._sessions is not None:
                self._sessions.drain()

    async def wait_idle(self) -> None:
        """Waits until no request is under way and the client has all that was sent."""
        while self.busy and self._closed is None:
            await self._idle.wait()

    # ---- Events of QUIC ----

    def _on_stream_opened(self, number: int, *_: Any) -> None:
        if number & 2:
            super()._on_stream_opened(number)
            return
        self._start_h3()
        self._wait_for(number, self.limits.header_time)
        if self._info is None:
            self._early.add(number)

    def _on_refused(self, number: int, *_: Any) -> None:
        self._start_h3()
        self.h3.decline(number)
        self._flush_h3()

    def _on_data(self, number: int, data: bytes | memoryview, fin: bool) -> None:
        if number & 3 or number in self._streams:
            super()._on_data(number, data, fin)
            return
        size = len(data)
        if number not in self._reading:
            # Stopped; this was on its way.
            self._use(number, size)
            return
        held = self.h3.held(number)
        events = self._taken(self.h3.receive, number, data, fin)
        self._told(events, number, size + held - self.h3.held(number))

    def _told(self, events: list[e.Event], number: int, credit: int) -> None:
        credits = {number: credit}
        begun: list[Exchange] = []
        for event in events:
            if isinstance(event, e.Request):
                begun.append(self._on_request(event))
            elif isinstance(event, e.Data):
                credits[event.stream_id] -= len(event.data)
                self._on_body(event)
            elif isinstance(event, e.SessionStream):
                credits[event.stream_id] -= len(event.data)
                self._on_session_stream(event)
            elif isinstance(event, e.Unblocked):
                credits[event.stream_id] = credits.get(event.stream_id, 0) + event.size
            else:
                self._events[type(event)](self, event)
        for exchange in begun:
            # Not before all was looked at that came with it: most requests are complete then.
            self._respond(exchange)
        for stream_id, size in credits.items():
            if size:
                self._use(stream_id, size)
        self._flush_h3()

    def _on_reset(self, number: int, error: Any, reliable_size: int) -> None:
        if number & 3 or number in self._streams:
            super()._on_reset(number, error, reliable_size)
        elif self._is_kept_back(number):
            # No request was given up, but a stream before it could begin.
            self._give_up(number, ErrorCode.H3_REQUEST_CANCELLED)
        elif number in self._reading:
            self._told(self._taken(self.h3.receive_reset, number, error.code), number, 0)

    def _on_stopped(self, number: int, error: Any, _: Any) -> None:
        if number & 3 or number in self._streams:
            super()._on_stopped(number, error, _)
            return
        self._told(self._taken(self.h3.receive_stop, number, error.code), number, 0)
        exchange = self._exchanges.get(number)
        session = self._session(number)
        if session is not None and not session.closed and error.code in FAREWELLS:
            return
        if exchange is not None:
            if exchange.under_way:
                self._count_given_up()
            self._stop(number, ErrorCode.H3_REQUEST_CANCELLED)
            self._gone(exchange, "given up by the client")
        elif number in self._reading and self.h3.settings.webtransport:
            # A session's stream, perhaps, of which nothing has come yet.
            self._stopped_early[number] = error

    def _on_writable(self, number: int, *_: Any) -> None:
        if exchange := self._exchanges.get(number):
            exchange.on_writable()
        else:
            super()._on_writable(number)

    def _on_pumped(self, number: int, outgoing: bool, outcome: Any) -> None:
        if exchange := self._exchanges.get(number):
            exchange.on_pumped(outcome[2])
        else:
            super()._on_pumped(number, outgoing, outcome)

    def _on_finished(self, number: int, *_: Any) -> None:
        exchange = self._exchanges.pop(number, None)
        if exchange is None:
            super()._on_finished(number)
            return
        exchange.on_acknowledged()
        if not self.busy:
            self._idle.wake()

    def _on_closed(self, error: ConnectionClosed, *_: Any) -> None:
        if self._sessions is not None:
            self._sessions.end(error)
        if self._watch is not None:
            self._watch.cancel()
        for exchange in list(self._exchanges.values()):
            self._gone(exchange, str(error))
        self._reading.clear()
        self._unread.clear()
        self._idle.wake()
        super()._on_closed(error)

    # ---- Events of HTTP ----

    def _on_request(self, event: e.Request) -> Exchange:
        number = event.stream_id
        self._reading[number] = math.inf
        self._stopped_early.pop(number, None)
        early = number in self._early
        self._early.discard(number)
        exchange = self._exchanges[number] = Exchange(self, event, early=early)
        if event.priority != _DEFAULT_PRIORITY:
            self._on_priority(e.PriorityUpdated(number, event.priority))
        return exchange

    def _respond(self, exchange: Exchange) -> None:
        """Has the request answered, unless it is refused here."""
        request = exchange.request
        if exchange.error is not None or exchange.status:
            return
        if exchange.early and request.method not in _SAFE:
            # RFC 9114 section 10.9, RFC 8470 section 5.2
            exchange.refuse(425)
        elif request.content_length is not None and (
            request.content_length > self.limits.body_size
        ):
            exchange.refuse(413)
        elif request.method == b"CONNECT" and not self.server.takes(request.protocol):
            # RFC 8441 section 4 leaves it to the server; 501 says what is the matter.
            exchange.refuse(501)
        elif request.protocol in PROTOCOLS and self.h3.peer_settings is None:
            # draft-ietf-webtrans-http3-16 section 3.1: they tell which version the client means.
            self._unsettled.append(exchange)
        else:
            self.server.respond(exchange)

    def _on_session_stream(self, event: e.SessionStream) -> None:
        number = event.stream_id
        self._reading.pop(number, None)
        early = number in self._early
        self._early.discard(number)
        stream = self.sessions.on_stream(event, early=early)
        if stopped := self._stopped_early.pop(number, None):
            stream._out.end(mapped(stopped))
            self._forget(stream)

    def _on_settings(self, event: e.SettingsReceived) -> None:
        waiting, self._unsettled = self._unsettled, []
        for exchange in waiting:
            self._respond(exchange)

    def _on_body(self, event: e.Data) -> None:
        exchange = self._exchanges.get(event.stream_id)
        session = self._session(event.stream_id)
        if session is not None:
            session._on_content(event.data, end=False)
            self.credit(event.stream_id, len(event.data))
        elif exchange is not None and exchange.wants_body:
            exchange.on_data(event.data)
        else:
            self.credit(event.stream_id, len(event.data))
            self._on_unread(event.stream_id, len(event.data))

    def _on_trailers(self, event: e.Trailers) -> None:
        if exchange := self._exchanges.get(event.stream_id):
            exchange.trailers = event.fields

    def _on_end_of_message(self, event: e.EndOfMessage) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None or exchange.ended:
            self._read(event.stream_id)
        if exchange is not None:
            exchange.on_received()
            self._session_ends(event.stream_id)

    def _on_stream_failed(self, event: e.StreamFailed) -> None:
        number = event.stream_id
        if number & 3:
            with contextlib.suppress(StreamClosed, ConnectionClosed):
                self._native.stop(number, event.code)
            return
        exchange = self._exchanges.get(number)
        if event.status is not None and exchange is None:
            # RFC 9114 section 4.2.2: a header section that is too large has an answer.
            answer = problem(event.status)
            body = b"".join(part for part in answer.parts if isinstance(part, bytes))
            prepared = prepare_response(answer.lines(), body)
            self._write(number, self.h3.send_prepared(number, prepared))
            self._stop(number, event.code)
            return
        self._give_up(number, event.code)
        if exchange is not None:
            self._gone(exchange, event.reason)

    def _on_stream_reset(self, event: e.StreamReset) -> None:
        number = event.stream_id
        if number in self._unread:
            # It has been answered: the client may still want that.
            self._stop(number, ErrorCode.H3_NO_ERROR)
            return
        self._count_given_up()
        self._give_up(number, ErrorCode.H3_REQUEST_CANCELLED)
        exchange = self._exchanges.get(number)
        if exchange is not None:
            self._gone(exchange, "given up by the client")

    def _on_priority(self, event: e.PriorityUpdated) -> None:
        if event.stream_id in self._exchanges:
            urgency, incremental = event.priority
            with contextlib.suppress(StreamClosed, ConnectionClosed):
                self._native.set_priority(event.stream_id, urgency, incremental)

    def _nothing(self, event: Any) -> None:
        pass

    _events: ClassVar[dict[type[Any], Callable[[ServerConnection, Any], None]]] = {
        e.Trailers: _on_trailers,
        e.EndOfMessage: _on_end_of_message,
        e.StreamFailed: _on_stream_failed,
        e.StreamReset: _on_stream_reset,
        e.StreamStopped: _nothing,
        e.PriorityUpdated: _on_priority,
        e.SettingsReceived: _on_settings,
        e.GoAwayReceived: Wire._on_goaway,
        e.Datagram: Wire._on_http_datagram,
    }

    # ---- Inside ----

    def _write(self, number: int, data: bytes) -> None:
        """Writes the last bytes of a stream, which are few."""
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.write(number, data, False, True)

    def _use(self, number: int, size: int) -> None:
        """Bytes that no exchange holds were used."""
        if number in self._reading or number in self._streams:
            self._native.consumed(number, size)
            return
        # The window of a stream that has ended is nobody's concern, and that of all can wait.
        self._used += size
        if self._used >= _TOGETHER:
            self._native.consumed(number, self._used)
            self._used = 0

    def _stop(self, number: int, code: int) -> None:
        """Reads no more of a request."""
        if number not in self._reading:
            return
        self._stopped_early.pop(number, None)
        self.h3.abandon(number)
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.stop(number, code)
        self._read(number)

    def _read(self, number: int) -> None:
        """Nothing more is read of a request."""
        self._unread.pop(number, None)
        self._reading.pop(number, None)
        if self._sessions is not None:
            self._sessions.read(number)
        if not self.busy:
            self._idle.wake()

    def _discard(self, exchange: Exchange) -> None:
        """Reads what is left of an answered request, and throws it away.

        RFC 9114 section 4.1 lets a server stop the request at once. But there are clients, Chromium
        among them, that look at no response before they have sent their request, and never do
        when they could not: those get it if they send little.
        """
        room = self.limits.discard_size
        length = exchange.request.content_length
        if room and (length is None or length - exchange.size <= room):
            self._unread[exchange.id] = room
            self._wait_for(exchange.id, self.limits.discard_time)
        else:
            self._stop(exchange.id, ErrorCode.H3_NO_ERROR)

    def _on_unread(self, number: int, size: int) -> None:
        room = self._unread.get(number)
        if room is not None:
            self._unread[number] = room - size
            if size > room:
                self._stop(number, ErrorCode.H3_NO_ERROR)

    def _is_kept_back(self, number: int) -> bool:
        """Whether a stream may be one that the limits of its session have not let begin: others
        were opened behind it."""
        unknown = number in self._reading and not self.h3.has_begun(number)
        return unknown and self.h3.session_version == 16

    def _give_up(self, number: int, code: int) -> None:
        """Resets both directions of a request stream."""
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.reset(number, code)
        self._stop(number, code)
        self.h3.abandon(number)

    def _gone(self, exchange: Exchange, why: str, *, by: Side = "peer") -> None:
        self._exchanges.pop(exchange.id, None)
        exchange.on_gone(why)
        if self._sessions is not None:
            self._sessions.cut_off(exchange.id, why, by=by)
        if exchange in self._unsettled:
            self._unsettled.remove(exchange)
        if not exchange.ended:
            self.server.on_ended(exchange)
        if not self.busy:
            self._idle.wake()

    def _count_given_up(self) -> None:
        """RFC 9114 section 10.5: who asks and gives up all the time costs more than who waits."""
        now = self.loop.time()
        if now - self._given_up_since > _RESET_TIME:
            self._given_up, self._given_up_since = 0, now
        self._given_up += 1
        if self._given_up > self.limits.resets:
            reason = f"more than {self.limits.resets} requests given up in {_RESET_TIME:g} s"
            self.close(ErrorCode.H3_EXCESSIVE_LOAD, reason)

    def _wait_for(self, number: int, limit: float) -> None:
        """Waits for the rest of a header section, or of a request, but not for ever."""
        if not limit:
            self._reading[number] = math.inf
            return
        until = self._reading[number] = self.loop.time() + limit
        if self._watch is not None and self._watch.when() > until:
            self._watch.cancel()
            self._watch = None
        if self._watch is None:
            self._watch = self.loop.call_at(until, self._look)

    def _look(self) -> None:
        """Gives requests up whose headers take too long, and reads no more of answered ones."""
        now = self.loop.time()
        for number in [number for number, until in self._reading.items() if until <= now]:
            if number in self._unread:
                self._stop(number, ErrorCode.H3_NO_ERROR)
            elif self._is_kept_back(number):
                self._reading[number] = now + self.limits.header_time
            else:
                self._give_up(number, ErrorCode.H3_REQUEST_INCOMPLETE)
        self._flush_h3()
        left = min(self._reading.values(), default=math.inf)
        self._watch = self.loop.call_at(left, self._look) if left < math.inf else None

    _handlers: ClassVar[dict[int, Callable[..., None]]] = {
        **Wire._handlers,
        _engine.STREAM_OPENED: _on_stream_opened,
        _engine.REFUSED: _on_refused,
        _engine.DATA: _on_data,
        _engine.WRITABLE: _on_writable,
        _engine.FINISHED: _on_finished,
        _engine.RESET: _on_reset,
        _engine.STOPPED: _on_stopped,
        _engine.PUMPED: _on_pumped,
        _engine.CLOSED: _on_closed,
    }

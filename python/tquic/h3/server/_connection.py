"""A client's connection, as a server sees it: events of QUIC to requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tquic import _engine
from tquic._halves import Outgoing
from tquic._hub import Hub
from tquic._wait import Waiters
from tquic.config import Config
from tquic.errors import ConnectionClosed, StreamClosed
from tquic.h3 import events as e
from tquic.h3._wire import Wire
from tquic.h3.errors import ErrorCode
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
        # Request streams that may bring more: when they began, 0 behind their header section.
        self._reading: dict[int, float] = {}
        # Those that began as early data.
        self._early: set[int] = set()
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
                del self._reading[exchange.id]
            else:
                # RFC 9114 section 4.1: the rest of the request is of no interest.
                self._stop(exchange.id, ErrorCode.H3_NO_ERROR)
        self.server.on_ended(exchange)

    def cancel(self, exchange: Exchange, code: ErrorCode) -> None:
        """Gives an exchange up in both directions."""
        self._give_up(exchange.id, code)
        self._gone(exchange, f"given up by the server: {code.name}")

    def send_instructions(self) -> None:
        """Sends what field sections refer to; before they are sent themselves."""
        self._flush_h3()

    def go_away(self, *, final: bool) -> None:
        """Tells the client to begin no more requests (RFC 9114 section 5.2)."""
        if self._started and self._closed is None:
            self.h3.send_goaway(final=final)
            self._flush_h3()

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
        self._reading[number] = self.loop.time()
        if self._info is None:
            self._early.add(number)
        if self._watch is None and self.limits.header_time:
            self._watch = self.loop.call_later(self.limits.header_time, self._look)

    def _on_data(self, number: int, data: bytes | memoryview, fin: bool) -> None:
        if number & 2:
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

    def _on_reset(self, number: int, error: Any, _: Any) -> None:
        if number & 2:
            super()._on_reset(number, error, _)
        elif number in self._reading:
            self._told(self._taken(self.h3.receive_reset, number, error.code), number, 0)

    def _on_stopped(self, number: int, error: Any, _: Any) -> None:
        if number & 2:
            super()._on_stopped(number, error, _)
            return
        self._told(self._taken(self.h3.receive_stop, number, error.code), number, 0)
        exchange = self._exchanges.get(number)
        if exchange is not None:
            if exchange.under_way:
                self._count_given_up()
            self._stop(number, ErrorCode.H3_REQUEST_CANCELLED)
            self._gone(exchange, "given up by the client")

    def _on_writable(self, number: int, *_: Any) -> None:
        if exchange := self._exchanges.get(number):
            exchange.on_writable()
        else:
            super()._on_writable(number)

    def _on_pumped(self, number: int, outgoing: bool, outcome: Any) -> None:
        if exchange := self._exchanges.get(number):
            exchange.on_pumped(outcome[2])

    def _on_finished(self, number: int, *_: Any) -> None:
        if self._exchanges.pop(number, None) is not None and not self.busy:
            self._idle.wake()

    def _on_closed(self, error: ConnectionClosed, *_: Any) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for exchange in list(self._exchanges.values()):
            self._gone(exchange, str(error))
        self._reading.clear()
        self._idle.wake()
        super()._on_closed(error)

    # ---- Events of HTTP ----

    def _on_request(self, event: e.Request) -> Exchange:
        number = event.stream_id
        self._reading[number] = 0.0
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
        elif request.method == b"CONNECT" and request.protocol is None:
            exchange.refuse(501)
        else:
            self.server.respond(exchange)

    def _on_body(self, event: e.Data) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is not None and exchange.wants_body:
            exchange.on_data(event.data)
        else:
            self.credit(event.stream_id, len(event.data))

    def _on_trailers(self, event: e.Trailers) -> None:
        if exchange := self._exchanges.get(event.stream_id):
            exchange.trailers = event.fields

    def _on_end_of_message(self, event: e.EndOfMessage) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None or exchange.ended:
            self._reading.pop(event.stream_id, None)
        if exchange is not None:
            exchange.on_received()

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
        e.SettingsReceived: _nothing,
        e.GoAwayReceived: _nothing,
    }

    # ---- Inside ----

    def _write(self, number: int, data: bytes) -> None:
        """Writes the last bytes of a stream, which are few."""
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.write(number, data, False, True)

    def _use(self, number: int, size: int) -> None:
        """Bytes that no exchange holds were used."""
        if number in self._reading:
            self._native.consumed(number, size)
            return
        # The window of a stream that has ended is nobody's concern, and that of all can wait.
        self._used += size
        if self._used >= _TOGETHER:
            self._native.consumed(number, self._used)
            self._used = 0

    def _stop(self, number: int, code: ErrorCode) -> None:
        """Reads no more of a request."""
        if self._reading.pop(number, None) is None:
            return
        self.h3.abandon(number)
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.stop(number, code)
        if not self.busy:
            self._idle.wake()

    def _give_up(self, number: int, code: ErrorCode) -> None:
        """Resets both directions of a request stream."""
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.reset(number, code)
        self._stop(number, code)
        self.h3.abandon(number)

    def _gone(self, exchange: Exchange, why: str) -> None:
        self._exchanges.pop(exchange.id, None)
        exchange.on_gone(why)
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

    def _look(self) -> None:
        """Gives requests up whose headers take too long."""
        now = self.loop.time()
        limit = self.limits.header_time
        waiting = [(begun, number) for number, begun in self._reading.items() if begun]
        for begun, number in waiting:
            if now - begun >= limit:
                self._give_up(number, ErrorCode.H3_REQUEST_INCOMPLETE)
        self._flush_h3()
        left = [begun for begun, number in waiting if number in self._reading]
        self._watch = self.loop.call_later(min(left) + limit - now, self._look) if left else None

    _handlers: ClassVar[dict[int, Callable[..., None]]] = {
        **Wire._handlers,
        _engine.STREAM_OPENED: _on_stream_opened,
        _engine.DATA: _on_data,
        _engine.WRITABLE: _on_writable,
        _engine.FINISHED: _on_finished,
        _engine.RESET: _on_reset,
        _engine.STOPPED: _on_stopped,
        _engine.PUMPED: _on_pumped,
        _engine.CLOSED: _on_closed,
    }

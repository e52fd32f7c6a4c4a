"""Listening for HTTP/3, and who answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Protocol

from tquic import _engine
from tquic._hub import Hub
from tquic.config import Config
from tquic.connection import Connection
from tquic.errors import ConnectionClosed
from tquic.h3.errors import ErrorCode
from tquic.h3.prepared import prepare_response
from tquic.h3.server._access import AccessLog
from tquic.h3.server._connection import ServerConnection
from tquic.h3.server._exchange import Disconnected, Exchange
from tquic.h3.server._limits import Limits
from tquic.h3.settings import Settings
from tquic.server import Listener

__all__ = ["Responder", "Server"]

_logger = logging.getLogger("tquic.h3.server")

# Seconds between the two GOAWAY frames: about a round trip (RFC 9114 section 5.2).
_LAST_CALL: Final = 0.1
# Seconds in which clients may close by themselves.
_FAREWELL: Final = 0.25


# Seconds that requests wait at most, if the configuration does not say.
_DELAY: Final = 0.5
# What the engine answers while the program is behind (RFC 9110 sections 15.6.4 and 10.2.3).
_BUSY: Final = prepare_response(
    [(b":status", b"503"), (b"retry-after", b"1"), (b"content-length", b"0")]
)


class Responder(Protocol):
    """Who answers requests."""

    cancels: bool
    """Whether what has to be awaited is cancelled when the client gives up."""
    protocols: frozenset[bytes]
    """Of extended CONNECT requests that it takes (RFC 9220)."""

    def respond(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Answers at once and returns `None`, or answers what has to be awaited."""

    async def start(self) -> None:
        """Before the first request."""

    async def stop(self) -> None:
        """Behind the last one."""


class Server(Listener):
    """A listening HTTP/3 server: made by `serve`. As a context manager it shuts itself down."""

    def __init__(
        self,
        hub: Hub,
        config: Config,
        responder: Responder,
        *,
        sessions: Responder | None = None,
        limits: Limits,
        settings: Settings,
        access: AccessLog | None,
    ) -> None:
        super().__init__(hub, config)
        self._hub = hub
        self._responder = responder
        # Who answers requests for WebTransport sessions, if it is another.
        self._sessions = sessions
        self.limits = limits
        self.settings = settings
        self._access = access
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    # ---- The end ----

    async def shutdown(self, grace: float = 30.0) -> bool:
        """Takes no new connections and requests, lets those that are there finish, and closes.

        Clients are told (GOAWAY, RFC 9114 section 5.2). What a handler or an application does
        behind its response is waited for as well.

        Args:
            grace: seconds after which what is not finished is given up.

        Returns:
            Whether everything was finished.
        """
        self.stop_accepting()
        done = True
        if grace:
            try:
                async with asyncio.timeout(grace):
                    await self._retire_all(min(_LAST_CALL, grace / 2))
            except TimeoutError:
                # A handshake that hangs leaves nothing unfinished.
                done = not (self._tasks or any(one.busy for one in self._served()))
            # Their transport has everything; their programs may still be reading it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await asyncio.gather(*(one.wait_closed() for one in self._connections))
        self.close(ErrorCode.H3_NO_ERROR)
        await self.wait_closed()
        if not self._stopped:
            self._stopped = True
            await self._responder.stop()
        return done

    async def _retire_all(self, pause: float) -> None:
        """Has all clients finish, those too whose connections still come."""
        retired: set[ServerConnection] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                for connection in self._served() - retired:
                    retired.add(connection)
                    group.create_task(_retire(connection, pause))
                if self._number is None:
                    break
                await self._news.wait()
        while self._tasks:
            await self._news.wait()

    def _served(self) -> set[ServerConnection]:
        return {one for one in self._connections if isinstance(one, ServerConnection)}

    def close(self, code: int = ErrorCode.H3_NO_ERROR, reason: str = "") -> None:
        """Takes no new connections and closes those that are there; returns at once.

        Args:
            code: application error code for the clients.
            reason: for people.
        """
        super().close(code, reason)
        for task in self._tasks:
            task.cancel()

    def _busy(self) -> bool:
        return super()._busy() or bool(self._tasks)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown(0.0)

    # ---- Inside ----

    async def _start(
        self,
        address: tuple[str, int],
        hq: _engine.HqService | None,
        place: tuple[_engine.SharedPort, int] | None,
    ) -> None:
        """Begins to listen, behind what the responder has to do first."""
        await self._responder.start()
        config = self._config
        delay = _DELAY if config.overload_delay is None else config.overload_delay
        # Nobody but the responder may say what the streams of sessions mean.
        refusal = None if self.settings.webtransport else (_BUSY.data, ErrorCode.H3_NO_ERROR)
        try:
            listening = self._hub.native.listen(
                *(*address, config, config._transport, config._server_tls),
                hq=hq,
                place=place,
                overload_delay=delay,
                refusal=refusal,
            )
        except BaseException:
            await self._responder.stop()
            raise
        self._began(*listening)

    def _make(self, native: _engine.Connection, remote: tuple[str, int]) -> ServerConnection:
        return ServerConnection(self._hub, native, self._config, remote, self)

    def _begin(self, connection: Connection) -> None:
        """Requests begin by themselves."""

    def respond(self, exchange: Exchange) -> None:
        """Has a request answered."""
        try:
            work = self._responder_of(exchange.request.protocol).respond(exchange)
        except Exception as error:
            self._failed(exchange, error)
            return
        if work is not None:
            self._hub.gather()
            task = _begin(self._answer(exchange, work), self._hub.loop)
            if not task.done():
                if self._responder_of(exchange.request.protocol).cancels:
                    exchange.task = task
                self._tasks.add(task)
                task.add_done_callback(lambda task: self._answered(task, work))

    def takes(self, protocol: bytes | None) -> bool:
        """Whether there is an answer to CONNECT requests for a protocol."""
        return protocol is not None and protocol in self._responder_of(protocol).protocols

    def _responder_of(self, protocol: bytes | None) -> Responder:
        if self._sessions is not None and protocol in self._sessions.protocols:
            return self._sessions
        return self._responder

    def on_ended(self, exchange: Exchange) -> None:
        """A response is complete, or nobody wants it any more."""
        if self._access is not None:
            self._access.tell(exchange)

    async def _answer(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Disconnected:
            pass
        except asyncio.CancelledError:
            exchange.cancel(ErrorCode.H3_REQUEST_CANCELLED)
            if self._listens:
                raise
        except Exception as error:
            self._failed(exchange, error)

    def _answered(self, task: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
        # It may have been cancelled before it began.
        work.close()
        self._tasks.discard(task)
        if not self._tasks:
            self._news.wake()

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        if isinstance(error, Disconnected):
            return
        request = exchange.request
        path = (request.path or b"").decode("ascii", "backslashreplace")
        method = request.method.decode("ascii", "backslashreplace")
        _logger.error("%s %s failed", method, path, exc_info=error)
        with contextlib.suppress(Disconnected):
            exchange.refuse(500)


async def _retire(connection: ServerConnection, pause: float) -> None:
    """Has a client begin no more requests, and waits until there are none."""
    with contextlib.suppress(ConnectionClosed):
        await connection.wait_connected()
        connection.go_away(final=False)
        await asyncio.sleep(pause)
        connection.go_away(final=True)
        await connection.wait_idle()


def _begin(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
    """A task that has begun already, where Python can do that: most never wait."""
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)

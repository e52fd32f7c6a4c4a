"""Accepting connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

from tquic import _engine
from tquic._halves import check_code, encode_reason
from tquic._hub import Hub
from tquic._opening import Opening
from tquic._wait import Home
from tquic.client import ConnectionT, resolve
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.tls import TlsContext, settled

__all__ = ["Handler", "Server", "Serving", "serve"]

Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Takes care of one connection. When it returns, the connection is closed."""

_logger = logging.getLogger("tquic.server")


def is_ending(error: BaseException, connection: Connection) -> bool:
    """Whether a handler's error only says that its connection has ended: no fault of its own."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_ending(one, connection) for one in error.exceptions)
    ending = connection.exception
    return ending is not None and (error is ending or error.__cause__ is ending)


def tell_failure(error: Exception, connection: Connection) -> None:
    """Logs why the handler of a connection failed, if the connection's end does not say it."""
    if not is_ending(error, connection):
        _logger.error("the handler of %r failed", connection, exc_info=error)


async def attend(
    connection: ConnectionT, handler: Callable[[ConnectionT], Awaitable[None]]
) -> None:
    """A handler's call, from the connection's beginning to its end."""
    try:
        async with connection:
            await handler(connection)
    except Exception as error:
        tell_failure(error, connection)


class Listener:
    """A listening address and its connections; who looks after them, subclasses know."""

    _connection_type: type[Connection] = Connection

    def __init__(self, home: Home, config: Config) -> None:
        self._home = home
        self._config = config
        self._addresses: tuple[tuple[str, int], ...] = ()
        self._connections: set[Connection] = set()
        self._news = home.signal()
        # While connections may still come: somewhat longer than it listens.
        self._number: int | None = None
        self._listens = False
        # What those are told who come after `close`.
        self._farewell: tuple[int, bytes] | None = None

    def _listen(self, host: str, port: int) -> None:
        config = self._config
        self._began(
            *self._home.native.listen(
                *(host, port, config, config._transport, config._server_tls),
                overload_delay=config.overload_delay,
            )
        )

    def _began(self, number: int, addresses: list[tuple[str, int]]) -> None:
        """The engine listens."""
        self._number = number
        self._listens = True
        self._addresses = tuple(addresses)
        self._home.add_listener(number, self)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; port 0 has become a real one."""
        return self._addresses[0]

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, preferred addresses included."""
        return self._addresses

    @property
    def connections(self) -> frozenset[Connection]:
        """Its connections that are not over."""
        return frozenset(self._connections)

    @property
    def accepting(self) -> bool:
        """Whether it takes new connections."""
        return self._listens

    def __repr__(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self._addresses)
        return f"<{type(self).__name__} at {where}, {len(self._connections)} connections>"

    def stop_accepting(self) -> None:
        """Takes no new connections; those that are there go on. See `wait_closed`.

        Where a handshake has begun, there is a connection: it is served as the others are.
        """
        if self._listens:
            assert self._number is not None
            self._listens = False
            self._home.native.unlisten(self._number)

    def close(self, code: int = 0, reason: str = "") -> None:
        """Takes no new connections and closes those that are there; returns at once.

        The engine keeps the address until it may forget the connections, some round trips later;
        `Engine.shutdown` ends that, too.

        Args:
            code: application error code for the clients.
            reason: for people.
        """
        check_code(code)
        farewell = (code, encode_reason(reason))
        self._listens = False
        if self._farewell is None:
            self._farewell = farewell
            if self._number is not None:
                self._home.native.unlisten(self._number, refuse=True)
        for connection in list(self._connections):
            connection.close(code, reason)

    def _busy(self) -> bool:
        return self._number is not None or bool(self._connections)

    async def wait_closed(self) -> None:
        """Waits until it accepts no more and all its connections and handlers have ended."""
        while self._busy():
            await self._news.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()

    def _accept(self, native: _engine.Connection, remote: tuple[str, int]) -> None:
        if self._farewell is not None:
            # It was on its way when `close` was called.
            native.close(*self._farewell)
            return
        connection = self._make(native, remote)
        self._connections.add(connection)
        connection._on_begun = lambda: self._begin(connection)
        connection._on_over = lambda: self._forget(connection)
        self._news.wake()

    def _make(self, native: _engine.Connection, remote: tuple[str, int]) -> Connection:
        return self._connection_type(self._home, native, self._config, remote)

    def _on_unlistened(self) -> None:
        self._number = None
        self._listens = False
        self._news.wake()

    def _forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._news.wake()

    def _begin(self, connection: Connection) -> None:
        """There is something for a handler to do."""
        raise NotImplementedError


class Server(Listener):
    """A listening server: made by `serve`. As a context manager it closes itself at the exit."""

    def __init__(self, hub: Hub, handler: Handler, config: Config) -> None:
        super().__init__(hub, config)
        self._loop = hub.loop
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self, code: int = 0, reason: str = "") -> None:
        """Takes no new connections and closes those that are there; returns at once.

        The engine keeps the address until it may forget the connections, some round trips later;
        `Engine.shutdown` ends that, too.

        Args:
            code: application error code for the clients.
            reason: for people.
        """
        super().close(code, reason)
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def _busy(self) -> bool:
        return super()._busy() or bool(self._tasks)

    def _begin(self, connection: Connection) -> None:
        task = self._loop.create_task(self._handle(connection))
        self._tasks.add(task)
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._news.wake()

    async def _handle(self, connection: Connection) -> None:
        try:
            await attend(connection, self._handler)
        except asyncio.CancelledError:
            if not self._closed:
                raise


class Serving(Opening[Server]):
    """What `serve` answers: ``await`` it, or use it with ``async with``."""

    def __init__(
        self, host: str, port: int, handler: Handler, config: Config, engine: Engine | None
    ) -> None:
        self._host = host
        self._port = port
        self._handler = handler
        self._config = config
        self._engine = engine

    async def _open(self) -> Server:
        hub = Hub.current(self._engine)
        address, *_ = await resolve(hub, self._host, self._port)
        server = Server(hub, self._handler, self._config)
        server._listen(*address)
        return server


def serve(
    host: str,
    port: int,
    handler: Handler,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
) -> Serving:
    """Listens for connections::

        async def handler(conn: tquic.Connection) -> None:
            async for stream in conn:
                await stream.write(await stream.read())
                stream.finish()

        async with tquic.serve("::", 4433, handler, config=config) as server:
            await server.wait_closed()

    ``server = await tquic.serve(...)`` works as well; then close it with `Server.close`.

    Args:
        host: name or numeric address to listen at; ``"::"`` is every address, IPv4 included.
        port: UDP port; 0 picks one, see `Server.address`.
        handler: called for each connection as soon as the handshake is complete, or early data has
            come. When it returns, the connection is closed; when it raises, with code 1.
        config: settings; `Config.cert` and `Config.key` are needed, if not in `tls`.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.

    Raises:
        ConfigError: a setting cannot be used.
        OSError: the address is taken, or not ours.
    """
    return Serving(host, port, handler, settled(config, tls, server_side=True), engine)

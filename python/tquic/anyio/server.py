"""Listening, with handlers that are tasks of anyio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeAlias, cast

import tquic.connection
from tquic.anyio._home import Home, at_home
from tquic.anyio.connection import Connection
from tquic.client import resolve
from tquic.config import Config
from tquic.engine import Engine
from tquic.server import Listener, attend
from tquic.tls import TlsContext, settled

__all__ = ["Handler", "Server", "serve"]

Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Takes care of one connection. When it returns, the connection is closed."""


class Server(Listener):
    """A listening server: made by `serve`."""

    _connection_type = Connection

    def __init__(self, home: Home, handler: Handler, config: Config) -> None:
        super().__init__(home, config)
        self._tasks = home.tasks
        self._handler = handler
        self._handling = 0

    def _busy(self) -> bool:
        return super()._busy() or self._handling > 0

    def _begin(self, connection: tquic.connection.Connection) -> None:
        self._handling += 1
        self._tasks.start_soon(self._handle, cast(Connection, connection))

    async def _handle(self, connection: Connection) -> None:
        try:
            await attend(connection, self._handler)
        finally:
            self._handling -= 1
            self._news.wake()


@contextlib.asynccontextmanager
async def serve(
    host: str,
    port: int,
    handler: Handler,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
) -> AsyncGenerator[Server, None]:
    """Listens for connections for the time of an ``async with``; see `tquic.serve`.

    At its end all connections are closed and their handlers cancelled.

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
    config = settled(config, tls, server_side=True)
    async with at_home(engine) as home:
        address, *_ = await resolve(home, host, port)
        server = Server(home, handler, config)
        server._listen(*address)
        try:
            yield server
        finally:
            server.close()

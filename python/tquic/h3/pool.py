"""A client of many servers: connections are made as they are needed, and used again."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

from tquic._hub import Hub
from tquic._wait import Home, Signal
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConnectionClosed
from tquic.h3._altsvc import AltSvcCache
from tquic.h3._methods import Methods
from tquic.h3._session_client import client_settings
from tquic.h3._sessions import Session
from tquic.h3.client import (
    SAFE,
    ClientConnection,
    Content,
    Establishing,
    Origin,
    Response,
    is_repeatable,
)
from tquic.h3.errors import RequestFailed
from tquic.h3.headers import HeadersLike
from tquic.h3.priority import Priority
from tquic.h3.settings import Settings
from tquic.tls import TlsContext, settled

__all__ = ["Client"]

# RFC 9110 section 9.2.2: what may be sent again if nobody knows what became of it.
_IDEMPOTENT = SAFE | {"PUT", "DELETE"}
_ATTEMPTS = 3


class Client(Methods):
    """Sends requests to any server, over one connection for each origin::

        async with tquic.h3.Client() as client:
            response = await client.get("https://example.com/")
            print(await response.read())

    Requests that a server has not processed (GOAWAY, H3_REQUEST_REJECTED), and idempotent ones that
    were cut off, are sent again on a new connection where their content can be. Alt-Svc
    (RFC 7838) is followed. Redirects are not, and cookies are not kept: see `tquic.httpx`.

    Args:
        config: settings; `Config.alpn` is ``("h3",)`` here whatever it says.
        tls: TLS settings, which come before those in `config`.
        settings: what servers are told of this client; see `connect`.
        engine: threads to use. Default: those of the process.
        max_connections: connections that are kept while no request runs on them; those that were
            not used for longest make room. Default 100.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        tls: TlsContext | None = None,
        settings: Settings | None = None,
        engine: Engine | None = None,
        max_connections: int = 100,
    ) -> None:
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self._config = settled(config, tls, server_side=False)
        self._settings = client_settings(self._config, settings)
        self._engine = engine
        self._limit = max_connections
        self._home: Home | None = None
        self._connections: OrderedDict[Origin, ClientConnection] = OrderedDict()
        # Being made; who wants one as well waits.
        self._making: dict[Origin, Signal] = {}
        # Those that take no more requests, and may have some that run.
        self._left: set[ClientConnection] = set()
        self._alternatives = AltSvcCache()
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        content: Content = None,
        trailers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Response:
        """Sends a request, and waits for the header section of its response.

        See `ClientConnection.request`; the URL is absolute here.

        Raises:
            RequestFailed: the server gave the request up, or the response is malformed.
            LocalProtocolError: the request is malformed.
            ConnectionClosed: there is no connection to the server.
            RuntimeError: the client is closed.
        """
        origin = Origin.of(url)
        again = is_repeatable(content)
        attempt = 1
        while True:
            connection, fresh = await self._connection(origin)
            try:
                response = await connection.request(
                    method,
                    url,
                    headers=headers,
                    content=content,
                    trailers=trailers,
                    priority=priority,
                )
            except RequestFailed as error:
                if not (error.unprocessed and again and attempt < _ATTEMPTS):
                    raise
                self._leave(origin, connection)
            except ConnectionClosed:
                # A connection that was kept may have ended unseen.
                repeat = not fresh and again and method in _IDEMPOTENT
                self._leave(origin, connection)
                if not repeat or attempt >= _ATTEMPTS:
                    raise
            else:
                alternative = response.headers.get("alt-svc")
                if alternative is not None:
                    self._alternatives.note(_key(origin), alternative, time.monotonic())
                return response
            attempt += 1

    async def webtransport(
        self, url: str, *, protocols: Sequence[str] = (), headers: HeadersLike | None = None
    ) -> Session:
        """Makes a WebTransport session; see `ClientConnection.webtransport`. The URL is absolute.

        Raises:
            SessionRefused: the server makes none there.
            LocalProtocolError: the server takes no sessions, or one of the ends no datagrams.
            RequestFailed: the server gave the request up; it may have as many sessions as it takes.
            ConnectionClosed: there is no connection to the server.
            RuntimeError: the client is closed.
        """
        connection = await self.connection(url)
        return await connection.webtransport(url, protocols=protocols, headers=headers)

    async def connection(self, url: str) -> ClientConnection:
        """The connection for a URL, made if there is none: for `ClientConnection.open`."""
        connection, _ = await self._connection(Origin.of(url))
        return connection

    async def close(self) -> None:
        """Closes all connections; requests that run fail."""
        self._closed = True
        connections = [*self._connections.values(), *self._left]
        self._connections.clear()
        self._left.clear()
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- Inside ----

    def _at_home(self) -> Home:
        if self._home is None:
            self._home = Hub.current(self._engine)
        return self._home

    async def _connection(self, origin: Origin) -> tuple[ClientConnection, bool]:
        """One that takes requests, and whether it is new."""
        while True:
            if self._closed:
                raise RuntimeError("the client is closed")
            connection = self._connections.get(origin)
            if connection is not None and connection.available:
                self._connections.move_to_end(origin)
                return connection, False
            making = self._making.get(origin)
            if making is None:
                return await self._make(origin), True
            await making.wait()

    async def _make(self, origin: Origin) -> ClientConnection:
        signal = self._making[origin] = self._at_home().signal()
        try:
            connection = await self._establish(origin)
        finally:
            del self._making[origin]
            signal.wake()
        if self._closed:
            connection.close()
            raise RuntimeError("the client is closed")
        self._connections[origin] = connection
        self._connections.move_to_end(origin)
        self._make_room()
        return connection

    async def _establish(self, origin: Origin) -> ClientConnection:
        home = self._at_home()
        alternative = self._alternatives.lookup(_key(origin), time.monotonic())
        if alternative is not None:
            how = Establishing(origin.url, self._config, self._settings, alternative)
            try:
                return await how.connect(home, ClientConnection)
            except (ConnectionClosed, OSError):
                self._alternatives.drop(_key(origin))
        how = Establishing(origin.url, self._config, self._settings)
        return await how.connect(home, ClientConnection)

    def _make_room(self) -> None:
        """Closes what is too much, and not in use."""
        idle = [origin for origin, one in self._connections.items() if not one.requests]
        for origin in idle[: max(0, len(self._connections) - self._limit)]:
            self._connections.pop(origin).close()
        for connection in [one for one in self._left if not one.requests]:
            connection.close()
            self._left.discard(connection)

    def _leave(self, origin: Origin, connection: ClientConnection) -> None:
        """No new request goes to a connection; those that run may end there."""
        if self._connections.get(origin) is connection:
            del self._connections[origin]
            self._left.add(connection)


def _key(origin: Origin) -> tuple[str, int]:
    return origin.host, origin.port

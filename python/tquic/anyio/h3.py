"""The client of `tquic.h3` for anyio, on asyncio and on trio::

    async with tquic.anyio.h3.connect("https://example.com/") as c:
        response = await c.get("/index.html")
        print(response.status, await response.read())

Requests, responses and their errors are those of `tquic.h3`; sessions are in
`tquic.anyio.webtransport`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import cast

import tquic.h3.client
from tquic.anyio._home import at_home
from tquic.anyio.webtransport import Session
from tquic.config import Config
from tquic.engine import Engine
from tquic.h3._wire import Wire
from tquic.h3.client import establishing
from tquic.h3.headers import HeadersLike
from tquic.h3.priority import Priority
from tquic.h3.settings import Settings
from tquic.tls import TlsContext

__all__ = ["ClientConnection", "connect"]


class _Wire(Wire):
    _session_type = Session


class ClientConnection(tquic.h3.client.ClientConnection):
    """An HTTP/3 connection to one server: made by `connect`; see `tquic.h3.ClientConnection`."""

    _wire_type = _Wire

    async def webtransport(
        self,
        url: str,
        *,
        protocols: Sequence[str] = (),
        headers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Session:
        """Makes a WebTransport session; see `tquic.h3.ClientConnection.webtransport`."""
        session = await super().webtransport(
            url, protocols=protocols, headers=headers, priority=priority
        )
        return cast(Session, session)


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    settings: Settings | None = None,
    engine: Engine | None = None,
    address: tuple[str, int] | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
) -> AsyncGenerator[ClientConnection, None]:
    """Connects to the server of a URL for the time of an ``async with``; see `tquic.h3.connect`.

    Args:
        url: its scheme is https; requests may be relative to it.
        config: settings.
        tls: TLS settings, which come before those in `config`.
        settings: what the server is told of this client; see `tquic.h3.connect`.
        engine: threads to use. Default: those of the process.
        address: host and port to connect to instead of those of the URL.
        local: numeric address (and port) to send from.
        interface: network interface to send through; only together with `local`.

    Raises:
        ValueError: it is no https URL.
        ConnectionClosed: the handshake failed; the subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    how = establishing(url, config, tls, settings, address, local, interface)
    async with at_home(engine) as home, await how.connect(home, ClientConnection) as connection:
        yield connection

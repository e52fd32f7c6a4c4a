"""Beginning connections as with aioquic."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tquic.compat.aioquic.asyncio.protocol import (
    QuicConnectionProtocol,
    QuicStreamHandler,
    QuicTransport,
)
from tquic.compat.aioquic.quic._link import Linking
from tquic.compat.aioquic.quic.configuration import QuicConfiguration, client_config
from tquic.compat.aioquic.quic.connection import QuicConnection, QuicTokenHandler
from tquic.compat.aioquic.tls import SessionTicket, SessionTicketHandler
from tquic.errors import ConfigError
from tquic.session import SessionStore

__all__ = ["connect"]


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    configuration: QuicConfiguration | None = None,
    create_protocol: Callable[..., Any] = QuicConnectionProtocol,
    session_ticket_handler: SessionTicketHandler | None = None,
    stream_handler: QuicStreamHandler | None = None,
    token_handler: QuicTokenHandler | None = None,
    wait_connected: bool = True,
    local_port: int = 0,
) -> AsyncGenerator[Any, None]:
    """Connects to a server; for ``async with``.

    Args:
        host: name or numeric address; the first address of a name is used.
        port: UDP port.
        configuration: settings. Default `QuicConfiguration()`.
        create_protocol: called with a `QuicConnection` and ``stream_handler=``, answers the
            `QuicConnectionProtocol` that ``async with`` gives.
        session_ticket_handler: called with every `SessionTicket` that the server gives.
        stream_handler: called with a reader and a writer for every stream of the server's.
        token_handler: called with every token that the server gives.
        wait_connected: wait until the handshake is complete. Without it, what is sent before the
            first wait goes out as early data (0-RTT) if `QuicConfiguration.session_ticket` is set.
        local_port: UDP port to send from. Default: a socket shared by all.

    Raises:
        ConnectionError: the handshake failed; tquic's subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the port is taken.
    """
    if configuration is None:
        configuration = QuicConfiguration(is_client=True)
    store = _store(configuration, session_ticket_handler)
    if store is not None and configuration.token:
        store._put_token((host, port), configuration.token)
    link = await Linking(host, port, client_config(configuration, store=store), local_port).link()
    quic = QuicConnection(
        configuration=configuration,
        link=link,
        session_ticket_handler=session_ticket_handler,
        token_handler=token_handler,
    )
    try:
        protocol = create_protocol(quic, stream_handler=stream_handler)
    except BaseException:
        quic.close()
        raise
    protocol.connection_made(QuicTransport(link))
    try:
        if wait_connected:
            await protocol.wait_connected()
        yield protocol
    finally:
        protocol.close()
        await protocol.wait_closed()
        protocol.connection_lost(None)


def _store(
    configuration: QuicConfiguration, handler: SessionTicketHandler | None
) -> SessionStore | None:
    ticket = configuration.session_ticket
    if isinstance(ticket, SessionTicket):
        return ticket._store
    if ticket is not None:
        raise ConfigError(
            "session_ticket must be what a session_ticket_handler of tquic.compat.aioquic was given"
        )
    return SessionStore(1) if handler is not None or configuration.token else None

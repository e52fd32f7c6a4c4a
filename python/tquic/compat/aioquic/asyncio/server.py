"""Accepting connections as with aioquic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tquic import _engine
from tquic._hub import Hub
from tquic.client import resolve
from tquic.compat.aioquic.asyncio.protocol import (
    QuicConnectionProtocol,
    QuicStreamHandler,
    QuicTransport,
)
from tquic.compat.aioquic.quic._link import Link
from tquic.compat.aioquic.quic.configuration import QuicConfiguration, server_config
from tquic.compat.aioquic.quic.connection import QuicConnection
from tquic.compat.aioquic.quic.packet import QuicErrorCode
from tquic.compat.aioquic.tls import SessionTicketFetcher, SessionTicketHandler
from tquic.config import Config

__all__ = ["QuicServer", "serve"]


class QuicServer:
    """A listening server: made by `serve`."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        config: Config,
        create_protocol: Callable[..., Any],
        stream_handler: QuicStreamHandler | None,
    ) -> None:
        self._configuration = configuration
        self._config = config
        self._create_protocol = create_protocol
        self._stream_handler = stream_handler
        self._hub = Hub.current(None)
        self._number: int | None = None
        self._listens = False
        self._closed = False
        self._protocols: dict[bytes, Any] = {}
        self._transport = _ServerTransport(self)

    def close(self) -> None:
        """Takes no new connections and closes those that are there; returns at once."""
        self._closed = True
        self._stop()
        for protocol in list(self._protocols.values()):
            protocol.close()

    def _stop(self) -> None:
        self._listens = False
        if self._number is not None:
            self._hub.native.unlisten(self._number, refuse=self._closed)

    def _listen(self, host: str, port: int) -> None:
        config = self._config
        self._number, addresses = self._hub.native.listen(
            host, port, config, config._transport, config._server_tls
        )
        self._transport.address = addresses[0]
        self._listens = True
        self._hub.add_listener(self._number, self)

    def _on_unlistened(self) -> None:
        self._number = None
        self._listens = False

    def _accept(self, native: _engine.Connection, remote: tuple[str, int]) -> None:
        if self._closed:
            # It was on its way when `close` was called.
            native.close(QuicErrorCode.NO_ERROR, b"")
            return
        link = Link(self._hub, native, self._config, remote)
        quic = QuicConnection(configuration=self._configuration, link=link)
        link._on_over = lambda: self._forget(quic)
        try:
            protocol = self._create_protocol(quic, stream_handler=self._stream_handler)
            protocol.connection_made(QuicTransport(link))
        except BaseException:
            quic.close(QuicErrorCode.INTERNAL_ERROR)
            raise
        self._protocols[quic.host_cid] = protocol

    def _forget(self, quic: QuicConnection) -> None:
        protocol = self._protocols.pop(quic.host_cid, None)
        if protocol is not None:
            # Behind the last event.
            self._hub.loop.call_soon(protocol.connection_lost, None)


class _ServerTransport(asyncio.BaseTransport):
    """Stands for the server's socket, which is the engine's."""

    def __init__(self, server: QuicServer) -> None:
        super().__init__()
        self._server = server
        self.address: tuple[str, int] = ("", 0)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"sockname"``: where the server listens; port 0 has become a real one."""
        return self.address if name == "sockname" else default

    def is_closing(self) -> bool:
        """Whether no new connections are taken."""
        return not self._server._listens

    def close(self) -> None:
        """Takes no new connections; those that are there go on."""
        self._server._stop()


async def serve(
    host: str,
    port: int,
    *,
    configuration: QuicConfiguration,
    create_protocol: Callable[..., Any] = QuicConnectionProtocol,
    session_ticket_fetcher: SessionTicketFetcher | None = None,
    session_ticket_handler: SessionTicketHandler | None = None,
    retry: bool = False,
    stream_handler: QuicStreamHandler | None = None,
) -> QuicServer:
    """Listens for connections.

    Args:
        host: name or numeric address to listen at; ``"::"`` is every address, IPv4 included.
        port: UDP port; 0 picks one.
        configuration: settings; a certificate and its key are needed.
        create_protocol: called for each connection with a `QuicConnection` and
            ``stream_handler=``, answers its `QuicConnectionProtocol`.
        session_ticket_fetcher: with `session_ticket_handler`: clients get tickets and may resume
            sessions, with early data (0-RTT) too. Neither is called: all that the engine needs is
            in the ticket, encrypted.
        session_ticket_handler: see `session_ticket_fetcher`.
        retry: ask every client to prove its address (Retry, RFC 9000 section 8.1.2). Without it,
            only when more than 256 handshakes are under way.
        stream_handler: called with a reader and a writer for every stream of a client's.

    Raises:
        ConfigError: a setting cannot be used.
        OSError: the address is taken, or not ours.
    """
    tickets = session_ticket_fetcher is not None and session_ticket_handler is not None
    server = QuicServer(
        configuration=configuration,
        config=server_config(configuration, tickets=tickets, retry=retry),
        create_protocol=create_protocol,
        stream_handler=stream_handler,
    )
    address, *_ = await resolve(server._hub, host, port)
    server._listen(*address)
    return server

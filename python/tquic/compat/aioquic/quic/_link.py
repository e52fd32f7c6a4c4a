"""The connection below a `QuicConnection`: tquic's own, but its events are told, not kept."""

from __future__ import annotations

from typing import Any, Protocol

from tquic import _engine
from tquic._hub import Hub
from tquic.client import plan, resolve
from tquic.config import Config
from tquic.connection import Connection
from tquic.errors import ConnectionClosed
from tquic.stats import HandshakeInfo

__all__ = ["Link", "Linking"]


class _Owner(Protocol):
    """Whoever is told."""

    def _on_connected(self, info: HandshakeInfo) -> None: ...
    def _on_data(self, stream: int, data: bytes, fin: bool) -> None: ...
    def _on_stopped(self, stream: int, code: int) -> None: ...
    def _on_reset(self, stream: int, code: int) -> None: ...
    def _on_datagram(self, data: bytes) -> None: ...
    def _on_datagrams_writable(self) -> None: ...
    def _on_answer(self, pings: int) -> None: ...
    def _on_ticket(self) -> None: ...
    def _on_closed(self, error: ConnectionClosed) -> None: ...


class Link(Connection):
    """A connection whose owner is told what comes, and says when it was used."""

    owner: _Owner | None = None

    def used(self, stream: int, size: int) -> None:
        """So many bytes of a stream need no room any more."""
        self._native.consumed(stream, size)

    def datagram_used(self, size: int) -> None:
        """A datagram of this size needs no room any more."""
        self._native.consumed_datagrams(1, size)

    def change_connection_id(self) -> None:
        """Uses another of the connection IDs that the peer issued."""
        self._native.change_connection_id()

    def send_ping(self) -> None:
        """Sends a PING; the owner is told of its answer."""
        self._check_open()
        self._native.ping()

    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None:
        owner = self.owner
        assert owner is not None  # set before the loop has its turn again
        if kind == _engine.DATA:
            self._deliver(owner, a, b, c)
            return
        if kind == _engine.DATAGRAM:
            owner._on_datagram(a)
            return
        super()._on_event(kind, a, b, c)
        if kind == _engine.CONNECTED:
            owner._on_connected(self.info)
        elif kind == _engine.STREAM_OPENED:
            # Nobody accepts streams here.
            self._unaccepted.clear()
        elif kind == _engine.STOPPED:
            owner._on_stopped(a, b.code)
        elif kind == _engine.RESET:
            owner._on_reset(a, b.code)
        elif kind == _engine.DATAGRAMS_WRITABLE:
            owner._on_datagrams_writable()
        elif kind == _engine.PING_ACKED:
            owner._on_answer(a)
        elif kind == _engine.TICKET_RECEIVED:
            owner._on_ticket()
        elif kind == _engine.CLOSED:
            owner._on_closed(a)

    def _deliver(self, owner: _Owner, number: int, data: bytes | memoryview, fin: bool) -> None:
        stream = self._streams.get(number)
        if stream is None or stream._in.error is not None:
            # Stopped by us: nobody will read it.
            self.used(number, len(data))
            return
        if fin:
            stream._in.end_seen = True
            self._forget(stream)
        owner._on_data(number, bytes(data), fin)


class Linking:
    """Begins a `Link`: it is there at once, and goes on when the loop has its turn.

    As in aioquic, only the first address of the host is tried.
    """

    def __init__(self, host: str, port: int, config: Config, local_port: int) -> None:
        self._host = host
        self._port = port
        self._config = config
        self._local_port = local_port

    async def link(self) -> Link:
        """The connection, whose owner must be set before anything else is awaited."""
        hub = Hub.current(None)
        address, *_ = await resolve(hub, self._host, self._port)
        any_address = "::" if ":" in address[0] else "0.0.0.0"
        local = (any_address, self._local_port) if self._local_port else None
        how = plan(self._host, self._port, self._config, local, None, wait=False)
        return how.begin(hub, Link, address)

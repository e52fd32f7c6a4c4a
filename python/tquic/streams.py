"""Streams of asyncio over QUIC: `asyncio.StreamReader` and `asyncio.StreamWriter`.

Programs written for `asyncio.open_connection` and `asyncio.start_server` run unchanged over one
bidirectional stream each.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from tquic._wait import Relay
from tquic.client import connect
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import QuicError, StreamClosed
from tquic.server import Server, serve, tell_failure
from tquic.stats import HandshakeInfo
from tquic.stream import Stream
from tquic.tls import TlsContext

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["StreamServer", "TlsInfo", "open_connection", "start_server", "wrap"]

Pair: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ClientConnected: TypeAlias = Callable[
    [asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None
]

# asyncio's defaults: bytes of a reader's buffer, and of what a transport lets wait.
_LIMIT = 64 * 1024
_HIGH_WATER = 64 * 1024
# The code of streams whose callback failed; that of connections in the same case.
_FAILED = 1

_BITS = {
    "TLS_AES_128_GCM_SHA256": 128,
    "TLS_AES_256_GCM_SHA384": 256,
    "TLS_CHACHA20_POLY1305_SHA256": 256,
}


class TlsInfo:
    """What ``get_extra_info("ssl_object")`` answers: the questions that an `ssl.SSLObject` answers
    after its handshake."""

    def __init__(self, info: HandshakeInfo, config: Config, server_side: bool) -> None:
        self._info = info
        self.server_side = server_side
        self.server_hostname: str | None = info.server_name or config.server_name
        self.session_reused: bool = info.resumed

    def selected_alpn_protocol(self) -> str:
        """The application protocol."""
        return self._info.alpn

    def version(self) -> str:
        """The version of TLS."""
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        """Name of the cipher suite, version of TLS, secret bits."""
        name = self._info.cipher
        return name, self.version(), _BITS[name]

    def getpeercert(self, binary_form: bool = False) -> bytes | None:
        """The peer's certificate in DER; `None` if it showed none.

        Raises:
            ValueError: `binary_form` is not set: nothing here takes certificates apart.
        """
        if not binary_form:
            raise ValueError("only the binary form is known: getpeercert(binary_form=True)")
        return next(iter(self._info.peer_certificates), None)


class StreamTransport(asyncio.Transport):
    """One bidirectional stream as asyncio's transports are.

    What the reader does not take stays where it is, until flow control stops the peer. What waits
    to be sent counts here as long as the engine has not taken it; the engine holds up to
    `Config.send_buffer` bytes more.
    """

    def __init__(
        self, stream: Stream, protocol: asyncio.StreamReaderProtocol, *, owner: bool
    ) -> None:
        super().__init__()
        self._stream = stream
        self._connection = stream.connection
        self._protocol: Any = protocol
        # The connection is ours alone, and ends with the stream.
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._low, self._high = _HIGH_WATER // 4, _HIGH_WATER
        self._reading = True
        self._eof_given = False
        self._writing_paused = False
        # Bytes written since the loop had its turn, and what gives it one.
        self._since_turn = 0
        self._turn: asyncio.Handle | None = None
        self._closing = False
        self._hurried = False
        self._lost = False
        self._linger: asyncio.TimerHandle | None = None
        # Whom the connection tells of its end besides us.
        self._before: Callable[[], None] | None = None
        stream._in.changed = Relay(stream._in.changed, self._on_incoming)
        stream._out.changed = Relay(stream._out.changed, self._on_outgoing)
        protocol.connection_made(self)
        self._on_incoming()

    # ---- What it is ----

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """About the connection.

        ``peername``, ``sockname``: addresses. ``connection``, ``stream``: the `Connection` and the
        `Stream`. ``ssl_object``: a `TlsInfo`. ``cipher``, ``peercert``: as its methods answer, the
        certificate in DER.
        """
        connection = self._connection
        if name == "connection":
            return connection
        if name == "stream":
            return self._stream
        if name == "peername":
            return connection.remote_address
        if not connection.connected:
            return default
        tls = TlsInfo(connection.info, connection.config, not connection.is_client)
        known: dict[str, Callable[[], Any]] = {
            "sockname": lambda: connection.info.local,
            "ssl_object": lambda: tls,
            "cipher": tls.cipher,
            "peercert": lambda: tls.getpeercert(binary_form=True),
        }
        return known[name]() if name in known else default

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    # ---- Reading ----

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            # Not at once: readers resume before they begin to wait for what this brings.
            self._loop.call_soon(self._on_incoming)

    def _on_incoming(self) -> None:
        incoming = self._stream._in
        while incoming.chunks and self.is_reading():
            self._protocol.data_received(incoming.take(len(incoming.chunks[0]))[0])
        if self._closing or incoming.chunks:
            return
        if incoming.error is not None:
            self._lose(incoming.error)
        elif incoming.end_seen and not self._eof_given:
            self._eof_given = True
            if not self._protocol.eof_received():
                self.close()
            elif self._stream._out.error is not None:
                self._lose(self._stream._out.error)

    # ---- Writing ----

    def write(self, data: ReadableBuffer) -> None:
        out = self._stream._out
        if self._lost or out.error is not None:
            # As with sockets: `drain` tells.
            return
        if out.ended:
            raise RuntimeError("cannot write after write_eof() or close()")
        with contextlib.suppress(QuicError):
            out.write(data, False, limit=sys.maxsize)
        # The engine may take all a program writes without ever waiting: now and then the loop must
        # have its turn, or the program would never learn that the peer has given up.
        self._since_turn += memoryview(data).nbytes
        if self._since_turn > self._high and self._turn is None:
            self._turn = self._loop.call_soon(self._on_turn)
        if (out.size > self._high or self._turn is not None) and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def _on_turn(self) -> None:
        self._turn = None
        self._since_turn = 0
        self._on_outgoing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._stream.finish()

    def get_write_buffer_size(self) -> int:
        return self._stream._out.size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        low = high // 4 if low is None else low
        if not 0 <= low <= high:
            raise ValueError(f"low ({low!r}) must be from 0 to high ({high!r})")
        self._low, self._high = low, high
        self._on_outgoing()

    def _on_outgoing(self) -> None:
        out = self._stream._out
        drained = out.size <= self._low and self._turn is None
        if self._writing_paused and (drained or out.over):
            self._writing_paused = False
            self._protocol.resume_writing()
        if self._closing:
            self._on_closing()
        elif out.error is not None and self._eof_given:
            self._lose(out.error)

    # ---- The end ----

    def is_closing(self) -> bool:
        return self._closing or self._lost

    def close(self) -> None:
        """Ends the stream behind what was written; what still comes is not wanted.

        When the peer has everything (at the latest after `Config.linger`), the protocol is told,
        and a connection that was made for this stream is closed.
        """
        if self._closing or self._lost:
            return
        self._closing = True
        self._stream.finish()
        if not self._stream._in.over:
            self._stream.stop()
        linger = self._connection.config.linger
        self._linger = self._loop.call_later(linger, self.abort)
        self._on_closing()

    def _on_closing(self) -> None:
        out = self._stream._out
        if out.over:
            self._lose(None)
        elif not out.pending and not self._hurried:
            self._hurried = True
            self._connection._hurry()

    def abort(self) -> None:
        """Gives the stream up at once; what was not delivered is lost."""
        self._closing = True
        self._stream.stop()
        self._stream.reset()
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        if self._linger is not None:
            self._linger.cancel()
        out = self._stream._out
        if not out.over:
            self._stream.reset()
        if isinstance(error, StreamClosed):
            error = None
        if not self._owner:
            self._loop.call_soon(self._protocol.connection_lost, error)
            return
        self._connection.close()
        if self._connection.closed:
            self._loop.call_soon(self._protocol.connection_lost, error)
        else:
            self._before = self._connection._on_over
            self._connection._on_over = lambda: self._on_over(error)

    def _on_over(self, error: Exception | None) -> None:
        if self._before is not None:
            self._before()
        self._protocol.connection_lost(error)


def wrap(stream: Stream, *, limit: int = _LIMIT) -> Pair:
    """A reader and a writer for a bidirectional stream, which then belongs to them.

    Args:
        stream: nobody may be using it otherwise.
        limit: bytes that the reader may hold; see `asyncio.StreamReader`. Default 64 KiB.
    """
    return _pair(stream, limit, owner=False)


def _pair(stream: Stream, limit: int, *, owner: bool) -> Pair:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = StreamTransport(stream, protocol, owner=owner)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def open_connection(
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    limit: int = _LIMIT,
    engine: Engine | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
) -> Pair:
    """`asyncio.open_connection` over QUIC: one connection with one bidirectional stream.

    Closing the writer closes the connection when the peer has everything; ``wait_closed`` waits for
    that. ``writer.get_extra_info("connection")`` is the `Connection`.

    The server hears of the stream when the first bytes are written, or its end: a protocol in which
    the server speaks first needs a client that says something nevertheless.

    Args:
        host: name or numeric address.
        port: UDP port.
        config: settings. Default `Config()`.
        tls: TLS settings, which come before those in `config`.
        limit: bytes that the reader may hold; see `asyncio.StreamReader`. Default 64 KiB.
        engine: threads to use. Default: those of the process.
        local: numeric address (and port) to send from. Default: a socket shared by all.
        interface: network interface to send through; only together with `local`.

    Raises:
        ConnectionClosed: the handshake failed. The subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    connection = await connect(
        host, port, config=config, tls=tls, engine=engine, local=local, interface=interface
    )
    return _pair(connection.open_stream(), limit, owner=True)


class StreamServer(asyncio.AbstractServer):
    """What `start_server` answers: shaped like `asyncio.Server`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._forever: asyncio.Future[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; port 0 has become a real one."""
        return self._server.address

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, preferred addresses included."""
        return self._server.addresses

    @property
    def connections(self) -> frozenset[Connection]:
        """Its connections that are not over."""
        return self._server.connections

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether it takes new connections."""
        return self._server.accepting

    async def start_serving(self) -> None:
        """Does nothing: it serves from the beginning."""

    async def serve_forever(self) -> None:
        """Serves until it is cancelled, or the server is closed."""
        if not self.is_serving():
            raise RuntimeError("the server is closed")
        try:
            await self.wait_closed()
        finally:
            self.close()

    def close(self) -> None:
        """Takes no new connections; those that are there go on. See `close_clients`."""
        self._server.stop_accepting()

    def close_clients(self) -> None:
        """Closes all connections."""
        for connection in self._server.connections:
            connection.close()

    abort_clients = close_clients

    async def wait_closed(self) -> None:
        """Waits until it accepts no more and all its connections have ended."""
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.wait_closed()


async def start_server(
    client_connected_cb: ClientConnected,
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    limit: int = _LIMIT,
    engine: Engine | None = None,
) -> StreamServer:
    """`asyncio.start_server` over QUIC: every bidirectional stream that a client opens is a client.

    Args:
        client_connected_cb: called with a reader and a writer for each; a coroutine function runs
            as a task of its own.
        host: name or numeric address to listen at; ``"::"`` is every address, IPv4 included.
        port: UDP port; 0 picks one, see `StreamServer.address`.
        config: settings; `Config.cert` and `Config.key` are needed, if not in `tls`.
        tls: TLS settings, which come before those in `config`.
        limit: bytes that a reader may hold; see `asyncio.StreamReader`. Default 64 KiB.
        engine: threads to use. Default: those of the process.

    Leaving ``async with`` closes all connections, as `Server` does.

    Raises:
        ConfigError: a setting cannot be used.
        OSError: the address is taken, or not ours.
    """

    async def handler(connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        async for stream in connection:
            if not stream.writable:
                stream.stop()
                continue
            reader = asyncio.StreamReader(limit=limit, loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)
            try:
                StreamTransport(stream, protocol, owner=False)
            except Exception as error:
                # The other streams of the connection are not to blame.
                stream.reset(_FAILED)
                stream.stop(_FAILED)
                tell_failure(error, connection)

    return StreamServer(await serve(host, port, handler, config=config, tls=tls, engine=engine))

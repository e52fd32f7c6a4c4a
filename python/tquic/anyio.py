"""tquic for anyio: the same connections and streams on asyncio and on trio.

Needs the package `anyio` (``pip install tquic[anyio]``)::

    async with tquic.anyio.connect("example.com", 4433) as conn:
        async with conn.open_stream() as stream:
            await stream.send(b"hello")
            await stream.send_eof()
            print(await stream.receive())

Connections are those of `tquic`; their streams are `anyio.abc.ByteStream` as well.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Self, TypeAlias, cast

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import tquic.connection
import tquic.stream
from tquic._hub import BaseHub
from tquic._wait import Resolved
from tquic.client import plan, resolve
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import QuicError, StreamClosed
from tquic.server import Listener, attend
from tquic.tls import TlsContext, settled

__all__ = ["Connection", "Server", "Stream", "connect", "serve"]


class _Signal:
    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: set[anyio.Event] = set()

    async def wait(self) -> None:
        event = anyio.Event()
        self._events.add(event)
        try:
            await event.wait()
        finally:
            self._events.discard(event)

    def wake(self) -> None:
        for event in self._events:
            event.set()


class _Home(BaseHub):
    """Connections and listeners whose events one task of a task group handles."""

    def __init__(self, engine: Engine | None, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__(engine or Engine.default())
        self.tasks = tasks
        tasks.start_soon(self._handle_events)

    def signal(self) -> _Signal:
        return _Signal()

    def soon(self, call: Callable[[], object]) -> None:
        async def later() -> None:
            call()

        self.tasks.start_soon(later)

    async def within(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        with anyio.move_on_after(seconds) as scope:
            await work
        return not scope.cancelled_caught

    async def resolve(self, host: str, port: int) -> Resolved:
        found: Any = await anyio.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        return cast(Resolved, found)

    async def _handle_events(self) -> None:
        while True:
            await anyio.wait_readable(self.native.fileno())
            self.dispatch()


class Stream(tquic.stream.Stream, anyio.abc.ByteStream):
    """One stream of a connection; see `tquic.Stream`, whose methods it has, too."""

    _closed_here = False

    def __aiter__(self) -> Self:
        """What is received, up to the end."""
        return self

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receives up to `max_bytes` bytes, at least one.

        Raises:
            anyio.EndOfStream: the stream has ended.
            anyio.ClosedResourceError: this end has closed it, or stopped reading.
            anyio.BrokenResourceError: the peer gave it up, or the connection is over. The cause is
                the error of `tquic`.
            anyio.BusyResourceError: another task is receiving.
        """
        await anyio.lowlevel.checkpoint()
        if self._closed_here:
            raise anyio.ClosedResourceError
        if self._in.busy or self._in.file is not None:
            raise anyio.BusyResourceError("receiving from")
        with _translated():
            data = await self.read(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Sends all of `item`; waits until the engine has taken it.

        If it is cancelled, all of it is sent nevertheless.

        Raises:
            anyio.ClosedResourceError: this end has closed or finished it.
            anyio.BrokenResourceError: the peer does not want it, or the connection is over. The
                cause is the error of `tquic`.
        """
        await anyio.lowlevel.checkpoint()
        with _translated():
            await self.write(item)

    async def send_eof(self) -> None:
        """Ends the stream behind what was sent; receiving goes on."""
        with _translated():
            self.finish()
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Ends the stream behind what was sent, and gives up receiving."""
        self._closed_here = True
        if self.writable:
            self.finish()
        if self.readable and not self._in.over:
            self.stop()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Addresses (`SocketAttribute`) and what the handshake agreed on (`TLSAttribute`)."""
        connection = self.connection
        remote, info = connection.remote_address, connection.info
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        return {
            SocketAttribute.family: lambda: family,
            SocketAttribute.remote_address: lambda: remote,
            SocketAttribute.remote_port: lambda: remote[1],
            SocketAttribute.local_address: lambda: info.local,
            SocketAttribute.local_port: lambda: info.local and info.local[1],
            TLSAttribute.alpn_protocol: lambda: info.alpn,
            TLSAttribute.tls_version: lambda: "TLSv1.3",
            TLSAttribute.server_side: lambda: not connection.is_client,
            TLSAttribute.standard_compatible: lambda: True,
            TLSAttribute.peer_certificate_binary: lambda: next(iter(info.peer_certificates), None),
        }


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except StreamClosed as error:
        raise anyio.ClosedResourceError from error
    except QuicError as error:
        raise anyio.BrokenResourceError from error


class Connection(tquic.connection.Connection):
    """A QUIC connection; see `tquic.Connection`. Its streams are `anyio.abc.ByteStream` as well."""

    _stream_type = Stream

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream, which can be written at once; see `tquic.Connection.open_stream`."""
        return cast(Stream, super().open_stream(unidirectional=unidirectional))

    async def accept_stream(self) -> Stream:
        """Waits for the next stream that the peer opens.

        Raises:
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        return cast(Stream, await super().accept_stream())

    async def __anext__(self) -> Stream:
        return cast(Stream, await super().__anext__())


Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Takes care of one connection. When it returns, the connection is closed."""


@contextlib.asynccontextmanager
async def _home(engine: Engine | None) -> AsyncGenerator[_Home, None]:
    """A home as long as the body runs; its errors come out as they are, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield _Home(engine, tasks)
        except Exception as error:
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@contextlib.asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
    wait: bool = True,
) -> AsyncGenerator[Connection, None]:
    """Connects to a server for the time of an ``async with``; see `tquic.connect`.

    Args:
        host: name or numeric address.
        port: UDP port.
        config: settings. Default `Config()`.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        local: numeric address (and port) to send from. Default: a socket shared by all.
        interface: network interface to send through; only together with `local`.
        wait: wait until the handshake is complete; see `tquic.connect`.

    Raises:
        ConnectionClosed: the handshake failed. The subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    config = settled(config, tls, server_side=False)
    how = plan(host, port, config, local, interface, wait)
    async with _home(engine) as home, await how.connect(home, Connection) as connection:
        yield connection


class Server(Listener):
    """A listening server: made by `serve`."""

    _connection_type = Connection

    def __init__(self, home: _Home, handler: Handler, config: Config) -> None:
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
    async with _home(engine) as home:
        address, *_ = await resolve(home, host, port)
        server = Server(home, handler, config)
        server._listen(*address)
        try:
            yield server
        finally:
            server.close()

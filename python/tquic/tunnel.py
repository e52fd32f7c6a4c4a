"""TCP connections through one QUIC connection: ``tquic tunnel``.

The client listens for TCP connections and opens a stream for each; the server connects to the
target that the stream names, if it is one that it forwards to. With several paths (`Config.paths`)
every TCP connection uses all of them.

A stream begins with the length of the target (one byte) and the target (``HOST:PORT``); the
server's side begins with the length of what went wrong (one byte, 0 if nothing) and that text. The
rest is the TCP connection's bytes. The end of one direction ends that direction; a connection that
is reset resets the stream, and the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self

from tquic._units import host_and_port
from tquic.client import connect
from tquic.config import Config
from tquic.connection import Connection
from tquic.engine import Engine
from tquic.errors import ConnectionClosed, QuicError, StreamError
from tquic.stream import Stream

__all__ = ["ALPN", "Client", "Forward", "Forwarder", "target"]

ALPN: Final = "tquic-tunnel"
"""The application protocol; both ends need it in `Config.alpn`."""

# Bytes moved at a time.
_PIECE: Final = 256 * 1024
# Seconds that the server tries to reach a target.
_PATIENCE: Final = 10.0
# Application error code of a stream whose TCP connection was reset.
_RESET: Final = 1
# Seconds between attempts to connect to the server again.
_PAUSES: Final = (0.1, 0.3, 1.0, 2.0)

_logger = logging.getLogger("tquic.tunnel")


class _Refused(Exception):  # noqa: N818 - what happened
    """The server does not forward, with its reason."""


def target(text: str) -> tuple[str, int]:
    """Host and port of a target, written ``HOST:PORT``.

    Raises:
        ValueError: it is no such thing.
    """
    host, port = host_and_port(text)
    if port == 0 or len(text.encode()) > 255:
        raise ValueError(f"{text!r} is no target: write HOST:PORT")
    return host, port


@dataclass(frozen=True)
class Forward:
    """What a client forwards."""

    local: tuple[str, int]
    """Where it listens for TCP connections; port 0 takes a free one."""
    to: str
    """Where the server connects to: ``HOST:PORT``, as the server sees it."""


class Forwarder:
    """The server's side: the handler for `tquic.serve`.

    Args:
        allowed: the targets, each ``HOST:PORT``; a client that names another one is refused.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = {target(text) for text in allowed}

    async def __call__(self, connection: Connection) -> None:
        """Serves a client until its connection ends."""
        async with asyncio.TaskGroup() as group:
            with contextlib.suppress(ConnectionClosed):
                async for stream in connection:
                    group.create_task(_guarded(self._forward(stream)))

    async def _forward(self, stream: Stream) -> None:
        try:
            reader, writer = await self._reach(await _receive_text(stream))
        except _Refused as error:
            _refuse(stream, str(error))
            raise
        await stream.write(b"\0")
        await _join(stream, reader, writer)

    async def _reach(self, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            where = target(text)
        except ValueError as error:
            raise _Refused(str(error)) from None
        if where not in self._allowed:
            raise _Refused(f"{text} is not among what this server forwards to")
        try:
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.open_connection(*where, limit=_PIECE)
        except OSError as error:
            why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
            raise _Refused(f"{text}: {why}") from None


class Client:
    """The client's side: it listens, and keeps a connection to the server; a context manager.

    The connection is made again when it is lost: the TCP connections of the old one are reset, new
    ones wait for it.

    Args:
        server: name or address of the server, and its port.
        forwards: what is forwarded.
        config: settings, with `ALPN` in `Config.alpn`.
        engine: threads to use. Default: those of the process.
    """

    def __init__(
        self,
        server: tuple[str, int],
        forwards: Collection[Forward],
        *,
        config: Config,
        engine: Engine | None = None,
    ) -> None:
        self._server = server
        self._forwards = tuple(forwards)
        self._config = config
        self._engine = engine
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        try:
            # A server that cannot be reached is found out now, not by the first user.
            # The PING comes back when it has taken our certificate, too.
            await (await self._connected()).ping()
            for forward in self._forwards:
                self._listeners.append(await self._listen(forward))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens, in the order of the forwards."""
        return [listener.sockets[0].getsockname()[:2] for listener in self._listeners]

    @property
    def connection(self) -> Connection | None:
        """The connection to the server; `None` before the first."""
        return self._connection

    async def close(self) -> None:
        """Ends everything."""
        for listener in self._listeners:
            listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()

    async def _listen(self, forward: Forward) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(_guarded(self._forward(forward.to, reader, writer)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await asyncio.start_server(accept, *forward.local, limit=_PIECE)

    async def _forward(
        self, to: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            stream = (await self._connected()).open_stream()
            name = to.encode()
            await stream.write(bytes([len(name)]) + name)
            if why := await _receive_text(stream):
                raise _Refused(why)
        except BaseException:
            _reset(writer)
            raise
        await _join(stream, reader, writer)

    async def _connected(self) -> Connection:
        async with self._connecting:
            # The first attempt counts if there never was a connection.
            pauses = iter(_PAUSES if self._connection is not None else ())
            while self._connection is None or self._connection.closed:
                try:
                    self._connection = await connect(
                        *self._server, config=self._config, engine=self._engine
                    )
                except (QuicError, OSError):
                    pause = next(pauses, None)
                    if pause is None:
                        raise
                    await asyncio.sleep(pause)
            return self._connection


async def _guarded(work: Coroutine[Any, Any, None]) -> None:
    """One TCP connection's failure is not another's."""
    try:
        await work
    except (_Refused, QuicError, OSError, asyncio.IncompleteReadError) as error:
        _logger.warning("%s", error)
    except Exception:
        _logger.exception("a connection could not be forwarded")


async def _receive_text(stream: Stream) -> str:
    (length,) = await stream.readexactly(1)
    return (await stream.readexactly(length)).decode(errors="replace")


def _refuse(stream: Stream, why: str) -> None:
    text = why.encode()[:255].decode(errors="ignore").encode()
    stream.write(bytes([len(text)]) + text)
    stream.finish()
    with contextlib.suppress(StreamError):
        stream.stop(_RESET)


async def _join(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Moves bytes both ways until both directions have ended."""
    whole = False
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_to_stream(reader, stream))
            group.create_task(_to_tcp(stream, writer))
        whole = True
    except* (OSError, QuicError) as broken:
        _logger.debug("a connection has ended early: %s", broken.exceptions[0])
    finally:
        if not whole:
            # Whichever broke: the other one is to know.
            _reset(writer)
            _give_up(stream)
    if whole:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a TCP connection so that its peer takes it for no proper end."""
    with contextlib.suppress(OSError):
        # Closing sends RST.
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()


def _give_up(stream: Stream) -> None:
    with contextlib.suppress(QuicError):
        stream.reset(_RESET)
    with contextlib.suppress(QuicError):
        stream.stop(_RESET)


async def _to_stream(reader: asyncio.StreamReader, stream: Stream) -> None:
    while data := await reader.read(_PIECE):
        await stream.write(data)
    stream.finish()


async def _to_tcp(stream: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.read_chunk(_PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()

"""Streams: ordered bytes in one or both directions, with back-pressure that really waits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import operator
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tquic._halves import File, Incoming, Outgoing, Pump, check_code
from tquic.errors import ConnectionClosed, StreamClosed, StreamError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath, WriteableBuffer

    from tquic.connection import Connection

__all__ = ["Stream"]

_NO_FILE: Final = "Not an ordinary file"


class _Written:
    """What `Stream.write` answers: awaiting it is `Stream.drain`, and not awaiting it is fine."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __await__(self) -> Generator[Any, None, None]:
        return self._stream.drain().__await__()


class Stream:
    """One stream of a connection: made by `Connection.open_stream`, or given by iterating it.

    Reading and writing are independent. One task may read at a time; any number may write. All
    methods can be cancelled without losing or repeating a byte, but for those that say otherwise.
    """

    def __init__(self, connection: Connection, number: int, *, early: bool) -> None:
        ours = (number & 1 == 0) == connection._is_client
        one_way = bool(number & 2)
        native, signal = connection._native, connection._home.signal
        limit = connection._config.write_buffer
        self._connection = connection
        self._native = native
        self._id = number
        self._early = early
        # Bytes at its beginning that are not the application's. No reset takes them from a peer
        # that knows RESET_STREAM_AT.
        self._header = 0
        self._in = Incoming(native, number, not (one_way and ours), signal())
        self._out = Outgoing(native, number, not one_way or ours, limit, signal())

    # ---- What it is ----

    @property
    def id(self) -> int:
        """The stream ID (RFC 9000 section 2.1)."""
        return self._id

    @property
    def connection(self) -> Connection:
        """Its connection."""
        return self._connection

    @property
    def readable(self) -> bool:
        """Whether the peer can send on it."""
        return self._in._receives

    @property
    def writable(self) -> bool:
        """Whether this end can send on it."""
        return self._out._sends

    @property
    def early(self) -> bool:
        """Whether it was opened before the handshake was complete.

        What it carried until then is early data: on a server, it may have been replayed by an
        attacker (RFC 9001 section 9.2).
        """
        return self._early

    def __repr__(self) -> str:
        return f"<Stream {self._id}>"

    # ---- Reading ----

    async def read(self, n: int = -1) -> bytes:
        """Reads up to `n` bytes, at least one; all up to the end if `n` is negative.

        Answers ``b""`` at the end of the stream (or if `n` is 0). Without `n` there is no limit: a
        peer that sends for ever fills the memory.

        Raises:
            RuntimeError: another task is reading the stream.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        if n == 0:
            return b""
        incoming = self._in
        if n < 0:
            while not incoming.holds_all():
                await self._more()
            return incoming.take_all()
        return bytes(await self.read_chunk(n))

    async def readexactly(self, n: int) -> bytes:
        """Reads exactly `n` bytes.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; what there was is its `partial`.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
            ValueError: `n` is negative.
        """
        if operator.index(n) < 0:
            raise ValueError("n must not be negative")
        incoming = self._in
        while not incoming.holds(n):
            await self._more()
        if incoming.buffered < n:
            incoming.check()
            raise asyncio.IncompleteReadError(incoming.take_all(), n)
        return b"".join(incoming.take(n))

    async def readuntil(self, separator: bytes = b"\n", *, limit: int = 64 * 1024) -> bytes:
        """Reads up to and with a separator.

        Args:
            separator: one byte or more. Default a line feed.
            limit: bytes in front of the separator at most. Default 64 KiB.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; what there was is its `partial`.
            asyncio.LimitOverrunError: there is no separator within the limit. Nothing was read;
                `consumed` says how many bytes can be without finding the separator in them.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        if not separator:
            raise ValueError("the separator must have a byte at least")
        incoming = self._in
        seen, before, tail = 0, 0, b""
        while True:
            # Only what came since is searched, and what the last piece may have begun.
            while seen < len(incoming.chunks):
                piece = tail + bytes(incoming.chunks[seen])
                start = before - len(tail)
                at = piece.find(separator)
                before = start + len(piece)
                seen += 1
                if at >= 0 and start + at <= limit:
                    return b"".join(incoming.take(start + at + len(separator)))
                tail = piece[len(piece) - min(len(separator) - 1, len(piece)) :]
                if at >= 0 or before - len(tail) > limit:
                    text = "the separator is not within the limit"
                    without = start + at if at >= 0 else before - len(tail)
                    raise asyncio.LimitOverrunError(text, without)
            if incoming.end_seen:
                incoming.check()
                raise asyncio.IncompleteReadError(incoming.take_all(), None)
            incoming.check()
            incoming.let_more_in()
            await self._more()

    async def read_into(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` with what there is, at least one byte; answers how many, 0 at the end.

        Raises:
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        await self._ready()
        size = 0
        for part in self._in.take(min(len(view), self._in.buffered)):
            view[size : size + len(part)] = part
            size += len(part)
        return size

    async def read_chunk(self, n: int = -1) -> bytes | memoryview:
        """Reads a piece as it came, at most `n` bytes unless `n` is negative; ``b""`` at the end.

        Large pieces are read-only views of the engine's memory: nothing was copied. Such a view
        keeps that memory for as long as it lives.

        Raises:
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        await self._ready()
        if not self._in.chunks or n == 0:
            return b""
        size = len(self._in.chunks[0])
        return self._in.take(n if 0 <= n < size else size)[0]

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """The pieces up to the end, each as it came; see `read_chunk`."""
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes | memoryview]:
        while chunk := await self.read_chunk():
            yield chunk

    def at_eof(self) -> bool:
        """Whether everything was read."""
        return self._in.end_seen and not self._in.chunks

    def stop(self, code: int = 0) -> None:
        """Gives up reading and asks the peer to stop sending (STOP_SENDING). What came and was not
        read is dropped.

        Args:
            code: application error code for the peer, below 2^62.

        Raises:
            ValueError: the code is too large or negative.
        """
        check_code(code)
        if self._in.over:
            self._in.take_all()
            return
        self._in.end(StreamClosed("reading was stopped"))
        self._connection._forget(self)
        # It may have ended meanwhile.
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.stop(self._id, code)

    async def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the rest of the stream to a file, without Python; answers how many bytes.

        The file is made if it is not there; what it holds from `offset` on is replaced. To go on
        with an earlier, interrupted transfer, give the size that the file has.

        If it is cancelled, the stream is stopped; the file keeps what has come.

        Args:
            path: the file, no pipe.
            offset: where in the file the first byte goes.

        Raises:
            RuntimeError: another task is reading the stream.
            OSError: the file cannot be written.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        incoming = self._in
        self._check_reader()
        if not incoming.chunks:
            incoming.check()
        name = os.fspath(path)
        if offset < 0:
            raise ValueError("offset must not be negative")
        # Nobody may ever read from it, and the loop would wait.
        if Path(name).is_fifo():
            raise OSError(errno.EINVAL, _NO_FILE, name)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(name, flags, 0o666)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, offset)
            file = File(descriptor, offset)
            position = incoming.position
            for part in incoming.take(incoming.buffered):
                file.write(part)
            if incoming.end_seen:
                return file.written
            incoming.check()
            incoming.file = file
            # Refused if all has crossed already: its events bring the end.
            with contextlib.suppress(StreamClosed):
                self._native.recv_to_file(self._id, name, offset, position)
            while (size := file.result()) is None:
                await incoming.changed.wait()
            return size
        except BaseException:
            incoming.file = None
            self.stop()
            raise
        finally:
            incoming.file = None
            os.close(descriptor)

    # ---- Writing ----

    def write(
        self, data: ReadableBuffer, *, share: bool = False, finish: bool = False
    ) -> Awaitable[None]:
        """Queues bytes for sending. ``await`` the answer, or `drain`, to wait until there is room.

        Memory that cannot change (`bytes`, read-only views) is not copied but referenced until the
        peer has acknowledged it; other memory is copied. All of it is queued, or nothing if this
        raises; cancelling what waits takes nothing back.

        Args:
            data: any object with the buffer protocol.
            share: reference writable memory as well. It must then not change until the stream
                is finished and `wait_finished` has returned.
            finish: the stream ends behind these bytes: the same as `finish` afterwards, for less.

        Raises:
            StreamClosed: this end has finished or reset the stream, or it does not go this way.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
            WriteBufferFull: more than `Config.write_buffer` bytes wait already.
        """
        self._out.write(data, share, finish)
        return _Written(self)

    async def drain(self) -> None:
        """Waits until the engine has taken everything that was written.

        The engine holds up to `Config.send_buffer` bytes of each stream that the peer has not
        acknowledged, so this waits for a peer that does not read.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        while not self._out.drained():
            await self._out.changed.wait()

    def finish(self) -> None:
        """Ends the stream behind what was written. Finishing again does nothing.

        See `write` for the last bytes and the end in one.
        """
        self._out.finish()

    write_eof = finish

    async def wait_finished(self) -> None:
        """Waits until the peer's transport has acknowledged everything, the end included.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        if self._out.ended and not self._out.delivered():
            self._connection._hurry()
        while not self._out.delivered():
            await self._out.changed.wait()

    def reset(self, code: int = 0, *, reliable_size: int = 0) -> None:
        """Gives up sending (RESET_STREAM); what was not delivered is lost.

        Args:
            code: application error code for the peer, below 2^62.
            reliable_size: bytes from the beginning of the stream that are delivered nevertheless
                (RESET_STREAM_AT); see `Connection.can_reset_at`. They must have been written, and
                drained (`drain`).

        Raises:
            StreamClosed: the stream does not go this way.
            StreamError: the peer does not know RESET_STREAM_AT.
            ValueError: the code is too large or negative, or so much was not written.
        """
        check_code(code)
        out = self._out
        out.check_way()
        written = max(0, out.given - self._header)
        if not 0 <= reliable_size <= written:
            raise ValueError(f"reliable_size must be from 0 to the {written} bytes written")
        if reliable_size and not self._connection.can_reset_at:
            raise StreamError("the peer does not know RESET_STREAM_AT")
        if out.acknowledged:
            return
        out.ended = True
        out.end(None)
        self._connection._forget(self)
        self._reset_native(code, reliable_size)

    async def send_file(self, path: StrPath, *, offset: int = 0, size: int | None = None) -> int:
        """Sends (part of) a file, without Python, and finishes the stream; answers how many bytes.

        Returns when all of it has been given to the connection; see `wait_finished`.

        If it is cancelled, the stream is reset.

        Args:
            path: the file, no pipe or device.
            offset: bytes to leave out at its beginning.
            size: bytes to send at most. Default: up to its end.

        Raises:
            StreamClosed: this end has finished or reset the stream, or it does not go this way.
            OSError: the file cannot be read.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        out = self._out
        out.check()
        name = os.fspath(path)
        if offset < 0 or (size is not None and size < 0):
            raise ValueError("offset and size must not be negative")
        # Others have no size, and opening a pipe waits for its other end.
        if not stat.S_ISREG(mode := Path(name).stat().st_mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, _NO_FILE, name)
        await self.drain()
        out.check()
        self._native.send_file(self._id, name, offset, size)
        out.ended = True
        source = out.source = Pump()
        try:
            while (sent := source.result()) is None:
                await out.changed.wait()
            return sent
        except BaseException:
            self.reset()
            raise
        finally:
            out.source = None

    def set_priority(self, urgency: int = 3, *, incremental: bool = False) -> None:
        """Sets when it is served in relation to others (as in RFC 9218).

        Args:
            urgency: 0 is served first, 7 last.
            incremental: share the capacity with others of the same urgency, instead of one after
                the other.
        """
        if not 0 <= urgency <= 7:
            raise ValueError("urgency must be from 0 to 7")
        self._native.set_priority(self._id, urgency, incremental)

    def unacknowledged(self) -> int:
        """Bytes written that the peer has not acknowledged."""
        return self._out.size + self._native.buffered(self._id)

    # ---- Inside ----

    def _check_reader(self) -> None:
        if self._in.busy or self._in.file is not None:
            raise RuntimeError("another task is reading this stream")

    async def _ready(self) -> None:
        """Waits until there is something to read, or the end."""
        while not self._in.ready():
            await self._more()

    async def _more(self) -> None:
        """Waits until something has come."""
        self._check_reader()
        self._in.busy = True
        try:
            await self._in.changed.wait()
        finally:
            self._in.busy = False

    async def _flushed(self) -> None:
        """Waits until the peer's transport has everything that was written."""
        while not self._out.flushed():
            await self._out.changed.wait()

    def _give_up(self, code: int, error: Exception) -> None:
        """Ends what of it has not ended: the peer is told a code, and users get an error."""
        # The transport may have ended either half meanwhile.
        if not self._in.over:
            self._in.end(error)
            with contextlib.suppress(StreamClosed, ConnectionClosed):
                self._native.stop(self._id, code)
        if not self._out.over:
            self._out.end(error)
            self._reset_native(code, 0)
        self._connection._forget(self)

    def _reset_native(self, code: int, reliable_size: int) -> None:
        if self._connection.can_reset_at:
            reliable_size += min(self._header, self._out.given)
        # It may have ended meanwhile.
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.reset(self._id, code, reliable_size)

    @property
    def _over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self._in.over and self._out.over

    def _on_connection_closed(self, error: ConnectionClosed) -> None:
        self._in.end(error)
        self._out.end(error)

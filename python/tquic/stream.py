"""Streams: ordered bytes in one or both directions, with back-pressure that really waits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Generator
from typing import TYPE_CHECKING, Any, Final

from tquic._wait import Waiters
from tquic.errors import ConnectionClosed, StreamClosed, WriteBufferFull

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath, WriteableBuffer

    from tquic.connection import Connection

__all__ = ["Stream"]

# Bytes that were read before the engine is told; it is told in any case when nothing is left.
_REPORT: Final = 64 * 1024
# The most that `readexactly` lets wait until there is enough: less than the engine's window.
_HOLD: Final = 256 * 1024


class _Written:
    """What `Stream.write` answers: awaiting it is `Stream.drain`, and not awaiting it is fine."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __await__(self) -> Generator[Any, None, None]:
        return self._stream.drain().__await__()


class _File:
    """A file into which the stream is being written."""

    __slots__ = ("base", "descriptor", "done", "written")

    def __init__(self, descriptor: int, base: int, done: asyncio.Future[int]) -> None:
        self.descriptor = descriptor
        self.base = base
        self.written = 0
        self.done = done

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            # The engine writes what follows to places behind; so this needs its own, too.
            os.lseek(self.descriptor, self.base + self.written, os.SEEK_SET)
            size = os.write(self.descriptor, view)
            self.written += size
            view = view[size:]


class Stream:
    """One stream of a connection: made by `Connection.open_stream`, or given by iterating it.

    Reading and writing are independent. One task may read at a time; any number may write. All
    methods can be cancelled without losing or repeating a byte, but for those that say otherwise.
    """

    def __init__(self, connection: Connection, number: int, *, early: bool) -> None:
        ours = (number & 1 == 0) == connection.is_client
        one_way = bool(number & 2)
        self._connection = connection
        self._native = connection._native
        self._id = number
        self._early = early
        # Receiving.
        self._chunks: deque[bytes | memoryview] = deque()
        self._buffered = 0
        self._position = 0
        self._unreported = 0
        self._receives = not (one_way and ours)
        self._end_seen = not self._receives
        self._receive_error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._file: _File | None = None
        # Sending.
        self._pending: deque[memoryview] = deque()
        self._pending_size = 0
        self._sends = not one_way or ours
        self._write_ended = not self._sends
        self._acknowledged = not self._sends
        # The engine refuses data, and will say why.
        self._doomed = False
        self._send_error: Exception | None = None
        self._writers = Waiters(connection._loop)
        self._source: asyncio.Future[int] | None = None

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
        return self._receives

    @property
    def writable(self) -> bool:
        """Whether this end can send on it."""
        return self._sends

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

        Answers ``b""`` at the end of the stream (or if `n` is 0).

        Raises:
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        if n == 0:
            return b""
        if n < 0:
            parts = []
            while part := await self.read_chunk():
                parts.append(part)
            return b"".join(parts)
        return bytes(await self.read_chunk(n))

    async def readexactly(self, n: int) -> bytes:
        """Reads exactly `n` bytes.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; what there was is its `partial`.
        """
        if n > _HOLD:
            return await self._read_long(n)
        while self._buffered < n and not self._end_seen:
            self._check_receive()
            await self._wait_readable()
        if self._buffered < n:
            self._check_receive()
            raise asyncio.IncompleteReadError(self._take_all(), n)
        return b"".join(self._take(n))

    async def _read_long(self, n: int) -> bytes:
        """More than the engine gives at a time: it has to be taken as it comes."""
        parts: list[bytes | memoryview] = []
        missing = n
        try:
            while missing:
                part = await self.read_chunk(missing)
                if not part:
                    raise asyncio.IncompleteReadError(b"".join(parts), n)
                parts.append(part)
                missing -= len(part)
        except asyncio.CancelledError:
            self._put_back(parts)
            raise
        return b"".join(parts)

    async def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` with what there is, at least one byte; answers how many, 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not view:
            return 0
        await self._ready()
        size = 0
        for part in self._take(min(len(view), self._buffered)):
            view[size : size + len(part)] = part
            size += len(part)
        return size

    async def read_chunk(self, n: int = -1) -> bytes | memoryview:
        """Reads a piece as it came, at most `n` bytes unless `n` is negative; ``b""`` at the end.

        Large pieces are read-only views of the engine's memory: nothing was copied.
        """
        await self._ready()
        if not self._chunks:
            return b""
        first = self._chunks[0]
        if 0 <= n < len(first):
            return next(iter(self._take(n)))
        return next(iter(self._take(len(first))))

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """The pieces up to the end, each as it came; see `read_chunk`."""
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes | memoryview]:
        while chunk := await self.read_chunk():
            yield chunk

    def at_eof(self) -> bool:
        """Whether everything was read."""
        return self._end_seen and not self._chunks

    def stop(self, code: int = 0) -> None:
        """Gives up reading and asks the peer to stop sending (STOP_SENDING), with this code."""
        if self._receive_over:
            self._take_all()
            return
        self._end_receiving(StreamClosed("reading was stopped"))
        # It may have ended meanwhile.
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.stop(self._id, code)

    async def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the rest of the stream to a file, without Python; answers how many bytes.

        The file is made if it is not there; what it holds from `offset` on is replaced. To go on
        with an earlier, interrupted transfer, give the size that the file has.

        If it is cancelled, the stream is stopped; the file keeps what has come.

        Raises:
            OSError: the file cannot be written.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        if self._reader is not None or self._file is not None:
            raise RuntimeError("another task is reading this stream")
        if not self._chunks:
            self._check_receive()
        name = os.fspath(path)
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(name, flags, 0o666)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, offset)
            done: asyncio.Future[int] = self._connection._loop.create_future()
            file = _File(descriptor, offset, done)
            position = self._position
            for part in self._take(self._buffered):
                file.write(part)
            if self._end_seen:
                return file.written
            self._file = file
            # Refused if all has crossed already: its events bring the end.
            with contextlib.suppress(StreamClosed):
                self._native.recv_to_file(self._id, name, offset, position)
            return await done
        except BaseException:
            self._file = None
            self.stop()
            raise
        finally:
            self._file = None
            os.close(descriptor)

    # ---- Writing ----

    def write(self, data: ReadableBuffer, *, share: bool = False) -> Awaitable[None]:
        """Queues bytes for sending. ``await`` the answer, or `drain`, to wait until there is room.

        Memory that cannot change (`bytes`, read-only views) is not copied but referenced until the
        peer has acknowledged it; other memory is copied.

        Args:
            data: any object with the buffer protocol.
            share: reference writable memory as well. It must then not change until the stream
                is finished and `wait_finished` has returned.

        Raises:
            StreamClosed: this end has finished or reset the stream, or it does not go this way.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
            WriteBufferFull: more than `Config.write_buffer` bytes wait already.
        """
        self._check_send()
        if self._doomed:
            return _Written(self)
        if self._pending:
            if self._pending_size > self._connection.config.write_buffer:
                raise WriteBufferFull(
                    f"{self._pending_size} bytes wait to be sent; await write() or drain()"
                )
            self._keep(memoryview(data).cast("B"), share)
            return _Written(self)
        size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        written = self._offer(data, share)
        if written is not None and written < size:
            self._keep(memoryview(data).cast("B")[written:], share)
        return _Written(self)

    async def drain(self) -> None:
        """Waits until the engine has taken everything that was written.

        The engine holds up to `Config.send_buffer` bytes of each stream that the peer has not
        acknowledged, so this waits for a peer that does not read.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        while self._pending or self._doomed:
            if self._send_error is not None:
                raise self._send_error
            await self._writers.wait()
        if self._send_error is not None:
            raise self._send_error

    def finish(self) -> None:
        """Ends the stream behind what was written. Finishing again does nothing."""
        if self._write_ended:
            if not self._sends:
                raise StreamClosed("the stream does not go this way")
            return
        self._write_ended = True
        if not self._pending and not self._doomed:
            self._finish_native()

    write_eof = finish

    async def wait_finished(self) -> None:
        """Waits until the peer's transport has acknowledged everything, the end included.

        Raises:
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        while not self._acknowledged:
            if self._send_error is not None:
                raise self._send_error
            await self._writers.wait()

    def reset(self, code: int = 0) -> None:
        """Gives up sending, with this code for the peer; what was not delivered is lost."""
        if not self._sends:
            raise StreamClosed("the stream does not go this way")
        if self._acknowledged:
            return
        self._write_ended = True
        self._end_sending(None)
        if self._source is not None and not self._source.done():
            self._source.set_exception(StreamClosed("the stream was reset"))
        # It may have ended meanwhile.
        with contextlib.suppress(StreamClosed, ConnectionClosed):
            self._native.reset(self._id, code)

    async def send_file(self, path: StrPath, *, offset: int = 0, size: int | None = None) -> int:
        """Sends (part of) a file, without Python, and finishes the stream; answers how many bytes.

        Returns when all of it has been given to the connection; see `wait_finished`.

        If it is cancelled, the stream is reset.

        Raises:
            OSError: the file cannot be read.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        self._check_send()
        await self.drain()
        self._check_send()
        self._native.send_file(self._id, os.fspath(path), offset, size)
        self._write_ended = True
        self._source = self._connection._loop.create_future()
        try:
            return await self._source
        except BaseException:
            self.reset()
            raise
        finally:
            self._source = None

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
        return self._pending_size + self._native.buffered(self._id)

    # ---- Inside: receiving ----

    @property
    def _receive_over(self) -> bool:
        return self._end_seen or self._receive_error is not None

    def _check_receive(self) -> None:
        if self._receive_error is not None:
            raise self._receive_error
        if not self._receives:
            raise StreamClosed("the stream does not go this way")

    async def _ready(self) -> None:
        """Waits until there is something to read, or the end."""
        while not self._chunks:
            self._check_receive()
            if self._end_seen:
                return
            await self._wait_readable()

    async def _wait_readable(self) -> None:
        if self._reader is not None or self._file is not None:
            raise RuntimeError("another task is reading this stream")
        self._reader = self._connection._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _take(self, n: int) -> list[bytes | memoryview]:
        """Exactly `n` bytes, which are there."""
        parts: list[bytes | memoryview] = []
        missing = n
        while missing:
            first = self._chunks[0]
            if len(first) > missing:
                view = memoryview(first)
                self._chunks[0] = view[missing:]
                parts.append(view[:missing])
                break
            parts.append(self._chunks.popleft())
            missing -= len(first)
        self._buffered -= n
        self._position += n
        self._report(n)
        return parts

    def _put_back(self, parts: list[bytes | memoryview]) -> None:
        size = sum(map(len, parts))
        self._chunks.extendleft(reversed(parts))
        self._buffered += size
        self._position -= size
        # They were reported already.
        self._unreported -= size

    def _take_all(self) -> bytes:
        return b"".join(self._take(self._buffered))

    def _report(self, n: int) -> None:
        self._unreported += n
        if self._unreported > 0 and (not self._buffered or self._unreported >= _REPORT):
            self._native.consumed(self._id, self._unreported)
            self._unreported = 0

    def _on_data(self, data: bytes | memoryview, fin: bool) -> None:
        size = len(data)
        if self._receive_error is not None:
            self._report(size)
        elif self._file is not None:
            self._position += size
            self._report(size)
            self._write_file(self._file, data, fin)
        else:
            if size:
                self._chunks.append(data)
                self._buffered += size
            self._wake_reader()
        if fin:
            self._end_seen = True
            self._connection._forget(self)

    def _write_file(self, file: _File, data: bytes | memoryview, fin: bool) -> None:
        if file.done.done():
            return
        try:
            file.write(data)
        except OSError as error:
            file.done.set_exception(error)
        else:
            if fin:
                file.done.set_result(file.written)

    def _end_receiving(self, error: Exception) -> None:
        if self._receive_over:
            return
        self._receive_error = error
        if not isinstance(error, ConnectionClosed):
            self._take_all()
        if self._file is not None and not self._file.done.done():
            self._file.done.set_exception(error)
        self._wake_reader()
        self._connection._forget(self)

    # ---- Inside: sending ----

    def _check_send(self) -> None:
        if self._send_error is not None:
            raise self._send_error
        if self._write_ended:
            raise StreamClosed(
                "the stream was finished or reset"
                if self._sends
                else "the stream does not go this way"
            )

    def _offer(self, data: ReadableBuffer, share: bool) -> int | None:
        """Gives data to the engine; answers how much it took, nothing if it wants none any more."""
        try:
            return self._native.write(self._id, data, share)
        except (StreamClosed, ConnectionClosed):
            # The event that says why is on its way.
            self._doomed = True
            return None

    def _keep(self, view: memoryview, share: bool) -> None:
        if not view.readonly and not share:
            view = memoryview(bytes(view))
        if view:
            self._pending.append(view)
            self._pending_size += len(view)

    def _finish_native(self) -> None:
        try:
            self._native.finish(self._id)
        except (StreamClosed, ConnectionClosed):
            self._doomed = True

    def _on_writable(self) -> None:
        while self._pending:
            view = self._pending[0]
            written = self._offer(view, True)
            if written is None:
                return
            self._pending_size -= written
            if written < len(view):
                self._pending[0] = view[written:]
                return
            self._pending.popleft()
            if not self._pending and self._write_ended:
                self._finish_native()
        self._writers.wake()

    def _on_finished(self) -> None:
        self._acknowledged = True
        self._writers.wake()
        self._connection._forget(self)

    def _end_sending(self, error: Exception | None) -> None:
        if self._acknowledged:
            return
        self._acknowledged = error is None
        self._send_error = error
        self._doomed = False
        self._pending.clear()
        self._pending_size = 0
        if error is not None and self._source is not None and not self._source.done():
            self._source.set_exception(error)
        self._writers.wake()
        self._connection._forget(self)

    def _on_pumped(self, outgoing: bool, size: int, error: Exception | None) -> None:
        if outgoing:
            if self._source is not None and not self._source.done():
                if error is None:
                    self._source.set_result(size)
                else:
                    self._source.set_exception(error)
            return
        if error is not None:
            self._end_receiving(error)
            return
        self._end_seen = True
        if self._file is not None and not self._file.done.done():
            self._file.done.set_result(self._file.written + size)
        self._connection._forget(self)

    # ---- Inside: both ----

    @property
    def _over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self._receive_over and (self._acknowledged or self._send_error is not None)

    async def _flushed(self) -> None:
        """Waits until the peer's transport has everything that was written."""
        await self.drain()
        if self._write_ended:
            await self.wait_finished()
            return
        while not self._native.notify_below(self._id, 0):
            await self._writers.wait()
            self._check_send()

    def _on_connection_closed(self, error: ConnectionClosed) -> None:
        self._end_receiving(error)
        self._end_sending(error)

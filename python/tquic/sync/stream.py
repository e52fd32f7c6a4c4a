"""Streams that block."""

from __future__ import annotations

import io
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

import tquic.stream
from tquic.sync._home import Threads

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath, WriteableBuffer

    from tquic.sync.connection import Connection

__all__ = ["Stream"]

T = TypeVar("T")


class Owner(Protocol):
    """What streams belong to."""

    _home: Threads

    def gettimeout(self) -> float | None:
        """For how long its streams wait at first."""

    def fileno(self) -> int:
        """What to poll."""
        raise NotImplementedError

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        raise NotImplementedError


class BaseStream:
    """What all streams that block can do."""

    def __init__(self, owner: Owner, inner: tquic.stream.Stream) -> None:
        self._owner = owner
        self._home = owner._home
        self._inner = inner
        self._timeout = owner.gettimeout()

    @property
    def id(self) -> int:
        """The stream ID (RFC 9000 section 2.1)."""
        return self._inner.id

    @property
    def readable(self) -> bool:
        """Whether the peer can send on it."""
        return self._inner.readable

    @property
    def writable(self) -> bool:
        """Whether this end can send on it."""
        return self._inner.writable

    @property
    def early(self) -> bool:
        """Whether it was opened before the handshake was complete; see `tquic.Stream.early`."""
        return self._inner.early

    def __repr__(self) -> str:
        return repr(self._inner)

    def settimeout(self, timeout: float | None) -> None:
        """Sets for how long its methods wait.

        Args:
            timeout: seconds; `None` is for ever, 0 is not at all. Default that of the connection
                when the stream was opened or accepted.
        """
        self._timeout = _checked(timeout)

    def gettimeout(self) -> float | None:
        """For how long its methods wait; see `settimeout`."""
        return self._timeout

    def fileno(self) -> int:
        """The descriptor of its connection; see `Connection.fileno`."""
        return self._owner.fileno()

    # ---- Reading ----

    def read(self, n: int = -1) -> bytes:
        """Reads up to `n` bytes, at least one; all up to the end if `n` is negative.

        Answers ``b""`` at the end of the stream (or if `n` is 0).

        Raises:
            TimeoutError: nothing came (or not the end). Nothing is lost.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        return self._run(self._inner.read(n))

    def readexactly(self, n: int) -> bytes:
        """Reads exactly `n` bytes.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; what there was is its `partial`.
                It is an `EOFError`.
            TimeoutError: not so many came. Nothing is lost.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        return self._run(self._inner.readexactly(n))

    def readuntil(self, separator: bytes = b"\n", *, limit: int = 64 * 1024) -> bytes:
        """Reads up to and with a separator; see `tquic.Stream.readuntil`.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; what there was is its `partial`.
            asyncio.LimitOverrunError: there is no separator within the limit. Nothing was read.
            TimeoutError: no separator came. Nothing is lost.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        return self._run(self._inner.readuntil(separator, limit=limit))

    def read_into(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer` with what there is, at least one byte; answers how many, 0 at the end."""
        return self._run(self._inner.read_into(buffer))

    def read_chunk(self, n: int = -1) -> bytes | memoryview:
        """Reads a piece as it came, at most `n` bytes unless that is < 0; ``b""`` at the end."""
        return self._run(self._inner.read_chunk(n))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """The pieces up to the end, each as it came; see `read_chunk`."""
        while chunk := self.read_chunk():
            yield chunk

    def pending(self) -> int:
        """Bytes that can be read without waiting, and that `fileno` does not tell of any more."""
        return self._inner._in.buffered

    def at_eof(self) -> bool:
        """Whether everything was read."""
        return self._inner.at_eof()

    def stop(self, code: int = 0) -> None:
        """Gives up reading and asks the peer to stop sending (STOP_SENDING). What came and was not
        read is dropped.

        Args:
            code: application error code for the peer, below 2^62.

        Raises:
            ValueError: the code is too large or negative.
        """
        with self._home.lock:
            self._inner.stop(code)

    def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the rest of the stream to a file, without Python; see `tquic.Stream.recv_to_file`.

        Raises:
            TimeoutError: it took too long. The stream is stopped; the file keeps what has come.
            OSError: the file cannot be written.
            StreamReset: the peer gave the stream up.
            ConnectionClosed: the connection ended before the stream.
        """
        return self._run(self._inner.recv_to_file(path, offset=offset))

    # ---- Writing ----

    def write(self, data: ReadableBuffer, *, share: bool = False, finish: bool = False) -> int:
        """Writes all of `data`, and waits until the engine has taken it; answers its length.

        See `tquic.Stream.write` for what is copied. With `finish` the stream ends behind it. With a
        timeout of 0 all of it is taken at once unless earlier data waits.

        Raises:
            TimeoutError: the engine has not taken all of it; the rest stays queued and must not be
                written again; `drain` waits for it.
            BlockingIOError: the timeout is 0 and earlier data waits. Nothing was written.
            WriteBufferFull: more than `Config.write_buffer` bytes wait already. Nothing was
                written.
            StreamClosed: this end has finished or reset the stream, or it does not go this way.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        size = memoryview(data).nbytes
        with self._home.lock:
            if self._timeout == 0 and self._inner._out.pending:
                self._home.dispatch()
                if self._inner._out.pending:
                    raise BlockingIOError("earlier data waits to be sent")
            self._inner.write(data, share=share, finish=finish)
            if self._timeout == 0 or not self._inner._out.pending:
                return size
        self._run(self._inner.drain())
        return size

    def drain(self) -> None:
        """Waits until the engine has taken everything that was written.

        Raises:
            TimeoutError: it has not.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        self._run(self._inner.drain())

    def finish(self) -> None:
        """Ends the stream behind what was written. Finishing again does nothing."""
        with self._home.lock:
            self._inner.finish()

    write_eof = finish

    def wait_finished(self) -> None:
        """Waits until the peer's transport has acknowledged everything, the end included.

        Raises:
            TimeoutError: it has not.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        self._run(self._inner.wait_finished())

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
        with self._home.lock:
            self._inner.reset(code, reliable_size=reliable_size)

    def send_file(self, path: StrPath, *, offset: int = 0, size: int | None = None) -> int:
        """Sends (part of) a file, without Python, and finishes the stream; answers how many bytes.

        Raises:
            TimeoutError: it took too long. The stream is reset.
            OSError: the file cannot be read.
            StreamStopped: the peer does not want it.
            ConnectionClosed: the connection is over.
        """
        return self._run(self._inner.send_file(path, offset=offset, size=size))

    def set_priority(self, urgency: int = 3, *, incremental: bool = False) -> None:
        """Sets when it is served in relation to others; see `tquic.Stream.set_priority`."""
        with self._home.lock:
            self._inner.set_priority(urgency, incremental=incremental)

    def unacknowledged(self) -> int:
        """Bytes written that the peer has not acknowledged."""
        with self._home.lock:
            return self._inner.unacknowledged()

    # ---- As a file ----

    @overload
    def makefile(self, mode: Literal["rb"] = "rb", buffering: int = -1) -> io.BufferedReader: ...
    @overload
    def makefile(self, mode: Literal["wb"], buffering: int = -1) -> io.BufferedWriter: ...

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BufferedIOBase:
        """A file object for reading (``"rb"``) or writing (``"wb"``) the stream.

        As with sockets, closing it does not end the stream: `finish` does.

        Args:
            mode: the direction.
            buffering: bytes of its buffer, at least 1. Default `io.DEFAULT_BUFFER_SIZE`.
        """
        if mode not in ("rb", "wb"):
            raise ValueError("mode must be 'rb' or 'wb'")
        raw = _Raw(self, writing=mode == "wb")
        size = io.DEFAULT_BUFFER_SIZE if buffering < 0 else buffering
        return io.BufferedWriter(raw, size) if mode == "wb" else io.BufferedReader(raw, size)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._owner._run(work, self._timeout)


class Stream(BaseStream):
    """One stream of a connection: made by `Connection.open_stream`, or given by iterating it.

    What waits does so for the stream's timeout (`settimeout`) at most, and raises `TimeoutError`
    then, or `BlockingIOError` if the timeout is 0. One thread may read at a time; any number may
    write.
    """

    def __init__(self, connection: Connection, inner: tquic.stream.Stream) -> None:
        super().__init__(connection, inner)
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """Its connection."""
        return self._connection


class _Raw(io.RawIOBase):
    """A stream, one way, as a file."""

    def __init__(self, stream: BaseStream, *, writing: bool) -> None:
        self._stream = stream
        self._writing = writing

    def readable(self) -> bool:
        return not self._writing

    def writable(self) -> bool:
        return self._writing

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        try:
            return self._stream.read_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: ReadableBuffer, /) -> int | None:
        try:
            return self._stream.write(data)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        return self._stream.fileno()


def _checked(timeout: float | None) -> float | None:
    if timeout is not None and not timeout >= 0:
        raise ValueError("the timeout must not be negative")
    return timeout

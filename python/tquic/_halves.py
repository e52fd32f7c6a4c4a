"""The two halves of a stream as values that change: nothing here waits."""

from __future__ import annotations

import operator
import os
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from tquic._kinds import check_kind
from tquic.errors import ConnectionClosed, StreamClosed, WriteBufferFull

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tquic import _engine
    from tquic._wait import Signal

__all__ = ["File", "Incoming", "Outgoing", "Pump", "Share", "check_code", "encode_reason"]

# Bytes that were read before the engine is told; it is told in any case when nothing is left.
_REPORT: Final = 64 * 1024

_WRONG_WAY: Final = "the stream does not go this way"


def check_code(code: int) -> None:
    """Application error codes are variable-length integers (RFC 9000 section 20.2)."""
    if not 0 <= operator.index(code) < 1 << 62:
        raise ValueError("code must be from 0 to 2^62-1")


def encode_reason(reason: str) -> bytes:
    """Reasons are UTF-8 (RFC 9000 section 19.19).

    Raises:
        TypeError: it is no text.
    """
    check_kind("reason", reason, str)
    return reason.encode("utf-8", "replace")


class Pump:
    """A transfer that runs in the engine: how it ended, once it has."""

    __slots__ = ("error", "size")

    def __init__(self) -> None:
        self.size: int | None = None
        self.error: Exception | None = None

    def finish(self, size: int, error: Exception | None) -> None:
        """It ended. Only the first end counts."""
        if self.size is None and self.error is None:
            self.error = error
            self.size = size if error is None else None

    def result(self) -> int | None:
        """The bytes it moved; `None` while it runs."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.size


class File(Pump):
    """A file into which a stream is being written."""

    __slots__ = ("base", "descriptor", "written")

    def __init__(self, descriptor: int, base: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.base = base
        self.written = 0

    def write(self, data: bytes | memoryview) -> None:
        """Puts behind what was written here before."""
        view = memoryview(data)
        while view:
            # The engine writes what follows to places behind; so this needs its own, too.
            os.lseek(self.descriptor, self.base + self.written, os.SEEK_SET)
            size = os.write(self.descriptor, view)
            self.written += size
            view = view[size:]

    def write_event(self, data: bytes | memoryview, fin: bool) -> None:
        """The same for what had crossed when the engine took over."""
        if self.size is not None or self.error is not None:
            return
        try:
            self.write(data)
        except OSError as error:
            self.finish(0, error)
        else:
            if fin:
                self.finish(self.written, None)


class Share(Protocol):
    """A stream's part of limits that it has in common with some others, beside those of QUIC."""

    @property
    def room(self) -> int:
        """Bytes that may be sent now."""
        raise NotImplementedError

    def sent(self, n: int) -> None:
        """So many were sent."""

    def wants_more(self) -> bool:
        """There are more to be sent than there was room for. Whether there is some now; if not,
        `Outgoing.on_writable` is called when there may be."""
        raise NotImplementedError

    def consumed(self, n: int) -> None:
        """Bytes that came were used."""


class Incoming:
    """What comes in on a stream, and was not read yet."""

    __slots__ = (
        *("_native", "_number", "_receives", "_unreported"),
        *("buffered", "busy", "changed", "chunks", "end_seen", "error", "file", "position"),
        "share",
    )

    def __init__(
        self, native: _engine.Connection, number: int, receives: bool, changed: Signal
    ) -> None:
        self._native = native
        self._number = number
        self._receives = receives
        self.changed = changed
        self.chunks: deque[bytes | memoryview] = deque()
        # Bytes in there, and bytes taken out so far.
        self.buffered = 0
        self.position = 0
        # Bytes taken out that the engine was not told of. Negative: it was told of more.
        self._unreported = 0
        self.end_seen = not receives
        self.error: Exception | None = None
        # A task reads just now.
        self.busy = False
        self.file: File | None = None
        self.share: Share | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.end_seen or self.error is not None

    def check(self) -> None:
        """Raises if nothing more will come because something went wrong."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        if not self._receives:
            raise StreamClosed(_WRONG_WAY)

    def ready(self) -> bool:
        """Whether there is something to read, or the end."""
        if self.chunks:
            return True
        self.check()
        return self.end_seen

    def holds(self, n: int) -> bool:
        """Whether `n` bytes are there, or the end; else has the engine deliver more."""
        if self.buffered >= n or self.end_seen:
            return True
        self.check()
        self.let_more_in()
        return False

    def holds_all(self) -> bool:
        """Whether everything up to the end is there; else has the engine deliver more."""
        self.check()
        if self.end_seen:
            return True
        self.let_more_in()
        return False

    def let_more_in(self) -> None:
        """The reader needs more than is there: it must not count against what the engine gives,
        or readers of many streams would wait for each other's rest."""
        held = self.buffered + self._unreported
        if held > 0:
            self._consumed(held)
            self._unreported -= held

    def take(self, n: int) -> list[bytes | memoryview]:
        """Exactly `n` bytes, which are there."""
        chunks = self.chunks
        parts: list[bytes | memoryview] = []
        missing = n
        while missing:
            first = chunks[0]
            if len(first) > missing:
                view = memoryview(first)
                chunks[0] = view[missing:]
                parts.append(view[:missing])
                break
            parts.append(chunks.popleft())
            missing -= len(first)
        self.buffered -= n
        self.position += n
        self._report(n)
        return parts

    def take_all(self) -> bytes:
        """Everything that is there."""
        return b"".join(self.take(self.buffered))

    def _report(self, n: int) -> None:
        n += self._unreported
        if n > 0 and (not self.buffered or n >= _REPORT):
            self._unreported = 0
            self._consumed(n)
        else:
            self._unreported = n

    def _consumed(self, n: int) -> None:
        self._native.consumed(self._number, n)
        if self.share is not None:
            self.share.consumed(n)

    def on_data(self, data: bytes | memoryview, fin: bool) -> None:
        size = len(data)
        if fin:
            self.end_seen = True
        if self.error is not None:
            self._report(size)
        elif self.file is not None:
            self.position += size
            self._report(size)
            self.file.write_event(data, fin)
        elif size:
            self.chunks.append(data)
            self.buffered += size
        self.changed.wake()

    def on_pumped(self, size: int, error: Exception | None) -> None:
        if error is not None:
            self.end(error)
            return
        self.end_seen = True
        if self.file is not None:
            self.file.finish(self.file.written + size, None)
        self.changed.wake()

    def end(self, error: Exception, promised: int = 0) -> None:
        """Nothing more comes. What is there can be read if only the connection ended, or if the
        peer promised it: bytes of the stream, from its beginning."""
        if self.over:
            return
        self.error = error
        if not isinstance(error, ConnectionClosed) and self.position >= promised:
            self.take_all()
        if self.file is not None:
            self.file.finish(0, error)
        self.changed.wake()


class Outgoing:
    """What goes out on a stream, and was not given to the engine yet."""

    __slots__ = (
        *("_limit", "_native", "_number", "_sends"),
        *("acknowledged", "changed", "doomed", "ended", "error", "given", "pending", "size"),
        *("share", "source"),
    )

    def __init__(
        self, native: _engine.Connection, number: int, sends: bool, limit: int, changed: Signal
    ) -> None:
        self._native = native
        self._number = number
        self._sends = sends
        self._limit = limit
        self.changed = changed
        self.pending: deque[memoryview] = deque()
        # Bytes in there, and bytes that the engine has taken.
        self.size = 0
        self.given = 0
        self.ended = not sends
        self.acknowledged = not sends
        # The engine refuses data, and will say why.
        self.doomed = False
        self.error: Exception | None = None
        self.source: Pump | None = None
        self.share: Share | None = None

    @property
    def over(self) -> bool:
        """Whether nothing can happen any more."""
        return self.acknowledged or self.error is not None

    def check_way(self) -> None:
        """Raises if this end never sends."""
        if not self._sends:
            raise StreamClosed(_WRONG_WAY)

    def check(self) -> None:
        """Raises if nothing can be written."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self.ended:
            self.check_way()
            raise StreamClosed("the stream was finished or reset")

    def write(
        self, data: ReadableBuffer, share: bool, finish: bool = False, limit: int | None = None
    ) -> None:
        """Gives data to the engine, and keeps what it does not take yet; with `finish` it is the
        last."""
        self.check()
        if self.doomed:
            pass
        elif self.pending:
            if self.size > (self._limit if limit is None else limit):
                raise WriteBufferFull(
                    f"{self.size} bytes wait to be sent; await write() or drain()"
                )
            self._keep(memoryview(data).cast("B"), share)
        else:
            size = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
            written = self._offer(data, share, finish)
            if written is not None and written < size:
                self._keep(memoryview(data).cast("B")[written:], share)
        if finish:
            self.ended = True

    def _offer(self, data: ReadableBuffer, share: bool, last: bool) -> int | None:
        """Answers how much the engine took, nothing if it wants none any more. If it takes all, and
        that is the last, the stream ends there."""
        if self.share is not None:
            return self._offer_share(self.share, memoryview(data).cast("B"), share, last)
        return self._give(data, share, last)

    def _offer_share(self, limits: Share, view: memoryview, share: bool, last: bool) -> int | None:
        """The same for no more than the stream may send."""
        written = 0
        while True:
            part = view[written : written + limits.room]
            whole = written + len(part) == len(view)
            given = self._give(part, share, last and whole) if part or not view else 0
            if given is None:
                return None
            limits.sent(given)
            written += given
            # If the engine has no room, it will tell.
            if given < len(part) or written == len(view) or not limits.wants_more():
                return written

    def _give(self, data: ReadableBuffer, share: bool, last: bool) -> int | None:
        try:
            written = self._native.write(self._number, data, share, last)
        except (StreamClosed, ConnectionClosed):
            # The event that says why is on its way.
            self.doomed = True
            return None
        self.given += written
        return written

    def _keep(self, view: memoryview, share: bool) -> None:
        if not view.readonly and not share:
            view = memoryview(bytes(view))
        if view:
            self.pending.append(view)
            self.size += len(view)

    def drained(self) -> bool:
        """Whether the engine has everything."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return not self.pending and not self.doomed

    def delivered(self) -> bool:
        """Whether the peer has everything, the end included."""
        if self.error is not None and not self.acknowledged:
            raise self.error.with_traceback(None)
        return self.acknowledged

    def flushed(self) -> bool:
        """Whether the peer has everything that was written; if not, `changed` will tell."""
        if self.ended:
            return self.delivered()
        if not self.drained():
            return False
        return self._native.notify_below(self._number, 0)

    def finish(self) -> None:
        """No more will be written."""
        self.check_way()
        if self.ended:
            return
        self.ended = True
        if not self.pending and not self.doomed:
            self._finish_native()

    def _finish_native(self) -> None:
        try:
            self._native.finish(self._number)
        except (StreamClosed, ConnectionClosed):
            self.doomed = True

    def on_writable(self) -> None:
        pending = self.pending
        while pending:
            view = pending[0]
            written = self._offer(view, True, self.ended and len(pending) == 1)
            if written is None:
                return
            self.size -= written
            if written < len(view):
                pending[0] = view[written:]
                break
            pending.popleft()
        self.changed.wake()

    def on_finished(self) -> None:
        self.acknowledged = True
        self.changed.wake()

    def on_pumped(self, size: int, error: Exception | None) -> None:
        if self.source is not None:
            self.source.finish(size, error)
            self.changed.wake()

    def end(self, error: Exception | None) -> None:
        """Nothing more goes out; without an error, by our own wish."""
        if self.acknowledged:
            return
        self.acknowledged = error is None
        self.error = error
        self.doomed = False
        self.pending.clear()
        self.size = 0
        if self.source is not None:
            self.source.finish(0, error or StreamClosed("the stream was reset"))
        self.changed.wake()

"""One request and its response on their stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tquic._halves import Outgoing
from tquic._wait import Waiters
from tquic.errors import ConnectionClosed, QuicError, StreamClosed, WriteBufferFull
from tquic.h3.errors import ErrorCode, LocalProtocolError
from tquic.h3.events import Request
from tquic.h3.prepared import Prepared
from tquic.h3.server._answer import Answer, Line, Part, problem

if TYPE_CHECKING:
    from tquic.h3.server._connection import ServerConnection

__all__ = ["Disconnected", "Exchange"]

# Bytes up to which the header section, the frame header and the body are joined to one write.
_JOIN: Final = 64 * 1024


class Disconnected(OSError):  # noqa: N818 - what happened
    """The client has given the request up, or its connection is over."""


class Exchange:
    """One request of a client, and the response to it.

    Nothing here is a task: events of the connection come through the methods ``on_...``, and a
    responder calls the others.
    """

    __slots__ = (
        *("_changed", "_chunks", "_connection", "_out", "_held", "_pumped"),
        *("acknowledged", "early", "ended", "error", "id", "request", "received", "started"),
        *("size", "status", "task", "trailers", "written"),
    )

    def __init__(self, connection: ServerConnection, request: Request, *, early: bool) -> None:
        self._connection = connection
        self.id = request.stream_id
        self.request = request
        # Whether the request came as early data, which may have been replayed.
        self.early = early
        self.started = time.monotonic()
        # What came of the body and was not taken, and bytes of it that the engine was not told of.
        self._chunks: deque[memoryview] = deque()
        self._held = 0
        # Bytes of the body that have come.
        self.size = 0
        self.received = False
        self.trailers: list[Line] | None = None
        # Why nothing more comes or goes.
        self.error: Disconnected | None = None
        # The status that was sent, bytes of the body that were, and whether that was all.
        self.status = 0
        self.written = 0
        self.ended = False
        self.acknowledged = False
        self._out: Outgoing | None = None
        self._pumped: asyncio.Future[None] | None = None
        # Who waits for something to change.
        self._changed: Waiters | None = None
        # Ends with the exchange.
        self.task: asyncio.Task[None] | None = None

    # ---- Facts ----

    @property
    def connection(self) -> ServerConnection:
        """Its connection."""
        return self._connection

    @property
    def head(self) -> bool:
        """Whether the response must have no body (RFC 9110 section 9.3.2)."""
        return self.request.method == b"HEAD"

    # ---- The request's body ----

    async def read(self) -> bytes | memoryview:
        """The next piece of the body as it came; ``b""`` at its end.

        Raises:
            Disconnected: the client gave up before.
        """
        while not self._chunks:
            if self.received:
                return b""
            self._check()
            await self._wait()
        chunk = self._chunks.popleft()
        self._held -= len(chunk)
        self._connection.credit(self.id, len(chunk))
        return chunk

    async def wait_end(self) -> None:
        """Waits until the client has gone, or the response is complete."""
        while self.error is None and not self.ended:
            await self._wait()

    def at_end(self) -> bool:
        """Whether all of the body was read."""
        return self.received and not self._chunks

    @property
    def full(self) -> bool:
        """Whether `drain` would wait."""
        return self._out is not None and not self.ended

    @property
    def under_way(self) -> bool:
        """Whether the response is still being made, or a file for it read."""
        return not self.ended or (self._pumped is not None and not self._pumped.done())

    @property
    def wants_body(self) -> bool:
        """Whether somebody may still read the body."""
        return self.error is None and not self.ended

    # ---- The response ----

    def answer(self, answer: Answer | Prepared) -> None:
        """Sends a whole response.

        Raises:
            Disconnected: the client has gone.
        """
        h3 = self._connection.h3
        if isinstance(answer, Prepared):
            self._check()
            data = h3.send_prepared(self.id, answer)
            self.status = answer.status
            self.written = 0 if self.head else answer.body_size
            self._put(data, end=True)
            return
        if answer.descriptor is None:
            body = b"".join(part for part in answer.parts if isinstance(part, bytes))
            self.send_whole(answer.status, answer.fields, body, end=True)
            return
        try:
            self.send_head(answer.status, answer.fields)
            self.send_parts(answer.parts, answer.size, end=True)
        finally:
            answer.close()

    def send_informational(self, status: int, fields: Sequence[Line]) -> None:
        """Sends an interim response (RFC 9110 section 15.2).

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        lines = [(b":status", b"%d" % status), *fields]
        head = self._connection.h3.send_informational(self.id, lines)
        self._connection.send_instructions()
        self._put(head, end=False)

    def send_head(self, status: int, fields: Sequence[Line], *, end: bool = False) -> None:
        """Sends status and fields.

        Raises:
            Disconnected: the client has gone.
        """
        self._put(self._head(status, fields, end=end), end=end)

    def send_whole(self, status: int, fields: Sequence[Line], body: bytes, *, end: bool) -> None:
        """Sends status, fields and (the beginning of) the body at once.

        Raises:
            Disconnected: the client has gone.
        """
        if not body or self.head:
            self.send_head(status, fields, end=end)
            return
        head = self._head(status, fields, end=False)
        frame = self._connection.h3.send_data(self.id, len(body), end=end)
        self.written += len(body)
        if len(body) <= _JOIN:
            self._put(b"".join((head, frame, body)), end=end)
        else:
            self._put(head + frame, end=False)
            self._put(body, end=end)

    def send_body(self, data: bytes | memoryview, *, end: bool = False) -> None:
        """Sends more of the body; `drain` waits until there is room for more.

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        size = len(data)
        if self.head or not size:
            if end:
                self.finish()
            return
        frame = self._connection.h3.send_data(self.id, size, end=end)
        self.written += size
        if size <= _JOIN:
            self._put(frame + data, end=end)
        else:
            self._put(frame, end=False)
            self._put(data, end=end)

    def send_parts(self, parts: Sequence[Part], size: int, *, end: bool) -> None:
        """Sends bytes and pieces of open files, `size` bytes together, in the engine's threads.
        Behind `drain` only. `pumped` waits for the end of it, and must before more is sent.

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        if self.head or not size:
            if end:
                self.finish()
            return
        connection = self._connection
        frame = connection.h3.send_data(self.id, size, end=end)
        self.written += size
        self._pumped = connection.loop.create_future()
        try:
            connection._native.send_parts(self.id, [frame, *parts], end)
        except (StreamClosed, ConnectionClosed):
            # The event that says why is on its way.
            return
        if end:
            self._finished()

    def send_trailers(self, fields: Sequence[Line]) -> None:
        """Sends trailers, which end the response.

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        section = self._connection.h3.send_trailers(self.id, fields)
        self._connection.send_instructions()
        self._put(section, end=True)

    def finish(self) -> None:
        """Ends the response.

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        if not self.ended:
            self._connection.h3.send_end(self.id)
            self._put(b"", end=True)

    async def drain(self) -> None:
        """Waits until the engine has taken what was sent.

        Raises:
            Disconnected: the client has gone.
        """
        self._check()
        out = self._out
        if out is None or self.ended:
            return
        try:
            while not out.drained():
                await self._wait()
        except QuicError as error:
            raise self._gone(error) from error

    async def pumped(self) -> None:
        """Waits until the engine has sent what `send_parts` gave it.

        Raises:
            Disconnected: the client has gone, or a file could not be read.
        """
        if self._pumped is not None:
            await self._pumped
            self._pumped = None

    def refuse(self, status: int, *fields: Line) -> None:
        """Answers with a line of text if nothing was sent yet, else gives the response up."""
        if self.error is not None or self.ended:
            return
        if self.status:
            self.cancel(ErrorCode.H3_INTERNAL_ERROR)
        else:
            self.answer(problem(status, *fields, head=self.head))

    def cancel(self, code: int) -> None:
        """Gives the exchange up in both directions."""
        if self.error is None:
            self._connection.cancel(self, code)

    # ---- As the tunnel of a WebTransport session ----

    def send_capsules(self, data: bytes, *, end: bool) -> None:
        """See `Tunnel`."""
        if self.error is None and not self.ended:
            try:
                self.send_body(data, end=end)
            except (LocalProtocolError, WriteBufferFull):
                # The client has stopped it, or takes nothing.
                self.cancel(ErrorCode.H3_REQUEST_CANCELLED)

    def give_up(self, code: int) -> None:
        """See `Tunnel`."""
        self.cancel(code)

    async def delivered(self) -> None:
        """See `Tunnel`. A client that has gone needs nothing any more."""
        while self.error is None and not (self.acknowledged and self.received):
            await self._wait()

    def take_chunks(self) -> list[memoryview]:
        """What has come of the body so far."""
        chunks = list(self._chunks)
        self.drop_body()
        return chunks

    # ---- What happens ----

    def on_data(self, data: memoryview) -> None:
        """More of the request's body."""
        self.size += len(data)
        if self.size > self._connection.limits.body_size:
            self._connection.credit(self.id, len(data))
            self.refuse(413)
            return
        self._chunks.append(data)
        self._held += len(data)
        self._wake()

    def on_received(self) -> None:
        """The request is complete."""
        self.received = True
        self._wake()

    def on_writable(self) -> None:
        """The engine takes more."""
        if self._out is not None:
            self._out.on_writable()
            self._wake()

    def on_acknowledged(self) -> None:
        """The client has all of the response."""
        self.acknowledged = True
        self._wake()

    def on_pumped(self, error: Exception | None) -> None:
        """`send_parts` is through."""
        if error is not None:
            # The client was promised another size (RFC 9114 section 4.1.2).
            self.cancel(ErrorCode.H3_INTERNAL_ERROR)
        elif self._pumped is not None and not self._pumped.done():
            self._pumped.set_result(None)
        self._wake()

    def on_gone(self, why: str) -> None:
        """Nothing more can come or go."""
        if self.error is not None:
            return
        self.error = Disconnected(why)
        self.drop_body()
        if self._out is not None:
            self._out.end(StreamClosed(why))
        if self._pumped is not None and not self._pumped.done():
            self._pumped.set_exception(self.error)
            # Perhaps nobody waits for it.
            self._pumped.exception()
        if self.task is not None:
            self.task.cancel()
        self._wake()

    def drop_body(self) -> None:
        """Nobody will read what came."""
        self._chunks.clear()
        if self._held:
            self._connection.credit(self.id, self._held)
            self._held = 0

    # ---- Inside ----

    def _check(self) -> None:
        if self.error is not None:
            raise self.error.with_traceback(None)

    def _gone(self, error: Exception) -> Disconnected:
        return self.error or Disconnected(str(error))

    def _head(self, status: int, fields: Sequence[Line], *, end: bool) -> bytes:
        self._check()
        lines = [(b":status", b"%d" % status), *fields]
        head = self._connection.h3.send_response(self.id, lines, end=end)
        # What the section refers to goes out before it.
        self._connection.send_instructions()
        self.status = status
        return head

    def _put(self, data: bytes | memoryview, *, end: bool) -> None:
        out = self._out
        native = self._connection._native
        if out is None:
            try:
                if data:
                    taken = native.write(self.id, data, False, end)
                else:
                    taken = 0
                    if end:
                        native.finish(self.id)
            except (StreamClosed, ConnectionClosed):
                # The event that says why is on its way.
                return
            if taken < len(data):
                out = self._out = self._connection.outgoing(self.id)
                out._keep(memoryview(data)[taken:], False)
                if end:
                    out.finish()
        else:
            with contextlib.suppress(StreamClosed, ConnectionClosed):
                out.write(data, False)
                if end:
                    out.finish()
        if end:
            self._finished()

    def _finished(self) -> None:
        """The response is complete, though perhaps not sent."""
        self.ended = True
        self._wake()
        self._connection.on_ended(self)

    async def _wait(self) -> None:
        if self._changed is None:
            self._changed = Waiters(self._connection.loop)
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.wake()

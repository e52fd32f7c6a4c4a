"""The blocking twin of `tquic.h3.webtransport`, for clients: the same names without ``await``::

    with tquic.sync.h3.connect("https://example.com/", timeout=10) as c:
        with c.webtransport("/chat") as session:
            stream = session.open_stream()
            stream.write(b"hello")
            stream.finish()
            print(stream.read())

What waits does so for the timeout of the session or the stream at most and raises `TimeoutError`
then; no byte is lost or repeated. Experimental, as the original is.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar

import tquic.h3._session_stream
import tquic.h3._sessions
from tquic.errors import ConnectionClosed, QuicError
from tquic.h3._sessions import SessionClosed
from tquic.h3.headers import Headers
from tquic.sync._home import Threads
from tquic.sync.stream import BaseStream, _checked

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Session", "Stream"]

T = TypeVar("T")


class Stream(BaseStream):
    """A stream of a session: like a `tquic.sync.Stream`, with error codes of the application up to
    2^32-1; see `tquic.h3.webtransport.Stream`."""

    def __init__(self, session: Session, inner: tquic.h3._session_stream.Stream) -> None:
        super().__init__(session, inner)
        self._session = session

    @property
    def session(self) -> Session:
        """Its session."""
        return self._session


class Session:
    """A WebTransport session: made by `tquic.sync.h3.ClientConnection.webtransport`; see
    `tquic.h3.webtransport.Session`."""

    def __init__(
        self, home: Threads, inner: tquic.h3._sessions.Session, timeout: float | None
    ) -> None:
        self._home = home
        self._inner = inner
        self._timeout = timeout

    # ---- What it is ----

    @property
    def id(self) -> int:
        """The ID of the stream on which it was made."""
        return self._inner.id

    @property
    def headers(self) -> Headers:
        """The fields of the response."""
        return self._inner.headers

    @property
    def protocol(self) -> str | None:
        """What the server has chosen of the application protocols."""
        return self._inner.protocol

    @property
    def closed(self) -> bool:
        """Whether it is over, as far as events were looked at."""
        return self._inner.closed

    @property
    def exception(self) -> QuicError | None:
        """Why it is over; `None` while it is not."""
        return self._inner.exception

    @property
    def draining(self) -> bool:
        """Whether one of the ends wants it to be ended soon."""
        return self._inner.draining

    def __repr__(self) -> str:
        return repr(self._inner)

    def settimeout(self, timeout: float | None) -> None:
        """Sets for how long its methods wait, and those of streams made from now on.

        Args:
            timeout: seconds; `None` is for ever, 0 is not at all. Default that of the connection.
        """
        self._timeout = _checked(timeout)

    def gettimeout(self) -> float | None:
        """For how long its methods wait; see `settimeout`."""
        return self._timeout

    def fileno(self) -> int:
        """A descriptor that is readable when something came on the connection; only to be polled,
        see `tquic.sync.Connection.fileno`."""
        return self._home.native.fileno()

    # ---- Streams ----

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream; see `tquic.h3.webtransport.Session.open_stream`."""
        with self._home.lock:
            return Stream(self, self._inner.open_stream(unidirectional=unidirectional))

    def accept_stream(self) -> Stream:
        """Waits for the next stream that the server opens.

        Raises:
            TimeoutError: there was none.
            SessionClosed: the session is over, and all its streams were accepted.
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        return Stream(self, self._run(self._inner.accept_stream()))

    def __iter__(self) -> Iterator[Stream]:
        """The streams that the server opens, until the session ends; errors as in
        `accept_stream`, unless it ended in order."""
        while True:
            try:
                stream = self.accept_stream()
            except (SessionClosed, ConnectionClosed) as error:
                if error.clean:
                    return
                raise
            yield stream

    # ---- Datagrams ----

    @property
    def max_datagram_size(self) -> int:
        """Bytes of the largest datagram that can be sent now."""
        with self._home.lock:
            return self._inner.max_datagram_size

    def send_datagram(self, data: ReadableBuffer) -> bool:
        """Sends an unreliable datagram. False: too many wait, and this one was not taken."""
        with self._home.lock:
            return self._inner.send_datagram(data)

    def drain_datagrams(self) -> None:
        """Waits, after `send_datagram` took one no more, until there is room."""
        self._run(self._inner.drain_datagrams())

    def recv_datagram(self) -> bytes:
        """Waits for the next datagram.

        Raises:
            TimeoutError: there was none.
            SessionClosed: the session is over, and all datagrams were read.
            ConnectionClosed: the connection is over, and all datagrams were read.
        """
        return self._run(self._inner.recv_datagram())

    # ---- The end ----

    def drain(self) -> None:
        """Asks the server to end the session soon; it goes on until one of the ends closes it."""
        with self._home.lock:
            self._inner.drain()

    def wait_draining(self) -> None:
        """Waits until one of the ends wants the session to be ended soon, or it is over."""
        self._run(self._inner.wait_draining())

    def close(self, code: int = 0, reason: str = "") -> None:
        """Closes the session, and returns at once; see `tquic.h3.webtransport.Session.close`."""
        with self._home.lock:
            self._inner.close(code, reason)

    def flush(self) -> None:
        """Waits until the server's transport has everything that was written to its streams."""
        self._run(self._inner.flush())

    def wait_closed(self) -> None:
        """Waits until the session is over; `exception` then says why."""
        self._run(self._inner.wait_closed())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        # `Config.linger` bounds it.
        self._run(self._inner.__aexit__(kind, *details), None)

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None = -1.0) -> T:
        """Runs `work` with a timeout, that of the session if it is negative."""
        if timeout is not None and timeout < 0:
            timeout = self._timeout
        return self._home.run(work, timeout)

"""Connections that block."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import tquic.connection
from tquic.config import Config, Congestion, SchedulerChoice
from tquic.congestion import Controller
from tquic.errors import ConnectionClosed
from tquic.multipath import PathEvent
from tquic.stats import ConnectionStats, HandshakeInfo, PathStats
from tquic.sync._home import Bell, Threads
from tquic.sync.stream import Stream, _checked

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Connection"]

T = TypeVar("T")


class Inner(tquic.connection.Connection):
    """The connection itself; it tells when something has happened to it."""

    _notify: Callable[[], None] | None = None

    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None:
        super()._on_event(kind, a, b, c)
        if self._notify is not None:
            self._notify()


class Connection:
    """A QUIC connection: made by `connect`, or given to the handler of `serve`.

    What waits does so for the connection's timeout (`settimeout`) at most. As a context manager it
    closes itself: at an ordinary exit when the peer has everything that was written (at the latest
    after `Config.linger`), after an exception at once and with code 1.
    """

    def __init__(
        self, home: Threads, inner: Inner, timeout: float | None, *, shared: bool = False
    ) -> None:
        self._home = home
        self._inner = inner
        self._timeout = _checked(timeout)
        self._shared = shared
        self._bell: Bell | None = None
        self._close_asked = False

    # ---- What it is ----

    @property
    def is_client(self) -> bool:
        """Whether this end began the connection."""
        return self._inner.is_client

    @property
    def config(self) -> Config:
        """Its settings."""
        return self._inner.config

    @property
    def info(self) -> HandshakeInfo:
        """What the handshake agreed on. `RuntimeError` before that; see `wait_connected`."""
        return self._inner.info

    @property
    def alpn(self) -> str:
        """The application protocol; see `info`."""
        return self._inner.alpn

    @property
    def connected(self) -> bool:
        """Whether the handshake was completed."""
        return self._inner.connected

    @property
    def zero_rtt(self) -> bool | None:
        """Whether early data was accepted; `None` if there was none, or that is not known yet."""
        return self._inner.zero_rtt

    @property
    def remote_address(self) -> tuple[str, int]:
        """The peer's address."""
        return self._inner.remote_address

    @property
    def closed(self) -> bool:
        """Whether the connection is over, as far as its events were looked at."""
        return self._inner.closed

    @property
    def exception(self) -> ConnectionClosed | None:
        """Why it is over; `None` while it is not."""
        return self._inner.exception

    def __repr__(self) -> str:
        return repr(self._inner)

    def settimeout(self, timeout: float | None) -> None:
        """Sets for how long its methods wait, and those of streams that it opens or accepts later.

        Args:
            timeout: seconds; `None` is for ever, 0 is not at all: `BlockingIOError`. Default what
                `connect` and `serve` were given.
        """
        self._timeout = _checked(timeout)

    def gettimeout(self) -> float | None:
        """For how long its methods wait; see `settimeout`."""
        return self._timeout

    def fileno(self) -> int:
        """A descriptor for `select`, `selectors` and event loops: readable when something came.

        Only to be polled. When it is readable, call what you wait for, on every stream that you
        wait for, with a timeout of 0 until it raises `BlockingIOError`: a call takes in what has
        come for the whole connection. Threads that block on other streams of a client's connection
        take in events as well; poll a connection from one thread that does not block on it.

        A client's connection has a descriptor of its own from the beginning; a server's gets one at
        the first call, while the listener's events go through one queue.
        """
        if not self._shared:
            return self._home.native.fileno()
        with self._home.lock:
            if self._bell is None:
                # What came before may wait.
                self._bell = Bell()
                self._bell.ring()
                self._inner._notify = self._bell.ring
            return self._bell.fileno()

    def wait_connected(self) -> None:
        """Waits until the handshake is complete.

        Raises:
            TimeoutError: it is not.
            ConnectionClosed: it failed; the subclass says how.
        """
        self._run(self._inner.wait_connected())

    # ---- Streams ----

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream, which can be written at once; see `tquic.Connection.open_stream`.

        Raises:
            ConnectionClosed: the connection is over.
            EngineError: some thousand streams wait for the peer's permission already.
        """
        with self._home.lock:
            return Stream(self, self._inner.open_stream(unidirectional=unidirectional))

    def accept_stream(self) -> Stream:
        """Waits for the next stream that the peer opens.

        Raises:
            TimeoutError: it opened none.
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        return Stream(self, self._run(self._inner.accept_stream()))

    def __iter__(self) -> Iterator[Stream]:
        """The streams that the peer opens, until the connection ends.

        Raises:
            TimeoutError: it opened none within the timeout.
            ConnectionClosed: it ended with an error.
        """
        while True:
            try:
                stream = self.accept_stream()
            except ConnectionClosed as error:
                if error.clean:
                    return
                raise
            yield stream

    # ---- Datagrams (RFC 9221) ----

    @property
    def can_reset_at(self) -> bool:
        """Whether the peer takes RESET_STREAM_AT, so that `Stream.reset` can deliver the beginning
        of a stream. False before the handshake."""
        return self._inner.can_reset_at

    @property
    def max_datagram_size(self) -> int:
        """Bytes of the largest datagram that can be sent now; 0 if the peer takes none."""
        return self._inner.max_datagram_size

    def send_datagram(self, data: ReadableBuffer) -> bool:
        """Sends an unreliable datagram. False: too many wait, and this one was not taken.

        See `drain_datagrams`.

        Raises:
            DatagramError: it is too large, or the peer takes none.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            return self._inner.send_datagram(data)

    def drain_datagrams(self) -> None:
        """Waits, after `send_datagram` took one no more, until there is room.

        Raises:
            TimeoutError: there is none.
            ConnectionClosed: the connection is over.
        """
        self._run(self._inner.drain_datagrams())

    def recv_datagram(self) -> bytes:
        """Waits for the next datagram. Those that nobody reads make room for newer ones.

        Raises:
            TimeoutError: none came.
            ConnectionClosed: the connection is over, and all datagrams were read.
        """
        return self._run(self._inner.recv_datagram())

    # ---- The way ----

    def migrate(
        self, local: str | tuple[str, int] | None = None, *, interface: str | None = None
    ) -> None:
        """Client: moves the connection to another local address; see `tquic.Connection.migrate`.

        Raises:
            MigrationError: the server forbids it, it is too early, or the new path does not work.
            OSError: the address is not ours.
            TimeoutError: it is not known yet whether the new path works.
            ConnectionClosed: the connection is over.
        """
        self._run(self._inner.migrate(local, interface=interface))

    def add_path(
        self,
        local: str | tuple[str, int] | None = None,
        *,
        interface: str | None = None,
        remote: tuple[str, int] | None = None,
        backup: bool = False,
        weight: int | None = None,
    ) -> int:
        """Client: opens another path and waits until it works; see `tquic.Connection.add_path`.

        Raises:
            PathError: one of the ends does not allow (so many) paths, or nothing comes back there.
            OSError: the address is not ours.
            TimeoutError: it is not known yet whether the path works.
            ConnectionClosed: the connection is over.
        """
        return self._run(
            self._inner.add_path(
                local, interface=interface, remote=remote, backup=backup, weight=weight
            )
        )

    def remove_path(self, path: int, *, code: int = 0x3E) -> None:
        """Abandons a path; see `tquic.Connection.remove_path`.

        Raises:
            PathError: there is no such path, or it is the only one.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            self._inner.remove_path(path, code=code)

    def set_path_status(self, path: int, *, backup: bool) -> None:
        """Says whether a path should be used only when no other can be.

        Raises:
            PathError: there is no such path.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            self._inner.set_path_status(path, backup=backup)

    def set_path_weight(self, path: int, weight: int | None) -> None:
        """A path's share among others; see `tquic.Connection.set_path_weight`.

        Raises:
            PathError: there is no such path.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            self._inner.set_path_weight(path, weight)

    def set_scheduler(self, scheduler: SchedulerChoice) -> None:
        """Changes what puts the paths in order; see `tquic.Connection.set_scheduler`.

        Raises:
            ConfigError: there is no such scheduler, or it cannot be loaded.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            self._inner.set_scheduler(scheduler)

    def path_event(self) -> PathEvent:
        """Waits for the next change of a path; see `tquic.Connection.path_event`.

        Raises:
            TimeoutError: nothing changed.
            ConnectionClosed: the connection is over, and all changes were read.
        """
        return self._run(self._inner.path_event())

    def update_keys(self) -> bool:
        """Begins a key update (RFC 9001 section 6). False: it is too early for another.

        Raises:
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            return self._inner.update_keys()

    def set_congestion(
        self, controller: Congestion | Callable[[], Controller], *, path: int | None = None
    ) -> None:
        """Changes the congestion controller; see `tquic.Connection.set_congestion`.

        Raises:
            ConfigError: there is no controller of that name.
            ConnectionClosed: the connection is over.
        """
        with self._home.lock:
            self._inner.set_congestion(controller, path=path)

    def ping(self) -> float:
        """Measures the round trip to the peer, in seconds; see `tquic.Connection.ping`.

        Raises:
            TimeoutError: no answer came.
            ConnectionClosed: the connection is over.
        """
        return self._run(self._inner.ping())

    def stats(self) -> ConnectionStats:
        """Its counters and paths, now.

        Raises:
            ConnectionClosed: the connection is over.
        """
        return self._run(self._inner.stats())

    def paths(self) -> tuple[PathStats, ...]:
        """Its paths, now. See `stats`."""
        return self.stats().paths

    # ---- The end ----

    def close(self, code: int = 0, reason: str = "") -> None:
        """Closes the connection, and returns at once: the engine tells the peer.

        What the peer has not acknowledged is lost; see `flush`. Closing again does nothing.

        Args:
            code: application error code, below 2^62. 0 is an ordinary end.
            reason: for people; 256 bytes reach the peer at most.
        """
        with self._home.lock:
            self._home.run_soon()
            self._inner.close(code, reason)
        self._close_asked = True

    def flush(self) -> None:
        """Waits until the peer's transport has everything that was written to streams so far.

        Streams that fail are left out.

        Raises:
            TimeoutError: it has not.
        """
        self._run(self._inner.flush())

    def wait_closed(self) -> None:
        """Waits until the connection is over; `exception` then says why.

        Raises:
            TimeoutError: it is not.
        """
        self._run(self._inner.wait_closed())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._home.run(self._inner.__aexit__(kind, error, traceback), None)
        finally:
            self._release()

    def __del__(self) -> None:
        # That it is over may not have been looked at.
        if not self._inner.closed and not self._close_asked:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
            # Not under the lock: this may run anywhere.
            with contextlib.suppress(Exception):
                self._inner._native.close(0, b"")
        self._release()

    # ---- Inside ----

    def _release(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            self._inner._notify = None
            bell.close()

    def _run(self, work: Coroutine[Any, Any, T], timeout: float | None = -1.0) -> T:
        """Runs `work` with a timeout, that of the connection if it is negative."""
        if timeout is not None and timeout < 0:
            timeout = self._timeout
        if timeout == 0 and self._bell is not None:
            # First: what comes while this looks rings again.
            self._bell.silence()
        return self._home.run(work, timeout)

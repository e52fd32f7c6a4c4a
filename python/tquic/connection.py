"""Connections: streams, datagrams, paths, and how they end."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from tquic import _engine, _scheduler
from tquic._halves import check_code, encode_reason
from tquic._wait import Home
from tquic.config import Config, Congestion, SchedulerChoice, check_scheduler
from tquic.congestion import Controller, start
from tquic.errors import ConnectionClosed, EngineError, MigrationError, PathError, QuicError
from tquic.multipath import PathChange, PathEvent, check_weight
from tquic.stats import ConnectionStats, HandshakeInfo, PathStats
from tquic.stream import Stream

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Connection"]

# The application error code when the body of ``async with`` failed.
_FAILED: Final = 1


class _Migration:
    """One that was begun: whether it has ended, and how."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: MigrationError | None = None


class Connection:
    """A QUIC connection: made by `connect`, or given to the handler of `serve`.

    As a context manager it closes itself: at an ordinary exit when the peer has everything that was
    written (at the latest after `Config.linger`), after an exception at once and with code 1.
    """

    _stream_type: type[Stream] = Stream

    def __init__(
        self,
        home: Home,
        native: _engine.Connection,
        config: Config,
        remote: tuple[str, int],
    ) -> None:
        self._home = home
        self._native = native
        self._config = config
        self._remote = remote
        self._key = native.key
        self._is_client = native.is_client
        self._info: HandshakeInfo | None = None
        self._zero_rtt: bool | None = None
        self._closed: ConnectionClosed | None = None
        self._streams: dict[int, Stream] = {}
        self._unaccepted: deque[Stream] = deque()
        self._datagrams: deque[bytes] = deque()
        self._datagrams_wait = False
        # Statistics that somebody waits for, by their tags; pings and migrations in their order.
        self._tags = itertools.count(1)
        self._stats: dict[int, dict[str, Any] | None] = {}
        self._pings = 0
        self._pings_acked = 0
        self._ping_rtt = 0.0
        self._migrations: deque[_Migration] = deque()
        # Path IDs in use, those being validated, and how often there was reason to try again.
        self._paths: set[int] = {0}
        self._new_paths: set[int] = set()
        self._path_hopes = 0
        self._path_events: deque[PathEvent] = deque(maxlen=256)
        self._news = home.signal()
        # Called once, as soon as there is something for a handler to do.
        self._on_begun: Callable[[], None] | None = None
        self._on_token: Callable[[bytes], None] | None = None
        self._on_over: Callable[[], None] | None = None
        # Called when it is connected, and when it has failed.
        self._on_progress: Callable[[], None] | None = None
        home.add_connection(self._key, self)

    # ---- What it is ----

    @property
    def is_client(self) -> bool:
        """Whether this end began the connection."""
        return self._is_client

    @property
    def config(self) -> Config:
        """Its settings."""
        return self._config

    @property
    def info(self) -> HandshakeInfo:
        """What the handshake agreed on.

        Raises:
            RuntimeError: the handshake is not complete; see `wait_connected`.
        """
        if self._info is None:
            raise RuntimeError("the handshake is not complete")
        return self._info

    @property
    def alpn(self) -> str:
        """The application protocol; see `info`."""
        return self.info.alpn

    @property
    def connected(self) -> bool:
        """Whether the handshake was completed."""
        return self._info is not None

    @property
    def zero_rtt(self) -> bool | None:
        """Whether early data was accepted; `None` if there was none, or that is not known yet.

        Early data that the server refuses is sent again after the handshake: nothing is lost.
        """
        return self._zero_rtt

    @property
    def remote_address(self) -> tuple[str, int]:
        """The peer's address."""
        return self._remote

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._closed is not None

    @property
    def exception(self) -> ConnectionClosed | None:
        """Why it is over; `None` while it is not."""
        return self._closed

    def __repr__(self) -> str:
        host, port = self._remote
        side = "to" if self._is_client else "from"
        state = "closed" if self.closed else "open" if self.connected else "connecting"
        return f"<Connection {side} {host}:{port}, {state}>"

    async def wait_connected(self) -> None:
        """Waits until the handshake is complete.

        Raises:
            ConnectionClosed: it failed; the subclass says how.
        """
        while self._info is None:
            self._check_open()
            await self._news.wait()

    # ---- Streams ----

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream, which can be written at once.

        While the peer allows no more streams, what is written waits, and so does `Stream.drain` as
        soon as it is much. Before the handshake is complete, a client's data goes out as early data
        if a ticket allows it.

        Args:
            unidirectional: only this end sends on it.

        Raises:
            ConnectionClosed: the connection is over.
            EngineError: some thousand streams wait for the peer's permission already.
        """
        self._check_open()
        number = self._native.open(not unidirectional)
        stream = self._stream_type(self, number, early=self._info is None)
        self._streams[number] = stream
        return stream

    async def accept_stream(self) -> Stream:
        """Waits for the next stream that the peer opens.

        Raises:
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        while not self._unaccepted:
            self._check_open()
            await self._news.wait()
        return self._unaccepted.popleft()

    def __aiter__(self) -> Self:
        """The streams that the peer opens, until the connection ends.

        Raises:
            ConnectionClosed: it ended with an error.
        """
        return self

    async def __anext__(self) -> Stream:
        try:
            return await self.accept_stream()
        except ConnectionClosed as error:
            if error.clean:
                raise StopAsyncIteration from None
            raise

    @property
    def can_reset_at(self) -> bool:
        """Whether the peer takes RESET_STREAM_AT, so that `Stream.reset` can deliver the beginning
        of a stream. False before the handshake."""
        return self._native.can_reset_at

    # ---- Datagrams (RFC 9221) ----

    @property
    def max_datagram_size(self) -> int:
        """Bytes of the largest datagram that can be sent now; 0 if the peer takes none."""
        return self._native.max_datagram

    def send_datagram(self, data: ReadableBuffer) -> bool:
        """Sends an unreliable datagram. False: too many wait, and this one was not taken.

        See `drain_datagrams`.

        Args:
            data: at most `max_datagram_size` bytes; `Config.datagram_queue` bytes may wait.

        Raises:
            DatagramError: it is too large, or the peer takes none.
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        taken = self._native.send_datagram(data)
        if not taken:
            self._datagrams_wait = True
        return taken

    async def drain_datagrams(self) -> None:
        """Waits, after `send_datagram` took one no more, until there is room.

        Raises:
            ConnectionClosed: the connection is over.
        """
        while self._datagrams_wait:
            self._check_open()
            await self._news.wait()

    async def recv_datagram(self) -> bytes:
        """Waits for the next datagram. Those that nobody reads make room for newer ones.

        Raises:
            ConnectionClosed: the connection is over, and all datagrams were read.
        """
        while not self._datagrams:
            self._check_open()
            await self._news.wait()
        data = self._datagrams.popleft()
        self._native.consumed_datagrams(1, len(data))
        return data

    # ---- The way ----

    async def migrate(
        self, local: str | tuple[str, int] | None = None, *, interface: str | None = None
    ) -> None:
        """Client: moves the connection to another local address, without a pause.

        Args:
            local: numeric address, or one and a port. Default: a fresh port on any address.
            interface: network interface to send through.

        Raises:
            MigrationError: the server forbids it, it is too early, or the new path does not work;
                the connection goes on over the old one.
            OSError: the address is not ours.
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        address = (local, 0) if isinstance(local, str) else local
        try:
            self._native.migrate(address, interface)
        except EngineError:
            self._check_open()
            raise
        migration = _Migration()
        self._migrations.append(migration)
        while not migration.done:
            self._check_open()
            await self._news.wait()
        if migration.error is not None:
            raise migration.error

    async def add_path(
        self,
        local: str | tuple[str, int] | None = None,
        *,
        interface: str | None = None,
        remote: tuple[str, int] | None = None,
        backup: bool = False,
        weight: int | None = None,
    ) -> int:
        """Client: opens another path and waits until it works; answers its path ID.

        The connection goes on meanwhile. If this is cancelled, the path is opened all the same.

        Args:
            local: numeric address, or one and a port. Default: a fresh port on any address.
            interface: network interface to send through.
            remote: numeric address and port of the server. Default: where it is now.
            backup: use the path, in both directions, only when no other can be used.
            weight: its capacity in Mbit/s, for the scheduler ``weighted``. Default: as measured.

        Raises:
            PathError: one of the ends does not allow (so many) paths, or nothing comes back there.
            OSError: the address is not ours.
            ConnectionClosed: the connection is over.
        """
        check_weight(weight)
        address = (local, 0) if isinstance(local, str) else local
        if self._is_client:
            await self.wait_connected()
            if not self.info.multipath:
                raise PathError("multipath was not negotiated: both ends must enable it")
        while (path := self._open_path(address, interface, remote)) is None:
            # The server gives the connection IDs for other paths soon after the handshake.
            hopes = self._path_hopes
            while hopes == self._path_hopes:
                self._check_open()
                await self._news.wait()
        if backup:
            self.set_path_status(path, backup=True)
        if weight is not None:
            self.set_path_weight(path, weight)
        while path in self._new_paths:
            self._check_open()
            await self._news.wait()
        if path not in self._paths:
            raise PathError("nothing comes back on the new path")
        return path

    def _open_path(self, *where: Any) -> int | None:
        self._check_open()
        try:
            path = self._native.open_path(*where)
        except EngineError:
            self._check_open()
            raise
        if path is not None:
            self._new_paths.add(path)
        return path

    def remove_path(self, path: int, *, code: int = 0x3E) -> None:
        """Abandons a path; what was sent there is sent again on the others.

        Args:
            path: its path ID.
            code: transport error code for the peer. Default APPLICATION_ABANDON_PATH.

        Raises:
            PathError: there is no such path, or it is the only one.
            ConnectionClosed: the connection is over.
        """
        check_code(code)
        self._path_call(lambda: self._native.abandon_path(path, code))

    def set_path_status(self, path: int, *, backup: bool) -> None:
        """Says whether a path should be used, by both ends, only when no other can be.

        Raises:
            PathError: there is no such path.
            ConnectionClosed: the connection is over.
        """
        self._path_call(lambda: self._native.set_path_backup(path, backup))

    def set_path_weight(self, path: int, weight: int | None) -> None:
        """A path's share among others, at this end, with the scheduler ``weighted``.

        Args:
            path: its path ID.
            weight: its capacity in Mbit/s, 1 to 1000000; `None` to go by what is measured.

        Raises:
            PathError: there is no such path.
            ConnectionClosed: the connection is over.
        """
        check_weight(weight)
        self._path_call(lambda: self._native.set_path_weight(path, weight or 0))

    def set_scheduler(self, scheduler: SchedulerChoice) -> None:
        """Changes what puts the paths in order at this end, from the next packets on; see
        `Config.scheduler`. Without several paths nothing changes.

        Raises:
            ConfigError: there is no such scheduler, or it cannot be loaded.
            ConnectionClosed: the connection is over.
        """
        check_scheduler(scheduler)
        name, program = self._config.replace(scheduler=scheduler)._scheduler
        if program is not None:
            self._path_call(lambda: self._native.set_scheduler_program(program))
        elif isinstance(scheduler, str):
            self._path_call(lambda: self._native.set_scheduler(name))
        else:
            make = cast("Callable[[], _scheduler.Scheduler]", scheduler)
            self._path_call(lambda: _scheduler.start(self._native, make))

    def _path_call(self, call: Callable[[], None]) -> None:
        self._check_open()
        try:
            call()
        except EngineError:
            self._check_open()
            raise

    async def path_event(self) -> PathEvent:
        """Waits for the next change of a path. Of those that nobody reads the newest 256 are kept.

        Raises:
            ConnectionClosed: the connection is over, and all changes were read.
        """
        while not self._path_events:
            self._check_open()
            await self._news.wait()
        return self._path_events.popleft()

    def update_keys(self) -> bool:
        """Begins a key update (RFC 9001 section 6). False: it is too early for another.

        Raises:
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        return self._native.update_keys()

    def set_congestion(
        self, controller: Congestion | Callable[[], Controller], *, path: int | None = None
    ) -> None:
        """Changes the congestion controller, at once and without a pause.

        Window, threshold and round-trip times go over to the new one. `PathStats.congestion` tells
        which one is in force.

        Args:
            controller: a name, see `Config.congestion`; or what makes a controller written in
                Python, such as a subclass of `tquic.congestion.Controller`: called once for each
                path. That is slow, and meant for experiments.
            path: ID of the only path to change. Default: all. Paths that are added later get the
                controller of the first.

        Raises:
            ConfigError: there is no controller of that name.
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        if isinstance(controller, str):
            self._native.set_congestion(controller, path)
        elif callable(controller):
            start(self._native, controller, path)
        else:
            raise TypeError(f"controller must be a name or make controllers, not {controller!r}")

    async def ping(self) -> float:
        """Measures the round trip to the peer, in seconds; a sign of life for both ends, too.

        From the packet with the PING to its acknowledgement, which the peer is asked to send at
        once. One that cannot be asked may take its max_ack_delay, 25 ms mostly. A PING that gets
        lost is sent again and measured then.

        Raises:
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        self._native.ping()
        self._pings += 1
        number = self._pings
        while self._pings_acked < number:
            self._check_open()
            await self._news.wait()
        return self._ping_rtt

    async def stats(self) -> ConnectionStats:
        """Its counters and paths, now.

        Raises:
            ConnectionClosed: the connection is over.
        """
        self._check_open()
        tag = next(self._tags)
        self._stats[tag] = None
        try:
            self._native.request_stats(tag)
            while (stats := self._stats[tag]) is None:
                self._check_open()
                await self._news.wait()
        finally:
            del self._stats[tag]
        paths = tuple(PathStats(**path) for path in stats.pop("paths"))
        return ConnectionStats(**stats, paths=paths)

    async def paths(self) -> tuple[PathStats, ...]:
        """Its paths, now. See `stats`."""
        return (await self.stats()).paths

    # ---- The end ----

    def close(self, code: int = 0, reason: str = "") -> None:
        """Closes the connection, and returns at once: the engine tells the peer.

        What the peer has not acknowledged is lost; see `flush`. Closing again does nothing.

        Args:
            code: application error code, below 2^62. 0 is an ordinary end.
            reason: for people; 256 bytes reach the peer at most.

        Raises:
            ValueError: the code is too large or negative.
            TypeError: the reason is no `str`.
        """
        check_code(code)
        text = encode_reason(reason)
        if self._closed is None:
            # If it is closed already, the event that says why is on its way.
            with contextlib.suppress(ConnectionClosed):
                self._native.close(code, text)

    async def flush(self) -> None:
        """Waits until the peer's transport has everything that was written to streams so far.

        Streams that fail are left out.
        """
        streams = list(self._streams.values())
        for stream in streams:
            with contextlib.suppress(QuicError):
                await stream.drain()
        if any(not stream._out.over for stream in streams):
            self._hurry()
        for stream in streams:
            with contextlib.suppress(QuicError):
                await stream._flushed()

    async def wait_closed(self) -> None:
        """Waits until the connection is over; `exception` then says why."""
        while self._closed is None:
            await self._news.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._closed is None and self._streams:
                await self._home.within(self._config.linger, self.flush())
        finally:
            # Cancelling, like leaving the program, is no failure.
            self.close(_FAILED if kind is not None and issubclass(kind, Exception) else 0)
        # A coroutine that is thrown away can wait for nothing.
        if kind is not GeneratorExit:
            await self.wait_closed()

    # ---- Inside ----

    def _check_open(self) -> None:
        if self._closed is not None:
            # Raised again and again: without the frames of those before.
            raise self._closed.with_traceback(None)

    def _hurry(self) -> None:
        """Has the peer acknowledge at once what was written so far."""
        with contextlib.suppress(ConnectionClosed):
            self._native.hurry()

    def _forget(self, stream: Stream) -> None:
        """Nothing more will happen to the stream, perhaps."""
        if stream._in.over and stream._out.over:
            self._streams.pop(stream._id, None)

    def _begun(self) -> None:
        if self._on_begun is not None:
            begun, self._on_begun = self._on_begun, None
            begun()

    def _on_event(self, kind: int, a: Any, b: Any, c: Any) -> None:
        self._handlers[kind](self, a, b, c)

    def _on_connected(self, info: dict[str, Any], *_: Any) -> None:
        self._info = HandshakeInfo(**info)
        if self._info.multipath and callable(self._config.scheduler):
            with contextlib.suppress(ConnectionClosed, EngineError):
                _scheduler.start(self._native, self._config.scheduler)
        if self._info.early_data:
            self._zero_rtt = True
        self._begun()
        self._news.wake()
        if self._on_progress is not None:
            self._on_progress()

    def _on_zero_rtt_rejected(self, *_: Any) -> None:
        self._zero_rtt = False

    def _on_stream_opened(self, number: int, *_: Any) -> None:
        stream = self._stream_type(self, number, early=self._info is None)
        self._streams[number] = stream
        self._unaccepted.append(stream)
        self._begun()
        self._news.wake()

    def _on_data(self, number: int, data: bytes | memoryview, fin: bool) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream._in.on_data(data, fin)
            if fin:
                self._forget(stream)
        else:
            # Stopped by us, and closed: nobody will read it.
            self._native.consumed(number, len(data))

    def _on_writable(self, number: int, *_: Any) -> None:
        if stream := self._streams.get(number):
            stream._out.on_writable()

    def _on_finished(self, number: int, *_: Any) -> None:
        if stream := self._streams.get(number):
            stream._out.on_finished()
            self._forget(stream)

    def _on_reset(self, number: int, error: Exception, reliable_size: int) -> None:
        if stream := self._streams.get(number):
            stream._in.end(error, promised=reliable_size)
            self._forget(stream)

    def _on_stopped(self, number: int, error: Exception, _: Any) -> None:
        if stream := self._streams.get(number):
            stream._out.end(error)
            self._forget(stream)

    def _on_pumped(self, number: int, outgoing: bool, outcome: Any) -> None:
        if stream := self._streams.get(number):
            size, _digest, error = outcome
            (stream._out if outgoing else stream._in).on_pumped(size, error)
            self._forget(stream)

    def _on_datagram(self, data: bytes, *_: Any) -> None:
        self._datagrams.append(data)
        self._news.wake()

    def _on_datagrams_writable(self, *_: Any) -> None:
        self._datagrams_wait = False
        self._news.wake()

    def _on_migrated(self, _local: tuple[str, int], remote: tuple[str, int], _: Any) -> None:
        self._remote = remote
        self._migrated(None)

    def _on_path_failed(self, local: tuple[str, int], _remote: Any, _: Any) -> None:
        host, port = local
        self._migrated(MigrationError(f"nothing comes back to {host}:{port}"))

    def _migrated(self, error: MigrationError | None) -> None:
        if self._migrations:
            migration = self._migrations.popleft()
            migration.done, migration.error = True, error
            self._news.wake()

    def _on_path(self, path: int, change: PathChange, details: Any) -> None:
        if change != "added":
            self._new_paths.discard(path)
        if change == "validated":
            self._paths.add(path)
        elif change == "abandoned":
            self._paths.discard(path)
        self._path_events.append(PathEvent._of(path, change, details))
        self._news.wake()

    def _on_scheduler_failed(self, reason: str, over: bool, _: Any) -> None:
        if over:
            reason = f"{reason}; it is not asked any more"
        event = PathEvent(path=0, change="scheduler_failed", reason=reason)
        self._path_events.append(event)
        self._news.wake()

    def _on_paths_available(self, *_: Any) -> None:
        self._path_hopes += 1
        self._news.wake()

    def _on_new_token(self, token: bytes, *_: Any) -> None:
        if self._on_token is not None:
            self._on_token(token)

    def _on_stats(self, tag: int, stats: dict[str, Any], _: Any) -> None:
        if tag in self._stats:
            self._stats[tag] = stats
            self._news.wake()

    def _on_ping_acked(self, pings: int, rtt: float, _: Any) -> None:
        self._pings_acked = pings
        self._ping_rtt = rtt
        self._news.wake()

    def _on_closed(self, error: ConnectionClosed, *_: Any) -> None:
        self._closed = error
        self._home.remove_connection(self._key)
        for stream in list(self._streams.values()):
            stream._on_connection_closed(error)
        self._streams.clear()
        self._migrations.clear()
        self._news.wake()
        if self._on_progress is not None:
            self._on_progress()
        if self._on_over is not None:
            self._on_over()

    def _ignore(self, *_: Any) -> None:
        pass

    _handlers: ClassVar[dict[int, Callable[[Any, Any, Any, Any], None]]] = {
        _engine.CONNECTED: _on_connected,
        _engine.ZERO_RTT_REJECTED: _on_zero_rtt_rejected,
        _engine.STREAM_OPENED: _on_stream_opened,
        _engine.DATA: _on_data,
        _engine.WRITABLE: _on_writable,
        _engine.FINISHED: _on_finished,
        _engine.RESET: _on_reset,
        _engine.STOPPED: _on_stopped,
        _engine.PUMPED: _on_pumped,
        _engine.FINAL_SIZE: _ignore,
        _engine.DATAGRAM: _on_datagram,
        _engine.DATAGRAMS_WRITABLE: _on_datagrams_writable,
        _engine.MIGRATED: _on_migrated,
        _engine.PATH_FAILED: _on_path_failed,
        _engine.NEW_TOKEN: _on_new_token,
        _engine.PATH: _on_path,
        _engine.PATHS_AVAILABLE: _on_paths_available,
        _engine.SCHEDULER_FAILED: _on_scheduler_failed,
        _engine.TICKET_RECEIVED: _ignore,
        _engine.PING_ACKED: _on_ping_acked,
        _engine.STATS: _on_stats,
        _engine.CLOSED: _on_closed,
    }

"""Many connections at once, for load generators: Python is called per batch of events.

`Engine.connect_many` makes a `ConnectionSet`. Requests run in the engine's threads; events come out
as arrays of records, latencies as arrays of int64 without a copy. Arrays are those of numpy where
it is installed, `memoryview` otherwise.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias, cast

from tquic import _engine
from tquic._engine import Histogram
from tquic._halves import encode_reason
from tquic.errors import ConfigError

__all__ = [
    "Cause",
    "ConnectionCounts",
    "ConnectionSet",
    "Event",
    "EventKind",
    "Histogram",
    "Pattern",
    "RequestRun",
    "RequestStats",
    "event_dtype",
    "unpack_events",
]

# What has the buffer protocol and is a sequence of bytes.
_Bytes: TypeAlias = bytes | bytearray | memoryview
EventName: TypeAlias = Literal["connected", "closed", "response"]

# Latencies kept one by one when the number of requests is not given: 8 MiB.
_LATENCIES: Final = 1 << 20


class EventKind(IntEnum):
    """What an event tells: its field ``kind``."""

    CONNECTED = 1
    """A handshake is complete; ``latency_ns`` is how long it took."""
    CLOSED = 2
    """A connection has ended, or could not begin."""
    RESPONSE = 3
    """A request has got its response, or never will."""
    FINISHED = 4
    """A run of requests is over; ``run`` says which. Its ``connection`` means nothing."""


class Cause(IntEnum):
    """Why something ended: an event's field ``cause``."""

    NONE = 0
    """It came to its proper end."""
    LOCAL_TRANSPORT = 1
    """A transport error that this end found; ``error`` is its code (RFC 9000 section 20.1)."""
    PEER_TRANSPORT = 2
    """A transport error that the peer told."""
    LOCAL_APPLICATION = 3
    """This program closed; ``error`` is the code that it gave."""
    PEER_APPLICATION = 4
    """The peer closed, or reset the stream; ``error`` is its code."""
    IDLE_TIMEOUT = 5
    HANDSHAKE_TIMEOUT = 6
    STATELESS_RESET = 7
    REFUSED = 8
    """No version in common, or refused before it began."""
    CONNECTION_LOST = 9
    """The connection ended before the response."""
    UNEXPECTED = 10
    """The response was not as long as expected, or not the pattern."""
    TIMED_OUT = 11
    """The response took too long."""
    STATUS = 12
    """The response has an HTTP status of 400 or above."""
    HTTP = 13
    """The server broke a rule of HTTP/3; ``error`` is the code with which it was told."""
    NOT_SENT = 14
    """The request never left: its connection was gone, or had no room for it until the end of the
    run's duration. These are only counted, not told one by one."""


class Event(NamedTuple):
    """One record, for programs without numpy; the fields of `event_dtype`.

    Fields that mean nothing for an event are -1, or 0 where they cannot be negative.
    """

    time_ns: int
    """When, in nanoseconds on the clock of `time.monotonic_ns`."""
    latency_ns: int
    """Nanoseconds since it should have begun: for open-loop requests the intended time."""
    service_ns: int
    """Nanoseconds since it did begin."""
    first_byte_ns: int
    """Nanoseconds from then to the first byte of the response."""
    stream: int
    """Stream ID."""
    bytes: int
    """Bytes of the response."""
    hash: int
    """First 8 bytes, big endian, of the response's SHA-256, with ``response="hash"``."""
    error: int
    """Error code."""
    connection: int
    """Number of the connection in its set, from 0."""
    status: int
    """HTTP status of the response."""
    run: int
    """Number of the run of requests, from 1."""
    kind: int
    """An `EventKind`."""
    cause: int
    """A `Cause`."""


_RECORD: Final = struct.Struct("=qqqqqQQqIHHBB6x")
_FORMATS: Final = (
    *("i8", "i8", "i8", "i8", "i8", "u8", "u8", "i8"),
    *("u4", "u2", "u2", "u1", "u1"),
)


class Pattern(NamedTuple):
    """A request that is made in the engine: `head`, then `size` bytes that never exist in Python.

    They are those that ``tquic perf`` sends and checks.
    """

    size: int
    head: bytes = b""


class ConnectionCounts(NamedTuple):
    """How many connections of a set are in which state."""

    waiting: int
    """Not begun."""
    connecting: int
    """In their handshake."""
    open: int
    """With a complete handshake."""
    closed: int
    """Over, failed ones included."""
    failed: int
    """Of the closed ones: without a complete handshake."""
    resumed: int
    """Handshakes so far that resumed a session."""
    early: int
    """Handshakes so far with 0-RTT that the server accepted."""


@dataclass(frozen=True, slots=True)
class RequestStats:
    """Counters of a run of requests."""

    connections: int
    """Connections that take part."""
    requests: int
    """Requests sent."""
    responses: int
    """Whole responses, as expected."""
    failed: int
    """Exchanges that failed."""
    bytes_sent: int
    """Bytes of requests."""
    bytes_received: int
    """Bytes of responses."""
    mismatches: int
    """Bytes that were not the pattern, with ``response="verify"``."""
    started_ns: int
    """Begin of the run, on the clock of `time.monotonic_ns`."""
    ended_ns: int
    """End of the last exchange so far, on that clock."""
    causes: Mapping[Cause, int]
    """Exchanges by how they ended; ``Cause.NONE`` are the whole ones."""
    statuses: Mapping[int, int]
    """HTTP statuses that came, and how often."""

    @property
    def seconds(self) -> float:
        """From the begin of the run to the end of the last exchange."""
        return (self.ended_ns - self.started_ns) / 1e9

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.responses / self.seconds if self.seconds > 0 else 0.0


@functools.cache
def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


@functools.cache
def event_dtype() -> Any:
    """The numpy dtype of events: the fields of `Event` in order, then 6 bytes that mean nothing.

    Raises:
        ImportError: numpy is not installed.
    """
    layout = {"names": list(Event._fields), "formats": list(_FORMATS), "itemsize": _RECORD.size}
    return importlib.import_module("numpy").dtype(layout)


def unpack_events(batch: Any) -> Iterator[Event]:
    """The records of `ConnectionSet.poll_batch` as named tuples."""
    for fields in _RECORD.iter_unpack(batch.tobytes()):
        yield Event._make(fields)


class RequestRun:
    """Requests that `ConnectionSet.request_many` has begun."""

    def __init__(self, native: _engine.RequestRun) -> None:
        self._native = native

    @property
    def number(self) -> int:
        """Its number in events."""
        return self._native.number

    @property
    def done(self) -> bool:
        """Whether everything has been sent and answered, or given up."""
        return self._native.done

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for that without the GIL: False if `timeout` seconds passed before."""
        return self._native.wait(timeout)

    def stop(self) -> None:
        """Begins no more requests; those under way go on."""
        self._native.stop()

    def stats(self) -> RequestStats:
        """Counters so far."""
        counters = self._native.stats()
        counters["causes"] = {Cause(n): count for n, count in sorted(counters["causes"].items())}
        counters["statuses"] = dict(sorted(counters["statuses"].items()))
        return RequestStats(**counters)

    def latencies(self) -> Any:
        """Nanoseconds from the intended begin of each request to the end of its response.

        In the order in which they ended, those so far, as an int64 array (numpy, else a
        `memoryview`) of the engine's memory: nothing is copied, and it does not change any more.
        Failed exchanges are not in it.
        """
        view = self._native.latencies()
        numpy = _numpy()
        return view.cast("q") if numpy is None else numpy.frombuffer(view, numpy.int64)

    def histogram(self) -> Histogram:
        """The same as counts: all of them, however many. A copy."""
        return self._native.histogram()

    def service_histogram(self) -> Histogram:
        """Nanoseconds from the real begin of each request: what is seen by a tool that waits."""
        return self._native.service_histogram()

    def first_byte_histogram(self) -> Histogram:
        """Nanoseconds from the real begin of each request to the first byte of its response."""
        return self._native.first_byte_histogram()

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<RequestRun {self.number}: {stats.responses} of {stats.requests} answered>"


class ConnectionSet:
    """Client connections that are driven together; made by `Engine.connect_many`.

    Connections are named by their number, from 0. Methods may be called from any thread. A context
    manager: closes the connections at the end.
    """

    def __init__(self, native: _engine.ConnectionSet, size: int) -> None:
        self._native = native
        self._size = size

    def __len__(self) -> int:
        """Connections, whatever their state."""
        return self._size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """A descriptor that is readable while events wait: for `select`, `asyncio`, gevent.

        Only to be polled, never read. -1 on Windows, where `wait` is the way.
        """
        return self._native.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for events without the GIL: False if `timeout` seconds passed without any.

        The end of the last connection counts as one, and makes `fileno` readable, even if `on`
        does not have it.
        """
        return self._native.wait(timeout)

    def wait_connected(self, timeout: float | None = None) -> ConnectionCounts:
        """Waits, without the GIL, until every connection is open or over.

        Args:
            timeout: seconds to wait at most.

        Raises:
            TimeoutError: some are not.
        """
        if not self._native.wait_connected(timeout):
            raise TimeoutError(f"after {timeout:g} s: {self.counts()}")
        return self.counts()

    def poll_batch(self, max: int = 65_536) -> Any:
        """Takes up to `max` events, the oldest first; does not wait.

        Returns:
            A numpy array of `event_dtype`, or without numpy a `memoryview` for `unpack_events`.
            Empty if there is nothing.
        """
        view = self._native.poll(max)
        numpy = _numpy()
        return view if numpy is None else numpy.frombuffer(view, event_dtype())

    async def batches(self, max: int = 65_536) -> AsyncIterator[Any]:
        """Batches of events as they come, for ``async for``; ends when every connection is over."""
        loop = asyncio.get_running_loop()
        while True:
            over = self.counts().closed == self._size
            batch = self.poll_batch(max)
            if len(batch):
                yield batch
                continue
            if over:
                return
            ready = asyncio.Event()
            loop.add_reader(self.fileno(), ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self.fileno())

    @property
    def dropped_events(self) -> int:
        """Events that were lost because `capacity` others waited."""
        return self._native.dropped()

    def counts(self) -> ConnectionCounts:
        """How many connections are in which state."""
        return ConnectionCounts(*self._native.counts())

    def handshakes(self) -> Histogram:
        """How long handshakes took. A copy."""
        return self._native.handshakes()

    def reasons(self) -> dict[str, int]:
        """Why connections ended, in words, and how many did so; at most 64 different sentences.

        Those that this program closed are not in it.
        """
        return self._native.reasons()

    def request_many(
        self,
        requests: _Bytes | Pattern | Sequence[_Bytes | Pattern],
        *,
        connections: Iterable[int] | None = None,
        count: int | None = None,
        duration: float | None = None,
        rate: float | None = None,
        ramp: float = 0.0,
        arrivals: Literal["even", "poisson"] = "even",
        seed: int = 0,
        in_flight: int | None = None,
        response: Literal["discard", "hash", "verify"] = "discard",
        expect: int | None = None,
        timeout: float | None = None,
        keep_latencies: int | None = None,
    ) -> RequestRun:
        """Begins exchanges: each request on a bidirectional stream of its own, with its response.

        Closed loop by default: a connection sends its next request as soon as it has room for it.
        With `rate` open loop: requests have times at which they should leave, whatever becomes of
        earlier ones, and latencies count from those times. A request that has to wait, because the
        server is slow or `in_flight` others are under way, is as late as it is: the measurement
        omits nothing.

        Args:
            requests: what to send: one request, or several that take turns; bytes or a `Pattern`.
                Prepared once, not copied per request.
            connections: numbers of those to use; those that are not open are left out. Default: all
                that are open now.
            count: requests in all. Default: one for each connection, or with `duration` any number.
            duration: seconds after which no request begins any more; in an open loop, those that
                found no room until then count as failed, by `Cause.NOT_SENT`.
            rate: requests per second, over all connections: open loop.
            ramp: seconds in which the rate grows evenly from 0 to that. Default 0.
            arrivals: at that rate ``"even"`` or, like independent users, ``"poisson"``.
            seed: of the latter.
            in_flight: requests under way on one connection at most. Default 1 in a closed loop, 100
                in an open one. The peer's limit of streams holds, too.
            response: what to do with responses: ``"discard"`` counts their bytes; ``"hash"`` tells
                the first 8 bytes of the SHA-256 in events; ``"verify"`` compares with the pattern
                of perf servers.
            expect: bytes that a response must have; others count as failed.
            timeout: seconds that a response may take from when its request left; later ones are
                given up, and count as failed. Default: no limit.
            keep_latencies: latencies kept one by one, 8 bytes each. Default `count`, or 1048576;
                at most that many. The histogram counts all.

        Raises:
            ConfigError: a value cannot be used.
            EngineError: none of the connections is open, or the engine has ended.
        """
        chosen = None if connections is None else list(connections)
        if count is None and duration is None:
            count = len(chosen) if chosen is not None else self.counts().open
        plan = plan_requests(
            requests,
            count=count,
            duration=duration,
            rate=rate,
            ramp=ramp,
            arrivals=arrivals,
            seed=seed,
            in_flight=in_flight,
            response=response,
            expect=expect,
            timeout=timeout,
            keep_latencies=keep_latencies,
        )
        return RequestRun(self._native.requests(plan, chosen))

    def close(
        self, code: int = 0, reason: str = "", *, connections: Iterable[int] | None = None
    ) -> None:
        """Closes connections; returns at once, the engine does the rest.

        Args:
            code: application error code for the peers.
            reason: for people.
            connections: numbers of those to close. Default: all, and no more are begun.
        """
        numbers = None if connections is None else list(connections)
        self._native.close(code, encode_reason(reason), numbers)

    def __repr__(self) -> str:
        counts = self.counts()
        return f"<ConnectionSet of {self._size}: {counts.open} open, {counts.closed} closed>"


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Requests as the engine reads them."""

    requests: list[tuple[_Bytes, int]]
    count: int | None
    duration: float | None
    rate: float | None
    ramp: float
    poisson: bool
    seed: int
    in_flight: int
    response: str
    expect: int | None
    timeout: float | None
    latencies: int


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """Connections as the engine reads them."""

    count: int
    server_name: str
    local_addresses: list[str]
    sockets: int
    handshakes: int
    rate: float | None
    events: int
    capacity: int
    http: bool
    variants: list[tuple[float, _engine.Transport, _engine.ClientTls]]


def plan_requests(
    requests: _Bytes | Pattern | Sequence[_Bytes | Pattern],
    *,
    count: int | None,
    duration: float | None,
    rate: float | None,
    ramp: float = 0.0,
    arrivals: str = "even",
    seed: int = 0,
    in_flight: int | None = None,
    response: str = "discard",
    expect: int | None = None,
    timeout: float | None = None,
    keep_latencies: int | None = None,
) -> RequestPlan:
    """What `ConnectionSet.request_many` was asked for, if that makes sense."""
    if count is not None and count < 0:
        raise ConfigError("count must not be negative")
    if rate is not None and not 0 < rate < 1e9:
        raise ConfigError("rate must be a number of requests per second, above 0")
    if ramp < 0 or (ramp > 0 and rate is None):
        raise ConfigError("ramp must be a time in seconds, together with a rate")
    if arrivals not in ("even", "poisson"):
        raise ConfigError(f"arrivals must be even or poisson, not {arrivals!r}")
    if in_flight is not None and in_flight < 1:
        raise ConfigError("in_flight must be at least 1")
    if timeout is not None and not timeout > 0:
        raise ConfigError("timeout must be a time in seconds, above 0")
    kept = count if count is not None else _LATENCIES
    return RequestPlan(
        requests=_templates(requests),
        count=count,
        duration=duration,
        rate=rate,
        ramp=ramp,
        poisson=arrivals == "poisson",
        seed=seed,
        in_flight=in_flight or (1 if rate is None else 100),
        response=response,
        expect=expect,
        timeout=timeout,
        latencies=min(kept, _LATENCIES) if keep_latencies is None else keep_latencies,
    )


def _templates(
    requests: _Bytes | Pattern | Sequence[_Bytes | Pattern],
) -> list[tuple[_Bytes, int]]:
    several: Iterable[object] = requests
    if isinstance(requests, Pattern | bytes | bytearray | memoryview):
        several = [requests]
    templates: list[tuple[_Bytes, int]] = []
    for request in several:
        if isinstance(request, Pattern):
            templates.append((request.head, request.size))
        elif isinstance(request, bytes | bytearray | memoryview):
            templates.append((cast(_Bytes, request), 0))
        else:
            raise ConfigError(f"a request is bytes or a Pattern, not {request!r}")
    if not templates:
        raise ConfigError("requests must not be empty")
    return templates

"""A load: connections, requests, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import QuicError
from tquic.h3._wire import ALPN
from tquic.load._options import Options
from tquic.load._request import Request, locate
from tquic.load._result import Result, of_run
from tquic.many import (
    ConnectionCounts,
    ConnectionSet,
    Histogram,
    Pattern,
    RequestPlan,
    RequestRun,
    RequestStats,
)
from tquic.session import SessionStore
from tquic.stats import ShardStats

__all__ = ["Load", "LoadError", "run", "start"]

# Events that wait to be taken, when they are wanted: 80 MiB at most.
_CAPACITY: Final = 1 << 20
# Seconds without a packet after which a connection says that it is still there.
_KEEP_ALIVE: Final = 10.0
# Seconds after which it is told how many connections there are.
_STEP: Final = 0.1


class LoadError(QuicError):
    """Nothing could be measured: no connection was established."""


class Load:
    """Requests under way, made by `start`. A context manager: at its end everything is closed."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        engine: Engine,
        *,
        owned: bool,
        connections: ConnectionSet,
        requests: RequestRun,
        before: tuple[ShardStats, ...],
        missing: int,
    ) -> None:
        self._url = url
        self._options = options
        self._engine = engine
        self._owned = owned
        self._connections = connections
        self._run = requests
        self._before = before
        self.missing = missing
        """Connections that take no part: they were not established in time."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def done(self) -> bool:
        """Whether everything has been sent and answered, or given up."""
        return self._run.done

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for that without the GIL: False if `timeout` seconds passed before."""
        return self._run.wait(timeout)

    def stop(self) -> None:
        """Begins no more requests; those under way go on."""
        self._run.stop()

    def stats(self) -> RequestStats:
        """Counters so far."""
        return self._run.stats()

    def histogram(self) -> Histogram:
        """Latencies so far, from intended begins, in nanoseconds. A copy."""
        return self._run.histogram()

    def latencies(self) -> Any:
        """Latencies one by one so far: see `RequestRun.latencies`."""
        return self._run.latencies()

    def counts(self) -> ConnectionCounts:
        """How many connections are in which state."""
        return self._connections.counts()

    def poll_batch(self, max: int = 65_536) -> Any:
        """Responses one by one, as `ConnectionSet.poll_batch` tells them; with ``events=True``."""
        return self._connections.poll_batch(max)

    @property
    def dropped_events(self) -> int:
        """Responses that `poll_batch` did not take in time."""
        return self._connections.dropped_events

    def result(self) -> Result:
        """What came of it, so far."""
        stats, counts = self._run.stats(), self._connections.counts()
        errors, statuses = of_run(stats, counts)
        return Result(
            url=self._url,
            options=self._options,
            requests=stats.requests,
            responses=stats.responses,
            failed=stats.failed,
            seconds=stats.seconds,
            bytes_sent=stats.bytes_sent,
            bytes_received=stats.bytes_received,
            connections=counts,
            latency=self._run.histogram(),
            service=self._run.service_histogram(),
            first_byte=self._run.first_byte_histogram(),
            handshake=self._connections.handshakes(),
            statuses=statuses,
            errors=errors,
            reasons=self._connections.reasons(),
            engine=_difference(self._before, self._engine.stats()) if self._owned else {},
            latencies=self._run.latencies(),
        )

    def close(self) -> None:
        """Gives up what is under way, and closes the connections."""
        self._connections.close(0x100)
        if self._owned:
            self._engine.shutdown(0.2)

    def __repr__(self) -> str:
        return f"<Load on {self._url}: {self._run!r}>"


def run(url: str | Sequence[str], options: Options | None = None, /, **changes: Any) -> Result:
    """Makes a load and waits for its end; takes what `start` takes.

    Raises:
        LoadError: no connection was established.
    """
    with start(url, options, **changes) as load:
        load.wait()
        return load.result()


def start(url: str | Sequence[str], options: Options | None = None, /, **changes: Any) -> Load:
    """Connects, and begins a load.

    Closed loop by default: each connection sends the next request when one has been answered. With
    `Options.rate` open loop: every request has a time at which it should leave, and its latency
    counts from then, however long it has to wait, so that a server which stalls cannot hide it
    (*coordinated omission*).

    Args:
        url: one https URL, or several of one server that take turns.
        options: what the load is to be. Default `Options()`.
        changes: fields of `Options` that are different.

    Raises:
        ConfigError: a value cannot be used.
        LoadError: no connection was established.
        OSError: the name is not known.
    """
    options = replace(options or Options(), **changes)
    origin, paths = locate([url] if isinstance(url, str) else url)
    templates: Sequence[Request] = [Request(path) for path in paths]
    if options.template is not None:
        given = options.template
        templates = [given] if isinstance(given, Request) else list(given)
    encoded = [request.encode(origin) for request in templates]
    plan = options.plan(encoded)
    config = _configuration(options, origin.host)
    engine = options.engine or Engine(options.shards)
    try:
        before, missing = engine.stats(), 0
        place = options.connect_to or (origin.host, origin.port)
        connections, visits = _connect(engine, place, options, config, plan)
        if visits is None:
            missing = _wait(connections, options)
            if options.warmup:
                _warm_up(connections, encoded, options)
                before = engine.stats()
            visits = RequestRun(connections._native.requests(plan, None))
    except BaseException:
        if options.engine is None:
            engine.shutdown()
        raise
    return Load(
        origin.url.removesuffix("/") + templates[0].path,
        options.told(),
        engine,
        owned=options.engine is None,
        connections=connections,
        requests=visits,
        before=before,
        missing=missing,
    )


def _configuration(options: Options, host: str) -> Config:
    config = options.config or Config()
    return config.replace(
        alpn=(ALPN,),
        # Tickets of connections that stay are of no use, and cost memory.
        session_store=None,
        early_data=False,
        server_name=config.server_name or host,
        # Where there are many connections, each rests for long before its turn.
        keep_alive=config.keep_alive or _KEEP_ALIVE,
    )


def _connect(
    engine: Engine, place: tuple[str, int], options: Options, config: Config, plan: RequestPlan
) -> tuple[ConnectionSet, RequestRun | None]:
    """Begins the connections, and with them the load if they come and go."""
    stays = options.per_connection is None
    count, rate = (options.connections, options.connect_rate) if stays else options.visits()
    return engine._connect_many(
        *place,
        count,
        config=config,
        local_addresses=options.local_addresses,
        sockets=options.sockets,
        handshakes=options.handshakes if stays else options.connections,
        rate=rate,
        on=("response",) if options.events else (),
        capacity=_CAPACITY,
        http3=True,
        variants=[
            (share, config.replace(session_store=SessionStore(), early_data=early))
            for share, early in ((options.resume, False), (options.early, True))
            if share
        ],
        visit=None if stays else plan,
    )


def _wait(connections: ConnectionSet, options: Options) -> int:
    """Waits for connections: how many there will not be."""
    seconds = options.connect_timeout
    deadline = time.monotonic() + seconds
    while not connections._native.wait_connected(max(min(_STEP, deadline - time.monotonic()), 0)):
        if time.monotonic() >= deadline:
            # Their handshakes would be measured as well.
            connections._native.begin_no_more()
            break
        if options.on_connecting is not None:
            options.on_connecting(connections.counts())
    if established := connections.counts().open:
        return len(connections) - established
    whys = connections.reasons() or {f"no answer in {seconds:g} s": len(connections)}
    why = max(whys, key=lambda sentence: whys[sentence])
    connections.close()
    raise LoadError(f"none of {len(connections)} connections could be established: {why}")


def _warm_up(connections: ConnectionSet, encoded: list[bytes | Pattern], options: Options) -> None:
    run = connections.request_many(
        encoded,
        duration=options.warmup,
        rate=options.rate,
        in_flight=options.streams,
        timeout=options.timeout,
        keep_latencies=0,
    )
    while not run.wait(0.1):
        connections.poll_batch(_CAPACITY)
    connections.poll_batch(_CAPACITY)


def _difference(before: tuple[ShardStats, ...], after: tuple[ShardStats, ...]) -> dict[str, float]:
    """What the engine's threads did between two moments."""

    def grown(name: str) -> float:
        total = sum(getattr(shard, name) or 0 for shard in after)
        return float(total - sum(getattr(shard, name) or 0 for shard in before))

    sends, receives = grown("send_calls"), grown("receive_calls")
    return {
        "cpu_seconds": round(grown("cpu_seconds"), 6),
        "packets_per_send_call": round(grown("datagrams_sent") / max(sends, 1), 3),
        "packets_per_receive_call": round(grown("datagrams_received") / max(receives, 1), 3),
        "kernel_drops": grown("kernel_drops"),
    }

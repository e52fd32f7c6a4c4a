"""A load: connections, requests, and what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConfigError, QuicError
from tquic.h3._wire import ALPN
from tquic.load._request import Request, locate
from tquic.load._result import Result, of_run
from tquic.many import (
    ConnectionCounts,
    ConnectionSet,
    Histogram,
    Pattern,
    RequestRun,
    RequestStats,
    plan_requests,
)
from tquic.session import SessionStore
from tquic.stats import ShardStats

__all__ = ["Load", "LoadError", "run", "start"]

# Events that wait to be taken, when they are wanted: 80 MiB at most.
_CAPACITY: Final = 1 << 20
# Connections that come and go, for each second of a load whose number is not given.
_VISITS: Final = 20_000
_MOST_CONNECTIONS: Final = 1 << 22
# Seconds without a request that a connection lasts at least, whatever the load.
_IDLE: Final = 60.0


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
    ) -> None:
        self._url = url
        self._options = options
        self._engine = engine
        self._owned = owned
        self._connections = connections
        self._run = requests
        self._before = before

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


def run(url: str | Sequence[str], **options: Any) -> Result:
    """Makes a load and waits for its end; takes what `start` takes.

    Raises:
        LoadError: no connection was established.
    """
    with start(url, **options) as load:
        load.wait()
        return load.result()


def start(
    url: str | Sequence[str],
    *,
    connections: int = 10,
    streams: int | None = None,
    requests: int | None = None,
    duration: float | None = None,
    rate: float | None = None,
    ramp: float = 0.0,
    arrivals: Literal["even", "poisson"] = "even",
    seed: int = 0,
    template: Request | Sequence[Request] | None = None,
    response: Literal["discard", "hash", "verify"] = "discard",
    expect: int | None = None,
    timeout: float | None = None,
    warmup: float = 0.0,
    per_connection: int | None = None,
    resume: float = 0.0,
    early: float = 0.0,
    config: Config | None = None,
    connect_to: tuple[str, int] | None = None,
    connect_timeout: float = 30.0,
    connect_rate: float | None = None,
    handshakes: int = 64,
    local_addresses: Sequence[str] = (),
    sockets: int = 1,
    engine: Engine | None = None,
    shards: int = 1,
    events: bool = False,
    keep_latencies: int | None = None,
) -> Load:
    """Connects, and begins a load.

    Closed loop by default: each connection sends the next request when one has been answered. With
    `rate` open loop: every request has a time at which it should leave, and its latency counts from
    then, however long it has to wait, so that a server which stalls cannot hide it (*coordinated
    omission*).

    Args:
        url: one https URL, or several of one server that take turns.
        connections: how many; with `per_connection`, at a time.
        streams: requests under way on one connection at most. Default 1 in a closed loop, 100 in an
            open one; the server's limit holds, too.
        requests: how many in all.
        duration: seconds after which no request begins any more. Default 10 if `requests` is not
            given.
        rate: requests per second over all connections: open loop.
        ramp: seconds in which that rate grows evenly from 0.
        arrivals: ``"even"`` or, like independent users, ``"poisson"``.
        seed: of the latter.
        template: what to request instead of the URL's path with GET; several take turns.
        response: what to do with content: ``"discard"`` counts its bytes, ``"hash"`` tells the
            first 8 bytes of their SHA-256 in events, ``"verify"`` compares them with the pattern of
            ``tquic perf``.
        expect: bytes of content that a response must have; others count as failed.
        timeout: seconds that a response may take from when its request left.
        warmup: seconds of the same load before, which are not counted.
        per_connection: each connection does so many requests and is closed; others follow. The
            first request of each is as late as its connection: handshakes are part of its latency.
        resume: part of these connections, from 0 to 1, that resume a session if there is a ticket.
        early: part of them that resume and send their requests as 0-RTT.
        config: settings. Default `Config()`; the protocol is HTTP/3 in any case.
        connect_to: host and port instead of those of the URL; the certificate must still be for the
            host of the URL.
        connect_timeout: seconds in which connections must be established before the load begins.
        connect_rate: connections begun per second at most, before the load.
        handshakes: handshakes under way at a time, before the load.
        local_addresses: numeric addresses to send from, by turns.
        sockets: UDP sockets for each of them and each thread.
        engine: threads to use. Default: `shards` of its own.
        shards: see there.
        events: whether `Load.poll_batch` tells responses one by one.
        keep_latencies: latencies kept one by one. Default: `requests`, at most 1048576.

    Raises:
        ConfigError: a value cannot be used.
        LoadError: no connection was established.
        OSError: the name is not known.
    """
    options = {
        name: value
        for name, value in {
            "connections": connections,
            "streams": streams,
            "requests": requests,
            "duration": duration,
            "rate": rate,
            "ramp": ramp,
            "arrivals": arrivals,
            "timeout": timeout,
            "warmup": warmup,
            "per_connection": per_connection,
            "resume": resume,
            "early": early,
            "shards": shards,
        }.items()
        if value is not None
    }
    origin, paths = locate([url] if isinstance(url, str) else url)
    templates = [Request(path) for path in paths]
    if template is not None:
        templates = [template] if isinstance(template, Request) else list(template)
    encoded: list[bytes | Pattern] = [request.encode(origin) for request in templates]
    if requests is None and duration is None:
        duration = options["duration"] = 10.0
    _check(per_connection, rate, ramp, resume, early, warmup)
    config = _configuration(config, origin.host, duration)
    host, port = connect_to or (origin.host, origin.port)
    plan = plan_requests(
        encoded,
        count=requests if per_connection is None else per_connection,
        duration=duration,
        rate=rate if per_connection is None else None,
        ramp=ramp,
        arrivals=arrivals,
        seed=seed,
        in_flight=streams,
        response=response,
        expect=expect,
        timeout=timeout,
        keep_latencies=keep_latencies,
    )
    count, begin_rate, at_a_time = connections, connect_rate, handshakes
    variants: list[tuple[float, Config]] = []
    if per_connection is not None:
        count = _visits(requests, duration, rate, per_connection)
        begin_rate = rate and rate / per_connection
        at_a_time = connections
        variants = [
            (share, _resuming(config, early=is_early))
            for share, is_early in ((resume, False), (early, True))
            if share
        ]
    used = engine or Engine(shards)
    try:
        before = used.stats()
        opened, visits = used._connect_many(
            host,
            port,
            count,
            config=config,
            local_addresses=local_addresses,
            sockets=sockets,
            handshakes=at_a_time,
            rate=begin_rate,
            on=("response",) if events else (),
            capacity=_CAPACITY,
            http3=True,
            variants=variants,
            visit=plan if per_connection is not None else None,
        )
        begun = visits or _begin(opened, plan, encoded, warmup, connect_timeout, streams, rate)
        if warmup and visits is None:
            before = used.stats()
    except BaseException:
        if engine is None:
            used.shutdown()
        raise
    path = templates[0].path
    return Load(
        origin.url.removesuffix("/") + path,
        options,
        used,
        owned=engine is None,
        connections=opened,
        requests=begun,
        before=before,
    )


def _check(
    per_connection: int | None,
    rate: float | None,
    ramp: float,
    resume: float,
    early: float,
    warmup: float,
) -> None:
    if warmup < 0:
        raise ConfigError("warmup must be a time in seconds")
    if min(resume, early) < 0 or resume + early > 1:
        raise ConfigError("resume and early must be from 0 to 1, and so their sum")
    if per_connection is None:
        if resume or early:
            raise ConfigError(
                "resume and early are for connections that come and go: give per_connection"
            )
        return
    if per_connection < 1:
        raise ConfigError("per_connection must be at least 1")
    if ramp or warmup:
        raise ConfigError("with per_connection there is no ramp and no warmup")
    if rate is not None and not rate > 0:
        raise ConfigError("rate must be a number of requests per second, above 0")


def _configuration(config: Config | None, host: str, duration: float | None) -> Config:
    config = config or Config()
    # Tickets of connections that stay are of no use, and cost memory.
    config = config.replace(alpn=(ALPN,), session_store=None)
    if config.server_name is None:
        config = config.replace(server_name=host)
    # Where there are more connections than requests, each rests for long.
    rest = max(config.idle_timeout, _IDLE, (duration or 0.0) + 1.0)
    return config.replace(idle_timeout=rest)


def _resuming(config: Config, *, early: bool) -> Config:
    return config.replace(session_store=SessionStore(), early_data=early)


def _visits(
    requests: int | None, duration: float | None, rate: float | None, per_connection: int
) -> int:
    """Connections that come and go."""
    if requests is not None:
        count = math.ceil(requests / per_connection)
    else:
        assert duration is not None
        count = math.ceil(duration * (rate / per_connection if rate else _VISITS))
    return min(max(count, 1), _MOST_CONNECTIONS)


def _begin(
    connections: ConnectionSet,
    plan: Any,
    encoded: list[bytes | Pattern],
    warmup: float,
    connect_timeout: float,
    streams: int | None,
    rate: float | None,
) -> RequestRun:
    """The load over connections that stay, as soon as they are established."""
    connections._native.wait_connected(connect_timeout)
    counts = connections.counts()
    if not counts.open:
        whys = connections.reasons() or {f"no answer in {connect_timeout:g} s": len(connections)}
        why = max(whys, key=lambda sentence: whys[sentence])
        connections.close()
        raise LoadError(f"none of {len(connections)} connections could be established: {why}")
    if warmup:
        connections.request_many(
            encoded, duration=warmup, rate=rate, in_flight=streams, keep_latencies=0
        ).wait()
        connections.poll_batch(_CAPACITY)
    return RequestRun(connections._native.requests(plan, None))


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

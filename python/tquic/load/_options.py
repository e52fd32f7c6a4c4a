"""What a load is to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import ConfigError
from tquic.load._request import Request
from tquic.many import ConnectionCounts, Pattern, RequestPlan, plan_requests

__all__ = ["Options"]

# Seconds of a load that nothing else ends.
_DURATION: Final = 10.0
# Connections that come and go, for each second of a load whose number is not given.
_VISITS: Final = 20_000
_MOST_CONNECTIONS: Final = 1 << 22
# What a result tells of them.
_TOLD: Final = (
    *("connections", "streams", "requests", "duration", "rate", "ramp", "arrivals", "timeout"),
    *("warmup", "per_connection", "resume", "early", "shards"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `start` and `run` take."""

    connections: int = 10
    """How many; with `per_connection`, at a time."""
    streams: int | None = None
    """Requests under way on one connection at most. Default 1 in a closed loop, 100 in an open one;
    the server's limit holds, too."""
    requests: int | None = None
    """How many in all; with `per_connection` rounded up to whole connections."""
    duration: float | None = None
    """Seconds after which no request begins any more. Default 10 if `requests` is not given. With
    `rate`, requests that found no room until then count as failed: ``not_sent``."""
    rate: float | None = None
    """Requests per second over all connections: open loop."""
    ramp: float = 0.0
    """Seconds in which that rate grows evenly from 0."""
    arrivals: Literal["even", "poisson"] = "even"
    """How requests follow each other at that rate: evenly, or at random like independent users."""
    seed: int = 0
    """Of the latter."""
    template: Request | Sequence[Request] | None = None
    """What to request instead of the URL's path with GET; several take turns."""
    response: Literal["discard", "hash", "verify"] = "discard"
    """What to do with content: count its bytes, tell the first 8 bytes of their SHA-256 in events,
    or compare them with the pattern of ``tquic perf``."""
    expect: int | None = None
    """Bytes of content that a response must have; others count as failed."""
    timeout: float | None = 60.0
    """Seconds that a response may take from when its request left; `None` for any time."""
    warmup: float = 0.0
    """Seconds of the same load before, which are not counted."""
    per_connection: int | None = None
    """Each connection does so many requests and is closed; others follow. The first request of each
    is as late as its connection: handshakes are part of its latency."""
    resume: float = 0.0
    """Part of these connections, from 0 to 1, that resume a session if there is a ticket."""
    early: float = 0.0
    """Part of them that resume and send their requests as 0-RTT."""
    config: Config | None = None
    """Settings. Default `Config()`; the protocol is HTTP/3 in any case."""
    connect_to: tuple[str, int] | None = None
    """Host and port instead of those of the URL; the certificate must still be for the URL's."""
    connect_timeout: float = 30.0
    """Seconds in which connections must be established before the load begins. Those that are not
    take no part: no more are begun, and `Load.missing` says how many there are."""
    on_connecting: Callable[[ConnectionCounts], object] | None = None
    """Called about every tenth of a second while these connections are made, in the thread that
    waits for them; not with `per_connection`."""
    connect_rate: float | None = None
    """Connections begun per second at most, before the load."""
    handshakes: int = 64
    """Handshakes under way at a time, before the load."""
    local_addresses: Sequence[str] = ()
    """Numeric addresses to send from, by turns."""
    sockets: int = 1
    """UDP sockets for each of them and each thread."""
    engine: Engine | None = None
    """Threads to use. Default: `shards` of the load's own."""
    shards: int = 1
    """See there."""
    events: bool = False
    """Whether `Load.poll_batch` tells responses one by one."""
    keep_latencies: int | None = None
    """Latencies kept one by one. Default: `requests`, at most 1048576."""

    def __post_init__(self) -> None:
        """Refuses what makes no sense."""
        if self.warmup < 0:
            raise ConfigError("warmup must be a time in seconds")
        if not 1 <= self.connections <= _MOST_CONNECTIONS:
            raise ConfigError(f"connections must be from 1 to {_MOST_CONNECTIONS:,}")
        if self.duration is not None and not self.duration > 0:
            raise ConfigError("duration must be a time in seconds, above 0")
        if not self.connect_timeout > 0:
            raise ConfigError("connect_timeout must be a time in seconds, above 0")
        if min(self.resume, self.early) < 0 or self.resume + self.early > 1:
            raise ConfigError("resume and early must be from 0 to 1, and so their sum")
        if self.rate is not None and not self.rate > 0:
            raise ConfigError("rate must be a number of requests per second, above 0")
        if self.per_connection is None:
            if self.resume or self.early:
                raise ConfigError("resume and early need per_connection: connections that go")
        elif self.per_connection < 1:
            raise ConfigError("per_connection must be at least 1")
        elif self.ramp or self.warmup:
            raise ConfigError("with per_connection there is no ramp and no warmup")

    def told(self) -> dict[str, Any]:
        """Those that a result repeats, without those that are not set."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: found[name] for name in _TOLD if found[name] is not None}

    @property
    def seconds(self) -> float | None:
        """The duration, with its default."""
        if self.duration is None and self.requests is None:
            return _DURATION
        return self.duration

    def plan(self, encoded: list[bytes | Pattern]) -> RequestPlan:
        """As the engine reads it: all requests, or with `per_connection` those of a connection."""
        stays = self.per_connection is None
        return plan_requests(
            encoded,
            count=self.requests if stays else self.per_connection,
            duration=self.seconds,
            rate=self.rate if stays else None,
            ramp=self.ramp,
            arrivals=self.arrivals,
            seed=self.seed,
            in_flight=self.streams,
            response=self.response,
            expect=self.expect,
            timeout=self.timeout,
            keep_latencies=self.keep_latencies,
        )

    def visits(self) -> tuple[int, float | None]:
        """Connections that come and go, and how many begin each second at most."""
        each = self.per_connection or 1
        rate = self.rate and self.rate / each
        if self.requests is not None:
            count = math.ceil(self.requests / each)
        else:
            count = math.ceil((self.seconds or _DURATION) * (rate or _VISITS))
        return min(max(count, 1), _MOST_CONNECTIONS), rate

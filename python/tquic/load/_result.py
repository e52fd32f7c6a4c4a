"""What a load came to."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tquic._engine import Histogram, build_info, crypto_backends
from tquic.load._write import encode_histogram
from tquic.many import ConnectionCounts, RequestStats

__all__ = ["QUANTILES", "SCHEMA", "Result", "environment", "summary"]

SCHEMA: Final = "tquic-load-1"
QUANTILES: Final[Mapping[str, float]] = {
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99_9": 0.999,
    "p99_99": 0.9999,
}
"""Those that are reported, by their names there."""


def summary(histogram: Histogram) -> dict[str, float] | None:
    """Durations in microseconds: ``min``, ``mean``, ``stddev``, `QUANTILES`, ``max``.

    `None` if nothing was counted.
    """
    if not len(histogram):
        return None
    found = {
        "min": histogram.min_ns,
        "mean": histogram.mean_ns,
        "stddev": histogram.stddev_ns,
        **{name: histogram.quantile_ns(quantile) for name, quantile in QUANTILES.items()},
        "max": histogram.max_ns,
    }
    return {name: round(nanos / 1e3, 3) for name, nanos in found.items()}


def environment() -> dict[str, Any]:
    """Where a measurement was made: versions, machine, what protects packets."""
    info = build_info()
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": info["version"],
        "build": "debug" if info["debug"] else "release",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "crypto": crypto_backends(),
    }


@dataclass(frozen=True)
class Result:
    """Counters and histograms of a load, or of several that were `merge`d."""

    url: str
    """Where the first request goes."""
    options: Mapping[str, Any]
    """What was asked for."""
    requests: int
    """Requests sent."""
    responses: int
    """Whole responses, as expected, with a status below 400."""
    failed: int
    """The others; `errors` says why."""
    seconds: float
    """From the begin to the end of the last response."""
    bytes_sent: int
    """Bytes of requests on their streams."""
    bytes_received: int
    """Bytes of the responses' content."""
    connections: ConnectionCounts
    """How connections fared, at the end."""
    latency: Histogram = field(repr=False)
    """From when requests should have left to the end of their responses, in nanoseconds."""
    service: Histogram = field(repr=False)
    """From when they did leave."""
    first_byte: Histogram = field(repr=False)
    """From then to the first byte of the response."""
    handshake: Histogram = field(repr=False)
    """From a connection's first packet to the end of its handshake."""
    statuses: Mapping[int, int]
    """HTTP statuses, and how many of each came."""
    errors: Mapping[str, int]
    """Kinds of failure, and how often: ``status``, ``timed_out``, ``connection_lost``,
    ``peer_application`` (the server reset the stream), ``unexpected`` (not the bytes that were
    expected), ``http`` (the server broke HTTP/3), ``not_sent`` (they never left: their connection
    was gone, or had no room until the end), ``connect`` (connections that failed)."""
    reasons: Mapping[str, int]
    """Why connections ended, in words."""
    engine: Mapping[str, float]
    """What the engine's threads did meanwhile: ``cpu_seconds``, ``packets_per_send_call``,
    ``packets_per_receive_call``, ``kernel_drops``. Empty for an engine that others use, too."""
    latencies: Any = field(default=None, repr=False, compare=False)
    """Latencies one by one, as `RequestRun.latencies` tells them."""

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.responses / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as one JSON document; its ``schema`` changes with the names in it."""
        return {
            "schema": SCHEMA,
            "url": self.url,
            "options": dict(self.options),
            "requests": self.requests,
            "responses": self.responses,
            "failed": self.failed,
            "seconds": round(self.seconds, 6),
            "rate_per_second": round(self.rate, 3),
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "connections": self.connections._asdict(),
            "latency_us": summary(self.latency),
            "service_us": summary(self.service),
            "first_byte_us": summary(self.first_byte),
            "handshake_us": summary(self.handshake),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "errors": dict(self.errors),
            "reasons": dict(self.reasons),
            "engine": dict(self.engine),
            "histogram": encode_histogram(self.latency),
            "environment": environment(),
        }

    def merge(self, other: Result) -> Result:
        """Both together, as if one generator had made the load at the same time.

        Counters and histograms add up; `seconds` is the longer; `latencies` are left out.
        """
        return Result(
            url=self.url,
            options=self.options,
            requests=self.requests + other.requests,
            responses=self.responses + other.responses,
            failed=self.failed + other.failed,
            seconds=max(self.seconds, other.seconds),
            bytes_sent=self.bytes_sent + other.bytes_sent,
            bytes_received=self.bytes_received + other.bytes_received,
            connections=ConnectionCounts(
                *(a + b for a, b in zip(self.connections, other.connections, strict=True))
            ),
            latency=_both(self.latency, other.latency),
            service=_both(self.service, other.service),
            first_byte=_both(self.first_byte, other.first_byte),
            handshake=_both(self.handshake, other.handshake),
            statuses=_sum(self.statuses, other.statuses),
            errors=_sum(self.errors, other.errors),
            reasons=_sum(self.reasons, other.reasons),
            engine={},
        )


def _both(one: Histogram, other: Histogram) -> Histogram:
    merged = Histogram()
    merged.merge(one)
    merged.merge(other)
    return merged


def _sum(one: Mapping[Any, int], other: Mapping[Any, int]) -> dict[Any, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def of_run(stats: RequestStats, counts: ConnectionCounts) -> tuple[dict[str, int], dict[int, int]]:
    """Kinds of failure and statuses, as `Result` has them."""
    errors = {cause.name.lower(): count for cause, count in stats.causes.items() if cause.value}
    if counts.failed:
        errors["connect"] = counts.failed
    return errors, dict(stats.statuses)

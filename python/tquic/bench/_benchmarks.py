"""The benchmarks themselves. Each takes its arguments and answers what it found."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tquic import sync
from tquic._engine import Histogram, crypto_backends, protection_rate
from tquic.bench._links import multipath
from tquic.bench._loopback import Loopback, loopback
from tquic.bench._result import Measured, of_histogram, of_samples
from tquic.engine import Engine
from tquic.errors import QuicError
from tquic.many import ConnectionSet

__all__ = ["FUNCTIONS"]

# Seconds between two samples of a rate.
_SAMPLE: Final = 0.1
# Handshakes measured beside requests, at most.
_HANDSHAKES: Final = 1000
# Bytes of a packet's payload with which its protection is measured; as in the engine.
_PAYLOAD: Final = 1443
# Bytes of the perf protocol's request: how many bytes are wanted.
_REQUEST: Final = 8
# Seconds in which connections give back what only busy ones need.
_REST: Final = 3.0
# Long enough for anything here to come to an end.
_PATIENCE: Final = 600.0


def _ask(size: int) -> bytes:
    return size.to_bytes(_REQUEST, "big")


def _connect(ends: Loopback, count: int) -> ConnectionSet:
    """Connections that are all established."""
    connections = ends.client.connect_many(ends.host, ends.port, count, config=ends.config, on=())
    counts = connections.wait_connected(_PATIENCE)
    if counts.open < count:
        whys = ", ".join(connections.reasons())
        raise QuicError(f"{count - counts.open} of {count} connections failed: {whys}")
    return connections


def _count(engine: Engine, name: str) -> float:
    """A counter of an engine's threads."""
    return float(sum(getattr(shard, name) or 0 for shard in engine.stats()))


def _received(engine: Engine) -> int:
    """UDP payload that an engine's connections have received, in bytes."""
    return sum(one["bytes_received"] for one in engine.snapshot()["connections"])


def throughput(seconds: float) -> Measured:
    """A download over one stream of one connection; samples are of UDP payload."""
    with loopback() as ends:
        rates: list[float] = []
        seen: list[float] = [0, time.monotonic()]

        def look() -> None:
            time.sleep(_SAMPLE)
            now, received = time.monotonic(), _received(ends.client)
            if received > seen[0]:
                rates.append((received - seen[0]) * 8 / (now - seen[1]) / 1e6)
            seen[:] = [received, now]

        report = ends.download(seconds, look)
        sent = _count(ends.server, "datagrams_sent")
        per_call = sent / max(_count(ends.server, "send_calls"), 1)
    took = report["seconds"]
    return Measured(
        unit="Mbit/s",
        samples=len(rates),
        stats=of_samples(rates),
        facts={
            # Of the stream: what came and was verified is what was sent.
            "bytes_sent": report["bytes"],
            "bytes_received": report["bytes"],
            "packets_sent": round(sent),
            "packets_received": report["packets_received"],
            "goodput_mbps": round(report["gbps"] * 1e3, 3),
            "pps": round(report["packets_received"] / took, 3) if took else 0.0,
            "packets_per_send_call": round(per_call, 3),
            "packets_per_receive_call": round(report["packets_per_receive_call"], 3),
            "verified": report["verified"],
        },
    )


def _handshakes(ends: Loopback, count: int) -> tuple[Histogram, float, dict[str, Any]]:
    begun = time.monotonic()
    connections = ends.client.connect_many(
        ends.host, ends.port, count, config=ends.config, handshakes=1, on=()
    )
    counts = connections.wait_connected(_PATIENCE)
    took = time.monotonic() - begun
    histogram = connections.handshakes()
    connections.close()
    facts = {
        "connections_established": counts.open,
        "connections_failed": counts.failed,
        "avg_handshake_us": round(histogram.mean_ns / 1e3, 3),
        "min_handshake_us": round(histogram.min_ns / 1e3, 3),
        "max_handshake_us": round(histogram.max_ns / 1e3, 3),
    }
    return histogram, took, facts


def latency(count: int) -> Measured:
    """Requests of 8 bytes with a response of one, one at a time; before them full handshakes."""
    with loopback() as ends:
        *_, facts = _handshakes(ends, min(count, _HANDSHAKES))
        with _connect(ends, 1) as connections:
            run = connections.request_many(_ask(1), count=count, expect=1, keep_latencies=0)
            run.wait(_PATIENCE)
            stats, histogram = run.stats(), run.histogram()
    facts["requests"], facts["failed"] = stats.requests, stats.failed
    return Measured("us", len(histogram), of_histogram(histogram), facts)


def handshake(count: int) -> Measured:
    """Full handshakes, one at a time."""
    with loopback() as ends:
        histogram, took, facts = _handshakes(ends, count)
    facts["handshakes_per_second"] = round(len(histogram) / took, 3)
    return Measured("us", len(histogram), of_histogram(histogram), facts)


def rtt(count: int) -> Measured:
    """PING frames on an idle connection, as the engine times them."""
    histogram = Histogram()
    with (
        loopback() as ends,
        sync.connect(ends.host, ends.port, config=ends.config, engine=ends.client) as connection,
    ):
        for _ in range(count):
            histogram.record_ns(round(connection.ping() * 1e9))
        (path,) = connection.paths()
    facts = {"pings": count, "srtt_us": round(path.srtt * 1e6, 3)}
    return Measured("us", count, of_histogram(histogram), facts)


def stream_open(count: int) -> Measured:
    """Streams with a request of 8 bytes and an empty response, 64 at a time."""
    with loopback() as ends, _connect(ends, 1) as connections:
        run = connections.request_many(
            _ask(0), count=count, in_flight=64, expect=0, keep_latencies=0
        )
        run.wait(_PATIENCE)
        stats, histogram = run.stats(), run.histogram()
    facts = {
        "streams": stats.responses,
        "failed": stats.failed,
        "streams_per_second": round(stats.rate, 3),
    }
    return Measured("us", len(histogram), of_histogram(histogram), facts)


def packet_proc(seconds: float) -> Measured:
    """CPU time of the threads for each packet of full size, the system's part included."""
    with loopback() as ends:
        costs: list[float] = []
        seen = [0.0, 0.0]

        def look() -> None:
            time.sleep(_SAMPLE)
            cpu = _count(ends.client, "cpu_seconds")
            packets = _count(ends.client, "datagrams_received")
            if packets > seen[1]:
                costs.append((cpu - seen[0]) / (packets - seen[1]) * 1e9)
            seen[:] = [cpu, packets]

        ends.download(seconds, look)
        received = _count(ends.client, "datagrams_received")
        sent = _count(ends.server, "datagrams_sent")
        receiving = _count(ends.client, "cpu_seconds")
        sending = _count(ends.server, "cpu_seconds")
    facts = {
        "packets_sent": round(sent),
        "packets_received": round(received),
        "send_ns": round(sending / max(sent, 1) * 1e9, 3),
        "receive_ns": round(receiving / max(received, 1) * 1e9, 3),
    }
    return Measured("ns of CPU per packet received", len(costs), of_samples(costs), facts)


def crypto(seconds: float) -> Measured:
    """Sealing and opening full packets, with each cipher suite for its part of the time."""
    backends = crypto_backends()
    suites: dict[str, dict[str, Any]] = {}
    samples: dict[str, list[float]] = {}
    slices = max(round(seconds / len(backends) / _SAMPLE), 1)
    for suite, backend in backends.items():
        sealed = opened = 0
        sealing = opening = 0.0
        samples[suite] = []
        for _ in range(slices):
            packets, took, more, longer = protection_rate(suite, seconds / len(backends) / slices)
            sealed, sealing = sealed + packets, sealing + took
            opened, opening = opened + more, opening + longer
            samples[suite].append(took / packets * 1e9)
        suites[suite] = {
            "encryptions": sealed,
            "decryptions": opened,
            "encrypt_gbps": round(sealed * _PAYLOAD * 8 / sealing / 1e9, 3),
            "decrypt_gbps": round(opened * _PAYLOAD * 8 / opening / 1e9, 3),
            "avg_encrypt_ns": round(sealing / sealed * 1e9, 3),
            "avg_decrypt_ns": round(opening / opened * 1e9, 3),
            "backend": backend,
        }
    # The suite that is offered first.
    best = next(iter(suites))
    return Measured(
        unit="ns per packet sealed",
        samples=len(samples[best]),
        stats=of_samples(samples[best]),
        facts={"suite": best, **suites[best]},
        more={"suites": suites},
    )


def scalability(most: int, seconds: float) -> Measured:
    """Requests in a closed loop, one at a time on each of more and more connections."""
    steps: list[dict[str, Any]] = []
    sizes = [10**power for power in range(len(str(most))) if 10**power < most] + [most]
    with loopback() as ends:
        for size in sizes:
            begun = time.monotonic()
            with _connect(ends, size) as connections:
                connected = time.monotonic() - begun
                run = connections.request_many(
                    _ask(1), duration=seconds, expect=1, keep_latencies=0
                )
                run.wait(_PATIENCE)
                stats, histogram = run.stats(), run.histogram()
            steps.append(
                {
                    "connections": size,
                    "connections_per_second": round(size / connected, 3),
                    "requests_per_second": round(stats.rate, 3),
                    "failed": stats.failed,
                    "latency_us": of_histogram(histogram),
                }
            )
    rates = [step["requests_per_second"] for step in steps]
    return Measured("requests/s", len(rates), of_samples(rates), {"steps": steps})


def memory(count: int) -> Measured:
    """Resident memory of idle connections, both ends of each in this process."""
    sizes: list[float] = []
    with loopback() as ends, _connect(ends, 1):
        batches = [count // 4 + (part < count % 4) for part in range(4)]
        kept = []
        first = before = resident_bytes()
        for batch in filter(None, batches):
            kept.append(_connect(ends, batch))
            time.sleep(_REST)
            now = resident_bytes()
            sizes.append((now - before) / batch)
            before = now
        for connections in kept:
            connections.close()
    whole = (before - first) / count
    facts = {
        "connections": count,
        "bytes_per_connection": round(whole / 2),
        "bytes_both_ends": round(whole),
        "resident_bytes": before,
    }
    return Measured("bytes per connection, both ends", len(sizes), of_samples(sizes), facts)


def resident_bytes() -> int:
    """Resident memory of this process, in bytes; 0 where the system does not tell in /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


FUNCTIONS: Final[Mapping[str, Callable[..., Measured]]] = {
    "throughput": throughput,
    "latency": latency,
    "crypto": crypto,
    "multipath": multipath,
    "rtt": rtt,
    "handshake": handshake,
    "stream_open": stream_open,
    "packet_proc": packet_proc,
    "scalability": scalability,
    "memory": memory,
}

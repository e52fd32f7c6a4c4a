"""Many connections in one process: `Engine.connect_many` and what comes out of it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import re
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import measure_idle
import page
import tquic
from tquic import many, perf
from tquic.many import Cause, Event, EventKind

TIMEOUT = 60.0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")


@pytest.fixture
def engine() -> Iterator[tquic.Engine]:
    engine = tquic.Engine()
    yield engine
    engine.shutdown()


@pytest.fixture
def port(server_config: tquic.Config) -> Iterator[int]:
    """That of a perf server."""
    config, engine = server_config.replace(alpn=("perf",)), tquic.Engine()
    server = perf.Server(config=config, engine=engine)
    yield server.addresses[0][1]
    engine.shutdown()


@pytest.fixture
def config(client_config: tquic.Config) -> tquic.Config:
    return client_config.replace(alpn=("perf",))


@pytest.fixture
def connections(
    engine: tquic.Engine, port: int, config: tquic.Config
) -> Iterator[tquic.ConnectionSet]:
    with engine.connect_many("127.0.0.1", port, 20, config=config) as connections:
        assert connections.wait_connected(TIMEOUT).open == 20
        yield connections


def request(size: int) -> bytes:
    """For the perf server: so many bytes."""
    return size.to_bytes(8, "big")


def events(connections: tquic.ConnectionSet) -> list[Event]:
    """All that wait."""
    return list(many.unpack_events(connections._native.poll(1 << 20)))


def test_connections_are_told_with_their_latency(connections: tquic.ConnectionSet) -> None:
    assert len(connections) == 20
    told = events(connections)
    assert [event.kind for event in told] == [EventKind.CONNECTED] * 20
    assert sorted(event.connection for event in told) == list(range(20))
    now = time.monotonic_ns()
    for event in told:
        assert 0 < event.latency_ns < TIMEOUT * 1e9
        assert now - TIMEOUT * 1e9 < event.time_ns <= now
        assert (event.stream, event.error, event.cause) == (-1, -1, Cause.NONE)
    assert len(connections.handshakes()) == 20


def test_closed_loop(connections: tquic.ConnectionSet) -> None:
    events(connections)
    run = connections.request_many(request(3000), count=200, in_flight=3, expect=3000)
    assert run.wait(TIMEOUT)
    assert run.done
    stats = run.stats()
    assert (stats.connections, stats.requests, stats.responses, stats.failed) == (20, 200, 200, 0)
    assert (stats.bytes_sent, stats.bytes_received) == (1600, 600_000)
    assert stats.rate == pytest.approx(200 / stats.seconds)
    told = events(connections)
    assert told[-1].kind == EventKind.FINISHED
    assert {(e.kind, e.bytes, e.run) for e in told[:-1]} == {(EventKind.RESPONSE, 3000, run.number)}
    latencies = sorted(run.latencies())
    assert sorted(event.latency_ns for event in told[:-1]) == latencies
    histogram = run.histogram()
    assert (len(histogram), histogram.max_ns) == (200, latencies[-1])
    exact = latencies[99]
    assert exact <= histogram.quantile_ns(0.5) <= exact * 65 / 64 + 1


def test_open_loop_does_not_omit_what_waits(connections: tquic.ConnectionSet) -> None:
    # Far more than one connection with one request at a time can do: the later, the later.
    run = connections.request_many(
        request(10), connections=[4], rate=1_000_000, count=300, in_flight=1
    )
    assert run.wait(TIMEOUT)
    assert run.stats().responses == 300
    assert run.histogram().quantile_ns(0.9) > 3 * run.service_histogram().quantile_ns(0.5)
    latencies = list(run.latencies())
    assert latencies[-1] > latencies[0]


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_open_loop_keeps_its_rate(connections: tquic.ConnectionSet, arrivals: Any) -> None:
    run = connections.request_many(request(10), rate=500, duration=0.5, arrivals=arrivals)
    assert run.wait(TIMEOUT)
    stats = run.stats()
    assert stats.responses == stats.requests
    assert 180 <= stats.requests <= 320


def test_responses_are_hashed_or_verified(connections: tquic.ConnectionSet) -> None:
    events(connections)
    run = connections.request_many(request(5000), count=5, response="hash")
    assert run.wait(TIMEOUT)
    content = tquic._engine.perf_pattern()[:5000]
    first = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    assert {e.hash for e in events(connections) if e.kind == EventKind.RESPONSE} == {first}
    run = connections.request_many(request(5000), count=5, response="verify")
    assert run.wait(TIMEOUT)
    assert (run.stats().responses, run.stats().mismatches) == (5, 0)
    run = connections.request_many(request(5000), count=5, expect=5001)
    assert run.wait(TIMEOUT)
    assert (run.stats().failed, len(run.latencies())) == (5, 0)
    causes = {e.cause for e in events(connections) if e.run == run.number and e.stream >= 0}
    assert causes == {Cause.UNEXPECTED}


def test_requests_take_turns_and_may_be_large(connections: tquic.ConnectionSet) -> None:
    events(connections)
    large = tquic.Pattern(3_000_000, head=request(7))
    run = connections.request_many([request(5), large], connections=[1], count=4)
    assert run.wait(TIMEOUT)
    assert run.stats().bytes_sent == 2 * (8 + 3_000_008)
    told = [e.bytes for e in events(connections) if e.kind == EventKind.RESPONSE]
    # The first of a connection is by its number, so that they differ among connections.
    assert sorted(told) == [5, 5, 7, 7]


def test_stop_ends_a_run(connections: tquic.ConnectionSet) -> None:
    run = connections.request_many(request(10), duration=600)
    assert not run.wait(0.05)
    run.stop()
    assert run.wait(TIMEOUT)
    assert 0 < run.stats().requests == run.stats().responses


def test_numpy_arrays_view_the_engine(connections: tquic.ConnectionSet) -> None:
    numpy = pytest.importorskip("numpy")
    batch = connections.poll_batch(5)
    assert (batch.dtype, len(batch)) == (many.event_dtype(), 5)
    assert many.event_dtype().itemsize == 80
    assert (batch["kind"] == EventKind.CONNECTED).all()
    assert len(connections.poll_batch()) == 15
    assert len(connections.poll_batch()) == 0
    run = connections.request_many(request(10), count=50)
    assert run.wait(TIMEOUT)
    latencies = run.latencies()
    assert (latencies.dtype, latencies.shape) == (numpy.int64, (50,))
    assert not latencies.flags.owndata
    assert not latencies.flags.writeable
    again = run.latencies()
    assert latencies.ctypes.data == again.ctypes.data
    del run
    assert (latencies == again).all()


def test_without_numpy(connections: tquic.ConnectionSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_numpy", lambda: None)
    batch = connections.poll_batch()
    assert isinstance(batch, memoryview)
    assert len(list(many.unpack_events(batch))) == 20
    run = connections.request_many(request(10), count=7)
    assert run.wait(TIMEOUT)
    assert (run.latencies().format, len(run.latencies())) == ("q", 7)


def test_the_descriptor_is_readable_while_events_wait(connections: tquic.ConnectionSet) -> None:
    def readable(timeout: float = 0) -> bool:
        return bool(select.select([connections], [], [], timeout)[0])

    assert readable()
    connections.poll_batch(3)
    assert readable()
    connections.poll_batch()
    assert not readable()
    assert not connections.wait(0)
    connections.request_many(request(1), count=1)
    assert readable(TIMEOUT)
    assert connections.wait(TIMEOUT)


async def test_batches_for_asyncio(connections: tquic.ConnectionSet) -> None:
    seen = 0
    async for batch in connections.batches(max=6):
        assert 1 <= len(batch) <= 6
        seen += len(batch)
        if seen == 20:
            asyncio.get_running_loop().call_soon(connections.close, 3, "enough")
    assert seen == 40
    assert connections.counts().closed == 20


def test_closing_some_and_all(connections: tquic.ConnectionSet) -> None:
    events(connections)
    connections.close(9, "you", connections=[2, 3, 99])
    _drain_until(connections, lambda: connections.counts().closed == 2)
    run = connections.request_many(request(1), connections=[1, 2, 3])
    assert run.wait(TIMEOUT)
    assert run.stats().connections == 1
    connections.close()
    _drain_until(connections, lambda: connections.counts().closed == 20)
    with pytest.raises(tquic.EngineError, match="none of these connections is open"):
        connections.request_many(request(1))
    assert connections.reasons() == {}


def _drain_until(connections: tquic.ConnectionSet, done: Any) -> list[Event]:
    end, told = time.monotonic() + TIMEOUT, []
    while not done():
        connections.wait(0.1)
        told += events(connections)
        assert time.monotonic() < end
    return told


def test_failures_are_told_in_words(
    engine: tquic.Engine, port: int, client_config: tquic.Config
) -> None:
    wrong = client_config.replace(alpn=("something else",))
    with engine.connect_many("127.0.0.1", port, 3, config=wrong) as connections:
        counts = connections.wait_connected(TIMEOUT)
        assert (counts.closed, counts.failed) == (3, 3)
        told = events(connections)
        assert {(e.kind, e.cause, e.error) for e in told} == {
            (EventKind.CLOSED, Cause.PEER_TRANSPORT, 0x178)
        }
        ((reason, count),) = connections.reasons().items()
        assert "no_application_protocol" in reason.lower() or "protocol" in reason
        assert count == 3


def test_events_are_chosen_and_bounded(
    engine: tquic.Engine, port: int, config: tquic.Config
) -> None:
    with engine.connect_many("127.0.0.1", port, 4, config=config, on=()) as connections:
        connections.wait_connected(TIMEOUT)
        assert events(connections) == []
    with engine.connect_many("127.0.0.1", port, 9, config=config, capacity=4) as connections:
        connections.wait_connected(TIMEOUT)
        assert connections.dropped_events == 5
        assert len(events(connections)) == 4


def test_set_up_keeps_its_rate(engine: tquic.Engine, port: int, config: tquic.Config) -> None:
    begun = time.monotonic()
    with engine.connect_many("127.0.0.1", port, 11, config=config, rate=50) as connections:
        with pytest.raises(TimeoutError, match="connecting="):
            connections.wait_connected(0.01)
        connections.wait_connected(TIMEOUT)
    assert time.monotonic() - begun >= 0.2


@LINUX
def test_sockets_by_source(port: int, config: tquic.Config) -> None:
    engine = tquic.Engine(2)
    # What earlier tests left behind must not be closed just now.
    gc.collect()
    before = measure_idle.descriptors()
    local = ["127.0.0.1", "127.0.0.2"]
    with engine.connect_many(
        "127.0.0.1", port, 100, config=config, local_addresses=local, sockets=2
    ) as connections:
        assert connections.wait_connected(TIMEOUT).open == 100
        # Two shards, two addresses, two sockets each; and what tells of events.
        assert measure_idle.descriptors() - before == 2 * 2 * 2 + 1
    engine.shutdown()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"count": 0}, "count"),
        ({"sockets": 0}, "sockets"),
        ({"rate": 0}, "rate"),
        ({"on": ("opened",)}, "there are no events 'opened'"),
        ({"local_addresses": ["localhost"]}, "not a numeric"),
    ],
)
def test_what_makes_no_sense(engine: tquic.Engine, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(tquic.ConfigError, match=complaint):
        engine.connect_many(**{"host": "127.0.0.1", "port": 1, "count": 1, **change})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"requests": []}, "empty"),
        ({"requests": ["text"]}, "bytes or a Pattern"),
        ({"rate": -1}, "rate"),
        ({"in_flight": 0}, "in_flight"),
        ({"count": -1}, "count"),
        ({"arrivals": "never"}, "arrivals"),
        ({"response": "print"}, "print"),
    ],
)
def test_requests_that_make_no_sense(
    connections: tquic.ConnectionSet, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(tquic.ConfigError, match=complaint):
        connections.request_many(**{"requests": b"", **change})


def test_histograms_merge_across_processes() -> None:
    one, other = tquic.Histogram(), tquic.Histogram()
    for nanos in range(1000, 2000):
        one.record_ns(nanos)
    other.record_ns(10**9)
    copy = tquic.Histogram.from_bytes(other.to_bytes())
    one.merge(copy)
    assert (len(one), one.max_ns, one.quantile_ns(1.0)) == (1001, 10**9, 10**9)
    assert 1500 <= one.quantile_ns(0.5) <= 1525
    assert one.mean_ns == pytest.approx((sum(range(1000, 2000)) + 10**9) / 1001)
    assert sum(count for _, count in one.buckets()) == 1001
    with pytest.raises(tquic.ConfigError):
        tquic.Histogram.from_bytes(b"nothing")


@LINUX
@pytest.mark.parametrize(
    ("connections", "shards"), [(1000, 2), pytest.param(10_000, 1, marks=pytest.mark.slow)]
)
def test_idle_connections_cost_little(connections: int, shards: int, tmp_path: Path) -> None:
    idle = measure_idle.measure(connections, shards, watch=1.0)
    # A poller, its waker and a socket for each shard; the set's own.
    assert idle.client_descriptors <= 3 * shards + 2
    # That which answers `tquic top` is one more.
    assert idle.client_threads <= shards + 1
    # 16 KiB each; what the allocator keeps of the handshakes weighs more among fewer.
    assert idle.client_bytes < 32 * 1024, idle
    assert idle.server_bytes < 32 * 1024, idle
    # What connections needed goes back to the system when they are gone, but for tables, and
    # what the allocator keeps of a thread.
    kept = 2048 + (4 << 20) / connections
    assert idle.client_left < kept, idle
    assert idle.server_left < kept, idle
    guide = tmp_path / "guide.md"
    guide.write_text(f"before\n{measure_idle.MARK}\nold{page.END}\nafter")
    page.write_table(guide, measure_idle.MARK, measure_idle.table(idle))
    assert re.search(rf"(?s)^before\n.*\| {connections} idle .*end -->\nafter$", guide.read_text())

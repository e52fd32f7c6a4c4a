"""The load generator: `tquic.load`."""

from __future__ import annotations

import base64
import functools
import io
import json
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tquic
import tquic.load
from tquic.h3.client import Origin
from tquic.load import Request, Responder, Result
from tquic.many import Pattern

TIMEOUT = 60.0
BODY = b"hello"


@pytest.fixture
def server(server_config: tquic.Config) -> Iterator[Responder]:
    with Responder(server_config, BODY) as server:
        yield server


def url_of(server: Responder, path: str = "/") -> str:
    return f"https://127.0.0.1:{server.address[1]}{path}"


def run(server: Responder, config: tquic.Config, path: str = "/", **options: Any) -> Result:
    with tquic.load.start(url_of(server, path), config=config, **options) as load:
        assert load.wait(TIMEOUT)
        assert load.done
        return load.result()


def test_closed_loop(server: Responder, client_config: tquic.Config) -> None:
    result = run(server, client_config, connections=5, streams=3, requests=400, expect=5)
    assert (result.requests, result.responses, result.failed) == (400, 400, 0)
    assert result.bytes_received == 400 * len(BODY)
    assert dict(result.statuses) == {200: 400}
    assert not result.errors
    assert len(result.latency) == len(result.service) == len(result.first_byte) == 400
    assert len(result.handshake) == 5
    assert len(result.latencies) == 400
    assert result.first_byte.quantile_ns(0.5) <= result.service.quantile_ns(0.5)
    assert result.rate == pytest.approx(400 / result.seconds)
    assert result.engine["cpu_seconds"] > 0


def test_open_loop_counts_what_waits(server: Responder, client_config: tquic.Config) -> None:
    # Far more than one connection with one request at a time can do.
    result = run(
        server, client_config, connections=1, streams=1, requests=500, rate=1e6, arrivals="even"
    )
    assert result.responses == 500
    assert result.latency.quantile_ns(0.9) > 3 * result.service.quantile_ns(0.5)


def test_open_loop_keeps_its_rate_and_ramp(server: Responder, client_config: tquic.Config) -> None:
    result = run(server, client_config, connections=4, rate=1000, ramp=0.4, duration=0.6)
    # 200 while it grows, 200 after.
    assert 390 <= result.requests <= 402
    assert result.responses == result.requests
    assert 0.55 < result.seconds < 60


def test_a_warmup_is_not_counted(server: Responder, client_config: tquic.Config) -> None:
    result = run(server, client_config, connections=2, requests=50, warmup=0.1, events=True)
    assert result.requests == result.responses == 50


def test_statuses_and_what_was_not_expected(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    with Responder(server_config, BODY, status=503) as server:
        result = run(server, client_config, requests=20)
    assert (result.responses, result.failed) == (0, 20)
    assert (dict(result.statuses), dict(result.errors)) == ({503: 20}, {"status": 20})
    with Responder(server_config, BODY) as server:
        result = run(server, client_config, requests=20, expect=6)
    assert dict(result.errors) == {"unexpected": 20}


def test_connections_that_come_and_go(server: Responder, client_config: tquic.Config) -> None:
    result = run(
        server, client_config, connections=2, per_connection=2, requests=60, resume=0.3, early=0.3
    )
    assert (result.responses, result.failed) == (60, 0)
    counts = result.connections
    assert len(result.handshake) == 30
    assert counts.failed == 0
    # The first of each kind has no ticket.
    assert 8 <= counts.resumed <= 18
    assert 3 <= counts.early <= 9


def test_requests_are_encoded(server: Responder) -> None:
    origin = Origin.of(url_of(server))
    assert isinstance(Request("/a").encode(origin), bytes)
    pattern = Request("/a", "POST", {"x-a": "b"}, 1 << 20).encode(url_of(server))
    assert isinstance(pattern, Pattern)
    assert pattern.size == 1 << 20
    # The last bytes of the head are the header of its DATA frame.
    assert pattern.head.endswith(b"\x00\x80\x10\x00\x00")
    for bad in (Request("/", "CONNECT"), Request("/", "GET", {"bad name": "x"})):
        with pytest.raises(tquic.ConfigError):
            bad.encode(origin)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "http://localhost/"}, "no https URL"),
        ({"url": ["https://a/", "https://b/"]}, "of one server"),
        ({"resume": 0.5}, "per_connection"),
        ({"per_connection": 1, "resume": 0.7, "early": 0.7}, "their sum"),
        ({"per_connection": 0}, "per_connection"),
        ({"per_connection": 1, "rate": 5, "ramp": 1}, "no ramp"),
        ({"ramp": 1.0}, "together with a rate"),
        ({"rate": -1.0}, "rate"),
        ({"timeout": 0.0}, "timeout"),
        ({"warmup": -1.0}, "warmup"),
        ({"duration": 0.0}, "duration"),
        ({"connections": 0}, "connections"),
        ({"connect_timeout": 0.0}, "connect_timeout"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], why: str) -> None:
    url = options.pop("url", "https://localhost/")
    with pytest.raises(tquic.ConfigError, match=why):
        tquic.load.start(url, **options)


def test_nobody_is_there(client_config: tquic.Config) -> None:
    with pytest.raises(tquic.load.LoadError, match="none of 2 connections"):
        tquic.load.start(
            "https://127.0.0.1:9/", connections=2, config=client_config, connect_timeout=5
        )


def test_connections_that_take_too_long_take_no_part(
    server: Responder, client_config: tquic.Config
) -> None:
    # One per second, of which the first is there at once.
    with tquic.load.start(
        url_of(server),
        connections=100,
        connect_rate=1.0,
        connect_timeout=5.0,
        requests=20,
        config=client_config,
    ) as load:
        assert load.wait(TIMEOUT)
        assert load.result().responses == 20
        assert 0 < load.missing < 100
        # The next one would have begun within a second.
        deadline = time.monotonic() + TIMEOUT
        while (counts := load.counts()).waiting:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert counts.failed > 0


def test_ctrl_c_ends_waiting(server: Responder, client_config: tquic.Config) -> None:
    class InterruptError(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptError

    def soon(wait: Callable[[], object]) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        wait()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        begin = functools.partial(tquic.load.start, url_of(server), config=client_config)
        with begin(duration=600) as load, pytest.raises(InterruptError):
            soon(load.wait)
        with pytest.raises(InterruptError):
            soon(functools.partial(begin, connections=100, connect_rate=0.01))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_untrusted_server_is_named(server: Responder, stranger: Any) -> None:
    config = tquic.Config(ca=stranger.ca)
    with pytest.raises(tquic.load.LoadError, match="certificate"):
        tquic.load.start(url_of(server), connections=2, config=config)


def test_it_can_be_stopped(server: Responder, client_config: tquic.Config) -> None:
    with tquic.load.start(url_of(server), duration=600, config=client_config) as load:
        while load.stats().responses < 10:
            load.wait(0.01)
        load.stop()
        assert load.wait(TIMEOUT)
        assert len(load.histogram()) == load.stats().responses
        assert load.counts().open == 10


def test_results_merge(server: Responder, client_config: tquic.Config) -> None:
    one, other = (run(server, client_config, requests=n) for n in (30, 50))
    both = one.merge(other)
    assert (both.requests, both.responses, len(both.latency)) == (80, 80, 80)
    assert both.seconds == max(one.seconds, other.seconds)
    assert both.latency.max_ns == max(one.latency.max_ns, other.latency.max_ns)
    assert dict(both.statuses) == {200: 80}
    assert both.connections.open == 20


def test_the_document(server: Responder, client_config: tquic.Config) -> None:
    document = json.loads(json.dumps(run(server, client_config, requests=30).to_dict()))
    assert document["schema"] == "tquic-load-1"
    assert document["statuses"] == {"200": 30}
    assert list(document["latency_us"]) == [
        *("min", "mean", "stddev", "p50", "p75", "p90", "p95", "p99", "p99_9", "p99_99", "max")
    ]
    assert document["connections"]["open"] == 10
    assert document["environment"]["cpus"] > 0


def decode_hdr(text: str) -> list[int]:
    """The counts in a log's histogram."""
    raw = base64.b64decode(text)
    cookie, length = struct.unpack_from(">ii", raw)
    assert (cookie, length) == (0x1C849314, len(raw) - 8)
    payload = zlib.decompress(raw[8:])
    assert struct.unpack_from(">iiiiqqd", payload)[3] == 2
    counts: list[int] = []
    value = shift = 0
    for byte in payload[40:]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            number = (value >> 1) ^ -(value & 1)
            counts += [0] * -number if number < 0 else [number]
            value = shift = 0
    return counts


def test_histograms_in_logs() -> None:
    histogram = tquic.Histogram()
    file = io.StringIO()
    writer = tquic.load.HlogWriter(file)
    for nanos in (100, 100, 5_000_000):
        histogram.record_ns(nanos)
    first = tquic.Histogram.from_bytes(histogram.to_bytes())
    writer.write(first)
    histogram.record_ns(7)
    writer.write(histogram)
    *header, one, two = file.getvalue().splitlines()
    assert header[-1].startswith('"StartTimestamp","Interval_Length"')
    counts = decode_hdr(one.split(",")[3])
    assert (sum(counts), counts[100]) == (3, 2)
    counts = decode_hdr(two.split(",")[3])
    assert (sum(counts), counts[7]) == (1, 1)


def test_rows(server: Responder, client_config: tquic.Config) -> None:
    with tquic.load.start(url_of(server), requests=25, events=True, config=client_config) as load:
        assert load.wait(TIMEOUT)
        rows = list(tquic.load.csv_rows(load.poll_batch(), load.stats().started_ns))
        assert load.dropped_events == 0
    assert len(rows) == 25
    for row in rows:
        line = dict(zip(tquic.load.CSV_FIELDS, row, strict=True))
        assert (line["status"], line["bytes"], line["error"]) == (200, 5, "")
        assert 0 < line["first_byte_us"] <= line["service_us"] <= line["latency_us"]


def test_threads_of_others_are_left_alone(server: Responder, client_config: tquic.Config) -> None:
    engine = tquic.Engine(shards=2)
    result = run(server, client_config, requests=40, engine=engine)
    assert result.responses == 40
    assert not result.engine
    assert len(engine.stats()) == 2
    engine.shutdown()

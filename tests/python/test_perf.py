"""The perf protocol, native at both ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tquic
from tquic import perf


@pytest.fixture
def engine() -> Iterator[tquic.Engine]:
    engine = tquic.Engine()
    yield engine
    engine.shutdown()


@pytest.fixture
def server(server_config: tquic.Config, engine: tquic.Engine) -> Iterator[perf.Server]:
    early = server_config.replace(early_data=True)
    with perf.Server("127.0.0.1", 0, config=early, engine=engine) as server:
        yield server


@pytest.fixture
def config(client_config: tquic.Config) -> tquic.Config:
    return client_config.replace(session_store=tquic.SessionStore())


def test_bulk(server: perf.Server, config: tquic.Config) -> None:
    load = perf.Bulk(download=20_000_000, upload=10_000_000, streams=3)
    report = perf.run(server.address, load, config=config)
    assert report["bytes"] == 30_000_000
    assert report["verified"]
    assert report["gbps"] == pytest.approx(report["bytes"] * 8e-9 / report["seconds"])
    assert report["packets_received"] > 10_000
    assert report["packets_per_receive_call"] >= 1
    assert report["max_rss_bytes"] > 0
    (path,) = report["paths"]
    assert path["remote"] == server.address
    totals = server.totals()
    assert (totals["connections"], totals["bytes_received"]) == (1, 10_000_000)
    assert totals["mismatches"] == 0


def test_time_limits(server: perf.Server, config: tquic.Config) -> None:
    report = perf.run(server.address, perf.Bulk(duration=0.2), config=config)
    assert 0.1 < report["seconds"] < 5
    assert report["bytes"] > 0
    with pytest.raises(tquic.ConfigError, match="download"):
        perf.run(server.address, perf.Bulk(), config=config)


def test_requests(server: perf.Server, config: tquic.Config) -> None:
    load = perf.Requests(total=200, inflight=10, response=100)
    report = perf.run(server.address, load, config=config, connections=2)
    latency = report["latency_us"]
    assert latency is not None
    assert 0 < latency["p50"] <= latency["p99"] <= latency["max"]
    assert server.totals()["requests"] == 400
    assert report["rate_per_second"] > 0


@pytest.mark.parametrize("kind", ["full", "resumed", "0rtt"])
def test_handshakes(
    server: perf.Server, config: tquic.Config, engine: tquic.Engine, kind: str
) -> None:
    if kind == "full":
        config = config.replace(session_store=None)
    load = perf.Handshakes(count=10, kind=kind)  # type: ignore[arg-type]
    report = perf.run(server.address, load, config=config)
    assert report["rate_per_second"] > 0
    (shard,) = engine.stats()
    assert shard.accepted >= 10


def test_datagrams(server: perf.Server, config: tquic.Config) -> None:
    report = perf.run(server.address, perf.Datagrams(count=500, size=1000), config=config)
    assert report["bytes"] == 500_000
    assert 0 < server.totals()["datagrams"] <= 500


def test_failures(server: perf.Server, config: tquic.Config, stranger: object) -> None:
    ca = getattr(stranger, "ca")
    with pytest.raises(tquic.UntrustedCertificate):
        perf.run(server.address, perf.Bulk(download=1), config=config.replace(ca=ca))
    resumed = perf.Handshakes(count=1, kind="resumed")
    with pytest.raises(tquic.ConfigError, match="ticket store"):
        perf.run(server.address, resumed, config=config.replace(session_store=None))

"""Requests and connections per second of a `ConnectionSet`, against a perf server in this process.

`pytest benches --benchmark-enable` measures; `OPS` times `extra_info` is the rate.
"""

from collections.abc import Iterator
from typing import Any

import pytest

import measure_idle
import tquic

REQUESTS = 2000
CONNECTIONS = 50
TIMEOUT = 60.0


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[int, tquic.Config]]:
    with measure_idle.serving() as (server, config):
        yield server.ports["perf"], config


@pytest.fixture
def engine() -> Iterator[tquic.Engine]:
    engine = tquic.Engine()
    yield engine
    engine.shutdown()


@pytest.mark.parametrize("in_flight", [1, 10])
def test_requests(
    benchmark: Any, engine: tquic.Engine, service: tuple[int, tquic.Config], in_flight: int
) -> None:
    port, config = service
    request = (100).to_bytes(8, "big")
    with engine.connect_many("127.0.0.1", port, CONNECTIONS, config=config, on=()) as connections:
        assert connections.wait_connected(TIMEOUT).open == CONNECTIONS

        def run() -> int:
            run = connections.request_many(request, count=REQUESTS, in_flight=in_flight, expect=100)
            assert run.wait(TIMEOUT)
            while len(connections.poll_batch()):
                pass
            return run.stats().responses

        assert benchmark(run) == REQUESTS
    benchmark.extra_info["requests"] = REQUESTS


def test_connections(
    benchmark: Any, engine: tquic.Engine, service: tuple[int, tquic.Config]
) -> None:
    port, config = service

    def connect() -> int:
        with engine.connect_many(
            "127.0.0.1", port, CONNECTIONS, config=config, on=()
        ) as connections:
            return connections.wait_connected(TIMEOUT).open

    assert benchmark(connect) == CONNECTIONS
    benchmark.extra_info["connections"] = CONNECTIONS

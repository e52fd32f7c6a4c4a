"""Connections and small messages from Python; `pytest benches --benchmark-enable` measures.

For connections on one core: ``taskset -c 0 pytest benches/test_connections.py
--benchmark-enable``. The target is 200 connections per second, made and closed one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tquic
import tquic.sync
from tquic import _engine

Benchmark = Callable[..., Any]

COUNT = 20


@pytest.fixture(scope="module")
def configs() -> tuple[tquic.Config, tquic.Config]:
    ca, cert, key = (
        text.encode() for text in _engine.make_certificates(["localhost", "127.0.0.1"], 2)
    )
    return tquic.Config(cert=cert, key=key), tquic.Config(ca=ca)


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


async def echo(connection: tquic.Connection) -> None:
    async for stream in connection:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()


def test_connect_and_close_20_times(
    benchmark: Benchmark, runner: asyncio.Runner, configs: tuple[tquic.Config, tquic.Config]
) -> None:
    async def connections(address: tuple[str, int]) -> None:
        for _ in range(COUNT):
            async with tquic.connect(*address, config=configs[1]):
                pass

    async def start() -> tquic.Server:
        return await tquic.serve("127.0.0.1", 0, echo, config=configs[0])

    server = runner.run(start())
    benchmark(lambda: runner.run(connections(server.address)))
    server.close()
    runner.run(server.wait_closed())


def test_connect_send_receive_close_20_times(
    benchmark: Benchmark, runner: asyncio.Runner, configs: tuple[tquic.Config, tquic.Config]
) -> None:
    async def connections(address: tuple[str, int]) -> None:
        for _ in range(COUNT):
            async with tquic.connect(*address, config=configs[1]) as connection:
                stream = connection.open_stream()
                await stream.write(b"x")
                stream.finish()
                assert await stream.read() == b"x"

    async def start() -> tquic.Server:
        return await tquic.serve("127.0.0.1", 0, echo, config=configs[0])

    server = runner.run(start())
    benchmark(lambda: runner.run(connections(server.address)))
    server.close()
    runner.run(server.wait_closed())


def test_blocking_connect_and_close_20_times(
    benchmark: Benchmark, configs: tuple[tquic.Config, tquic.Config]
) -> None:
    def handler(connection: tquic.sync.Connection) -> None:
        connection.wait_closed()

    with tquic.sync.serve("127.0.0.1", 0, handler, config=configs[0]) as server:

        def connections() -> None:
            for _ in range(COUNT):
                with tquic.sync.connect(*server.address, config=configs[1]):
                    pass

        benchmark(connections)


def test_blocking_messages_there_and_back(
    benchmark: Benchmark, configs: tuple[tquic.Config, tquic.Config]
) -> None:
    def handler(connection: tquic.sync.Connection) -> None:
        for stream in connection:
            for chunk in stream:
                stream.write(chunk)

    with (
        tquic.sync.serve("127.0.0.1", 0, handler, config=configs[0]) as server,
        tquic.sync.connect(*server.address, config=configs[1]) as connection,
    ):
        stream = connection.open_stream()

        def message() -> None:
            stream.write(b"x" * 100)
            stream.readexactly(100)

        benchmark(message)

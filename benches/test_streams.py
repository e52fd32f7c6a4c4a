"""Streams, datagrams and counters of one open connection; `pytest benches --benchmark-enable`.

What is measured here is the way from Python into the engine and back: both ends are in this process
and share its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import tquic
from tquic import _engine

Benchmark = Callable[..., Any]

# Streams or datagrams at a time.
COUNT = 50
SIZES = [64, 1 << 10, 16 << 10, 64 << 10, 1 << 20]


async def answer(connection: tquic.Connection) -> None:
    """Sends streams back as they come, and datagrams too."""

    async def datagrams() -> None:
        while True:
            connection.send_datagram(await connection.recv_datagram())

    task = asyncio.create_task(datagrams())
    try:
        async for stream in connection:
            async for chunk in stream:
                await stream.write(chunk)
            stream.finish()
    finally:
        task.cancel()


class Session:
    """A connection to a server in the same loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        ca, cert, key = (
            text.encode() for text in _engine.make_certificates(["localhost", "127.0.0.1"], 2)
        )
        config = tquic.Config(cert=cert, key=key)
        self._server = self.run(self._serve(config))
        client = tquic.Config(ca=ca)
        self._opening = tquic.connect(*self._server.address, config=client)
        self.connection = self.run(self._opening.__aenter__())

    @staticmethod
    async def _serve(config: tquic.Config) -> tquic.Server:
        return await tquic.serve("127.0.0.1", 0, answer, config=config)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._opening.__aexit__(None, None, None))
        self._server.close()
        self.run(self._server.wait_closed())


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with asyncio.Runner() as runner:
        session = Session(runner)
        yield session
        session.close()


def test_open_and_finish_50_streams(benchmark: Benchmark, session: Session) -> None:
    async def streams() -> None:
        opened = [session.connection.open_stream() for _ in range(COUNT)]
        for stream in opened:
            stream.finish()
        for stream in opened:
            assert await stream.read() == b""

    benchmark(lambda: session.run(streams()))


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back(benchmark: Benchmark, session: Session, size: int) -> None:
    data = bytes(size)

    async def message() -> None:
        stream = session.connection.open_stream()
        writing = asyncio.ensure_future(stream.write(data))
        received = 0
        while received < size:
            received += len(await stream.read_chunk())
        await writing
        stream.finish()
        assert await stream.read() == b""

    benchmark(lambda: session.run(message()))


@pytest.mark.parametrize("size", [64, 1000])
def test_50_datagrams_there_and_back(benchmark: Benchmark, session: Session, size: int) -> None:
    data = bytes(size)

    async def datagrams() -> None:
        for _ in range(COUNT):
            assert session.connection.send_datagram(data)
        for _ in range(COUNT):
            assert len(await session.connection.recv_datagram()) == size

    benchmark(lambda: session.run(datagrams()))


def test_stats(benchmark: Benchmark, session: Session) -> None:
    stats = benchmark(lambda: session.run(session.connection.stats()))
    assert stats.packets_sent > 0

"""Event loops: uvloop, several at a time in threads, and one after the other."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import tquic
from tquic import _hub


async def session(server_config: tquic.Config, client_config: tquic.Config) -> None:
    """A transfer with back-pressure, a datagram, and an end."""
    data = bytes(range(256)) * 40_000

    async def handler(connection: tquic.Connection) -> None:
        async for stream in connection:
            await stream.write(await stream.read())
            stream.finish()

    async with asyncio.timeout(60):
        async with (
            tquic.serve("127.0.0.1", 0, handler, config=server_config) as server,
            tquic.connect(*server.address, config=client_config) as connection,
        ):
            assert connection.send_datagram(b"datagram")
            stream = connection.open_stream()
            await stream.write(data)
            stream.finish()
            assert await stream.read() == data


def test_uvloop(server_config: tquic.Config, client_config: tquic.Config) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(session(server_config, client_config))


def test_one_loop_after_the_other(server_config: tquic.Config, client_config: tquic.Config) -> None:
    for _ in range(3):
        asyncio.run(session(server_config, client_config))
    assert not _hub._hubs


def test_loops_in_threads(server_config: tquic.Config, client_config: tquic.Config) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(session(server_config, client_config))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_loop_that_ends_with_open_connections(
    server_config: tquic.Config, client_config: tquic.Config, echo: Any
) -> None:
    async def leave_open() -> None:
        server = await tquic.serve("127.0.0.1", 0, echo, config=server_config)
        await tquic.connect(*server.address, config=client_config)

    asyncio.run(leave_open())
    # The next loop is not bothered by what the last one left.
    asyncio.run(session(server_config, client_config))
    assert not _hub._hubs

"""Congestion controllers: by name, changed on live connections, and written in Python."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, get_args

import pytest

import tquic
from tquic.config import Congestion
from tquic.congestion import AckBatch, Controller

SIZE = 3_000_000


async def move(client: tquic.Connection, server: tquic.Connection, size: int = SIZE) -> None:
    """Sends so many bytes from the client to the server."""
    stream = client.open_stream()
    await stream.write(b"s")
    other = await server.accept_stream()

    async def read() -> int:
        total = 0
        while data := await other.read(1 << 20):
            total += len(data)
        return total

    reading = asyncio.create_task(read())
    await stream.write(bytes(size - 1))
    stream.finish()
    assert await reading == size
    other.finish()
    assert await stream.read() == b""


async def path_of(connection: tquic.Connection) -> tquic.PathStats:
    return (await connection.paths())[0]


async def move_until(
    client: tquic.Connection,
    server: tquic.Connection,
    condition: Callable[[tquic.PathStats], bool],
) -> tquic.PathStats:
    """Moves data until the client's path is so. A controller's thread may lag behind the data."""
    async with asyncio.timeout(60):
        while True:
            await move(client, server)
            path = await path_of(client)
            if condition(path):
                return path


@pytest.mark.parametrize("name", get_args(Congestion))
async def test_every_controller_moves_data_and_is_reported(pair: Any, name: str) -> None:
    async with pair(client={"congestion": name}) as (client, server):
        await move(client, server)
        path = await path_of(client)
        assert path.congestion == name
        assert path.congestion_state
        assert path.cwnd > 0
        assert (await path_of(server)).congestion == "cubic"


async def test_the_names_are_those_of_the_engine(pair: Any) -> None:
    async with pair() as (client, _):
        with pytest.raises(tquic.ConfigError, match="vegas") as caught:
            client.set_congestion("vegas")
        known = str(caught.value).split("there are ")[1].split(", ")
        assert set(known) == set(get_args(Congestion))


async def test_a_live_connection_changes_its_controller(pair: Any) -> None:
    async with pair() as (client, server):
        for name in ("prague", "copa", "bbr3", "newreno", "cubic"):
            client.set_congestion(name)
            await move(client, server, 300_000)
            assert (await path_of(client)).congestion == name
        client.set_congestion("copa", path=7)
        assert (await path_of(client)).congestion == "cubic"
        client.close()
        await client.wait_closed()
        with pytest.raises(tquic.ConnectionClosed):
            client.set_congestion("copa")


async def test_without_ecn_prague_gives_way_to_cubic(pair: Any) -> None:
    async with pair(client={"congestion": "prague", "ecn": False}) as (client, server):
        await move(client, server, 100_000)
        assert (await path_of(client)).congestion == "cubic"


class Fixed(Controller):
    """A window of 64 packets."""

    def __init__(self) -> None:
        self.batches: list[AckBatch] = []

    def on_ack(self, batch: AckBatch) -> None:
        self.batches.append(batch)
        self.window = 64 * batch.datagram_size
        self.pacing_rate = 50_000_000


async def test_a_controller_in_python_decides(pair: Any) -> None:
    made: list[Fixed] = []

    def make() -> Fixed:
        made.append(Fixed())
        return made[-1]

    async with pair() as (client, server):
        client.set_congestion(make)
        path = await move_until(client, server, lambda path: path.congestion_state == "external")
        # What the first answer holds for is told of in later batches.
        path = await move_until(
            client, server, lambda _: sum(batch.acked_bytes for batch in made[0].batches) > SIZE
        )
        assert path.congestion == "external"
        assert path.pacing_rate == 50_000_000
        assert path.cwnd == 64 * made[0].batches[-1].datagram_size
        assert path.controller_batches > 0
        assert path.controller_failures == 0
        assert len(made) == 1
        sequences = [batch.sequence for batch in made[0].batches]
        assert sequences == list(range(len(sequences)))
        # Another takes over: this one is not asked any more, and its thread ends.
        client.set_congestion("newreno")
        await move(client, server, 10_000)
        assert (await path_of(client)).congestion == "newreno"
        for thread in threading.enumerate():
            if thread.name == f"tquic-congestion-{client._key:x}":
                await asyncio.to_thread(thread.join, 5)
                assert not thread.is_alive()


class Raising(Controller):
    def on_ack(self, batch: AckBatch) -> None:
        raise RuntimeError("not today")


class Wrong(Controller):
    def on_ack(self, batch: AckBatch) -> None:
        self.window = -1


@pytest.mark.parametrize("controller", [Raising, Wrong])
async def test_a_controller_that_fails_is_counted_and_harms_nobody(
    pair: Any, controller: type[Controller], caplog: pytest.LogCaptureFixture
) -> None:
    async with pair() as (client, server), pair() as (other, its_server):
        with caplog.at_level(logging.ERROR, "tquic.congestion"):
            client.set_congestion(controller)
            path, _ = await asyncio.gather(
                move_until(client, server, lambda path: path.controller_failures > 0),
                move(other, its_server),
            )
        assert path.congestion == "external"
        assert 0 < path.controller_failures <= path.controller_batches
        assert path.congestion_state != "external"
        assert len([r for r in caplog.records if r.name == "tquic.congestion"]) == 1


async def test_a_controller_that_hangs_harms_nobody(pair: Any) -> None:
    hang = threading.Event()
    hangs = threading.Event()

    class Slow(Controller):
        def on_ack(self, batch: AckBatch) -> None:
            self.window = 100 * batch.datagram_size
            if batch.sequence > 0:
                hangs.set()
                hang.wait(60)

    try:
        async with pair() as (client, server), pair() as (other, its_server):
            client.set_congestion(Slow)
            await asyncio.gather(
                move_until(client, server, lambda _: hangs.is_set()), move(other, its_server)
            )
            path = await move_until(client, server, lambda path: path.controller_overdue > 0)
            assert (path.controller_batches, path.controller_overdue) == (2, 1)
            assert path.congestion_state != "external"
    finally:
        hang.set()

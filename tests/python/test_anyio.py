"""The anyio interface, on asyncio and on trio."""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import tquic

anyio = pytest.importorskip("anyio")

import tquic.anyio  # noqa: E402

Run = Callable[[Callable[[], Awaitable[None]]], None]


async def echo(connection: tquic.anyio.Connection) -> None:
    async def one(stream: tquic.anyio.Stream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data)

    async with anyio.create_task_group() as tasks:
        async for stream in connection:
            tasks.start_soon(one, stream)


@pytest.fixture
def configs(
    server_config: tquic.Config, client_config: tquic.Config
) -> tuple[tquic.Config, tquic.Config]:
    return server_config, client_config


def test_streams(run: Run, configs: Any) -> None:
    server_config, client_config = configs
    data = random.Random(4).randbytes(3_000_000)

    async def main() -> None:
        async with (
            tquic.anyio.serve("127.0.0.1", 0, echo, config=server_config) as server,
            tquic.anyio.connect(*server.address, config=client_config) as connection,
        ):

            async def one() -> None:
                async with connection.open_stream() as stream:
                    assert isinstance(stream, anyio.abc.ByteStream)

                    async def send() -> None:
                        for at in range(0, len(data), 100_000):
                            await stream.send(data[at : at + 100_000])
                        await stream.send_eof()

                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(send)
                        got = b"".join([part async for part in stream])
                    assert got == data
                    with pytest.raises(anyio.EndOfStream):
                        await stream.receive()
                    extra = stream.extra
                    attribute = anyio.abc.SocketAttribute
                    assert extra(attribute.remote_address) == server.address
                    assert extra(attribute.remote_port) == server.address[1]

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(one)
            assert 0 < await connection.ping() < 60
            assert connection.send_datagram(b"x")
            (path,) = await connection.paths()
            assert path.srtt > 0
        assert connection.closed
        assert connection.exception is not None
        assert connection.exception.clean

    run(main)


def test_errors(run: Run, configs: Any) -> None:
    server_config, client_config = configs

    async def handler(connection: tquic.anyio.Connection) -> None:
        stream = await connection.accept_stream()
        stream.reset(5)
        await connection.accept_stream()
        connection.close(6, "enough")

    async def main() -> None:
        async with (
            tquic.anyio.serve("127.0.0.1", 0, handler, config=server_config) as server,
            tquic.anyio.connect(*server.address, config=client_config) as connection,
        ):
            stream = connection.open_stream()
            await stream.send(b"x")
            with pytest.raises(anyio.BrokenResourceError) as caught:
                await stream.receive()
            assert isinstance(caught.value.__cause__, tquic.StreamReset)
            await stream.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send(b"x")
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
            stream = connection.open_stream()
            await stream.send(b"x")

            async def receive() -> None:
                with pytest.raises(anyio.BrokenResourceError) as caught:
                    await stream.receive()
                assert isinstance(caught.value.__cause__, tquic.ApplicationClosed)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.lowlevel.checkpoint()
                await anyio.lowlevel.checkpoint()
                if not connection.closed:
                    with pytest.raises((anyio.BusyResourceError, anyio.BrokenResourceError)):
                        await stream.receive()

    run(main)


def test_exceptions_come_out_as_they_are(run: Run, configs: Any) -> None:
    server_config, client_config = configs

    async def body() -> None:
        async with (
            tquic.anyio.serve("127.0.0.1", 0, echo, config=server_config) as server,
            tquic.anyio.connect(*server.address, config=client_config),
        ):
            raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await body()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            impatient = client_config.replace(handshake_timeout=0.05)
            with pytest.raises(tquic.HandshakeTimeout):
                async with tquic.anyio.connect(*silent.getsockname(), config=impatient):
                    pass

    run(main)


def test_cancelled_receives_lose_nothing(run: Run, configs: Any) -> None:
    server_config, client_config = configs

    async def main() -> None:
        async with (
            tquic.anyio.serve("127.0.0.1", 0, echo, config=server_config) as server,
            tquic.anyio.connect(*server.address, config=client_config) as connection,
        ):
            stream = connection.open_stream()
            with anyio.move_on_after(0.02) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            await stream.send(b"half")
            with anyio.move_on_after(0.05) as scope:
                await stream.readexactly(8)
            assert scope.cancelled_caught
            await stream.send(b"done")
            assert await stream.readexactly(8) == b"halfdone"

    run(main)


def test_cancelled_connections_end(run: Run, configs: Any) -> None:
    server_config, client_config = configs

    async def main() -> None:
        async with tquic.anyio.serve("127.0.0.1", 0, echo, config=server_config) as server:
            with anyio.move_on_after(0.05) as scope:
                async with tquic.anyio.connect(*server.address, config=client_config) as connection:
                    await connection.accept_stream()
            assert scope.cancelled_caught
            while server.connections:
                await anyio.sleep(0.001)

    run(main)


def test_early_data(run: Run, configs: Any) -> None:
    server_config, client_config = configs
    store = tquic.SessionStore()
    client = client_config.replace(session_store=store, early_data=True)
    seen: list[bool] = []

    async def handler(connection: tquic.anyio.Connection) -> None:
        async for stream in connection:
            seen.append(stream.early)
            await stream.send(await stream.read())
            await stream.aclose()

    async def main() -> None:
        server = server_config.replace(early_data=True)
        async with tquic.anyio.serve("127.0.0.1", 0, handler, config=server) as listening:
            for wait in (True, False):
                async with tquic.anyio.connect(
                    *listening.address, config=client, wait=wait
                ) as connection:
                    stream = connection.open_stream()
                    stream.write(b"x")
                    stream.finish()
                    assert await stream.receive() == b"x"
                    while not len(store):
                        await anyio.sleep(0.001)

    run(main)
    assert seen == [False, True]

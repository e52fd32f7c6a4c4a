"""`open_connection` and `start_server`: asyncio's readers and writers over one stream each."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import streams

MB = 1_000_000


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Written for TCP."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def session(server_config: tquic.Config, client_config: tquic.Config) -> None:
    data = random.Random(5).randbytes(5 * MB)
    async with (
        asyncio.timeout(60),
        await tquic.start_server(echo, "127.0.0.1", 0, config=server_config) as server,
    ):
        reader, writer = await tquic.open_connection(*server.address, config=client_config)
        assert type(reader) is asyncio.StreamReader
        assert type(writer) is asyncio.StreamWriter
        writer.write(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        assert await reader.readuntil(b"\n") == b"two\n"

        async def send() -> None:
            for at in range(0, len(data), 100_000):
                writer.write(data[at : at + 100_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(data)) == data
        assert await reader.read() == b""
        assert reader.at_eof()
        await sending
        writer.close()
        await writer.wait_closed()
        connection = writer.get_extra_info("connection")
        assert connection.closed
        assert connection.exception.clean


def test_uvloop(server_config: tquic.Config, client_config: tquic.Config) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(session(server_config, client_config))


async def test_programs_written_for_tcp(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    await session(server_config, client_config)


async def test_what_the_writer_knows(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    seen = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peername"))
        await echo(reader, writer)

    async with await tquic.start_server(connected, "127.0.0.1", 0, config=server_config) as server:
        assert server.is_serving()
        reader, writer = await tquic.open_connection(*server.address, config=client_config)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        assert writer.get_extra_info("peername") == server.address
        assert writer.get_extra_info("sockname")[1] == (await seen)[1]
        assert isinstance(writer.get_extra_info("stream"), tquic.Stream)
        tls = writer.get_extra_info("ssl_object")
        assert (tls.selected_alpn_protocol(), tls.version()) == ("tquic", "TLSv1.3")
        assert writer.get_extra_info("cipher") == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
        assert writer.get_extra_info("peercert") == tls.getpeercert(binary_form=True)
        assert writer.get_extra_info("socket", "none") == "none"
        assert writer.can_write_eof()
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionResetError):
            await writer.drain()


async def test_every_stream_of_a_connection_is_a_client(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async with (
        await tquic.start_server(echo, "127.0.0.1", 0, config=server_config) as server,
        tquic.connect(*server.address, config=client_config) as connection,
    ):

        async def one(number: int) -> None:
            reader, writer = streams.wrap(connection.open_stream())
            writer.write(b"%d" % number)
            writer.write_eof()
            assert await reader.read() == b"%d" % number
            writer.close()
            await writer.wait_closed()

        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(one(number))
        assert len(server.connections) == 1
        assert not connection.closed


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_reader_that_stops_blocks_the_writer(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    limits = {"stream_window": 256 << 10, "max_stream_window": 256 << 10}
    proceed = asyncio.Event()
    total, size = 0, 256 << 20

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal total
        await reader.readexactly(1)
        await proceed.wait()
        while data := await reader.read(1 << 20):
            total += len(data)
        writer.close()

    async with await tquic.start_server(
        connected, "127.0.0.1", 0, config=server_config.replace(**limits)
    ) as server:
        reader, writer = await tquic.open_connection(
            *server.address, config=client_config.replace(send_buffer=1 << 20)
        )
        writer.write(b"x")
        connection: tquic.Connection = writer.get_extra_info("connection")
        written = 1
        before = resident()

        async def fill() -> None:
            nonlocal written
            while written <= size:
                # New memory each time, which is held until it is acknowledged.
                writer.write(os.urandom(64 << 10))
                await writer.drain()
                written += 64 << 10
            writer.write_eof()

        filling = asyncio.create_task(fill())
        was, same = -1, 0
        while same < 20:
            await connection.ping()
            was, same = written, same + 1 if was == written else 0
        # The engine's buffer, the receiver's window, what has crossed to its reader, the watermark.
        assert not filling.done()
        assert written < (1 << 20) + (256 << 10) + (1 << 20) + (256 << 10)
        assert writer.transport.get_write_buffer_size() <= 128 << 10
        assert resident() - before < 16 << 20
        proceed.set()
        await filling
        assert await reader.read() == b""
        assert total == written - 1
        writer.close()
        await writer.wait_closed()
        assert resident() - before < 64 << 20


async def test_watermarks(pair: Any) -> None:
    async with pair(client={"send_buffer": 64 << 10}) as (client, server):
        reader, writer = streams.wrap(client.open_stream())
        transport = writer.transport
        transport.set_write_buffer_limits(high=1000, low=100)
        assert transport.get_write_buffer_limits() == (100, 1000)
        with pytest.raises(ValueError, match="low"):
            transport.set_write_buffer_limits(high=1, low=2)
        writer.write(bytes(4 * MB))
        assert transport.get_write_buffer_size() > 1000
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        far = await server.accept_stream()
        assert len(await far.readexactly(4 * MB)) == 4 * MB
        await draining
        assert transport.get_write_buffer_size() <= 100
        far.write(b"answer")
        far.finish()
        assert await reader.read() == b"answer"


async def test_a_peer_that_gives_up(pair: Any) -> None:
    async with pair() as (client, server):
        reader, writer = streams.wrap(client.open_stream())
        writer.write(b"x")
        far = await server.accept_stream()
        far.reset(5)
        with pytest.raises(tquic.StreamReset):
            await reader.read()
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        writer.close()

        reader, writer = streams.wrap(client.open_stream())
        writer.write(b"x")
        far = await server.accept_stream()
        far.write(b"last words")
        far.finish()
        far.stop(6)
        # It does not listen any more, but what it said counts.
        assert await reader.read() == b"last words"

        async def go_on() -> None:
            while True:
                writer.write(b"y")
                await writer.drain()

        with pytest.raises(ConnectionError):
            await go_on()


async def test_the_connection_ends(pair: Any) -> None:
    async with pair() as (client, server):
        reader, writer = streams.wrap(client.open_stream())
        writer.write(b"x")
        await server.accept_stream()
        server.close(7, "over")
        with pytest.raises(tquic.ApplicationClosed, match="over"):
            await reader.read()
        with pytest.raises(ConnectionError):
            await writer.drain()
        writer.close()


async def test_abort(server_config: tquic.Config, client_config: tquic.Config) -> None:
    failed = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except ConnectionError as error:
            failed.set_result(error)

    async with await tquic.start_server(connected, "127.0.0.1", 0, config=server_config) as server:
        _, writer = await tquic.open_connection(*server.address, config=client_config)
        writer.write(b"x")
        await writer.get_extra_info("connection").flush()
        writer.transport.abort()
        assert writer.is_closing()
        await writer.wait_closed()
        assert isinstance(await failed, ConnectionError)


async def test_servers_close_as_asyncio_s_do(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    server = await tquic.start_server(echo, "127.0.0.1", 0, config=server_config)
    await server.start_serving()
    serving = asyncio.create_task(server.serve_forever())
    reader, writer = await tquic.open_connection(*server.address, config=client_config)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    server.close()
    assert not server.is_serving()
    # What is there goes on.
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    writer.close()
    await writer.wait_closed()
    await server.wait_closed()
    await serving
    with pytest.raises(RuntimeError, match="closed"):
        await server.serve_forever()

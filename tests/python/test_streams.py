"""Streams: bytes there and back, in every way of reading and writing, and how they end."""

from __future__ import annotations

import array
import asyncio
import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import _engine

MB = 1_000_000


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_echo(echo: Any, server_config: Any, client_config: Any) -> None:
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=server_config) as server,
        tquic.connect(*server.address, config=client_config) as connection,
    ):
        stream = connection.open_stream()
        await stream.write(b"hello")
        stream.finish()
        assert await stream.read() == b"hello"
        assert await stream.read() == b""
        assert stream.at_eof()


async def test_a_hundred_megabytes_arrive_unchanged(pair: Any) -> None:
    block = noise(MB)
    sent, received = hashlib.sha256(), hashlib.sha256()
    async with pair() as (client, server):

        async def send() -> None:
            stream = client.open_stream(unidirectional=True)
            for _ in range(100):
                sent.update(block)
                await stream.write(block)
            stream.finish()

        async def receive() -> int:
            size = 0
            async for chunk in await server.accept_stream():
                received.update(chunk)
                size += len(chunk)
            return size

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            reading = tasks.create_task(receive())
    assert reading.result() == 100 * MB
    assert received.digest() == sent.digest()


async def test_more_streams_than_the_peer_allows_at_a_time(
    echo: Any, server_config: Any, client_config: Any
) -> None:
    async def one(connection: tquic.Connection, number: int) -> None:
        stream = connection.open_stream()
        data = noise(1 + number * 7, number)
        await stream.write(data)
        stream.finish()
        assert await stream.read() == data

    async with (
        tquic.serve(
            "127.0.0.1", 0, echo, config=server_config.replace(max_bidi_streams=8)
        ) as server,
        tquic.connect(*server.address, config=client_config) as connection,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(300):
            tasks.create_task(one(connection, number))


async def test_streams_are_written_in_any_order(pair: Any) -> None:
    async with pair(server={"max_bidi_streams": 8}) as (client, server):
        streams = [client.open_stream() for _ in range(8)]
        # Nothing is there to be sent, and all of them are open.
        await client.ping()
        for stream in reversed(streams):
            stream.write(b"%d" % stream.id, finish=True)
        for _ in streams:
            stream = await server.accept_stream()
            assert await stream.read() == b"%d" % stream.id


async def test_ways_of_reading(pair: Any) -> None:
    data = noise(300_000)
    async with pair() as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        outgoing.write(data)
        outgoing.finish()
        stream = await server.accept_stream()
        assert (stream.readable, stream.writable) == (True, False)
        got = bytearray(await stream.readexactly(10))
        assert len(got) == 10
        assert await stream.read(0) == b""
        part = await stream.read(5)
        assert 1 <= len(part) <= 5
        got += part
        place = bytearray(1000)
        size = await stream.read_into(place)
        got += place[:size]
        got += await stream.read_chunk()
        got += await stream.read()
        assert got == data
        assert await stream.readexactly(0) == b""
        with pytest.raises(asyncio.IncompleteReadError):
            await stream.readexactly(1)


async def test_readexactly_beyond_every_window(pair: Any) -> None:
    data = noise(9 * MB)
    async with pair() as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        outgoing.write(data)
        outgoing.finish()
        stream = await server.accept_stream()
        assert await stream.readexactly(8 * MB) == data[: 8 * MB]
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await stream.readexactly(8 * MB)
        assert caught.value.partial == data[8 * MB :]


async def test_any_buffer_can_be_written(pair: Any) -> None:
    numbers = array.array("d", [1.5, 2.5, 3.5])
    changing = bytearray(b"x" * 100_000)
    async with pair() as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        await outgoing.write(numbers)
        await outgoing.write(memoryview(b"abcdef")[2:4])
        await outgoing.write(b"")
        # Writable memory is copied: it may be used again at once.
        written = outgoing.write(changing)
        changing[:] = b"y" * 100_000
        await written
        outgoing.finish()
        stream = await server.accept_stream()
        assert await stream.read() == numbers.tobytes() + b"cd" + b"x" * 100_000
        with pytest.raises(BufferError, match="contiguous"):
            client.open_stream().write(memoryview(b"abcdef")[::2])


async def test_shared_memory_is_held_until_it_is_acknowledged(pair: Any) -> None:
    before = _engine.held_buffers()
    shared = bytearray(noise(4 * MB))
    narrow = {"stream_window": 64 << 10, "max_stream_window": 64 << 10}
    async with pair(server=narrow) as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        await outgoing.write(shared, share=True)
        assert _engine.held_buffers() == before + 1
        with pytest.raises(BufferError):
            shared.append(0)
        outgoing.finish()
        stream = await server.accept_stream()
        assert await stream.read() == shared
        await outgoing.wait_finished()
        # The engine dropped it in its own thread, without the GIL.
        assert _engine.held_buffers() == before
        shared.append(0)


async def test_buffers_of_a_lost_connection_come_back(pair: Any) -> None:
    before = _engine.held_buffers()
    engine = tquic.Engine()
    narrow = {"stream_window": 64 << 10, "max_stream_window": 64 << 10}
    async with pair(server=narrow, engine=engine) as (client, server):
        outgoing = client.open_stream()
        outgoing.write(bytes(4 * MB))
        await server.accept_stream()
        assert _engine.held_buffers() > before
        client.close()
    engine.shutdown()
    assert _engine.held_buffers() == before


async def settled(connection: tquic.Connection, count: Any) -> int:
    """What `count` answers once it stays the same while twenty messages go there and back."""
    stream = connection.open_stream()
    value, same = count(), 0
    while same < 20:
        await stream.write(b"?")
        await stream.readexactly(1)
        same = same + 1 if count() == value else 0
        value = count()
    stream.finish()
    return int(value)


async def test_a_reader_that_stops_stops_the_writer(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    limits = {
        "stream_window": 256 << 10,
        "max_stream_window": 256 << 10,
        "connection_window": 512 << 10,
        "max_connection_window": 512 << 10,
    }
    proceed = asyncio.Event()
    received = hashlib.sha256()

    async def answer(stream: tquic.Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)

    async def handler(connection: tquic.Connection) -> None:
        slow = await connection.accept_stream()
        quick = asyncio.create_task(answer(await connection.accept_stream()))
        await proceed.wait()
        async for chunk in slow:
            received.update(chunk)
        await quick
        slow.finish()

    block = noise(64 << 10)
    written = 0
    async with (
        tquic.serve("127.0.0.1", 0, handler, config=server_config.replace(**limits)) as server,
        tquic.connect(
            *server.address, config=client_config.replace(send_buffer=1 << 20)
        ) as connection,
    ):
        stream = connection.open_stream()

        async def fill() -> None:
            nonlocal written
            while written < 50 * len(block) * 16:
                await stream.write(block)
                written += len(block)
            stream.finish()

        filling = asyncio.create_task(fill())
        await stream.connection.wait_connected()
        accepted = await settled(connection, lambda: written)
        # What may be on the way: the sender's buffer, the receiver's window, what has crossed into
        # its Python, and the block whose write waits.
        assert not filling.done()
        assert accepted <= (1 << 20) + (256 << 10) + (1 << 20) + len(block)
        assert stream.unacknowledged() <= (1 << 20) + len(block)
        proceed.set()
        await filling
        assert await stream.read() == b""
    expected = hashlib.sha256(block * (written // len(block)))
    assert received.digest() == expected.digest()


async def test_writes_that_nobody_awaits_are_bounded(pair: Any) -> None:
    limits = {"send_buffer": 64 << 10, "write_buffer": 64 << 10}
    async with pair(client=limits) as (client, _):
        stream = client.open_stream()
        block = bytes(32 << 10)

        def flood() -> None:
            for _ in range(1000):
                stream.write(block)

        with pytest.raises(tquic.WriteBufferFull, match="await"):
            flood()
        assert stream.unacknowledged() <= (128 << 10) + 2 * len(block)


@pytest.mark.parametrize("size", [0, 1, 5000, 3 * MB])
@pytest.mark.parametrize("kind", [bytes, bytearray])
async def test_the_last_bytes_and_the_end_in_one(pair: Any, kind: Any, size: int) -> None:
    data = noise(size)
    async with pair(client={"send_buffer": 64 << 10}) as (client, server):
        outgoing = client.open_stream()
        outgoing.write(b"first, ")
        waiting = outgoing.write(kind(data), finish=True)
        for again in False, True:
            with pytest.raises(tquic.StreamClosed, match="finished"):
                outgoing.write(b"x", finish=again)
        outgoing.finish()
        stream = await server.accept_stream()
        assert await stream.read() == b"first, " + data
        await waiting
        await outgoing.wait_finished()
        # Its other direction goes on.
        await stream.write(b"answer", finish=True)
        assert await outgoing.read() == b"answer"


async def test_a_write_that_is_refused_does_not_end_the_stream(pair: Any) -> None:
    limits = {"send_buffer": 64 << 10, "write_buffer": 64 << 10}
    async with pair(client=limits) as (client, server):
        outgoing = client.open_stream()
        size = 0
        while outgoing._out.size <= limits["write_buffer"]:
            outgoing.write(bytes(32 << 10))
            size += 32 << 10
        with pytest.raises(tquic.WriteBufferFull):
            outgoing.write(b"x", finish=True)
        stream = await server.accept_stream()
        reading = asyncio.create_task(stream.read())
        await outgoing.drain()
        with pytest.raises(BufferError, match="contiguous"):
            outgoing.write(memoryview(b"abcdef")[::2], finish=True)
        outgoing.write(b"the end", finish=True)
        assert await reading == bytes(size) + b"the end"


async def test_the_end_behind_what_waits(pair: Any) -> None:
    async with pair(client={"send_buffer": 64 << 10}) as (client, server):
        for last in b"", b"the end":
            outgoing = client.open_stream()
            outgoing.write(bytes(MB))
            outgoing.write(last, finish=True)
            stream = await server.accept_stream()
            assert await stream.read() == bytes(MB) + last


async def test_reset(pair: Any) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"begin")
        stream = await server.accept_stream()
        assert await stream.readexactly(5) == b"begin"
        outgoing.reset(0x77)
        with pytest.raises(tquic.StreamReset, match="0x77") as caught:
            await stream.read()
        assert caught.value.code == 0x77
        assert isinstance(caught.value, ConnectionResetError)
        with pytest.raises(tquic.StreamClosed):
            outgoing.write(b"more")
        # The other direction goes on.
        await stream.write(b"still here")
        stream.finish()
        assert await outgoing.read() == b"still here"


async def test_a_reset_that_delivers_the_beginning(pair: Any) -> None:
    async with pair() as (client, server):
        assert client.can_reset_at
        for size, read in ((5, False), (200_000, True), (1_000_000, False)):
            outgoing = client.open_stream()
            await outgoing.write(bytes(1_000_000))
            stream = await server.accept_stream()
            if read:
                assert len(await stream.readexactly(100_000)) == 100_000
            outgoing.reset(9, reliable_size=size)
            with pytest.raises(tquic.StreamClosed):
                outgoing.write(b"more")
            got = 100_000 if read else 0
            try:
                while chunk := await stream.read_chunk():
                    got += len(chunk)
            except tquic.StreamReset as error:
                assert error.code == 9
            else:
                pytest.fail("a reset is no end")
            assert size <= got <= 1_000_000
        outgoing = client.open_stream()
        outgoing.write(b"four")
        for wrong in (5, -1):
            with pytest.raises(ValueError, match="4 bytes written"):
                outgoing.reset(9, reliable_size=wrong)
        outgoing.reset(9, reliable_size=4)
        assert await (await server.accept_stream()).readexactly(4) == b"four"


async def test_a_peer_that_does_not_know_reset_stream_at(pair: Any) -> None:
    async with pair(server={"reset_stream_at": False}) as (client, server):
        assert not client.can_reset_at
        assert server.can_reset_at
        outgoing = client.open_stream()
        outgoing.write(b"begin")
        with pytest.raises(tquic.StreamError, match="RESET_STREAM_AT"):
            outgoing.reset(9, reliable_size=5)
        outgoing.reset(9)


async def test_stop(pair: Any) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"begin")
        stream = await server.accept_stream()
        stream.stop(0x55)
        with pytest.raises(tquic.StreamClosed):
            await stream.read()

        async def go_on() -> None:
            while True:
                await outgoing.write(bytes(100_000))

        with pytest.raises(tquic.StreamStopped, match="0x55") as caught:
            await go_on()
        assert caught.value.code == 0x55
        with pytest.raises(tquic.StreamStopped):
            await outgoing.wait_finished()
        stream.finish()
        assert await outgoing.read() == b""


async def test_directions(pair: Any) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        with pytest.raises(tquic.StreamClosed, match="way"):
            await outgoing.read()
        await outgoing.write(b"x")
        incoming = await server.accept_stream()
        with pytest.raises(tquic.StreamClosed, match="way"):
            incoming.write(b"y")
        with pytest.raises(tquic.StreamClosed, match="way"):
            incoming.finish()
        with pytest.raises(ValueError, match="urgency"):
            outgoing.set_priority(8)
        outgoing.set_priority(0, incremental=True)


async def test_one_reader_at_a_time(pair: Any) -> None:
    async with pair() as (client, _):
        stream = client.open_stream()
        reading = asyncio.create_task(stream.read(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await stream.read(1)
        reading.cancel()
        await asyncio.wait([reading])


async def test_cancelled_reads_lose_nothing(pair: Any) -> None:
    data = noise(2 * MB)
    async with pair() as (client, server):
        outgoing = client.open_stream(unidirectional=True)
        await outgoing.write(data[:1000])
        stream = await server.accept_stream()
        for n in (3000, 2 * MB):
            reading = asyncio.create_task(stream.readexactly(n))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        outgoing.write(data[1000:])
        outgoing.finish()
        # Now one that has taken much before it is cancelled.
        reading = asyncio.create_task(stream.readexactly(3 * MB))
        await outgoing.wait_finished()
        reading.cancel()
        with pytest.raises((asyncio.CancelledError, asyncio.IncompleteReadError)) as caught:
            await reading
        rest = await stream.read()
        if isinstance(caught.value, asyncio.IncompleteReadError):
            rest = caught.value.partial + rest
        assert rest == data


async def test_cancelled_writes_repeat_nothing(pair: Any) -> None:
    data = noise(3 * MB)
    async with pair(client={"send_buffer": 64 << 10}) as (client, server):
        outgoing = client.open_stream(unidirectional=True)

        async def write() -> None:
            await outgoing.write(data)

        writing = asyncio.create_task(write())
        stream = await server.accept_stream()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        # What was written is written.
        outgoing.finish()
        assert await stream.read() == data


async def test_files_there_and_back(pair: Any, tmp_path: Path) -> None:
    data = noise(5 * MB)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"header")
        sending = asyncio.create_task(outgoing.send_file(source, offset=100))
        stream = await server.accept_stream()
        assert await stream.readexactly(6) == b"header"
        assert await stream.recv_to_file(target) == len(data) - 100
        assert await sending == len(data) - 100
        assert target.read_bytes() == data[100:]
        assert await stream.read() == b""
        await outgoing.wait_finished()

        # Part of it, behind what the file holds already.
        second = client.open_stream()
        assert await second.send_file(source, offset=50, size=1000) == 1000
        stream = await server.accept_stream()
        assert await stream.recv_to_file(target, offset=10) == 1000
        assert target.read_bytes() == data[100:110] + data[50:1050]


async def test_files_that_fail(pair: Any, tmp_path: Path) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        with pytest.raises(FileNotFoundError) as caught:
            await outgoing.send_file(tmp_path / "none")
        assert caught.value.filename == str(tmp_path / "none")
        await outgoing.write(b"still open")
        stream = await server.accept_stream()
        with pytest.raises(IsADirectoryError):
            await stream.recv_to_file(tmp_path)


async def test_codes_have_62_bits(pair: Any) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        for code in (-1, 1 << 62):
            with pytest.raises(ValueError, match="code"):
                outgoing.reset(code)
            with pytest.raises(ValueError, match="code"):
                outgoing.stop(code)
        # They changed nothing.
        await outgoing.write(b"still here")
        stream = await server.accept_stream()
        assert await stream.readexactly(10) == b"still here"
        outgoing.reset((1 << 62) - 1)
        with pytest.raises(tquic.StreamReset) as caught:
            await stream.read()
        assert caught.value.code == (1 << 62) - 1


async def test_a_reset_ends_a_file(pair: Any, tmp_path: Path) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"some")
        stream = await server.accept_stream()
        receiving = asyncio.create_task(stream.recv_to_file(tmp_path / "target"))
        await settled_once(client, server)
        outgoing.reset(9)
        with pytest.raises(tquic.StreamReset):
            await receiving
        assert (tmp_path / "target").read_bytes() == b"some"


async def settled_once(client: tquic.Connection, server: tquic.Connection) -> None:
    """A message there: whatever was sent before has been handled."""
    stream = client.open_stream(unidirectional=True)
    stream.write(b"!")
    stream.finish()
    await (await server.accept_stream()).read()


async def test_a_cancelled_file_stops_its_stream(pair: Any, tmp_path: Path) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"some")
        stream = await server.accept_stream()
        receiving = asyncio.create_task(stream.recv_to_file(tmp_path / "target"))
        await settled_once(client, server)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        with pytest.raises(tquic.StreamStopped):
            await outgoing.wait_finished()


async def test_streams_end_with_their_connection(pair: Any) -> None:
    async with pair() as (client, server):
        outgoing = client.open_stream()
        await outgoing.write(b"some")
        stream = await server.accept_stream()
        await stream.readexactly(4)
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        client.close(5, "enough")
        with pytest.raises(tquic.ApplicationClosed, match="enough") as caught:
            await reading
        assert (caught.value.by, caught.value.code) == ("peer", 5)
        with pytest.raises(tquic.ApplicationClosed):
            stream.write(b"more")
        with pytest.raises(tquic.ApplicationClosed):
            await outgoing.read()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
async def test_files_that_are_none(pair: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with pair() as (client, server):
        stream = client.open_stream()
        await stream.write(b"x")
        far = await server.accept_stream()
        for path in (pipe, Path("/dev/zero")):
            with pytest.raises(OSError, match="Not an ordinary file"):
                await stream.send_file(path)
        for numbers in ({"offset": -1}, {"size": -1}):
            with pytest.raises(ValueError, match="must not be negative"):
                await stream.send_file(__file__, **numbers)
        # None of this was an end of the stream.
        await stream.write(b"y")
        assert await far.readexactly(2) == b"xy"
        with pytest.raises(ValueError, match="must not be negative"):
            await far.recv_to_file(tmp_path / "new", offset=-1)
        with pytest.raises(OSError, match="Not an ordinary file"):
            await far.recv_to_file(pipe)

"""Nothing leaks, nothing is lost: cancellation at any time, many connections, exits that cost
nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import tquic
from tquic import _engine
from tquic._halves import Incoming

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on one kind of loop."""
    factory = None
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    async def limited(work: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(120):
            await work

    def runs(work: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited(work))

    return runs


async def settle(done: Callable[[], bool]) -> None:
    """Lets the loop run until something is so."""
    while not done():
        await asyncio.sleep(0)


def test_random_cancellation_leaks_nothing(
    run: Run, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    seed = int(os.environ.get("TQUIC_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"TQUIC_TEST_SEED={seed}")
    random_ = random.Random(seed)
    block = random_.randbytes(200_000)

    async def answer(stream: tquic.Stream) -> None:
        with contextlib.suppress(tquic.StreamError):
            async for chunk in stream:
                await stream.write(chunk)
            stream.finish()

    async def handler(connection: tquic.Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for stream in connection:
                tasks.create_task(answer(stream))

    async def one(connection: tquic.Connection, number: int) -> None:
        stream = connection.open_stream()
        size = random_.randrange(1, len(block))
        try:
            await stream.write(block[:size])
            stream.finish()
            if number % 3 == 0:
                got = await stream.readexactly(size)
            elif number % 3 == 1:
                got = await stream.read()
            else:
                got = b"".join([bytes(chunk) async for chunk in stream])
            assert got == block[:size]
            await stream.wait_finished()
        except asyncio.CancelledError:
            stream.reset(1)
            stream.stop(2)
            raise

    async def main() -> None:
        async with (
            tquic.serve(
                "127.0.0.1", 0, handler, config=server_config.replace(max_bidi_streams=1000)
            ) as server,
            tquic.connect(*server.address, config=client_config) as client,
        ):
            own = len(asyncio.all_tasks())
            tasks = [asyncio.create_task(one(client, number)) for number in range(1000)]
            for task in tasks:
                if random_.random() < 0.5:
                    loop = asyncio.get_running_loop()
                    loop.call_later(random_.uniform(0, 0.5), task.cancel)
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(end) for end in ends} <= {type(None), asyncio.CancelledError}, ends
            (peer,) = server.connections
            await settle(lambda: not client._streams and not peer._streams)
            # The main task, and those of the server's handler.
            await settle(lambda: len(asyncio.all_tasks()) <= own + 1)
            # Still in order: the connection's credit has not suffered.
            stream = client.open_stream()
            await stream.write(block)
            stream.finish()
            assert await stream.read() == block

    held = _engine.held_buffers()
    run(main())
    assert_given_back(held)


def assert_given_back(held: int) -> None:
    """No more Python buffers are in the engine than there were."""
    gc.collect()
    # What is dropped by the engine's threads comes back with the next call.
    engine = _engine.Hub(tquic.Engine.default()._native)
    deadline = time.monotonic() + 30
    while _engine.held_buffers() > held:
        assert time.monotonic() < deadline, "the engine holds buffers of streams that are gone"
        engine.poll(1)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts in /proc")
def test_two_hundred_connections_leave_nothing(
    run: Run, server_config: tquic.Config, client_config: tquic.Config, echo: Any
) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> None:
        async with tquic.serve("127.0.0.1", 0, echo, config=server_config) as server:

            async def connections(count: int) -> None:
                for _ in range(count):
                    async with tquic.connect(*server.address, config=client_config) as client:
                        stream = client.open_stream()
                        await stream.write(b"x")
                        assert await stream.readexactly(1) == b"x"

            await connections(5)
            before = descriptors(), threading.active_count()
            await connections(200)
            assert descriptors() <= before[0]
            assert threading.active_count() <= before[1]

    run(main())


async def test_leaving_waits_for_no_delayed_acknowledgement(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async def handler(connection: tquic.Connection) -> None:
        async for stream in connection:
            await stream.read()

    # Without a hurry this would be waited for.
    slow = server_config.replace(max_ack_delay=10.0)
    took = []
    async with tquic.serve("127.0.0.1", 0, handler, config=slow) as server:
        for finish in (True, False) * 5:
            async with tquic.connect(*server.address, config=client_config) as client:
                stream = client.open_stream()
                await stream.write(b"x")
                if finish:
                    stream.finish()
                begun = time.perf_counter()
            took.append(time.perf_counter() - begun)
    assert statistics.median(took) < 4.0


async def test_pings(pair: Any) -> None:
    async with pair(server={"max_ack_delay": 10.0}) as (client, server):
        for end in (client, server):
            times = [await end.ping() for _ in range(5)]
            assert 0 < min(times) < 5.0
        together = await asyncio.gather(*(client.ping() for _ in range(100)))
        assert all(0 < rtt < 60 for rtt in together)
        pinging = asyncio.create_task(client.ping())
        await asyncio.sleep(0)
        pinging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pinging
        pinging = asyncio.create_task(server.ping())
        await asyncio.sleep(0)
        server.close()
        with contextlib.suppress(tquic.ConnectionClosed):
            await pinging
        await server.wait_closed()
        with pytest.raises(tquic.ConnectionClosed):
            await server.ping()


async def test_readuntil(pair: Any) -> None:
    async with pair() as (client, server):
        near = client.open_stream(unidirectional=True)
        await near.write(b"a line\nand")
        far = await server.accept_stream()
        assert await far.readuntil() == b"a line\n"
        # A separator that comes in two pieces, and a cancelled read before it.
        reading = asyncio.create_task(far.readuntil(b"=!="))
        await client.flush()
        await near.write(b" more=")
        await client.flush()
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        reading = asyncio.create_task(far.readuntil(b"=!="))
        await near.write(b"!=rest")
        assert await reading == b"and more=!="
        with pytest.raises(asyncio.LimitOverrunError) as overrun:
            await far.readuntil(b"!", limit=3)
        assert overrun.value.consumed == 4
        await near.write(b"!")
        await client.flush()
        with pytest.raises(asyncio.LimitOverrunError):
            await far.readuntil(b"!", limit=3)
        assert await far.readuntil(b"!", limit=4) == b"rest!"
        with pytest.raises(ValueError, match="separator"):
            await far.readuntil(b"")
        near.write(b"no end")
        near.finish()
        with pytest.raises(asyncio.IncompleteReadError) as incomplete:
            await far.readuntil()
        assert incomplete.value.partial == b"no end"


async def test_readuntil_beyond_every_window(pair: Any) -> None:
    data = bytes(3_000_000)
    async with pair() as (client, server):
        near = client.open_stream(unidirectional=True)
        near.write(data)
        near.write(b"end")
        near.finish()
        far = await server.accept_stream()
        assert await far.readuntil(b"end", limit=4_000_000) == data + b"end"


async def test_cancelled_reads_of_everything_lose_nothing(pair: Any) -> None:
    data = random.Random(3).randbytes(3_000_000)
    async with pair() as (client, server):
        near = client.open_stream(unidirectional=True)
        writing = asyncio.create_task(_write(near, data))
        far = await server.accept_stream()
        for _ in range(20):
            reading = asyncio.create_task(far.read())
            await asyncio.sleep(0.001)
            reading.cancel()
            try:
                got = await reading
            except asyncio.CancelledError:
                continue
            break
        else:
            got = await far.read()
        await writing
        assert got == data


async def _write(stream: tquic.Stream, data: bytes) -> None:
    for at in range(0, len(data), 50_000):
        await stream.write(data[at : at + 50_000])
        await asyncio.sleep(0)
    stream.finish()


async def test_cancelled_files(pair: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(20_000_000))
    narrow = {"stream_window": 64 << 10, "max_stream_window": 64 << 10}
    async with pair(server=narrow) as (client, server):
        near = client.open_stream(unidirectional=True)
        sending = asyncio.create_task(near.send_file(source))
        far = await server.accept_stream()
        await far.readexactly(10)
        receiving = asyncio.create_task(far.recv_to_file(target))
        await asyncio.sleep(0.01)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert target.read_bytes() == bytes(target.stat().st_size)
        with pytest.raises(tquic.StreamClosed):
            await far.read(1)
        with pytest.raises(tquic.StreamStopped):
            await sending

        near = client.open_stream(unidirectional=True)
        sending = asyncio.create_task(near.send_file(source))
        far = await server.accept_stream()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(tquic.StreamReset):
            await far.read()


async def test_priorities(
    server_config: tquic.Config, client_config: tquic.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the ends come from the engine: tasks may be woken together.
    order: list[int] = []
    on_data = Incoming.on_data

    def recorded(self: Incoming, data: bytes | memoryview, fin: bool) -> None:
        if fin:
            order.append(self._number)
        on_data(self, data, fin)

    monkeypatch.setattr(Incoming, "on_data", recorded)

    async def handler(connection: tquic.Connection) -> None:
        for _ in range(3):
            assert len(await (await connection.accept_stream()).read()) == 100_000

    async with tquic.serve("127.0.0.1", 0, handler, config=server_config) as server:
        # All is there before the first packet leaves.
        client = await tquic.connect(*server.address, config=client_config, wait=False)
        async with client:
            streams = [client.open_stream(unidirectional=True) for _ in range(3)]
            for stream, urgency in zip(streams, (7, 3, 0), strict=True):
                stream.set_priority(urgency)
                stream.write(bytes(100_000))
                stream.finish()
            await client.wait_closed()
    assert order == [stream.id for stream in reversed(streams)]
    with pytest.raises(ValueError, match="urgency"):
        stream.set_priority(8)

"""Event loops and blocking calls in several threads, which share what the process has one of."""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest

import tquic
import tquic.perf
import tquic.sync
from tquic import _engine
from tquic._hub import Hub
from tquic.many import EventKind, unpack_events

THREADS = 4
TIMEOUT = 60


@pytest.fixture(autouse=True)
def eager_switches() -> Iterator[None]:
    """Threads take turns as often as they can, where they must."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(work: Callable[[int], None]) -> None:
    """Runs `work` in all threads at once; what one raises is raised."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait(TIMEOUT)
        work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        for future in [threads.submit(run, number) for number in range(THREADS)]:
            future.result(TIMEOUT)


def test_hubs_come_and_go_in_threads() -> None:
    """A loop has one of its own as long as it has connections or listeners."""
    engine, listening = tquic.Engine(), Mock()

    async def use() -> None:
        for _ in range(300):
            hub = Hub.current(engine)
            hub.add_listener(1, listening)
            assert Hub.current(engine) is hub
            hub._on_event(_engine.UNLISTENED, 1, (), ())
            assert Hub.current(engine) is not hub

    in_threads(lambda number: asyncio.run(use()))
    engine.shutdown()


def test_one_session_store_for_all(
    server_config: tquic.Config, client_config: tquic.Config, tmp_path: Path
) -> None:
    """Every ticket is used once, whoever asks for it."""
    store = tquic.SessionStore(path=tmp_path / "sessions")
    config = client_config.replace(session_store=store)
    resumed = Counter[bool]()

    async def connect(address: tuple[str, int]) -> bool:
        async with tquic.connect(*address, config=config) as connection:
            stream = connection.open_stream()
            await stream.write(b"ping")
            stream.finish()
            # The tickets come before the answer.
            assert await stream.read() == b"ping"
            return connection.info.resumed

    async def echo(connection: tquic.Connection) -> None:
        async for stream in connection:
            await stream.write(await stream.read())
            stream.finish()

    async def serve() -> None:
        async with tquic.serve("127.0.0.1", 0, echo, config=server_config) as server:

            def work(number: int) -> None:
                for _ in range(8):
                    resumed[asyncio.run(connect(server.address))] += 1

            await asyncio.to_thread(in_threads, work)

    asyncio.run(serve())
    # Only the first of a thread may have come before there was any ticket.
    assert resumed.total() == 8 * THREADS
    assert 1 <= resumed[False] <= THREADS


def test_one_set_of_connections_polled_by_all(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """Each event goes to one thread."""
    engine = tquic.Engine()
    serving = server_config.replace(alpn=("perf",))
    config = client_config.replace(alpn=("perf",))
    responses: list[list[tuple[int, int]]] = [[] for _ in range(THREADS)]
    with (
        tquic.perf.Server(config=serving, engine=engine) as server,
        engine.connect_many(*server.addresses[0], 10, config=config) as connections,
    ):
        assert connections.wait_connected(TIMEOUT).open == 10
        run = connections.request_many((100).to_bytes(8, "big"), count=2_000, expect=100)
        finished = threading.Event()

        def work(number: int) -> None:
            while True:
                last = finished.is_set()
                for event in unpack_events(connections.poll_batch(64)):
                    if event.kind == EventKind.RESPONSE:
                        responses[number].append((event.connection, event.stream))
                    elif event.kind == EventKind.FINISHED:
                        finished.set()
                if last:
                    return

        in_threads(work)
        assert run.stats().responses == 2_000
        assert server.stats().requests == 2_000
    engine.shutdown()
    everything = [response for mine in responses for response in mine]
    assert len(everything) == len(set(everything)) == 2_000

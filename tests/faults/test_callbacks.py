"""Every function that a program hands over may raise: who is not concerned goes on, and the failure
is told once, where programs look for it.

Beside these: `sni_callback` in tests/python/test_tls.py, `Controller.on_ack` and
`Scheduler.select_path` in tests/python, handlers of requests and ASGI applications in
tests/h3server.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tquic
import tquic.sync
from tquic import congestion, multipath, streams
from tquic.compat.aioquic import asyncio as aioquic
from tquic.compat.aioquic.quic.configuration import QuicConfiguration
from tquic.compat.aioquic.quic.events import StreamDataReceived

from .programs import run


class Trouble(Exception):  # noqa: N818 - it is on purpose
    """What the callbacks raise."""


def trouble(*_: object, **__: object) -> Any:
    raise Trouble("on purpose")


@pytest.fixture
def config(certs: Path) -> tquic.Config:
    """For both ends."""
    names = ("cert.pem", "key.pem", "ca.pem")
    cert, key, ca = ((certs / name).read_bytes() for name in names)
    return tquic.Config(cert=cert, key=key, ca=ca)


async def echo(connection: tquic.Connection) -> None:
    async for stream in connection:
        await stream.write(await stream.read())
        stream.finish()


async def asks(connection: tquic.Connection, content: bytes = b"hello") -> bytes:
    stream = connection.open_stream()
    await stream.write(content)
    stream.finish()
    return bytes(await stream.read())


def raised(caplog: pytest.LogCaptureFixture, logger: str) -> list[type[BaseException]]:
    """The kinds of exceptions in the log, and nothing else may be there."""
    assert {record.name for record in caplog.records} <= {logger}
    return [
        record.exc_info[0] for record in caplog.records if record.exc_info and record.exc_info[0]
    ]


async def test_the_handler_of_a_server(
    config: tquic.Config, caplog: pytest.LogCaptureFixture
) -> None:
    first = True

    async def handler(connection: tquic.Connection) -> None:
        nonlocal first
        if first:
            first = False
            trouble()
        await echo(connection)

    async with tquic.serve("127.0.0.1", 0, handler, config=config) as server:
        async with tquic.connect(*server.address, config=config) as connection:
            with pytest.raises(tquic.ApplicationClosed) as caught:
                await asks(connection)
        assert (caught.value.by, caught.value.code) == ("peer", 1)
        async with tquic.connect(*server.address, config=config) as connection:
            assert await asks(connection) == b"hello"
    assert raised(caplog, "tquic.server") == [Trouble]


@pytest.mark.parametrize("kind", [Trouble, SystemExit, KeyboardInterrupt])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_handler_of_a_server_with_threads(
    config: tquic.Config, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: the connection ends, and the server goes on."""
    # KeyboardInterrupt in a thread is told there.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    left = [kind]

    def handler(connection: tquic.sync.Connection) -> None:
        if left:
            raise left.pop()
        for stream in connection:
            stream.write(stream.read())
            stream.finish()

    with tquic.sync.serve("127.0.0.1", 0, handler, config=config) as server:

        def ask() -> bytes:
            with tquic.sync.connect(*server.address, config=config) as connection:
                stream = connection.open_stream()
                stream.write(b"hello")
                stream.finish()
                return bytes(stream.read())

        # Perhaps before the client has heard of the connection.
        with pytest.raises(tquic.ConnectionClosed) as caught:
            ask()
        assert caught.value.by == "peer"
        assert ask() == b"hello"


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]


@pytest.mark.parametrize("late", [False, True], ids=["function", "coroutine"])
async def test_the_callback_of_stream_servers(
    config: tquic.Config, caplog: pytest.LogCaptureFixture, late: bool
) -> None:
    """One stream's failure is not that of the others on its connection."""

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            content = await reader.read()
            if content == b"bad":
                trouble()
            writer.write(content)

    calls = 0
    tasks = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            writer.close()
            trouble()
        tasks.add(asyncio.ensure_future(work(reader, writer)))

    told: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    server = await streams.start_server(work if late else connected, "127.0.0.1", 0, config=config)
    async with server, tquic.connect(*server.address, config=config) as connection:
        if late:
            # asyncio itself closes the transport then.
            assert await asks(connection, b"bad") == b""
        else:
            # Closed, and then reset: whichever comes first.
            with contextlib.suppress(tquic.StreamReset):
                assert await asks(connection, b"bad") == b""
        assert await asks(connection) == b"hello"
    assert [type(error) for error in told] + raised(caplog, "tquic.server") == [Trouble]


async def test_protocols_of_streams(config: tquic.Config) -> None:
    """As with asyncio's own transports: the loop is told, and the transport is closed."""

    class Broken(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            trouble()

    told: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=config) as server,
        tquic.connect(*server.address, config=config) as connection,
    ):
        reader, writer = streams.wrap(connection.open_stream())
        writer.transport.set_protocol(Broken())
        writer.write(b"hello")
        writer.write_eof()
        while not told:
            await asyncio.sleep(0.01)
        assert await asks(connection) == b"hello"
        writer.close()
        del reader
    assert [type(error) for error in told] == [Trouble]


class Selective(multipath.Scheduler):
    """One of its methods raises."""

    broken = ""

    def __init__(self) -> None:
        self._may("__init__")

    def _may(self, name: str) -> None:
        if type(self).broken == name:
            trouble()

    def init(self) -> None:
        self._may("init")

    def release(self) -> None:
        self._may("release")

    def select_path(self, paths: Any, burst: Any) -> Any:
        self._may("select_path")
        return paths[0]

    def on_packet_sent(self, path: Any, bytes: int) -> None:
        self._may("on_packet_sent")

    def on_packet_acked(self, path: Any, bytes: int, rtt: float) -> None:
        self._may("on_packet_acked")

    def on_path_change(self, path: Any, change: Any) -> None:
        self._may("on_path_change")


SCHEDULER = ["__init__", "init", "select_path", "on_packet_sent", "on_packet_acked"]
SCHEDULER += ["on_path_change", "release"]


@pytest.mark.parametrize("method", SCHEDULER)
async def test_schedulers(
    config: tquic.Config, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    made = type("Made", (Selective,), {"broken": method})
    both = config.replace(max_paths=2)
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=both) as server,
        tquic.connect(*server.address, config=both) as connection,
    ):
        connection.set_scheduler(made)
        await connection.add_path()
        content = bytes(3_000_000)
        assert await asks(connection, content) == content
        if method == "release":
            connection.set_scheduler("minrtt")
        await until(lambda: Trouble in raised(caplog, "tquic.multipath"))
        assert await asks(connection, content) == content
    # Told once, not for each packet.
    assert len(caplog.records) <= 2


@pytest.mark.parametrize("method", ["__init__", "on_ack"])
async def test_controllers(
    config: tquic.Config, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    class Controller(congestion.Controller):
        def on_ack(self, batch: congestion.AckBatch) -> None:
            self.window = 100_000

    setattr(Controller, method, trouble)
    async with serving_and_connected(config) as connection:
        connection.set_congestion(Controller)
        content = bytes(3_000_000)
        assert await asks(connection, content) == content
        await until(lambda: Trouble in raised(caplog, "tquic.congestion"))
        assert await asks(connection, content) == content
    assert len(caplog.records) <= 2


@asynccontextmanager
async def serving_and_connected(config: tquic.Config) -> AsyncIterator[tquic.Connection]:
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=config) as server,
        tquic.connect(*server.address, config=config) as connection,
    ):
        yield connection


async def until(there: Callable[[], object]) -> None:
    while not there():
        await asyncio.sleep(0.01)


# Streams as in aioquic cannot be closed by the one who has not got the other half.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("where", ["create_protocol", "quic_event_received", "stream_handler"])
async def test_protocols_as_in_aioquic(
    certs: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    broken = True

    class Server(aioquic.QuicConnectionProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if broken and where == "create_protocol":
                trouble()

        def quic_event_received(self, event: Any) -> None:
            if broken and where == "quic_event_received":
                trouble()
            if isinstance(event, StreamDataReceived) and event.end_stream:
                self._quic.send_stream_data(event.stream_id, b"hello", end_stream=True)
                self.transmit()
            super().quic_event_received(event)

    kept: list[object] = []

    def stream_handler(reader: object, writer: object) -> None:
        if broken and where == "stream_handler":
            trouble()
        # asyncio closes what is dropped.
        kept.append(writer)

    told: list[BaseException | None] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["x"])
    configuration.load_cert_chain(str(certs / "cert.pem"), str(certs / "key.pem"))
    server = await aioquic.serve(
        "127.0.0.1",
        0,
        configuration=configuration,
        create_protocol=Server,
        stream_handler=stream_handler,
    )
    ours = QuicConfiguration(is_client=True, alpn_protocols=["x"], idle_timeout=1.0)
    ours.load_verify_locations(cafile=str(certs / "ca.pem"))
    host, port = server._transport.get_extra_info("sockname")[:2]

    async def ask() -> bytes:
        async with aioquic.connect(host, port, configuration=ours) as protocol:
            reader, writer = await protocol.create_stream()
            writer.write(b"x")
            writer.write_eof()
            async with asyncio.timeout(60):
                content = bytes(await reader.read())
            writer.close()
            return content

    async def ask_the_broken() -> bytes:
        # The client may hear of its end before it can open a stream, or after.
        try:
            return await ask()
        except tquic.ConnectionClosed:
            return b""

    # The answer comes from another callback than the one that fails here.
    beside = where == "stream_handler"
    try:
        assert await ask_the_broken() == (b"hello" if beside else b"")
        broken = False
        assert await ask() == b"hello"
    finally:
        server.close()
    kinds = {type(error) for error in told} | {
        record.exc_info[0] for record in caplog.records if record.exc_info
    }
    assert kinds == {Trouble}
    gc.collect()


def test_a_log_handler_that_raises(certs: Path) -> None:
    """What goes wrong while telling what went wrong."""
    script = """
import logging

class Broken(logging.Handler):
    def emit(self, record):
        raise RuntimeError("no disk")

logging.getLogger("tquic").addHandler(Broken())
calls = 0

async def handler(connection):
    global calls
    calls += 1
    if calls == 1:
        raise ValueError
    stream = await connection.accept_stream()
    await stream.write(b"fine")
    stream.finish()

async def main():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with tquic.serve("127.0.0.1", 0, handler, config=config) as server:
        for _ in range(2):
            async with tquic.connect(*server.address, config=config) as connection:
                stream = connection.open_stream()
                await stream.write(b"x")
                try:
                    print(bytes(await stream.read()).decode())
                except tquic.ConnectionClosed:
                    print("closed")

asyncio.run(main())
"""
    done = run(certs, script)
    assert (done.stdout, done.returncode) == ("closed\nfine\n", 0), done.stderr

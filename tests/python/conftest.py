"""Certificates, configurations and connections for the tests of the asyncio interface.

Nothing here sleeps: tests wait for what they mean, and the time limit only ends what hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trustme

import tquic
import tquic.h3
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import SessionRequest, Stream


class Identity:
    """A CA with a server's certificate and a client's."""

    def __init__(self, *names: str) -> None:
        self.authority = trustme.CA()
        self.ca = self.authority.cert_pem.bytes()
        self.cert, self.key = self.issue(*names)
        self.client_cert, self.client_key = self.issue("client@example.org")

    def issue(self, *names: str, **options: Any) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        leaf = self.authority.issue_cert(*names, **options)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes()


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def stranger() -> Identity:
    """Of a CA that nobody trusts."""
    return Identity("localhost", "127.0.0.1")


@pytest.fixture
def server_config(identity: Identity) -> tquic.Config:
    return tquic.Config(cert=identity.cert, key=identity.key)


@pytest.fixture
def client_config(identity: Identity) -> tquic.Config:
    return tquic.Config(ca=identity.ca)


@pytest.fixture
def pair(server_config: tquic.Config, client_config: tquic.Config) -> Any:
    """Makes both ends of a connection: (client, server)."""

    @contextlib.asynccontextmanager
    async def make(
        client: dict[str, Any] | None = None,
        server: dict[str, Any] | None = None,
        engine: tquic.Engine | None = None,
    ) -> AsyncIterator[tuple[tquic.Connection, tquic.Connection]]:
        accepted: asyncio.Future[tquic.Connection] = asyncio.get_running_loop().create_future()

        async def handler(connection: tquic.Connection) -> None:
            accepted.set_result(connection)
            await connection.wait_closed()

        ours, theirs = client_config.replace(**client or {}), server_config.replace(**server or {})
        async with (
            tquic.serve("127.0.0.1", 0, handler, config=theirs, engine=engine) as listening,
            tquic.connect(*listening.address, config=ours, engine=engine) as connection,
        ):
            yield connection, await accepted

    return make


@pytest.fixture
def echo() -> Any:
    """A handler that sends back what it gets, stream by stream."""

    async def one(stream: tquic.Stream) -> None:
        async for chunk in stream:
            await stream.write(chunk)
        stream.finish()

    async def handler(connection: tquic.Connection) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for stream in connection:
                tasks.create_task(one(stream))

    return handler


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Any:
    """Runs a function on one back-end of anyio."""
    anyio = pytest.importorskip("anyio")
    pytest.importorskip(request.param)

    def runs(main: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            with anyio.fail_after(60):
                await main()

        anyio.run(limited, backend=request.param)

    return runs


async def _page(request: Request) -> Response:
    return Response()


async def _echo(stream: Stream) -> None:
    async for piece in stream:
        await stream.write(piece)
    stream.finish()


async def _handle(request: SessionRequest) -> None:
    """Does what its first datagram says."""
    if request.path != "/":
        request.refuse(404)
        return
    session = request.accept(protocol=request.protocols[0] if request.protocols else None)
    match await session.recv_datagram():
        case b"echo":
            async with asyncio.TaskGroup() as group:
                async for stream in session:
                    group.create_task(_echo(stream))
        case b"open":
            for number in range(3):
                stream = session.open_stream(unidirectional=number == 1)
                stream.write(b"%d" % number)
                stream.finish()
            session.send_datagram(b"there")
            await session.wait_draining()
            session.close(0)
        case b"close":
            session.close(7, "as you wish")


@pytest.fixture
def session_url(server_config: tquic.Config) -> Iterator[str]:
    """Of a server in a thread that takes WebTransport sessions; see `_handle`."""
    ready, addresses = threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        limits = Limits(session_data=64 * 1024)
        async with tquic.h3.serve(
            _page, "127.0.0.1", 0, config=server_config, webtransport=_handle, limits=limits
        ) as server:
            addresses.append(server.address)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await over.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield f"https://127.0.0.1:{addresses[0][1]}/"
    loops[0].call_soon_threadsafe(over.set)
    thread.join(30)
    assert not thread.is_alive()

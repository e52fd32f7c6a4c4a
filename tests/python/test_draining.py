"""Servers that accept no more, and clients whose connections were on their way just then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tquic
import tquic.sync
import tquic.sync.h3
from tquic import h3
from tquic.h3.server import Request, Response


def arrive(server: Any, config: tquic.Config) -> tquic.sync.Connection:
    """A client that the engine knows; the loop, which stands still here, has not heard of it."""
    client = tquic.sync.connect(*server.address, config=config)
    # The handshake is complete at the server, too.
    client.ping()
    return client


class Relay(asyncio.DatagramProtocol):
    """Between a client and a server: what the server says is kept back until `let_go`."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.client: tuple[str, int] | None = None
        self.kept: list[bytes] = []
        self.answered = asyncio.Event()
        self.open = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if address != self.server:
            self.client = address
            self.transport.sendto(data, self.server)
        elif self.open:
            self.transport.sendto(data, self.client)
        else:
            self.kept.append(data)
            self.answered.set()

    def let_go(self) -> None:
        self.open = True
        for data in self.kept:
            self.transport.sendto(data, self.client)

    @property
    def address(self) -> tuple[str, int]:
        address: tuple[str, int] = self.transport.get_extra_info("sockname")
        return address


@contextlib.asynccontextmanager
async def relay(server: tuple[str, int]) -> AsyncIterator[Relay]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(
        lambda: Relay(server), local_addr=("127.0.0.1", 0), family=socket.AF_INET
    )
    try:
        yield made
    finally:
        transport.close()


async def test_who_has_come_is_served(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    server = await tquic.serve("127.0.0.1", 0, echo, config=server_config)
    client = arrive(server, client_config)
    assert not server.connections
    server.stop_accepting()
    assert not server.accepting
    stream = client.open_stream()
    stream.write(b"hello")
    stream.finish()
    assert await asyncio.to_thread(stream.read) == b"hello"
    await asyncio.to_thread(client.close)
    await server.wait_closed()


async def test_who_has_come_is_told_why_the_server_closes(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    server = await tquic.serve("127.0.0.1", 0, echo, config=server_config)
    client = arrive(server, client_config)
    server.close(7, "going down")
    await server.wait_closed()
    with pytest.raises(tquic.ApplicationClosed) as caught:
        await asyncio.to_thread(client.accept_stream)
    assert (caught.value.code, caught.value.reason) == (7, "going down")


async def test_who_is_in_the_handshake_is_served(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    server = await tquic.serve("127.0.0.1", 0, echo, config=server_config)
    async with relay(server.address) as between:
        connecting = asyncio.ensure_future(_connect(between.address, client_config))
        await between.answered.wait()
        server.stop_accepting()
        waiting = asyncio.ensure_future(server.wait_closed())
        between.let_go()
        async with await connecting as client:
            stream = client.open_stream()
            await stream.write(b"hello")
            stream.finish()
            assert await stream.read() == b"hello"
            assert not waiting.done()
        await waiting


async def test_who_is_in_the_handshake_is_refused_by_a_server_that_closes(
    echo: Any, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    # It is not waited for: neither would end in the time of a test.
    server_config = server_config.replace(handshake_timeout=3000)
    server = await tquic.serve("127.0.0.1", 0, echo, config=server_config)
    async with relay(server.address) as between:
        connecting = asyncio.ensure_future(_connect(between.address, client_config))
        await between.answered.wait()
        server.close()
        await server.wait_closed()
        between.let_go()
        with pytest.raises(tquic.ConnectionRefused):
            # The handshake may be complete to the client before it hears that it is refused.
            await (await connecting).accept_stream()


async def _connect(address: tuple[str, int], config: tquic.Config) -> tquic.Connection:
    return await tquic.connect(*address, config=config)


def test_who_has_come_is_served_by_threads(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    def handler(connection: tquic.sync.Connection) -> None:
        for stream in connection:
            stream.write(stream.read())
            stream.finish()

    server = tquic.sync.serve("127.0.0.1", 0, handler, config=server_config)

    # No event is handled while its home is locked.
    with server._home.lock:
        client = arrive(server, client_config)
        assert not server._accepting.connections
        server._accepting.stop_accepting()
    with client:
        stream = client.open_stream()
        stream.write(b"hello")
        stream.finish()
        assert stream.read() == b"hello"
    server.wait_closed(60)


def test_accept_gives_who_has_come_and_then_ends(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    server = tquic.sync.serve("127.0.0.1", 0, config=server_config)
    client = arrive(server, client_config)
    server.stop_accepting()
    with client, server.accept(60), pytest.raises(tquic.EngineError):
        server.accept(60)
    server.wait_closed(60)


async def test_requests_of_who_has_come_are_answered(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async def handler(request: Request) -> Response:
        return Response(b"hello")

    server = await h3.serve(handler, "127.0.0.1", 0, config=server_config)
    host, port = server.address
    # The loop stands still until the request is with the engine.
    client = tquic.sync.h3.connect(f"https://{host}:{port}", config=client_config)
    stream = client.open("GET", "/")
    stream.finish()
    assert not server.connections
    ending = asyncio.ensure_future(server.shutdown(60))
    response = await asyncio.to_thread(stream.response)
    assert (response.status, await asyncio.to_thread(response.read)) == (200, b"hello")
    assert await ending
    client.close()

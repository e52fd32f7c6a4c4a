"""Reasons for an end are text: every call that takes one says so, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

import tquic
import tquic.sync
import tquic.sync.h3
from tquic.h3._websocket import encode_close

BYTES: Any = b"x"
refused = pytest.raises(TypeError, match="reason must be str, not bytes")


def refuses_bytes(client: Any, server: Any) -> None:
    """Neither ends for a reason that is no text."""
    for end in (client, server):
        with refused:
            end.close(0, BYTES)
    assert server.accepting
    assert not client.closed


async def test_connections_and_servers(server_config: Any, client_config: Any, echo: Any) -> None:
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=server_config) as server,
        tquic.connect(*server.address, config=client_config) as client,
    ):
        refuses_bytes(client, server)
        stream = client.open_stream()
        await stream.write(b"hello")
        stream.finish()
        assert await stream.read() == b"hello"
        client.close(0, "x")
        with refused:
            client.close(0, BYTES)


def test_connections_and_servers_of_threads(server_config: Any, client_config: Any) -> None:
    with (
        tquic.sync.serve("127.0.0.1", 0, config=server_config) as server,
        tquic.sync.connect(*server.address, config=client_config) as client,
    ):
        refuses_bytes(client, server)


def test_connections_of_anyio(run: Any, server_config: Any, client_config: Any) -> None:
    tquic_anyio = pytest.importorskip("tquic.anyio")

    async def handler(connection: Any) -> None:
        await connection.wait_closed()

    async def main() -> None:
        async with (
            tquic_anyio.serve("127.0.0.1", 0, handler, config=server_config) as server,
            tquic_anyio.connect(*server.address, config=client_config) as client,
        ):
            refuses_bytes(client, server)

    run(main)


def test_sessions(session_url: str, client_config: Any) -> None:
    with (
        tquic.sync.h3.connect(session_url, config=client_config, timeout=30) as connection,
        connection.webtransport("/") as session,
    ):
        with refused:
            session.close(0, BYTES)
        session.send_datagram(b"close")
        session.wait_closed()


def test_websockets() -> None:
    with refused:
        encode_close(1000, BYTES, masked=True)


def test_engines_and_sets_of_connections() -> None:
    engine = tquic.Engine()
    with engine.connect_many("127.0.0.1", 1, 1, config=tquic.Config()) as connections, refused:
        connections.close(0, BYTES)
    with refused:
        engine.shutdown(reason=BYTES)
    engine.shutdown()

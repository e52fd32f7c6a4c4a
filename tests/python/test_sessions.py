"""Resumed sessions, early data, address tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import tquic


async def exchange(connection: tquic.Connection, data: bytes = b"x") -> tquic.Stream:
    stream = connection.open_stream()
    stream.write(data)
    stream.finish()
    assert await stream.read() == data
    return stream


async def until_tickets(store: tquic.SessionStore, connection: tquic.Connection) -> None:
    """Tickets come behind the handshake: a few messages later they are there."""
    while not len(store):
        await exchange(connection)


async def test_resumption(echo: Any, server_config: Any, client_config: Any) -> None:
    store = tquic.SessionStore()
    config = client_config.replace(session_store=store)
    async with tquic.serve("127.0.0.1", 0, echo, config=server_config) as server:
        async with tquic.connect(*server.address, config=config) as connection:
            assert not connection.info.resumed
            await until_tickets(store, connection)
        # Another configuration with the same TLS settings shares them.
        async with tquic.connect(
            *server.address, config=config.replace(idle_timeout=5)
        ) as connection:
            assert connection.info.resumed
            assert connection.zero_rtt is None
            await exchange(connection)
        # One with others does not.
        async with tquic.connect(
            *server.address, config=config.replace(ciphers=("TLS_AES_256_GCM_SHA384",))
        ) as connection:
            assert not connection.info.resumed
        store.clear()
        assert len(store) == 0


async def test_no_tickets_where_none_are_wanted(
    echo: Any, server_config: Any, client_config: Any
) -> None:
    store = tquic.SessionStore()
    silent = server_config.replace(resumption=False)
    async with (
        tquic.serve("127.0.0.1", 0, echo, config=silent) as server,
        tquic.connect(
            *server.address, config=client_config.replace(session_store=store)
        ) as connection,
    ):
        for _ in range(3):
            await exchange(connection)
        assert len(store) == 0


async def test_early_data(echo: Any, server_config: Any, client_config: Any) -> None:
    store = tquic.SessionStore()
    config = client_config.replace(session_store=store, early_data=True)
    early = asyncio.get_running_loop().create_future()

    async def handler(connection: tquic.Connection) -> None:
        async for stream in connection:
            if not early.done() and stream.early:
                early.set_result(await stream.readexactly(2))
            await stream.write(await stream.read())
            stream.finish()

    async with tquic.serve(
        "127.0.0.1", 0, handler, config=server_config.replace(early_data=True)
    ) as server:
        async with tquic.connect(*server.address, config=config) as connection:
            assert not (await exchange(connection)).early
            await until_tickets(store, connection)
        async with tquic.connect(*server.address, config=config, wait=False) as connection:
            assert not connection.connected
            stream = connection.open_stream()
            assert stream.early
            stream.write(b"at once")
            stream.finish()
            assert await stream.read() == b" once"
            await connection.wait_connected()
            assert connection.zero_rtt is True
            assert connection.info.early_data
            assert (await connection.stats()).zero_rtt_bytes > 0
        # The server knew the stream before its handshake was complete.
        assert await early == b"at"


async def test_refused_early_data_is_sent_again(
    echo: Any, server_config: Any, client_config: Any
) -> None:
    store = tquic.SessionStore()
    config = client_config.replace(session_store=store, early_data=True)
    willing = server_config.replace(early_data=True)
    engine = tquic.Engine()
    async with tquic.serve("127.0.0.1", 0, echo, config=willing, engine=engine) as server:
        host, port = server.address
        async with tquic.connect(host, port, config=config) as connection:
            await until_tickets(store, connection)
    engine.shutdown()
    # Another server at the same address knows nothing of the ticket.
    async with (
        tquic.serve(host, port, echo, config=server_config.replace(early_data=True)),
        tquic.connect(host, port, config=config, wait=False) as connection,
    ):
        stream = connection.open_stream()
        stream.write(b"again" * 1000)
        stream.finish()
        assert await stream.read() == b"again" * 1000
        assert connection.zero_rtt is False
        assert not connection.info.resumed


async def test_tokens_spare_the_retry(echo: Any, server_config: Any, client_config: Any) -> None:
    store = tquic.SessionStore()
    config = client_config.replace(session_store=store)
    engine = tquic.Engine()
    # Always busy: only a token spares a client the Retry.
    careful = server_config.replace(retry_above=0)
    async with tquic.serve("127.0.0.1", 0, echo, config=careful, engine=engine) as server:
        async with tquic.connect(*server.address, config=config) as connection:
            while not store._tokens:
                await exchange(connection)
        retries = sum(shard.retries for shard in engine.stats())
        # One for each packet of the ClientHello that came without a token.
        assert retries >= 1
        async with tquic.connect(*server.address, config=config) as connection:
            await exchange(connection)
        assert sum(shard.retries for shard in engine.stats()) == retries
    engine.shutdown()


def test_stores_are_bounded() -> None:
    store = tquic.SessionStore(2)
    for port in range(5):
        for number in range(10):
            store._put_token(("host", port), bytes([number]))
    assert list(store._tokens) == [("host", 3), ("host", 4)]
    assert [store._take_token(("host", 4)) for _ in range(5)] == [
        b"\x09",
        b"\x08",
        b"\x07",
        b"\x06",
        b"",
    ]
    assert store._take_token(("host", 0)) == b""
    with pytest.raises(ValueError, match="servers"):
        tquic.SessionStore(0)
